"""Damaged images and rasters of both tasks: one line names the file and the reason."""

from __future__ import annotations

import os
import struct

import numpy as np
import pytest
import rasterio
from PIL import Image
from rasterio.transform import from_origin

from plugins.classification.data.reading.image_io import read_image, read_image_size
from plugins.pansharpening.scenes.rasters.raster import RasterScene
from toolkit.errors import ToolkitError

NO_NAME = os.fsdecode(b'name\xff.tif')  # bytes that are no UTF-8


def write_raster(path, shape, dtype='uint16', value=None):
    image = np.random.default_rng(0).integers(1, 100, shape).astype(dtype)
    if value is not None:
        image[0, 3, 3] = value
    profile = {'driver': 'GTiff', 'dtype': dtype, 'crs': 'EPSG:32633', 'count': shape[0]}
    place = from_origin(500_000, 4_000_000, 256 / shape[1], 256 / shape[2])
    with rasterio.open(
        path, 'w', **profile, height=shape[1], width=shape[2], transform=place
    ) as file:
        file.write(image)
    return path


@pytest.fixture
def scene(tmp_path):
    """The paths of a good MS and PAN, and a function that reads all of them."""
    ms = write_raster(tmp_path / 'ms.tif', (4, 64, 64))
    pan = write_raster(tmp_path / 'pan.tif', (1, 256, 256))

    def read(pan_path=pan):
        opened = RasterScene(ms=str(ms), pan=str(pan_path), sensor='IKONOS')
        return opened.read_ms(), opened.read_pan()

    return pan, read


def lie_about_width(content):
    """States 2^31 - 8 columns in the tag of the width."""
    place = content.find(struct.pack('<HHIHH', 256, 3, 1, 256, 0))
    assert place > 0
    return content[:place] + struct.pack('<HHII', 256, 4, 1, 2**31 - 8) + content[place + 12 :]


DAMAGE = {
    'no bytes': lambda content: b'',
    'wrong magic': lambda content: b'XX' + content[2:],
    'other magic': lambda content: b'\x89PNG\r\n\x1a\n' + content[8:],
    'cut in the header': lambda content: content[:100],
    'cut in the pixels': lambda content: content[: len(content) // 2],
    'zeros': lambda content: bytes(len(content)),
    'text': lambda content: b'no image at all',
}


def refused(read, name):
    with pytest.raises(ToolkitError) as caught:
        read()
    assert name in str(caught.value) and '\n' not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize('damage', [*DAMAGE, 'lying width'])
def test_a_damaged_raster_is_named(scene, tmp_path, damage):
    pan, read = scene
    change = {**DAMAGE, 'lying width': lie_about_width}[damage]
    (tmp_path / 'bad.tif').write_bytes(change(pan.read_bytes()))
    refused(lambda: read(tmp_path / 'bad.tif'), 'bad.tif')
    read()  # GDAL keeps no error for the next raster


@pytest.mark.parametrize(('dtype', 'value'), [('float32', np.nan), ('float64', np.inf)])
def test_values_that_are_no_numbers_are_named(scene, tmp_path, dtype, value):
    _, read = scene
    path = write_raster(tmp_path / 'bad.tif', (1, 256, 256), dtype, value)
    assert 'NaN or infinite' in refused(lambda: read(path), 'bad.tif')


@pytest.mark.parametrize('dtype', ['uint8', 'int16', 'uint32', 'int64', 'uint64', 'float64'])
def test_every_type_of_numbers_is_read_alike(scene, tmp_path, dtype):
    _, read = scene
    path = write_raster(tmp_path / 'other.tif', (1, 256, 256), dtype)
    assert (read(path)[1] == read()[1]).all()


def test_complex_numbers_are_refused(scene, tmp_path):
    _, read = scene
    path = write_raster(tmp_path / 'bad.tif', (1, 256, 256), 'complex64')
    assert 'expected real numbers' in refused(lambda: read(path), 'bad.tif')


def test_a_raster_whose_name_is_no_text(scene, tmp_path):
    pan, read = scene
    (tmp_path / NO_NAME).write_bytes(pan.read_bytes())
    assert 'no text in UTF-8; rename it' in refused(lambda: read(tmp_path / NO_NAME), 'name')


@pytest.mark.parametrize('change', ['vanishes', 'is replaced'])
def test_a_raster_that_changes_while_it_is_read(scene, tmp_path, change):
    pan, _ = scene
    path = tmp_path / 'changing.tif'
    path.write_bytes(pan.read_bytes())
    opened = RasterScene(ms=str(tmp_path / 'ms.tif'), pan=str(path), sensor='IKONOS')
    path.unlink()
    if change == 'is replaced':
        path.write_bytes(b'something else')
    refused(opened.read_pan, 'changing.tif')


@pytest.mark.parametrize('damage', DAMAGE)
@pytest.mark.parametrize('suffix', ['.png', '.jpg', '.tif'])
def test_a_damaged_image_is_named(tmp_path, damage, suffix):
    pixels = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / f'good{suffix}')
    content = DAMAGE[damage]((tmp_path / f'good{suffix}').read_bytes())
    (tmp_path / f'bad{suffix}').write_bytes(content)
    if (suffix, damage) == ('.png', 'other magic'):
        return  # that is the magic of a PNG
    refused(lambda: read_image(tmp_path / f'bad{suffix}'), f'bad{suffix}')
    # A size may be known where pixels are cut; anything else is said as well.
    try:
        assert read_image_size(tmp_path / f'bad{suffix}') == (64, 64)
    except ToolkitError as error:
        assert f'bad{suffix}' in str(error) and '\n' not in str(error)


