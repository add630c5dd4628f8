from __future__ import annotations

import functools
import os
import warnings

import numpy as np
import pytest
import rasterio
import scipy.io
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import from_origin

from plugins.pansharpening.scenes.arrays.matlab import MatScene
from plugins.pansharpening.scenes.rasters.raster import RasterScene
from plugins.pansharpening.scenes.rasters.raster_output import replace_atomically
from plugins.pansharpening.scenes.scene import SCENES
from plugins.pansharpening.scenes.window import Window
from plugins.pansharpening.synthetic.scene import SyntheticScene
from toolkit.errors import DataError, RunError

# Files are read as they are, so that values can be compared.
raster_scene = functools.partial(RasterScene, samples='centre')


def _images(seed=0, bands=4, h=12, w=10, ratio=4):
    rng = np.random.default_rng(seed)
    ms = rng.integers(0, 2048, (bands, h, w)).astype(np.uint16)
    return ms, rng.integers(0, 2048, (1, ratio * h, ratio * w)).astype(np.uint16)


def _write(path, image, origin=(500000, 4000000), pixel=1.0, crs='EPSG:32633', **profile):
    with rasterio.open(
        path,
        'w',
        driver='GTiff',
        dtype=image.dtype,
        count=len(image),
        height=image.shape[1],
        width=image.shape[2],
        crs=crs,
        transform=from_origin(*origin, pixel, pixel),
        **profile,
    ) as raster:
        raster.write(image)
    return str(path)


def _write_bare(path, image):
    """Without georeference."""
    bands, height, width = image.shape
    with (
        warnings.catch_warnings(),
        rasterio.open(*(path, 'w', 'GTiff', width, height, bands), dtype=image.dtype) as raster,
    ):
        warnings.simplefilter('ignore', NotGeoreferencedWarning)
        raster.write(image)
    return str(path)


@pytest.fixture
def pair(tmp_path):
    ms, pan = _images()
    return (
        _write(tmp_path / 'ms.tif', ms, pixel=4.0),
        _write(tmp_path / 'pan.tif', pan),
        ms,
        pan,
    )


@pytest.fixture
def mat(tmp_path):
    def write(ms=None, pan=None, **more):
        given = _images()
        ms = given[0].transpose(1, 2, 0) if ms is None else ms
        path = tmp_path / 'scene.mat'
        scipy.io.savemat(path, {'I_MS': ms, 'I_PAN': given[1][0] if pan is None else pan, **more})
        return str(path)

    return write


# -- MATLAB ------------------------------------------------------------------------------------


def test_mat_scene(mat):
    ms, pan = _images()
    scene = MatScene(mat(), 'IKONOS')
    assert (scene.bands, scene.ratio, scene.scale) == (4, 4, 2047)
    assert (scene.ms_shape, scene.pan_shape) == ((12, 10), (48, 40))
    assert scene.georeference is scene.reference is scene.mask is None
    assert scene.read_ms().dtype == np.float32
    np.testing.assert_allclose(scene.read_ms() * 2047, ms, atol=1e-3)
    window = Window(4, 8, 12, 8)
    np.testing.assert_allclose(scene.read_pan(window) * 2047, pan[:, 4:16, 8:16], atol=1e-3)
    assert MatScene(mat(), 'generic', bit_depth=12).scale == 4095


def test_mat_scene_of_real_data(data_root):
    scene = MatScene('wv2/imgWV2.mat', 'WV2')
    assert (scene.bands, scene.ratio, scene.pan_shape) == (8, 4, (1280, 1280))
    assert scene.name == 'imgWV2'
    tiny = MatScene('wv3_tiny/WV3_example.mat', 'WV3', ms_key='I_MS_LR')
    assert tiny.read_ms().shape == (8, 32, 32)
    with pytest.raises(DataError, match="no variable 'I_MS'.*did you mean.*I_MS_LR"):
        _ = MatScene('wv3_tiny/WV3_example.mat', 'WV3').bands


