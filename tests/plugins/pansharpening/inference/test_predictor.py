from __future__ import annotations

import argparse
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio
import scipy.io
import torch
from rasterio.transform import from_origin
from torch import Tensor, nn

from plugins.pansharpening.imaging.registration import Registration
from plugins.pansharpening.imaging.resample import upsample
from plugins.pansharpening.inference import predictor, scene_inputs
from plugins.pansharpening.inference.predictor import ScenePredictor
from plugins.pansharpening.inference.scene_inputs import scene_from_inputs
from plugins.pansharpening.inference.scene_prediction import predict_scene
from plugins.pansharpening.inference.tiles import Shard
from plugins.pansharpening.interfaces import Generator
from plugins.pansharpening.scenes.arrays.matlab import MatScene
from plugins.pansharpening.scenes.rasters.raster import RasterScene
from plugins.pansharpening.scenes.scene import Georeference
from plugins.pansharpening.synthetic.scene import SyntheticScene
from plugins.pansharpening.system import Pansharpener
from tests.support.synthetic_rasters import write_geotiff
from toolkit.errors import DataError, RunError, ToolkitError
from toolkit.interfaces import PredictOptions


class Blur(Generator):
    """A convolution over all inputs, so that what is missing around a window shows."""

    def __init__(self, bands: int, halo: int | str = 5) -> None:
        super().__init__()
        self.halo, self.stride = halo, 2
        self.conv = nn.Conv2d(bands + 1, bands, 11, padding=5)
        self.drop = nn.Dropout(0.9)

    def forward(self, lrms_up: Tensor, pan: Tensor) -> Tensor:
        change = self.conv(torch.cat([lrms_up, pan], 1))
        return lrms_up + self.drop(change)


class Simple(nn.Module):
    """What `predict_scene` needs of a system."""

    def __init__(self, bands=4, ratio=4, upsampling='interp23tap', halo=5) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.bands, self.ratio, self.upsampling = bands, ratio, upsampling
        self.generator = Blur(bands, halo)

    def sharpen(self, lrms: Tensor, pan: Tensor) -> Tensor:
        return self.fuse(upsample(lrms, self.ratio, self.upsampling, 'extrapolate'), pan)

    def fuse(self, lrms_up: Tensor, pan: Tensor) -> Tensor:
        return self.generator(lrms_up, pan)


def _read(path):
    with rasterio.open(path) as raster:
        return raster.read(), raster.profile, raster.descriptions


@pytest.mark.parametrize('upsampling', ['interp23tap', 'bicubic', 'nearest'])
def test_windows_give_the_whole_image(tmp_path, upsampling):
    scene, system = SyntheticScene(4, 256), Simple(upsampling=upsampling)
    written = predict_scene(system, scene, tmp_path / 'whole.tif', progress=False)
    files = ['whole.tif', 'whole.png', 'whole-errors.png', 'whole-histograms.png']
    assert [path.name for path in written] == files
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(files)
    assert system.training  # as it was found
    whole, profile, names = _read(tmp_path / 'whole.tif')
    assert whole.dtype == np.uint16
    assert (profile['blockxsize'], profile['blockysize']) == (256, 256)
    assert profile['compress'] == 'deflate'
    assert names == ('blue', 'green', 'red', 'nir')
    system.eval()
    with torch.no_grad():
        lrms, pan = (torch.from_numpy(x)[None] for x in (scene.read_ms(), scene.read_pan()))
        expected = (system.sharpen(lrms, pan)[0] * 2047).round().clamp(0, 65535)
    np.testing.assert_array_equal(whole, expected.numpy())
    for tile in (64, 100):
        path = tmp_path / f'{tile}.tif'
        predict_scene(system, scene, path, tile=tile, progress=False, picture=False)
        np.testing.assert_array_equal(_read(path)[0], whole)


def test_a_global_network_is_run_on_the_whole_whatever_the_tile(tmp_path):
    scene, system = SyntheticScene(4, 128), Simple(halo='global')
    for tile in (None, 32):
        predict_scene(system, scene, tmp_path / f'{tile}.tif', tile=tile, picture=False)
    np.testing.assert_array_equal(*(_read(tmp_path / f'{t}.tif')[0] for t in (None, 32)))


