"""Results keep the data type, the nodata value and the values of the MS; inputs are never lost."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import rasterio
import rasterio.shutil
import scipy.io
import torch
from rasterio.transform import from_origin

from plugins.pansharpening.commands.bench_scene import sharpener
from plugins.pansharpening.inference.output.digital_numbers import DigitalFormat
from plugins.pansharpening.inference.scene_prediction import predict_scene
from plugins.pansharpening.inference.tiles import Shard
from plugins.pansharpening.scenes.arrays.matlab import MatScene
from plugins.pansharpening.scenes.arrays.npy import ArrayScene
from plugins.pansharpening.scenes.rasters.raster import RasterScene
from plugins.pansharpening.scenes.rasters.raster_handles import allow_no_georeference
from plugins.pansharpening.scenes.scene import Georeference, Scene
from tests.support.synthetic_rasters import write_geotiff
from toolkit.errors import RunError, ToolkitError


def images(low: float, high: float, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Smooth images without borders, so that sharpening stays in their range.

    Returns:
        MS (4, 16, 16) and PAN (64, 64).
    """
    wave = np.cos(2 * np.pi * np.arange(16) / 16)
    ramp = (wave[:, None] + wave) / 4 + 0.5
    ms = low + (high - low) * np.stack([ramp, np.roll(ramp, 4), np.roll(ramp, 8), 1 - ramp])
    pan = ms.mean(0).repeat(4, 0).repeat(4, 1)
    return ms.astype(dtype), pan.astype(dtype)


def array_scene(folder: Path, kind: str, ms: np.ndarray, pan: np.ndarray) -> Scene:
    if kind == 'mat':
        variables = {'I_MS': ms.transpose(1, 2, 0), 'I_PAN': pan}
        scipy.io.savemat(folder / 'a.mat', variables)
        return MatScene(str(folder / 'a.mat'), 'generic')
    if kind == 'npz':
        np.savez(folder / 'a.npz', ms=ms, pan=pan)
        return ArrayScene(str(folder / 'a.npz'))
    np.save(folder / 'ms.npy', ms)
    np.save(folder / 'pan.npy', pan)
    return ArrayScene(str(folder / 'ms.npy'), str(folder / 'pan.npy'))


def raster_scene(
    folder: Path, ms: np.ndarray, pan: np.ndarray, nodata: float | None, shift: float = 0
) -> RasterScene:
    for name, image, pixel in (('ms', ms, 2.0), ('pan', pan[None], 0.5)):
        corner = 3e5 + (shift if name == 'ms' else 0)
        place = Georeference('EPSG:32633', from_origin(corner, 5e6, pixel, pixel))
        write_geotiff(folder / f'{name}.tif', image, place, nodata=nodata)
    return RasterScene(str(folder / 'ms.tif'), str(folder / 'pan.tif'), 'generic')


def run(scene: Scene, output: Path, name: str = 'EXP', **options) -> list[str]:
    said: list[str] = []
    options = {'progress': False, 'picture': False, 'report': said.append} | options
    predict_scene(sharpener(name, scene), scene, output, **options)
    return said


def read(path: Path) -> tuple[np.ndarray, dict, np.ndarray]:
    with allow_no_georeference(), rasterio.open(path) as raster:
        return raster.read(), raster.profile, raster.dataset_mask().astype(bool)


# -- data types ----------------------------------------------------------------------------------


@pytest.mark.parametrize('kind', ['mat', 'npz', 'npy'])
@pytest.mark.parametrize(
    ('dtype', 'low', 'high'),
    [
        ('float32', 0.02, 0.6),
        ('float64', 0.02, 0.6),
        ('uint8', 20, 200),
        ('int16', -900, 900),
        ('uint16', 300, 9000),
    ],
)
def test_arrays_keep_their_type_and_values(
    tmp_path: Path, kind: str, dtype: str, low: float, high: float
) -> None:
    ms, pan = images(low, high, dtype)
    run(array_scene(tmp_path, kind, ms, pan), tmp_path / 'out.tif')
    image, profile, _ = read(tmp_path / 'out.tif')
    assert profile['dtype'] == dtype
    assert profile['nodata'] is None
    step = (high - low) / 15
    np.testing.assert_allclose(
        image.astype(float).mean((1, 2)), ms.astype(float).mean((1, 2)), atol=step
    )
    assert abs(float(image.min()) - low) < step
    assert abs(float(image.max()) - high) < step


