"""Sparse representation of injected details: windows, units, batches, flat and small images."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from plugins.classical.numerics.patches import PatchGrid
from plugins.classical.sparse import SRD
from plugins.pansharpening.imaging.lazy_image import LazyImage
from plugins.pansharpening.imaging.mtf import mtf_filter
from plugins.pansharpening.imaging.resample import imresize
from plugins.pansharpening.imaging.two_pass_generator import Look, blocks
from plugins.pansharpening.scenes.sensors import get_sensor
from plugins.pansharpening.scenes.window import Window
from tests.plugins.classical.test_methods import scene
from toolkit.errors import DataError

# -- the algorithm ---------------------------------------------------------------------------------


def test_one_atom_for_a_patch_is_the_gain_at_its_place() -> None:
    """With the atom at the same place alone and no overlap, each patch has one gain for a band."""
    lrms_up, pan = (t.double() for t in scene(low=(14, 21)))
    gains = get_sensor('IKONOS').gains(4)
    built = SRD(4, 4, 'IKONOS', overlap=0, atoms=1)
    matched = (pan - pan.mean()) / pan.std() * lrms_up.std((2, 3), keepdim=True)
    matched = matched + lrms_up.mean((2, 3), keepdim=True)
    low = imresize(mtf_filter(matched, gains, 4)[..., 2::4, 2::4], (56, 84))
    detail = matched - low
    own = (lrms_up - mtf_filter(lrms_up, gains, 4))[..., 2::4, 2::4]
    atom = mtf_filter(detail, gains, 4)[..., 2::4, 2::4]
    expected = lrms_up.clone()
    for top in (0, 7):
        for left in (0, 7, 14):
            part = (..., slice(top, top + 7), slice(left, left + 7))
            gain = (own[part] * atom[part]).sum((2, 3)) / atom[part].square().sum((2, 3))
            fine = (..., slice(4 * top, 4 * top + 28), slice(4 * left, 4 * left + 28))
            expected[fine] += gain[..., None, None] * detail[fine]
    torch.testing.assert_close(built(lrms_up, pan), expected, rtol=0, atol=1e-6)


def test_more_atoms_code_the_bands_better() -> None:
    """What is added comes nearer to the bands' own details, seen at their resolution."""
    lrms_up, pan = (t.double() for t in scene(low=(40, 40)))
    gains = get_sensor('IKONOS').gains(4)

    def through(image: torch.Tensor) -> torch.Tensor:
        return mtf_filter(image, gains, 4)[..., 2::4, 2::4]

    own = lrms_up[..., 2::4, 2::4] - through(lrms_up)
    errors = []
    for atoms in (1, 3, 10):
        added = through(SRD(4, 4, 'IKONOS', atoms=atoms)(lrms_up, pan) - lrms_up)
        errors.append(float((own - added).square().mean().sqrt() / own.square().mean().sqrt()))
    assert 1 > errors[0] > errors[1] > errors[2] > 0


# -- what must not matter --------------------------------------------------------------------------


@pytest.mark.parametrize('ratio', [1, 2, 3, 8])
@pytest.mark.parametrize('bands', [1, 3])
def test_other_ratios_and_bands(bands: int, ratio: int) -> None:
    lrms_up = torch.rand(1, bands, 12 * ratio, 10 * ratio)
    pan = torch.rand(1, 1, 12 * ratio, 10 * ratio)
    result = SRD(bands, ratio)(lrms_up, pan)
    assert result.shape == lrms_up.shape
    assert torch.isfinite(result).all()
    assert not torch.allclose(result, lrms_up, atol=1e-3)


@pytest.mark.parametrize('size', [(1, 1), (2, 9), (7, 7), (8, 3)], ids=str)
def test_images_smaller_than_a_patch(size: tuple[int, int]) -> None:
    lrms_up, pan = (
        torch.rand(1, 4, 4 * size[0], 4 * size[1]),
        torch.rand(1, 1, 4 * size[0], 4 * size[1]),
    )
    result = SRD(4, 4)(lrms_up, pan)
    assert torch.isfinite(result).all()


@pytest.mark.parametrize('value', [0.0, 0.3])
def test_flat_images(value: float) -> None:
    lrms_up, pan = scene()
    built = SRD(4, 4)
    assert torch.equal(built(lrms_up, torch.full_like(pan, value)), lrms_up)
    lrms_up[:, 1] = value
    result = built(lrms_up, pan)
    assert torch.isfinite(result).all()
    assert result.abs().max() < 3
    torch.testing.assert_close(result[:, 1], lrms_up[:, 1], rtol=0, atol=2e-3)
    every = torch.full_like(lrms_up, value)
    torch.testing.assert_close(built(every, pan), every, rtol=0, atol=2e-3)