def test_mat_refusals(mat, tmp_path):
    ms, pan = _images()
    hwc = ms.transpose(1, 2, 0)
    for image, message in (
        (hwc[:, :, 0], 'expected an MS'),
        (hwc[:11], r'found an MS of 11 x 10 and a PAN of 48 x 40'),
        (np.repeat(hwc, 2, 2), 'found 8 bands, but IKONOS has 4'),
    ):
        with pytest.raises(DataError, match=message):
            MatScene(mat(image), 'IKONOS').read_ms()
    broken = hwc.astype(float)
    broken[3, 4, 1] = np.nan
    scene = MatScene(mat(broken), 'IKONOS')
    with pytest.raises(DataError, match=r'I_MS, rows 0:12, columns 0:10: 1 of 480 values are NaN'):
        scene.read_ms()
    assert scene.read_ms(Window(4, 0, 8, 10)).shape == (4, 8, 10)
    with pytest.raises(DataError, match='digital number 4000, but 11 bits end at 2047.*12'):
        MatScene(mat(pan=np.full_like(pan[0], 4000)), 'IKONOS').read_pan()
    with pytest.raises(ValueError, match='bit_depth must be between 1 and 32, found 0'):
        MatScene(mat(), 'IKONOS', bit_depth=0)
    whole = (tmp_path / 'scene.mat').read_bytes()
    for content in (whole[: len(whole) // 2], b'', b'not a mat file at all' * 20):
        cut = tmp_path / 'cut.mat'
        cut.write_bytes(content)
        with pytest.raises(DataError, match='cut.mat'):
            MatScene(str(cut), 'IKONOS').read_ms()


# -- rasters -----------------------------------------------------------------------------------


def test_raster_scene(pair):
    ms_path, pan_path, ms, pan = pair
    scene = raster_scene(ms_path, pan_path, 'IKONOS')
    assert (scene.bands, scene.ratio, scene.pan_shape) == (4, 4, (48, 40))
    np.testing.assert_allclose(scene.read_ms() * 2047, ms, atol=1e-3)
    np.testing.assert_allclose(
        scene.read_pan(Window(5, 6, 7, 8)) * 2047, pan[:, 5:12, 6:14], atol=1e-3
    )
    assert str(scene.georeference.crs) == 'EPSG:32633'
    assert scene.georeference.transform == from_origin(500000, 4000000, 1, 1)
    assert scene.mask is None


def test_nodata_becomes_a_mask(tmp_path):
    ms, pan = (np.maximum(image, 1) for image in _images())
    ms[:, 0, 0] = 0
    pan[0, 40:] = 0
    scene = raster_scene(
        _write(tmp_path / 'ms.tif', ms, pixel=4.0, nodata=0),
        _write(tmp_path / 'pan.tif', pan, nodata=0),
        'IKONOS',
    )
    expected = np.ones((48, 40), bool)
    expected[:4, :4] = expected[40:] = False
    np.testing.assert_array_equal(scene.mask, expected)


def test_undeclared_nan_is_an_error_and_declared_is_not(tmp_path):
    ms, pan = _images()
    pan = pan.astype(np.float32)
    pan[0, 3, 3] = np.nan
    ms_path = _write(tmp_path / 'ms.tif', ms, pixel=4.0)
    scene = raster_scene(ms_path, _write(tmp_path / 'p.tif', pan), 'IKONOS')
    with pytest.raises(DataError, match=r'p.tif: rows 0:8, columns 0:8: 1 of 64 values are NaN'):
        scene.read_pan(Window(0, 0, 8, 8))
    scene = raster_scene(ms_path, _write(tmp_path / 'q.tif', pan, nodata=np.nan), 'IKONOS')
    image = scene.read_pan()[0]
    assert image[2:5, 2:5].min() < image[3, 3] < image[2:5, 2:5].max()  # filled from around it
    assert not scene.mask[3, 3]


def test_raster_refusals(tmp_path, pair):
    ms_path, pan_path, ms, pan = pair
    bare = _write_bare(tmp_path / 'bare.tif', ms)
    cases = {
        'an MS of 12 x 10 and a PAN of 47 x 40': (
            bare,
            _write_bare(tmp_path / 'a.tif', pan[:, :47]),
        ),
        'an MS of 12 x 10 and a PAN of 48 x 30': (
            bare,
            _write_bare(tmp_path / 'b.tif', pan[:, :, :30]),
        ),
        'found 4 bands, expected a PAN of one': (ms_path, ms_path),
        'found 3 bands, but IKONOS has 4': (
            _write(tmp_path / 'c.tif', ms[:3], pixel=4.0),
            pan_path,
        ),
    }
    for message, (first, second) in cases.items():
        with pytest.raises(DataError, match=message) as caught:
            raster_scene(first, second, 'IKONOS').read_ms()
        assert '\n' not in str(caught.value)


def test_cut_raster_is_explained(tmp_path):
    ms, pan = _images(h=64, w=64)
    pan_path = _write(tmp_path / 'pan.tif', pan)
    ms_path = _write(tmp_path / 'ms.tif', ms, pixel=4.0, compress='deflate')
    os.truncate(ms_path, os.path.getsize(ms_path) // 2)
    with pytest.raises(DataError, match=r'ms.tif cannot be read') as caught:
        raster_scene(ms_path, pan_path, 'IKONOS').read_ms()
    assert '\n' not in str(caught.value)
    (tmp_path / 'text.tif').write_text('no raster')
    with pytest.raises(DataError, match=r'text.tif cannot be read'):
        _ = raster_scene(str(tmp_path / 'text.tif'), pan_path, 'IKONOS').bands


# -- all ---------------------------------------------------------------------------------------


def test_fingerprints_follow_content(mat, pair):
    first = MatScene(mat(), 'IKONOS').fingerprint()
    assert len(first) == 16
    assert MatScene(mat(), 'IKONOS').fingerprint() == first
    assert MatScene(mat(extra=np.ones(3)), 'IKONOS').fingerprint() != first
    one = raster_scene(pair[0], pair[1], 'IKONOS').fingerprint()
    assert one != raster_scene(pair[1], pair[0], 'IKONOS').fingerprint()
    assert SyntheticScene(seed=1).fingerprint() != SyntheticScene(seed=2).fingerprint()


def test_windows():
    window = Window(8, 4, 16, 12)
    assert window.reduced(4) == Window(2, 1, 4, 3)
    assert window.reduced(4).enlarged(4) == window
    with pytest.raises(ValueError, match='rows 8:24, columns 4:16 does not fall'):
        window.reduced(8)


def test_registered():
    for part in (MatScene, RasterScene, SyntheticScene):
        assert SCENES.get(part.__name__) is part


def test_replacing_leaves_nothing_half_written(tmp_path):
    target = tmp_path / 'out.tif'
    target.write_text('before')
    with pytest.raises(KeyError), replace_atomically(target) as partial:
        partial.write_text('half')
        raise KeyError
    assert [path.name for path in tmp_path.iterdir()] == ['out.tif']
    assert target.read_text() == 'before'
    with pytest.raises(RunError, match='cannot write .*No space left'), replace_atomically(target):
        raise OSError(28, 'No space left on device')
    (tmp_path / 'file').touch()
    with (
        pytest.raises(RunError, match='cannot write'),
        replace_atomically(tmp_path / 'file' / 'x.tif'),
    ):
        pass
