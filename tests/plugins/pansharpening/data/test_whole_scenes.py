from __future__ import annotations

import numpy as np
import pytest
import torch

from plugins.classical.exp import EXP
from plugins.pansharpening.data.geometric_transforms import Flip, QuarterTurns
from plugins.pansharpening.data.patches import ScenePatches
from plugins.pansharpening.data.whole_scenes import WholeScene
from plugins.pansharpening.imaging.mtf import sensor_degrade
from plugins.pansharpening.imaging.resample import imresize_by, upsample
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.scenes.sensors import get_sensor
from plugins.pansharpening.scenes.window import Window
from plugins.pansharpening.synthetic.scene import SyntheticScene
from plugins.pansharpening.system import Pansharpener
from tests.support.reference_images import golden, scene
from toolkit.errors import ComponentError, DataError
from toolkit.registry import DATASETS
from toolkit.registry.build import ComponentFactory, build


class RampScene(Scene):
    """Pixel values tell their place: row in the first band, column in the second."""

    name, bits = 'ramp', 16

    def __init__(self, height=40, width=48, ratio=4):
        self.sensor = get_sensor('generic')
        self._shape, self._ratio = (height, width), ratio
        rows, cols = np.mgrid[:height, :width].astype(np.float32)
        self._fine = np.stack([rows, cols])

    bands = property(lambda self: 2)
    pan_shape = property(lambda self: self._shape)
    ms_shape = property(lambda self: tuple(n // self._ratio for n in self._shape))
    reference = property(lambda self: self._fine)

    def read_ms(self, window=None):
        start = self._ratio // 2
        image = self._fine[:, start :: self._ratio, start :: self._ratio]
        return image[(slice(None), *(window or Window(0, 0, *self.ms_shape)).slices)]

    def read_pan(self, window=None):
        return self._fine[:1][(slice(None), *(window or Window(0, 0, *self._shape)).slices)]

    def fingerprint(self):
        return 'ramp'


def test_patches():
    data = ScenePatches(SyntheticScene(4, 256), size=64)
    assert len(data) == 16
    assert (data.bands, data.ratio) == (4, 4)
    assert data.fingerprint() == data.scene.fingerprint()
    torch.manual_seed(0)
    first, second = data[0], data[0]
    torch.manual_seed(0)
    again = data[5]
    assert first['lrms'].shape == (4, 16, 16)
    assert first['pan'].shape == (1, 64, 64)
    assert first['hrms'].shape == (4, 64, 64)
    assert all(first[key].dtype == torch.float32 for key in ('lrms', 'pan', 'hrms'))
    assert first['meta']['window'] != second['meta']['window']
    assert first['meta'] == again['meta']  # the global generator alone decides
    torch.testing.assert_close(first['pan'], again['pan'], rtol=0, atol=0)
    window = Window(*first['meta']['window'])
    np.testing.assert_array_equal(first['pan'].numpy(), data.scene.read_pan(window))
    np.testing.assert_array_equal(first['lrms'].numpy(), data.scene.read_ms(window.reduced(4)))
    assert first['meta']['scale'] == 2047
    assert first['meta']['sensor'] == 'IKONOS'


@pytest.mark.parametrize('ratio', [2, 3, 4])
def test_augmented_images_stay_on_each_other(ratio):
    turns = {'flip': Flip, 'turn': QuarterTurns}
    data = ScenePatches(RampScene(12 * ratio, 13 * ratio, ratio), 6 * ratio, transforms=turns)
    torch.manual_seed(1)
    seen = set()
    for _ in range(80):
        sample = data[0]
        fine, low = sample['hrms'], sample['lrms']
        place = slice(ratio // 2, None, ratio)
        # In mirrored patches too, coarse sample i is the fine pixel ratio * i + ratio // 2, which
        # only the scene's outermost row and column lack.
        torch.testing.assert_close(fine[:, place, place], low, rtol=0, atol=0)
        torch.testing.assert_close(sample['pan'][0], fine[0], rtol=0, atol=0)
        steps = [(low[band, 1, 0] - low[band, 0, 0]).item() for band in (0, 1)]
        steps += [(low[band, 0, 1] - low[band, 0, 0]).item() for band in (0, 1)]
        seen.add(tuple(np.sign(steps)))
    assert len(seen) == 8  # the symmetries of a square


def test_regions_do_not_overlap():
    left = ScenePatches(RampScene(), 16, region=(0, 0, 1, 0.5))
    right = ScenePatches(RampScene(), 16, region=(0, 0.5, 1, 1))
    torch.manual_seed(2)
    for data, low, high in ((left, 0, 23), (right, 24, 47)):
        assert len(data) == 2
        columns = torch.stack([data[0]['hrms'][1] for _ in range(30)])
        assert (columns.min(), columns.max()) == (low, high)


def test_patch_refusals():
    source = SyntheticScene(4, 128)
    for arguments, message in (
        ({'size': 66}, 'multiple of the ratio 4, found 66'),
        ({'size': 256}, 'patches of 256 x 256 do not fit into the 128 x 128 PAN pixels'),
        ({'size': 64, 'length': 0}, 'length must be at least 1, found 0'),
        ({'size': 64, 'region': (0, 0, 1, 0.1)}, 'do not fit into the 128 x 12 PAN'),
        ({'size': 64, 'region': (0, 0.5, 1, 0.5)}, 'top, left, bottom, right'),
    ):
        with pytest.raises(ValueError, match=message):
            ScenePatches(source, **arguments)


def test_reduced_protocol_equals_the_toolbox(data_root):
    images = golden(data_root)
    for name, key in (('ik', 'ik_crop'), ('wv2', 'wv2_crop')):
        sample = WholeScene(scene(data_root, name), 'reduced', crop=256)[0]
        for ours, theirs in (('lrms', 'reduced/ms'), ('pan', 'reduced/pan'), ('hrms', 'ms')):
            found = sample[ours].double() * 2047
            torch.testing.assert_close(found, images[f'{key}/{theirs}'][0], rtol=0, atol=1e-3)
        assert sample['meta']['window'] == (0, 0, 256, 256)
        assert sample['meta']['protocol'] == 'reduced'


def test_whole_scene():
    source = SyntheticScene(8, 136)
    data = WholeScene(source)
    assert len(data) == 1
    sample = data[0]
    assert sample['lrms'].shape == (8, 34, 34)
    np.testing.assert_array_equal(sample['hrms'].numpy(), source.reference)
    reduced = WholeScene(source, 'reduced')[0]  # 136 is no multiple of 16
    assert reduced['lrms'].shape == (8, 8, 8)
    assert reduced['pan'].shape == (1, 32, 32)
    ms = torch.from_numpy(source.read_ms()[:, :32, :32])
    torch.testing.assert_close(reduced['hrms'], ms, rtol=0, atol=0)
    torch.testing.assert_close(reduced['lrms'], sensor_degrade(ms, source.sensor, 4))
    pan = torch.from_numpy(source.read_pan()[:, :128, :128])
    torch.testing.assert_close(reduced['pan'], imresize_by(pan, 4))
    with pytest.raises(IndexError):
        data[1]
    with pytest.raises(ValueError, match='crop must be a multiple of the ratio 4.*found 300'):
        WholeScene(source, crop=300)
    with pytest.raises(ValueError, match='too small to be reduced'):
        WholeScene(source, 'reduced', crop=12)
    with pytest.raises(ValueError, match="'full' or 'reduced'"):
        WholeScene(source, 'half')
    part = WholeScene(source, window=(8, 16, 32, 40))[0]
    assert part['meta']['window'] == (8, 16, 32, 40)
    np.testing.assert_array_equal(part['pan'], source.read_pan()[:, 8:40, 16:56])
    np.testing.assert_array_equal(part['lrms'], source.read_ms()[:, 2:10, 4:14])
    for window in ((8, 16, 30, 40), (8, 16, 32, 4000), (-4, 0, 8, 8), (0, 0, 0, 8)):
        with pytest.raises(ValueError, match='window must be multiples of the ratio 4 inside'):
            WholeScene(source, window=window)
    with pytest.raises(ValueError, match='either crop or window'):
        WholeScene(source, crop=32, window=(0, 0, 8, 8))


def test_nan_in_a_window_is_an_error(tmp_path):
    import scipy.io

    from plugins.pansharpening.scenes.arrays.matlab import MatScene

    ms = np.ones((16, 16, 4))
    pan = np.ones((64, 64))
    pan[40, 50] = np.inf
    scipy.io.savemat(tmp_path / 'bad.mat', {'I_MS': ms, 'I_PAN': pan})
    source = MatScene(str(tmp_path / 'bad.mat'), 'IKONOS')
    assert ScenePatches(source, 32, region=(0, 0, 0.5, 0.5))[0]['pan'].shape == (1, 32, 32)
    with pytest.raises(DataError, match='bad.mat: I_PAN.*NaN or infinite'):
        WholeScene(source)[0]


def test_registered():
    for part in (ScenePatches, WholeScene):
        assert DATASETS.get(part.__name__) is part


def test_built_from_a_config_and_loaded_in_batches():
    node = {
        'type': 'ScenePatches',
        'scene': {'type': 'SyntheticScene', 'bands': 8, 'size': 128},
        'size': 32,
        'region': [0, 0, 0.5, 1],
        'transforms': {'flip': {'type': 'Flip'}, 'turn': None},
    }
    data = build(node, DATASETS, 'train_dataloader.dataset')
    assert (len(data), data.bands) == (8, 8)
    samples = [data[i] for i in range(4)]
    batch = torch.utils.data.default_collate([s['lrms'] for s in samples])
    assert batch.shape == (4, 8, 8, 8)
    with pytest.raises(
        ComponentError, match=r'test.dataset.scene: SyntheticScene: a synthetic scene'
    ):
        build(
            {'type': 'WholeScene', 'scene': {'type': 'SyntheticScene', 'bands': 5}},
            DATASETS,
            'test.dataset',
        )


@pytest.mark.parametrize('method', ['interp23tap', 'bicubic', 'bilinear'])
def test_a_patch_is_upsampled_as_the_whole_scene_is(method):
    scene = SyntheticScene(bands=4, size=256, seed=1)
    whole = upsample(torch.from_numpy(scene.read_ms())[None], 4, method, 'extrapolate')[0]
    system = Pansharpener(4, 4, ComponentFactory(EXP, {}), upsample=method)
    dataset = ScenePatches(scene, size=64, length=8)
    inside = 0
    for index in range(20):
        torch.manual_seed(index)
        sample = dataset[index]
        row, col, height, width = sample['meta']['window']
        batch = {k: v[None] for k, v in sample.items() if k != 'meta'}
        patch = system.tensor(batch)['lrms_up'][0]
        if min(row, col, 256 - row - height, 256 - col - width) >= 24:
            expected = whole[:, row : row + height, col : col + width]
            assert torch.allclose(patch, expected, atol=1e-6)
            inside += 1
    assert inside >= 5


def test_a_mask_where_there_is_nodata():
    class Holed(RampScene):
        def read_mask(self, window=None):
            mask = np.ones(self.pan_shape, bool)
            mask[:8] = False
            return mask[(window or Window(0, 0, *self.pan_shape)).slices]

    sample = WholeScene(Holed(), crop=32)[0]
    assert sample['mask'].shape == (1, 32, 32)
    assert not sample['mask'][:, :8].any()
    assert sample['mask'][:, 8:].all()
    assert 'mask' not in WholeScene(RampScene())[0]
    data = ScenePatches(Holed(), 16)
    for seed in range(20):
        torch.manual_seed(seed)
        assert data[0]['meta']['window'][0] >= 8


def test_items_are_named():
    assert WholeScene(RampScene())[0]['meta']['item'] == 'ramp'
    meta = ScenePatches(RampScene(), 16)[0]['meta']
    assert meta['item'] == f'ramp_{meta["window"][0]}_{meta["window"][1]}'
