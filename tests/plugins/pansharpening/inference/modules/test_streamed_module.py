"""Any module on a scene, window by window: measured halo and stride, no seams, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plugins.pansharpening.notebook import MemoryScene, Reach, measure_module, sharpen, stream
from plugins.pansharpening.scenes.sensors import get_sensor
from plugins.pansharpening.untrained_method import sharpener
from toolkit.errors import ToolkitError

RNG = np.random.default_rng(0)
MS = RNG.integers(1, 2000, (4, 45, 34)).astype(np.uint16)
PAN = RNG.integers(1, 2000, (180, 136)).astype(np.uint16)
SCENE = MemoryScene(MS, PAN, 'IKONOS')


class Local(nn.Module):
    """A convolution of each band and the PAN, whose units are dead for random images."""

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Conv2d(5, 4, kernel_size, padding=kernel_size // 2)
        nn.init.constant_(self.layer.bias, -9)
        self.dropout = nn.Dropout()

    def forward(self, ms: Tensor, pan: Tensor) -> Tensor:
        return ms + self.dropout(self.layer(torch.cat([ms, pan], 1)).relu())


class Pooled(nn.Module):
    """Two scales apart by 8, as in an encoder with three poolings."""

    def forward(self, ms: Tensor, pan: Tensor) -> Tensor:
        coarse = F.interpolate(F.max_pool2d(pan, 8), scale_factor=8.0)
        return ms * (1 + coarse)


class Native(nn.Module):
    """Takes an MS of its own size."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.enlarge = nn.ConvTranspose2d(4, 4, 4, 4)

    def forward(self, ms: Tensor, pan: Tensor) -> Tensor:
        return self.enlarge(ms) * F.avg_pool2d(pan, 3, 1, 1)


class WholeMean(nn.Module):
    """Depends on all of the PAN."""

    def forward(self, ms: Tensor, pan: Tensor) -> Tensor:
        return ms * pan / pan.mean()


class HidesNan(nn.Module):
    """Replaces NaN, and looks 20 pixels far."""

    def forward(self, ms: Tensor, pan: Tensor) -> Tensor:
        return ms + F.avg_pool2d(pan.nan_to_num(), 41, 1, 20)


class Looks(nn.Module):
    """Takes the pixel 40 to the left where the PAN is black, as random images never are."""

    def forward(self, ms: Tensor, pan: Tensor) -> Tensor:
        return torch.where(pan == 0, ms.roll(40, 3), ms)


SHAPES = {
    'one band': lambda ms, pan: pan,
    'no batch': lambda ms, pan: ms[0],
    'a larger image': lambda ms, pan: F.pad(ms, (2, 2, 2, 2)),
    'two images': lambda ms, pan: (ms, pan),
    'error': lambda ms, pan: {}['ms'],
}