def test_a_named_type_is_used(tmp_path: Path) -> None:
    ms, pan = images(300, 9000, 'uint16')
    scene = array_scene(tmp_path, 'npy', ms, pan)
    run(scene, tmp_path / 'out.tif', dtype='float32')
    assert read(tmp_path / 'out.tif')[1]['dtype'] == 'float32'
    with pytest.raises(ToolkitError, match='uint16.*float16'):
        run(scene, tmp_path / 'half.tif', dtype='float16')


def test_half_a_number_above_the_largest_does_not_become_the_smallest(tmp_path: Path) -> None:
    layout = DigitalFormat(array_scene(tmp_path, 'npz', *images(20, 200, 'uint8')))
    layout.scale, values = 1.0, np.empty((1, 1, 2), np.uint8)
    assert layout.convert(torch.tensor([[[255.5, 3.0]]]), values, None, 'a window') == 1
    assert values.tolist() == [[[255, 3]]]


def test_values_that_do_not_fit_are_counted_and_many_are_an_error(tmp_path: Path) -> None:
    ms, pan = images(100, 250, 'uint16')
    ms[0, 7, 7] = 300
    scene = array_scene(tmp_path, 'npy', ms, pan)
    (line,) = [s for s in run(scene, tmp_path / 'few.tif', dtype='uint8') if 'warning' in s]
    image = read(tmp_path / 'few.tif')[0]
    assert image.max() == 255
    run(scene, tmp_path / 'all.tif')
    lost = int((read(tmp_path / 'all.tif')[0] > 255).sum())
    assert lost
    assert f'{lost} of 16,384 values' in line
    assert 'uint8, whole numbers from 0 to 255' in line
    many = array_scene(tmp_path, 'npz', *images(100, 400, 'uint16'))
    with pytest.raises(RunError, match=r'of 16,384 values .* uint8.*at most 1%.*--dtype'):
        run(many, tmp_path / 'many.tif', dtype='uint8')
    reflectance = array_scene(tmp_path, 'npz', *images(0.02, 0.4, 'float32'))
    with pytest.raises(RunError, match=r'values .* uint16.*at most 1%'):
        run(reflectance, tmp_path / 'many.tif', dtype='uint16')
    assert not (tmp_path / 'many.tif').exists()
    assert not list(tmp_path.glob('.many*'))


# -- negative values and nodata ------------------------------------------------------------------


@pytest.mark.parametrize('name', ['EXP', 'GSA'])
def test_negative_values_and_the_nodata_value_are_kept(tmp_path: Path, name: str) -> None:
    ms, pan = images(-500, 4000, 'int16')
    ms[:, :4, :4] = pan[:16, :16] = -9999
    run(raster_scene(tmp_path, ms, pan, -9999), tmp_path / 'out.tif', name)
    image, profile, valid = read(tmp_path / 'out.tif')
    assert (profile['dtype'], profile['nodata']) == ('int16', -9999)
    assert (image[:, :16, :16] == -9999).all()
    assert (~valid).sum() == 16 * 16
    assert image[:, valid].min() < -300


def test_valid_values_never_become_nodata(tmp_path: Path) -> None:
    ms, pan = images(0, 40, 'uint16')
    ms[0] = 0  # valid, since the other bands are not 0
    ms[:, :4, :4] = pan[:16, :16] = 0
    run(raster_scene(tmp_path, ms, np.maximum(pan, 1) * (pan > 0), 0), tmp_path / 'out.tif')
    image, profile, _ = read(tmp_path / 'out.tif')
    assert profile['nodata'] == 0
    assert (image[:, :16, :16] == 0).all()
    hole = np.zeros(image.shape[1:], bool)
    hole[:16, :16] = True
    scene = RasterScene(str(tmp_path / 'ms.tif'), str(tmp_path / 'pan.tif'), 'generic')
    np.testing.assert_array_equal(image == 0, np.broadcast_to(~scene.mask, image.shape))


