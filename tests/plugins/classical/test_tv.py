"""Total variation: what it minimizes, where it looks, wrong arguments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from plugins.classical import tv
from plugins.classical.numerics import bilinear_resize
from plugins.classical.tv import TV
from plugins.pansharpening.imaging.registration import measure_shift
from plugins.pansharpening.imaging.resample import decimate, imresize, interp23tap, upsample
from plugins.pansharpening.inference.in_memory import sharpen_scene
from plugins.pansharpening.synthetic.scene import SyntheticScene
from plugins.pansharpening.system import Pansharpener
from tests.plugins.classical.test_methods import scene
from tests.support.classical_golden import images
from toolkit.errors import DataError


def dense(variant: str, built: TV, ms: Tensor, pan: Tensor) -> Tensor:
    """The same iterations with matrices, one image: ms (C, h, w), pan (H, W)."""
    bands, (height, width) = len(ms), pan.shape
    w = torch.tensor(built.weights, dtype=pan.dtype)[:, None, None]

    def forward_difference(n: int) -> Tensor:
        matrix = torch.diag(torch.ones(n - 1, dtype=pan.dtype), 1) - torch.eye(n, dtype=pan.dtype)
        matrix[-1] = 0
        return matrix

    def resampling(n: int, to: int) -> Tensor:
        """Triangles over the mirrored image, as wide as the coarser grid."""
        scale = to / n
        wide = max(1 / scale, 1)
        centre = (torch.arange(to, dtype=pan.dtype) + 0.5) / scale - 0.5
        place = torch.arange(-2 * n, 3 * n)
        triangle = (1 - (centre[:, None] - place).abs() / wide).clamp(min=0)
        triangle = triangle / triangle.sum(1, keepdim=True)
        index = place.remainder(2 * n)
        index = torch.where(index < n, index, 2 * n - 1 - index)
        return torch.zeros(to, n, dtype=pan.dtype).index_add_(1, index, triangle)

    rows, columns = forward_difference(height), forward_difference(width)
    down = [resampling(n, n // built.ratio) for n in pan.shape]
    up = [resampling(n // built.ratio, n) for n in pan.shape]
    x = torch.zeros(bands, height, width, dtype=pan.dtype)
    z = torch.zeros(2, bands, height, width, dtype=pan.dtype)

    def gradient(image: Tensor) -> Tensor:
        return torch.stack([image @ columns.T, rows @ image])

    def divergence(z: Tensor) -> Tensor:
        both, start = z.flatten(0, 1), bands
        if variant == 'toolbox' and bands > 4:
            start = 4
        vertical = both[start : start + bands].clone()
        vertical[:, -1] = 0
        return z[0] @ columns + rows.T @ vertical

    for _ in range(built.iterations):
        residual = ms - down[0] @ x @ down[1].T
        b = built.step * x + up[0] @ residual @ up[1].T + w * (pan - (w * x).sum(0))
        bound = 2 * built.step / built.regularization * gradient(x).square().sum(0).sqrt()
        twice = gradient(divergence(z))
        inner = twice if variant == 'toolbox' else built.constant * z - twice
        z = (gradient(b) + inner) / (bound + built.constant)
        x = (b - divergence(z)) / built.step
    return x


@pytest.mark.parametrize('variant', ['toolbox', 'paper'])
@pytest.mark.parametrize(('bands', 'ratio'), [(1, 4), (4, 4), (8, 4), (6, 2), (3, 3), (2, 1)])
def test_equals_the_iterations_with_matrices(
    bands: int, ratio: int, variant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tv, 'STRIP', 1000)  # a few strips of several rows
    generator = torch.Generator().manual_seed(0)
    shape = (bands, 8 * ratio, 7 * ratio)
    lrms_up = torch.rand(2, *shape, generator=generator, dtype=torch.float64)
    pan = torch.rand(2, 1, *shape[1:], generator=generator, dtype=torch.float64)
    lrms_up[0] = lrms_up[0].round()  # with slopes of zero
    built = TV(bands, ratio, iterations=6, regularization=0.3, variant=variant)
    for built.border, places in (('wrap', 'interp23tap'), ('replicate', 'bicubic')):
        result = built(lrms_up, pan)
        for b in range(2):
            samples = decimate(lrms_up[b], ratio, places)
            expected = dense(variant, built, samples, pan[b, 0])
            torch.testing.assert_close(result[b], expected, rtol=0, atol=1e-12)


def test_colours_lie_where_the_truth_does_but_in_the_convention_of_the_toolbox() -> None:
    drawn = SyntheticScene(bands=4, size=128, seed=0)
    ms, pan = (torch.from_numpy(image)[None] for image in (drawn.read_ms(), drawn.read_pan()))
    built, weight = TV(4, 4), np.pad(np.ones((96, 96)), 16)
    shifts = {}
    for built.border in ('replicate', 'wrap'):
        found = built(upsample(ms, 4), pan)[0].numpy()
        pairs = zip(drawn.reference, found)
        shifts[built.border] = np.mean([measure_shift(*p, weight, 4)[:2] for p in pairs], 0)
    assert np.abs(shifts['replicate']).max() < 0.1
    assert shifts['wrap'].max() < -0.15


def test_files_never_have_the_convention_of_the_toolbox() -> None:
    drawn = SyntheticScene(bands=4, size=128, seed=0)
    systems = {
        border: Pansharpener(4, 4, lambda bands, ratio: TV(bands, ratio), border=border)
        for border in ('wrap', 'extrapolate')
    }
    found = [sharpen_scene(system, drawn, dtype='float32') for system in systems.values()]
    np.testing.assert_array_equal(*found)
    assert systems['wrap'].generator.border == 'wrap'  # for scores, as before


def test_resampling_is_imresize() -> None:
    """Against the bicubic `imresize` on a ramp, which both keep away from the borders."""
    ramp = torch.arange(64.0, dtype=torch.float64).view(1, 1, 1, 64).expand(1, 1, 8, 64)
    low = imresize(ramp, (8, 16))
    found = bilinear_resize.downsample(ramp, 3, 4)
    torch.testing.assert_close(found[..., 2:-2], low[..., 2:-2], rtol=0, atol=1e-12)
    torch.testing.assert_close(
        bilinear_resize.upsample(low, 3, 4)[..., 16:-16], ramp[..., 16:-16], rtol=0, atol=1e-9
    )


def test_minimizes_what_it_says() -> None:
    """The paper's iterations come near the least of the functional, checked by small changes."""
    lrms_up, pan = (t.double() for t in scene(bands=2, low=(4, 4)))
    built = TV(2, 4, regularization=0.05, iterations=400, variant='paper')
    samples = lrms_up[..., 2::4, 2::4]
    weights = torch.tensor(built.weights).view(1, 2, 1, 1)

    def cost(x: Tensor) -> Tensor:
        low = bilinear_resize.downsample(bilinear_resize.downsample(x, 2, 4), 3, 4)
        right, below = x.diff(dim=3), x.diff(dim=2)
        slope = torch.zeros_like(x)
        slope[..., :-1] += right.square()
        slope[:, :, :-1] += below.square()
        # The transposed of the up-sampling is 16 times the down-sampling: so are their costs.
        data = 16 * (samples - low).square().sum() + (pan - (weights * x).sum(1)).square().sum()
        return data + built.regularization * slope.sqrt().sum()

    few = TV(2, 4, regularization=0.05, iterations=20, variant='paper')(lrms_up, pan)
    many = built(lrms_up, pan)
    assert cost(many) < cost(few) < cost(lrms_up)