def test_not_a_number_gives_no_number() -> None:
    """The statistics are those of the whole, and so is the answer."""
    lrms_up, pan = scene(low=(30, 20))
    pan[..., 42, 42] = float('nan')
    assert torch.isnan(SRD(4, 4)(lrms_up, pan)).all()


def test_gradients_reach_the_bands_as_they_are() -> None:
    lrms_up, pan = scene()
    lrms_up.requires_grad_()
    SRD(4, 4)(lrms_up, pan).sum().backward()
    assert torch.equal(lrms_up.grad, torch.ones_like(lrms_up))


# -- the dictionary and the patches ----------------------------------------------------------------


def dictionary(limit: int, lrms_up: Tensor, pan: Tensor, valid: Tensor | None = None) -> Tensor:
    e, p = LazyImage.of(lrms_up), LazyImage.of(pan)

    def scan(look: Look) -> list:
        return [
            look(e, p, w, None if valid is None else valid[(..., *w.slices)])
            for w in blocks(p.shape, 4)
        ]

    return SRD(4, 4, dictionary=limit).statistics(scan)['low']


def test_a_small_dictionary_is_spread_over_the_image() -> None:
    lrms_up, pan = scene(low=(100, 80))  # of several blocks
    every = dictionary(10_000, lrms_up, pan)
    few = dictionary(100, lrms_up, pan)
    assert every.shape == (1, 32 * 26, 1, 49)
    assert few.shape == (1, 100, 1, 49)
    assert (every[0, :, None] == few[0]).all(-1).any(0).all()  # each of them one of all


def test_patches_without_data_are_no_atoms() -> None:
    lrms_up, pan = scene(low=(40, 40))
    valid = torch.zeros(1, 1, 160, 160, dtype=torch.bool)
    assert dictionary(1000, lrms_up, pan, valid).abs().max() == 0
    valid[..., 80:] = True
    assert dictionary(1000, lrms_up, pan, valid).shape[1] == 12 * 5 + 12 * 0


@settings(max_examples=20, deadline=None)
@given(
    size=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    patch=st.integers(1, 8),
    overlap=st.integers(0, 7),
    ratio=st.integers(1, 4),
    data=st.data(),
)
def test_patches_cover_a_window_and_put_it_together_again(
    size: tuple[int, int], patch: int, overlap: int, ratio: int, data: st.DataObject
) -> None:
    overlap = min(overlap, patch - 1)
    image = torch.rand(2, size[0] * ratio, size[1] * ratio, dtype=torch.float64)
    row, col = (data.draw(st.integers(0, n - 1)) for n in image.shape[1:])
    height = data.draw(st.integers(1, image.shape[1] - row))
    width = data.draw(st.integers(1, image.shape[2] - col))
    window = Window(row, col, height, width)
    whole = PatchGrid.of_scene((image.shape[1], image.shape[2]), ratio, patch, overlap)
    part = whole.overlapping(window)
    seen = image[(..., *part.window.slices)]
    total = torch.zeros_like(seen)
    for rows in part.split_rows(5):
        part.add_patches(total, rows, part.cut_rows(seen, rows, ratio))
    found = part.crop(total / part.count_overlaps(total), window)
    torch.testing.assert_close(found, image[(..., *window.slices)])
    counted = whole.count_overlaps(image)[window.slices]
    assert torch.equal(part.crop(part.count_overlaps(total), window), counted)
    assert len(whole.spread_evenly(whole.count)) == whole.count
    assert len(whole.spread_evenly(3)) == min(3, whole.count)


# -- wrong arguments -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        ({'bands': 0}, 'at least 1'),
        ({'overlap': 7}, 'found 7 of a patch of 7'),
        ({'overlap': -1}, 'found -1 of a patch of 7'),
        ({'patch': 0}, 'of a patch of 0'),
        ({'atoms': 0}, 'found 0 and 16384'),
        ({'dictionary': 0}, 'found 10 and 0'),
        ({'sensor': 'IKONS'}, "did you mean 'IKONOS'"),
    ],
)
def test_wrong_arguments(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SRD(**{'bands': 4, 'ratio': 4, **arguments})


def test_a_sensor_with_other_bands() -> None:
    with pytest.raises(DataError, match='8 bands'):
        SRD(4, 4, 'WV3')


def test_shapes_are_worked_out_without_data() -> None:
    with torch.device('meta'):
        result = SRD(4, 4)(torch.empty(2, 4, 32, 24), torch.empty(2, 1, 32, 24))
    assert result.shape == (2, 4, 32, 24)