def test_grid_and_nodata(tmp_path):
    rng = np.random.default_rng(0)
    transform = from_origin(300000, 5000000, 0.5, 0.5)
    ms = rng.integers(1500, 2048, (4, 16, 16)).astype(np.uint16)
    pan = rng.integers(1500, 2048, (1, 64, 64)).astype(np.uint16)
    pan[0, :8] = 0
    for name, image, at in (
        ('ms', ms, from_origin(300000, 5000000, 2, 2)),
        ('pan', pan, transform),
    ):
        place = Georeference('EPSG:32633', at)
        write_geotiff(tmp_path / f'{name}.tif', image, place, nodata=0)
    scene = scene_from_inputs([f'pan={tmp_path}/pan.tif', f'ms={tmp_path}/ms.tif'], 'IKONOS')
    predict_scene(Simple(), scene, tmp_path / 'out' / 'sharp.tif', progress=False)
    image, profile, _ = _read(tmp_path / 'out' / 'sharp.tif')
    assert profile['transform'] == transform
    assert profile['crs'].to_epsg() == 32633
    assert profile['nodata'] == 0
    assert not image[:, :8].any()
    assert image[:, 8:].any()
    assert image.max() > 2047  # the network overshoots, and uint16 holds it


def test_refusals_leave_nothing_behind(tmp_path):
    scene = SyntheticScene(4, 128)
    with pytest.raises(DataError, match='4 bands at ratio 4, but the network .* 8 bands'):
        predict_scene(Simple(bands=8), scene, tmp_path / 'x.tif')
    with pytest.raises(ToolkitError, match='needs a name such as x.tif'):
        predict_scene(Simple(), scene, tmp_path / 'x.png')
    with pytest.raises(ToolkitError, match='is a folder'):
        predict_scene(Simple(), scene, tmp_path)
    with pytest.raises(ToolkitError, match='tile must be at least 1'):
        predict_scene(Simple(), scene, tmp_path / 'x.tif', tile=0)
    broken = Simple()
    broken.generator.conv.weight.data[0] = float('nan')
    with pytest.raises(RunError, match='network gives NaN'):
        predict_scene(broken, scene, tmp_path / 'x.tif')
    assert not list(tmp_path.iterdir())


def test_inputs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv('TOOLKIT_DATA', raising=False)
    images = {'I_MS': np.ones((4, 4, 4)), 'I_PAN': np.ones((16, 16))}
    scipy.io.savemat(tmp_path / 'a.mat', images)
    for name in ('m.tif', 'p.tif'):
        (tmp_path / name).touch()
    assert isinstance(scene_from_inputs(['a.mat'], 'IKONOS'), MatScene)
    for inputs in (['m.tif', 'p.tif'], ['pan=p.tif', 'ms=m.tif']):
        scene = scene_from_inputs([*inputs, 'bit_depth=12'], 'IKONOS')
        assert isinstance(scene, RasterScene)
        assert (scene.ms_path.name, scene.pan_path.name, scene.bits) == ('m.tif', 'p.tif', 12)
    for inputs in ([], ['m.tif'], ['ms=m.tif'], ['m.tif', 'pan=p.tif'], ['a', 'b', 'c']):
        with pytest.raises(ToolkitError, match='expected one .mat file, or two rasters'):
            scene_from_inputs(inputs, 'IKONOS')
    scene = scene_from_inputs(
        ['ms=m.tif', 'ms=p.tif', 'pan=p.tif', 'ratio=4', 'samples=interp23tap'], 'generic'
    )
    assert (len(scene.ms_files.paths), scene.stated_ratio, scene.stated_samples) == (
        2,
        4,
        'interp23tap',
    )
    with pytest.raises(ToolkitError, match="found the input bit_deph=12; did you mean 'bit_depth'"):
        scene_from_inputs(['m.tif', 'p.tif', 'bit_deph=12'], 'IKONOS')
    with pytest.raises(ToolkitError, match='found ratio=four, expected a whole number'):
        scene_from_inputs(['m.tif', 'p.tif', 'ratio=four'], 'IKONOS')
    with pytest.raises(ToolkitError, match='samples must be one of auto, centre, interp23tap'):
        scene_from_inputs(['m.tif', 'p.tif', 'samples=middle'], 'IKONOS')
    with pytest.raises(ToolkitError, match="did you mean 'IKONOS'"):
        scene_from_inputs(['a.mat'], 'IKONO')
    with pytest.raises(DataError, match='no file b.mat'):
        scene_from_inputs(['b.mat'], 'IKONOS')


# -- the options of `toolkit predict` --------------------------------------------------------------