@settings(max_examples=6, deadline=None)
@given(tile=st.integers(5, 60), seed=st.integers(0, 9), strip=st.sampled_from([500, 5000, 2**18]))
def test_windows_equal_the_whole_bit_for_bit(tile: int, seed: int, strip: int) -> None:
    lrms_up, pan = scene(bands=8, low=(17, 13), seed=seed)
    lrms_up, pan = lrms_up[..., :-1, :-3], pan[..., :-1, :-3]  # no multiple of the ratio
    built = TV(8, 4, 'WV3', iterations=2)
    whole = torch.full_like(lrms_up, float('nan'))
    halo = -(-built.halo // 4) * 4
    step = -(-tile // built.stride) * built.stride
    corners = [(i, j) for i in range(0, pan.shape[2], step) for j in range(0, pan.shape[3], step)]
    for top, left in corners:
        bottom, right = min(top + step, pan.shape[2]), min(left + step, pan.shape[3])
        rows = slice(max(top - halo, 0), bottom + halo)
        columns = slice(max(left - halo, 0), right + halo)
        part = built(lrms_up[..., rows, columns], pan[..., rows, columns])
        top_in, left_in = top - rows.start, left - columns.start
        whole[..., top:bottom, left:right] = part[
            ..., top_in : top_in + bottom - top, left_in : left_in + right - left
        ]
    before, tv.STRIP = tv.STRIP, strip
    try:
        assert torch.equal(whole, built(lrms_up, pan))
    finally:
        tv.STRIP = before


@pytest.mark.parametrize(('ratio', 'iterations'), [(1, 3), (2, 1), (2, 4), (3, 2), (4, 1), (8, 2)])
def test_halo_is_the_reach(ratio: int, iterations: int) -> None:
    built = TV(1, ratio, iterations=iterations, regularization=0.5).double()
    size = -(-(2 * built.halo + 3 * ratio) // ratio) * ratio
    farthest = 0
    for shift in range(ratio):
        centre = size // 2 // ratio * ratio + shift
        generator = torch.Generator().manual_seed(0)
        inputs = [
            torch.rand(1, 1, size, size, generator=generator, dtype=torch.float64).requires_grad_()
            for _ in range(2)
        ]
        built(*inputs)[0, 0, centre, centre].backward()
        touched = sum(x.grad.abs() for x in inputs)[0, 0].nonzero()
        farthest = max(farthest, int((touched - centre).abs().max()))
    assert farthest == built.halo


def test_gradients_are_finite_where_the_image_is_flat() -> None:
    lrms_up, pan = torch.full((1, 2, 16, 16), 0.3), torch.full((1, 1, 16, 16), 0.3)
    lrms_up.requires_grad_()
    TV(2, 4)(lrms_up, pan).sum().backward()
    assert torch.isfinite(lrms_up.grad).all()
    assert lrms_up.grad.abs().max() > 0


def test_what_is_not_a_number_stays_within_the_halo() -> None:
    lrms_up, pan = scene(low=(40, 10))
    pan[..., 80, 20] = float('nan')
    built = TV(4, 4, iterations=2)
    result = built(lrms_up, pan)
    assert torch.isnan(result[..., 80, 20]).all()
    assert torch.isfinite(result[:, :, : 80 - built.halo]).all()
    assert torch.isfinite(result[:, :, 81 + built.halo :]).all()


def test_half_precision_is_computed_in_single() -> None:
    lrms_up, pan = scene()
    result = TV(4, 4)(lrms_up.bfloat16(), pan.bfloat16())
    assert result.dtype == torch.bfloat16
    expected = TV(4, 4)(lrms_up.bfloat16().float(), pan.bfloat16().float())
    assert torch.equal(result, expected.bfloat16())


@pytest.mark.parametrize(('place', 'sensor'), [('ik_crop', 'IKONOS'), ('wv2_crop', 'WV2')])
def test_single_precision_is_enough(place: str, sensor: str, data_root: Path) -> None:
    golden = images(data_root)
    lrms_up = interp23tap(golden[f'{place}/ms'], 4) / 2047
    pan = golden[f'{place}/pan'] / 2047
    built = TV(lrms_up.shape[1], 4, sensor)
    single = built(lrms_up.float(), pan.float())
    assert float((single - built(lrms_up, pan)).abs().max()) < 0.01 / 2047


# -- wrong arguments -------------------------------------------------------------------------------


def test_sensors() -> None:
    with pytest.raises(ValueError, match="did you mean 'IKONOS'"):
        TV(4, 4, 'IKONS')
    with pytest.raises(DataError, match='IKONOS has 4 bands .* found an image of 8'):
        TV(8, 4, 'IKONOS')
    assert TV(8, 4, 'WV2').weights == TV(8, 4, 'WV3').weights
    assert TV(3, 4, 'IKONOS', weights=[0.2, 0.3, 0.5]).iterations == 10
    assert TV(5, 4, 'QB').weights == [0.2] * 5


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        ({'bands': 0}, 'at least 1'),
        ({'ratio': 0}, 'at least 1'),
        ({'weights': [1.0]}, 'one for each of 4 bands, found 1'),
        ({'weights': [0.1, 0.2, 0.3, float('nan')]}, 'weights must be finite numbers'),
        ({'regularization': 0.0}, 'regularization must be above 0, found 0'),
        ({'step': float('nan')}, 'step must be above 0'),
        ({'constant': float('inf')}, 'constant must be above 0'),
        ({'iterations': 0}, 'iterations must be at least 1'),
        ({'variant': 'grip'}, "'toolbox' or 'paper', found 'grip'"),
    ],
)
def test_wrong_arguments(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TV(**{'bands': 4, 'ratio': 4, **arguments})