@pytest.mark.parametrize('mode', ['1', 'L', 'LA', 'P', 'RGBA', 'I;16', 'CMYK'])
def test_images_of_1_to_32_bits_are_read(tmp_path, mode):
    Image.new(mode, (16, 12)).save(tmp_path / 'a.tif')
    image = read_image(tmp_path / 'a.tif')
    assert image.shape[:2] == (12, 16)
    assert np.isfinite(image).all() and 0 <= image.min() <= image.max() <= 1


def test_an_image_whose_name_is_no_text_and_one_that_is_gone(tmp_path):
    path = tmp_path / os.fsdecode(b'name\xff.png')
    Image.new('L', (8, 8)).save(path)
    assert read_image(path).shape[:2] == (8, 8)
    path.write_bytes(b'')
    refused(lambda: read_image(path), 'name')
    path.unlink()
    refused(lambda: read_image(path), 'name')


@pytest.mark.parametrize(
    ('dtype', 'shift'),
    [
        ('int8', -50),
        ('int16', -50),
        ('int32', 70_000),
        ('uint32', 70_000),
        ('int64', 0),
        ('uint64', 0),
        ('float32', np.nan),
        ('float32', -np.inf),
        ('float64', 0),
        ('complex64', 0),
    ],
)
@pytest.mark.filterwarnings('ignore::rasterio.errors.NotGeoreferencedWarning')
def test_images_of_other_numbers_are_read_right_or_refused(tmp_path, dtype, shift):
    values = (np.arange(64).reshape(8, 8) + np.float64(shift if np.isfinite(shift) else 0)) / 1
    values[0, 0] = values[0, 0] if np.isfinite(shift) else shift
    profile = {'driver': 'GTiff', 'width': 8, 'height': 8, 'count': 1, 'dtype': dtype}
    with rasterio.open(tmp_path / 'a.tif', 'w', **profile) as file:
        file.write(values.astype(dtype)[None])
    refused(lambda: read_image(tmp_path / 'a.tif'), 'a.tif')


def test_names_that_are_no_files(tmp_path):
    (tmp_path / 'folder.png').mkdir()
    (tmp_path / 'loop.png').symlink_to('loop.png')
    os.mkfifo(tmp_path / 'pipe.png')  # reading it would wait for ever
    for name in ('folder.png', 'loop.png', 'pipe.png', 'x' * 300 + '.png'):
        refused(lambda name=name: read_image(tmp_path / name), name)
        with pytest.raises(ToolkitError):
            read_image_size(tmp_path / name)
        with pytest.raises(ToolkitError):
            RasterScene(ms=str(tmp_path / name), pan=str(tmp_path / name), sensor='IKONOS')