class Gives(nn.Module):
    """Gives what is no image of the MS's shape."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what = what

    def forward(self, ms: Tensor, pan: Tensor) -> Tensor:
        return SHAPES[self.what](ms, pan)


@pytest.mark.parametrize(
    ('model', 'takes', 'halo', 'stride'),
    [
        (Local(1), 'upsampled', 0, 4),
        (Local(7), 'upsampled', 3, 4),
        (Pooled(), 'upsampled', 0, 8),
        (Native(), 'native', 1, 4),
        (WholeMean(), 'upsampled', 'global', 4),
    ],
)
def test_any_module_is_streamed_with_the_values_of_the_whole_scene(model, takes, halo, stride):
    found = measure_module(model, 4, takes=takes)
    assert found.stride == stride
    if halo == 'global':
        assert found == Reach('global', 4)
    else:  # algorithms of convolution may spread NaN a little farther
        assert halo <= found.halo <= halo + 8
    streamed = stream(model, SCENE, takes=takes, tile=32, dtype='float64')
    whole = stream(model, SCENE, takes=takes, halo='global', stride=stride, dtype='float64')
    np.testing.assert_allclose(streamed, whole, rtol=1e-5, atol=2e-2)
    assert streamed.shape == (4, 180, 136) and streamed.std() > 100
    assert model.training


def test_a_module_of_the_toolkit_has_its_own_halo_and_values():
    system = sharpener('PNN', SCENE)
    expected = sharpen(MS, PAN, 'IKONOS', 'PNN', dtype='float32')
    for model in (system, system.generator):
        np.testing.assert_array_equal(stream(model, SCENE, dtype='float32'), expected)
    assert measure_module(system.generator, 4).halo >= system.generator.halo


def test_each_part_keeps_its_mode():
    model = Local(1).eval()
    model.dropout.train()
    stream(model, SCENE, halo=0)
    assert (model.training, model.layer.training, model.dropout.training) == (False, False, True)


def test_windows_may_start_at_multiples_of_any_ratio():
    assert measure_module(Local(1), 4, 5) == Reach(0, 5)
    with pytest.raises(ToolkitError, match='at least 1, found 0 and 4'):
        measure_module(Local(1), 0)


def test_a_module_may_name_its_parts_as_it_likes():
    model = Pooled()
    model.upsampling = nn.Upsample(scale_factor=4)
    np.testing.assert_array_equal(sharpen(MS, PAN, 'IKONOS', model), stream(Pooled(), SCENE))


def test_sharpen_takes_a_module():
    expected = stream(Pooled(), SCENE)
    tensor = sharpen(torch.from_numpy(MS), torch.from_numpy(PAN), 'IKONOS', Pooled())
    assert tensor.dtype == torch.uint16
    np.testing.assert_array_equal(tensor.numpy(), expected)
    with pytest.raises(ToolkitError, match='a Pansharpener upsamples for itself.*bicubic'):
        system = sharpener('PNN', SCENE, 'bicubic')
        sharpen(MS, PAN, get_sensor('IKONOS').spec, system, upsample='interp23tap')


@pytest.mark.parametrize(
    ('model', 'options', 'message'),
    [
        (nn.Conv2d(4, 4, 1), {}, r'fails on images of 256 x 64.*called as model\(ms, pan\)'),
        (Native(), {}, 'gives .* of images|fails on images'),
        *((Gives(what), {'halo': 8}, 'gives .* of images') for what in SHAPES if what != 'error'),
        (Gives('no batch'), {'halo': 'global', 'stride': 8}, 'gives .* of images'),
        (Gives('error'), {'halo': 8}, 'fails on images of 80 x 76.*KeyError'),
        (sharpener('PNN', SCENE), {'halo': 8}, 'Pansharpener of the toolkit states its own halo'),
        (sharpener('PNN', SCENE).generator, {'halo': 8}, 'PNN of the toolkit states its own halo'),
        (sharpener('PNN', SCENE).generator, {'takes': 'native'}, 'takes an upsampled MS'),
        (HidesNan(), {}, 'it replaces NaN'),
        (HidesNan(), {'halo': 8}, 'more than 8 PAN pixels away'),
        (Local(1), {'halo': -1}, "0 or more, or 'global'; found -1"),
        (Local(1), {'stride': 4}, 'stride is given and halo is not'),
        (Local(1), {'takes': 'both'}, "'upsampled' or 'native', found 'both'"),
        (Native(), {'takes': 'native', 'upsample': 'bicubic'}, 'upsamples nothing'),
        (Local(1), {'upsample': 'cubic'}, "no upsampling is named 'cubic'"),
        (Local(1), {'device': 'cud'}, "no device 'cud' on this machine: expected cpu, or cuda"),
    ],
)
def test_refusals(model, options, message):
    with pytest.raises(ToolkitError, match=message):
        stream(model, SCENE, **options)


def test_a_module_that_chooses_where_it_looks_is_refused():
    assert measure_module(Looks(), 4) == Reach(0, 4)
    with pytest.raises(ToolkitError, match='more than 0 PAN pixels away.*chooses by the content'):
        stream(Looks(), MemoryScene(MS, 0 * PAN, 'IKONOS'))


def test_sharpen_refuses_what_is_no_method(tmp_path):
    for method, message in (
        (tmp_path, 'holds no run'),
        (str(tmp_path), 'holds no run'),
        (3, 'method of type int; expected the name of a generator, a run'),
    ):
        with pytest.raises(ToolkitError, match=message):
            sharpen(MS, PAN, 'IKONOS', method)