@pytest.mark.parametrize('output', ['out.tif', 'out.vrt'])
@pytest.mark.parametrize('shards', [1, 2])
def test_a_scene_without_nodata_gets_a_mask(tmp_path: Path, output: str, shards: int) -> None:
    ms, pan = images(0, 40, 'uint16')
    ms[1] = 0
    scene = raster_scene(tmp_path, ms, pan, None, shift=0.8)  # is warped, with missing borders
    assert scene.warped
    for i in range(shards):
        run(scene, tmp_path / output, shard=Shard(i + 1, shards), tile=16)
    image, profile, valid = read(tmp_path / output)
    assert profile['nodata'] is None
    np.testing.assert_array_equal(valid, scene.mask)
    assert (image[1] == 0).all()
    if output == 'out.tif':
        run(scene, tmp_path / 'cog.tif', cog=True)
        np.testing.assert_array_equal(read(tmp_path / 'cog.tif')[2], scene.mask)


def test_a_type_that_cannot_hold_nodata_gets_a_mask(tmp_path: Path) -> None:
    ms, pan = images(10, 4000, 'int16')
    ms[:, :4, :4] = pan[:16, :16] = -9999
    scene = raster_scene(tmp_path, ms, pan, -9999)
    run(scene, tmp_path / 'out.tif', dtype='uint16')
    _, profile, valid = read(tmp_path / 'out.tif')
    assert profile['nodata'] is None
    np.testing.assert_array_equal(valid, scene.mask)


# -- inputs --------------------------------------------------------------------------------------


def vrt_of(path: Path, source: Path) -> None:
    with allow_no_georeference(), rasterio.open(source) as raster:
        rasterio.shutil.copy(raster, path, driver='VRT')


def test_no_input_is_overwritten(tmp_path: Path) -> None:
    ms, pan = images(100, 2000, 'uint16')
    scene = raster_scene(tmp_path, ms, pan, None)
    vrt_of(tmp_path / 'ms.vrt', tmp_path / 'ms.tif')
    inner = (tmp_path / 'ms.vrt').read_text()
    (tmp_path / 'nested.vrt').write_text(inner.replace('ms.tif', 'ms.vrt'))
    (tmp_path / 'symbolic.tif').symlink_to(tmp_path / 'ms.tif')
    os.link(tmp_path / 'pan.tif', tmp_path / 'hard.tif')
    nested = RasterScene(str(tmp_path / 'nested.vrt'), str(tmp_path / 'pan.tif'), 'generic')
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for source, name in (
        (scene, 'ms.tif'),
        (scene, 'pan.tif'),
        (scene, 'symbolic.tif'),
        (scene, 'hard.tif'),
        (nested, 'nested.vrt'),
        (nested, 'ms.vrt'),
        (nested, 'ms.tif'),
    ):
        for overwrite in (False, True):
            with pytest.raises(ToolkitError, match=f'{name}.*input'):
                run(source, tmp_path / name, overwrite=overwrite)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    arrays = array_scene(tmp_path, 'npy', ms, pan)
    content = (tmp_path / 'ms.npy').read_bytes()
    with pytest.raises(ToolkitError, match=r'ms\.npy'):  # it could not be a raster either
        run(arrays, tmp_path / 'ms.npy', overwrite=True)
    assert (tmp_path / 'ms.npy').read_bytes() == content


def test_another_file_is_replaced_on_request(tmp_path: Path) -> None:
    scene = raster_scene(tmp_path, *images(100, 2000, 'uint16'), None)
    for name in ('out.tif', 'other-errors.png'):
        (tmp_path / name).write_text('mine')
    with pytest.raises(ToolkitError, match=r'out\.tif exists already; give --overwrite'):
        run(scene, tmp_path / 'out.tif')
    with pytest.raises(ToolkitError, match=r'other-errors\.png exists already'):
        run(scene, tmp_path / 'other.tif', picture=True)
    assert (tmp_path / 'out.tif').read_text() == (tmp_path / 'other-errors.png').read_text()
    run(scene, tmp_path / 'out.tif', overwrite=True)
    assert read(tmp_path / 'out.tif')[0].any()