def predict(inputs, dataset=None, *words):
    """Predicts with a system whose scene is not read; returns the scene and the options."""
    parser = argparse.ArgumentParser()
    ScenePredictor.add_arguments(parser)
    options = PredictOptions(parser.parse_args(words), dataset)
    system = Pansharpener(4, 4, lambda **injected: Blur(injected['bands']))
    return ScenePredictor().predict(system, inputs, Path('out.tif'), options)


def test_scene_and_sensor_are_those_of_the_test_data_by_default(monkeypatch):
    calls = []
    monkeypatch.setattr(
        scene_inputs,
        'scene_from_inputs',
        lambda inputs, sensor, _, **more: SimpleNamespace(
            name='', named=(inputs, sensor, more), holds_fractions=False, states_bits=False, bits=11
        ),
    )
    monkeypatch.setattr(
        predictor,
        'predict_scene',
        lambda system, scene, output, **options: calls.append((scene, options)) or [output],
    )
    monkeypatch.setattr(predictor, 'register', lambda scene: Registration(0, 0, 0, 1, 1))
    scene = SimpleNamespace(
        name='', sensor=SimpleNamespace(spec='WV2'), bits=10, holds_fractions=False, named=None
    )
    data = SimpleNamespace(scene=scene)
    assert predict([], lambda: data, '--tile', '64') == [Path('out.tif')]
    predict(['a.mat'], lambda: data, '--shard', '2/3')
    predict(['a.mat'], lambda: data, '--sensor', 'GE1', '--cog')
    assert calls[0][0] is scene
    assert [call[0].named for call in calls[1:]] == [
        (['a.mat'], 'WV2', {'bit_depth': 10}),  # the network knows the units of its data
        (['a.mat'], 'GE1', {}),
    ]
    options = [call[1] for call in calls]
    assert [o['tile'] for o in options] == [64, None, None]
    assert [o['shard'] for o in options] == [None, Shard(2, 3), None]
    assert [o['cog'] for o in options] == [False, False, True]
    assert {o['compress'] for o in options} == {'deflate'}


@pytest.mark.parametrize('words', [(), ('--shard', '1/2'), ('--shard', '2/2')])
@pytest.mark.parametrize(
    ('change', 'warned'),
    [
        (lambda pan: pan, ''),
        (lambda pan: np.roll(pan, (14, -14), (0, 1)), 'check that both are of one product'),
        (lambda pan: pan[::-1, ::-1], 'check that both show the same ground on the same day'),
    ],
)
def test_a_pan_that_does_not_belong_to_the_ms_is_warned_of_once(
    tmp_path, monkeypatch, capsys, words, change, warned
):
    scene = SyntheticScene(4, 256)
    np.save(tmp_path / 'ms.npy', scene.read_ms())
    np.save(tmp_path / 'pan.npy', change(scene.read_pan()[0]))
    monkeypatch.setattr(predictor, 'predict_scene', lambda *images, **options: [])
    inputs = [f'{name}={tmp_path}/{name}.npy' for name in ('ms', 'pan')]
    predict(inputs, None, '--sensor', 'IKONOS', *words)
    lines = [line for line in capsys.readouterr().out.splitlines() if 'ms: the ' in line]
    assert len(lines) == bool(warned and words != ('--shard', '2/2'))
    assert all(line.startswith('warning: ') and warned in line for line in lines)


def test_needs_a_scene_or_a_sensor():
    with pytest.raises(ToolkitError, match='nothing to pansharpen'):
        predict([])
    with pytest.raises(ToolkitError, match='the sensor of the inputs is not known'):
        predict(['a.mat'])
    with pytest.raises(ToolkitError, match='shard'):
        predict([], lambda: SimpleNamespace(scene=None), '--shard', '3/2')


def test_a_part_of_the_test_data_is_predicted_for_a_try(tmp_path):
    scene = SyntheticScene(size=256, seed=1)
    options = PredictOptions(argparse.Namespace(), lambda: SimpleNamespace(scene=scene))
    system = Pansharpener(4, 4, lambda **injected: Blur(injected['bands']))
    (written,) = ScenePredictor().predict_part(system, tmp_path, options)
    with rasterio.open(written) as file:
        assert file.width == 256 and 0 < file.height < 256
    several = PredictOptions(argparse.Namespace(), lambda: SimpleNamespace(scenes=[scene]))
    assert ScenePredictor().predict_part(system, tmp_path, several) == []
