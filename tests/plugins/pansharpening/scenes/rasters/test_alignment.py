"""Scenes whose PAN and MS lie on each other by georeference."""

from __future__ import annotations

import functools
import pickle

import numpy as np
import pytest
import rasterio
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.crs import CRS
from rasterio.enums import ColorInterp
from rasterio.transform import Affine, from_origin
from rasterio.warp import transform as to_crs

from plugins.pansharpening.imaging.resample import upsample
from plugins.pansharpening.inference.scene_prediction import predict_scene
from plugins.pansharpening.scenes.rasters.alignment import RasterGrid, align
from plugins.pansharpening.scenes.rasters.band_files import BandFiles
from plugins.pansharpening.scenes.rasters.raster import RasterScene
from plugins.pansharpening.scenes.rasters.warped_bands import WarpedBands
from plugins.pansharpening.scenes.window import Window
from plugins.pansharpening.synthetic.scene import SyntheticScene
from tests.plugins.pansharpening.inference.test_predictor import Simple
from toolkit.errors import DataError

# Files are read as they are, so that values can be compared.
raster_scene = functools.partial(RasterScene, samples='centre')

HERE = 'EPSG:32633'
X, Y = 500000.0, 4000000.0


def write(path, image, x=0.0, y=0.0, pixel=1.0, crs=HERE, mask=None, alpha=None, **profile):
    """A GeoTIFF whose corner lies x metres right and y below (X, Y)."""
    bands = image if alpha is None else np.concatenate([image, alpha[None].astype(image.dtype)])
    profile = {'transform': Affine(pixel, 0, X + x, 0, -pixel, Y - y), 'crs': crs, **profile}
    shape = dict(zip(('count', 'height', 'width'), bands.shape))
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, 'w', driver='GTiff', dtype=bands.dtype, **shape, **profile) as raster,
    ):
        if alpha is not None:
            raster.colorinterp = [ColorInterp.undefined] * len(image) + [ColorInterp.alpha]
        raster.write(bands)
        if mask is not None:
            raster.write_mask(mask)
    return str(path)


def numbers(shape, seed=0):
    return np.random.default_rng(seed).integers(1, 2048, shape).astype(np.uint16)


def plane(height, width, x=0.0, y=0.0, pixel=1.0):
    """Two bands that grow with the distance from (X, Y), so that a value says where it lies."""
    rows, cols = np.mgrid[:height, :width] + 0.5
    return np.stack([100 + x + cols * pixel, 100 + y + rows * pixel]).astype(np.float32)


# -- grids -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('at', 'origin', 'ms_origin', 'shape'),
    [
        ((0, 0), (0, 0), (0, 0), (10, 12)),
        ((2, 1), (1, 2), (0, 0), (9, 11)),  # the WorldView pair's offset
        ((-8, -4), (0, 0), (1, 2), (10, 12)),  # the MS begins before
        ((-3, -2), (2, 1), (1, 1), (9, 11)),
        ((41, 33), (33, 41), (0, 0), (1, 1)),
    ],
)
def test_whole_pixels_are_cropped_without_resampling(tmp_path, at, origin, ms_origin, shape):
    ms, pan = numbers((4, 14, 16)), numbers((1, 40, 48), 1)
    scene = raster_scene(
        write(tmp_path / 'ms.tif', ms, *at, pixel=4), write(tmp_path / 'p.tif', pan), 'IKONOS'
    )
    assert (scene.ratio, scene.ms_shape) == (4, shape)
    assert scene.pan_shape == (4 * shape[0], 4 * shape[1])
    assert scene.mask is None
    (row, col), (top, left) = origin, ms_origin
    height, width = shape
    expected = ms[:, top : top + height, left : left + width] / np.float32(2047)
    np.testing.assert_array_equal(scene.read_ms(), expected)
    expected = pan[:, row : row + 4 * height, col : col + 4 * width] / np.float32(2047)
    np.testing.assert_array_equal(scene.read_pan(), expected)
    assert scene.georeference.transform.c == X + col
    assert scene.georeference.transform.f == Y - row


@pytest.mark.parametrize(
    ('pixel', 'at', 'ratio', 'samples'),
    [
        (4.0, (0.5, 0.25), None, 'centre'),
        (2.0, (-0.5, -0.5), None, 'centre'),  # Landsat's
        (4.0, (3.3, -5.7), None, 'interp23tap'),
        (3.7, (1.0, 2.0), None, 'centre'),
        (3.7, (-9.0, 2.0), 3, 'centre'),
    ],
)
def test_warped_samples_lie_where_the_pan_grid_says(tmp_path, pixel, at, ratio, samples):
    ms = plane(30, 30, *at, pixel=pixel)
    scene = raster_scene(
        write(tmp_path / 'ms.tif', ms, *at, pixel=pixel),
        write(tmp_path / 'p.tif', numbers((1, 100, 100))),
        'generic',
        bit_depth=10,
        ratio=ratio,
        samples=samples,
    )
    assert scene.ratio == (ratio or round(pixel))
    ground = scene.georeference.transform
    height, width = scene.ms_shape
    assert 100 - max(at[1], 0) - 2 * scene.ratio < height * scene.ratio + max(0, 100 - 30 * pixel)
    shift = 0.5 if samples == 'interp23tap' else 0
    rows, cols = (np.mgrid[:height, :width] + 0.5) * scene.ratio + shift
    found = scene.read_ms() * 1023 - 100  # metres
    # Interpolation is exact on planes but for the borders, where it has less to look at.
    inside = (slice(3, -3), slice(3, -3))
    np.testing.assert_allclose(found[0][inside], (ground.c - X + cols)[inside], atol=0.1)
    np.testing.assert_allclose(found[1][inside], (Y - ground.f + rows)[inside], atol=0.1)
    assert scene.mask.all()


def test_another_coordinate_system_is_warped(tmp_path):
    # The MS in geographic coordinates; its values are metres of the PAN's system.
    lon, lat = (v[0] for v in to_crs(HERE, 'EPSG:4326', [X], [Y]))
    step = 4e-5  # about 4 m
    grid = Affine(step, 0, lon, 0, -step, lat)
    rows, cols = np.mgrid[:40, :50] + 0.5
    x, y = to_crs('EPSG:4326', HERE, (lon + cols * step).ravel(), (lat - rows * step).ravel())
    ms = np.stack([np.subtract(x, X), np.subtract(Y, y)]).reshape(2, 40, 50) + 100
    scene = raster_scene(
        write(tmp_path / 'ms.tif', ms.astype(np.float32), transform=grid, crs='EPSG:4326'),
        write(tmp_path / 'p.tif', numbers((1, 200, 200)), x=-10),
        'generic',
        bit_depth=10,
    )
    assert scene.ratio == 4
    ground, (height, width) = scene.georeference.transform, scene.ms_shape
    assert (height, width) > (35, 40)
    rows, cols = (np.mgrid[:height, :width] + 0.5) * 4
    found, inside = scene.read_ms() * 1023 - 100, (slice(3, -3), slice(3, -3))
    np.testing.assert_allclose(found[0][inside], (ground.c - X + cols)[inside], atol=0.1)
    np.testing.assert_allclose(found[1][inside], (Y - ground.f + rows)[inside], atol=0.1)
    assert scene.mask[20:-20, 20:-20].all()


@pytest.fixture(scope='module')
def warped(tmp_path_factory):
    folder = tmp_path_factory.mktemp('warped')
    ms, pan = numbers((3, 150, 140)), numbers((1, 301, 290), 1)
    ms[1, 70:80, 30:50] = 65535
    pan[0, 200:, 100:110] = 0
    return raster_scene(
        write(folder / 'ms.tif', ms, 1.3, 0.4, pixel=2, nodata=65535),
        write(folder / 'p.tif', pan, nodata=0),
        'generic',
        bit_depth=11,
    )


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_windows_hold_the_bits_of_the_whole(warped, data):
    whole, mask = warped.read_ms(), warped.mask

    def window(shape):
        row, col = (data.draw(st.integers(0, extent - 1)) for extent in shape)
        return Window(
            *(row, col),
            data.draw(st.integers(1, shape[0] - row)),
            data.draw(st.integers(1, shape[1] - col)),
        )

    coarse, fine = window(warped.ms_shape), window(warped.pan_shape)
    warped._layout.warped._blocks.clear()
    np.testing.assert_array_equal(warped.read_ms(coarse), whole[(slice(None), *coarse.slices)])
    np.testing.assert_array_equal(warped.read_mask(fine), mask[fine.slices])


def test_a_scene_goes_to_other_processes_without_its_pixels(warped):
    whole, sent = warped.read_ms(), pickle.dumps(warped)
    assert len(sent) < 5000
    np.testing.assert_array_equal(pickle.loads(sent).read_ms(), whole)


# -- where there are data ------------------------------------------------------------------------


def test_a_pixel_without_data_in_one_band_has_none_in_all(warped):
    image, mask = warped.read_ms(), warped.mask
    assert not mask[145:155, 65:95].any()  # the MS's hole
    assert not mask[205:, 98:106].any()  # PAN's
    assert mask[:138].all()
    assert (image[:, 72:78, 32:48] > 0).all()  # filled from around it


@pytest.mark.parametrize('apart', [False, True])
def test_a_zero_is_no_data_only_in_all_bands(tmp_path, apart):
    ms = numbers((2, 10, 10))
    ms[0, :4], ms[1, 2:6] = 0, 0
    paths = write(tmp_path / 'ms.tif', ms, pixel=4, nodata=0)
    if apart:
        paths = [write(tmp_path / f'{i}.tif', ms[i : i + 1], pixel=4, nodata=0) for i in range(2)]
    scene = raster_scene(paths, write(tmp_path / 'p.tif', numbers((1, 40, 40))), 'generic')
    np.testing.assert_array_equal(scene.mask[::4, ::4], ms.any(0))
    valid = ms.any(0)
    np.testing.assert_array_equal(scene.read_ms()[:, valid], ms[:, valid] / np.float32(65535))


def test_nothing_of_a_hole_is_drawn_into_what_lies_around(tmp_path):
    ms = np.full((2, 40, 40), 1000, np.uint16)
    ms[:, 10:20, 10:20] = 0
    scene = raster_scene(
        write(tmp_path / 'ms.tif', ms, 0.7, 0.7, pixel=2, nodata=0),
        write(tmp_path / 'p.tif', numbers((1, 90, 90))),
        'generic',
        bit_depth=11,
    )
    mask = scene.mask[::2, ::2]
    assert 90 < (~mask).sum() < 110
    np.testing.assert_allclose(scene.read_ms()[:, mask], 1000 / 2047, rtol=1e-5)


@pytest.mark.parametrize('kind', ['mask', 'alpha', 'nodata', 'nan'])
@pytest.mark.parametrize('shift', [0, 1.5])
def test_all_ways_to_declare_no_data(tmp_path, kind, shift):
    ms, pan = numbers((3, 20, 20)), numbers((1, 80, 80), 1)
    valid = np.ones((20, 20), bool)
    valid[:5] = False
    more = {'mask': valid} if kind == 'mask' else {'alpha': valid * 255} if kind == 'alpha' else {}
    if kind in ('nodata', 'nan'):
        ms = ms.astype(np.float32)
        more = {'nodata': -9999 if kind == 'nodata' else np.nan}
        ms[1, ~valid] = more['nodata']
    scene = raster_scene(
        write(tmp_path / 'ms.tif', ms, shift, shift, pixel=4, **more),
        write(tmp_path / 'p.tif', pan),
        'generic',
        bit_depth=11,
    )
    assert scene.bands == 3
    edge = 20 if shift == 0 else 18  # PAN rows from the scene's first to the first with data
    assert not scene.mask[:edge].any()
    assert scene.mask[edge + 4 :].all()
    assert 0 < scene.read_ms()[:, :4].min() <= scene.read_ms()[:, :4].max() < 1  # filled
    assert scene.read_ms()[:, 6:].min() >= 0


def test_nodata_everywhere_is_an_error(tmp_path):
    ms, pan = numbers((3, 300, 20)), numbers((1, 600, 40), 1)
    ms[:, 150:] = 0
    pan[:, :300] = 0
    paths = [
        write(tmp_path / 'ms.tif', ms, pixel=2, nodata=0),
        write(tmp_path / 'p.tif', pan, nodata=0),
    ]
    with pytest.raises(DataError, match='nodata in the one or the other everywhere'):
        _ = raster_scene(*paths, 'generic').bands
    pan[0, 299, 20] = 7
    write(tmp_path / 'p.tif', pan, nodata=0)
    assert raster_scene(*paths, 'generic').mask.sum() == 1


# -- band files ------------------------------------------------------------------------------------


def test_band_files_and_their_order(tmp_path):
    ms, pan = numbers((4, 10, 10)), numbers((1, 40, 40), 1)
    pan_path = write(tmp_path / 'p.tif', pan)
    paths = [write(tmp_path / f'{i}.tif', ms[i : i + 1], pixel=4) for i in range(4)]
    scene = raster_scene(paths, pan_path, 'IKONOS')
    np.testing.assert_array_equal(scene.read_ms(), ms / np.float32(2047))
    scene = raster_scene(paths, pan_path, 'IKONOS', bands=[3, 2, 1, 4])
    np.testing.assert_array_equal(scene.read_ms(), ms[[2, 1, 0, 3]] / np.float32(2047))
    assert scene.fingerprint() != raster_scene(paths[::-1], pan_path, 'IKONOS').fingerprint()
    two = write(tmp_path / 'two.tif', ms[1:3], pixel=4)
    scene = raster_scene([paths[0], two, paths[3]], pan_path, 'IKONOS', bands=[4, 2, 3, 1])
    np.testing.assert_array_equal(scene.read_ms(), ms[[3, 1, 2, 0]] / np.float32(2047))
    other = write(tmp_path / 'other.tif', ms[1:2], x=4, pixel=4)
    with pytest.raises(DataError, match='expected band files of one grid'):
        raster_scene([paths[0], other], pan_path, 'generic').read_ms()
    with pytest.raises(DataError, match=r'found 4 bands, but bands \[1, 5\]'):
        raster_scene(paths, pan_path, 'generic', bands=[1, 5]).read_ms()


def test_band_names_in_another_order_are_refused(tmp_path):
    ms, pan = numbers((4, 10, 10)), numbers((1, 40, 40), 1)
    paths = write(tmp_path / 'ms.tif', ms, pixel=4), write(tmp_path / 'p.tif', pan)
    with rasterio.open(paths[0], 'r+') as raster:
        raster.descriptions = ('Red', 'Green', 'Blue', 'NIR')
    with pytest.raises(DataError, match=r'described as red, but IKONOS.*set bands: \[3, 2, 1, 4\]'):
        _ = raster_scene(*paths, 'IKONOS').bands
    with pytest.raises(DataError, match=r'set bands: \[3, 2, 1, 4\]'):
        _ = raster_scene(*paths, 'IKONOS', bands=[4, 1, 2, 3]).bands
    assert raster_scene(*paths, 'IKONOS', bands=[3, 2, 1, 4]).bands == 4
    assert raster_scene(*paths, 'generic').bands == 4


def test_a_virtual_raster_is_its_files(tmp_path):
    ms, pan = numbers((2, 10, 10)), numbers((1, 40, 40), 1)
    write(tmp_path / 'ms.tif', ms, pixel=4)
    (tmp_path / 'ms.vrt').write_text(
        '<VRTDataset rasterXSize="10" rasterYSize="10"><SRS>EPSG:32633</SRS>'
        f'<GeoTransform>{X},4,0,{Y},0,-4</GeoTransform>'
        '<VRTRasterBand dataType="UInt16" band="1"><SimpleSource><SourceFilename '
        'relativeToVRT="1">ms.tif</SourceFilename><SourceBand>2</SourceBand></SimpleSource>'
        '</VRTRasterBand></VRTDataset>'
    )
    paths = str(tmp_path / 'ms.vrt'), write(tmp_path / 'p.tif', pan)
    scene = raster_scene(*paths, 'generic')
    np.testing.assert_array_equal(scene.read_ms(), ms[1:] / np.float32(65535))
    before = scene.fingerprint()
    write(tmp_path / 'ms.tif', ms + 1, pixel=4)
    assert raster_scene(*paths, 'generic').fingerprint() != before


# -- refusals --------------------------------------------------------------------------------------


def test_pairs_that_cannot_be_laid_on_each_other(tmp_path):
    ms, pan = numbers((4, 12, 10)), numbers((1, 48, 40), 1)
    there = write(tmp_path / 'p.tif', pan)
    fits = write(tmp_path / 'ms.tif', ms, pixel=4)
    far = write(tmp_path / 'far.tif', ms, x=5000, pixel=4)
    bare = write(tmp_path / 'bare.tif', ms, pixel=4, crs=None)
    no_pan = write(tmp_path / 'np.tif', pan, crs=None, transform=None)
    fine = write(tmp_path / 'fine.tif', ms, pixel=0.5)
    other = write(tmp_path / 'zone.tif', ms, pixel=4, crs='EPSG:32634')
    local = write(tmp_path / 'local.tif', ms, pixel=4, crs='LOCAL_CS["site",UNIT["metre",1]]')
    for first, second, more, message in (
        (far, there, {}, 'no overlap.*columns 5000 to 5040 of the PAN'),
        (other, there, {}, 'no overlap'),
        (bare, there, {}, 'no coordinate system in the MS'),
        (fits, no_pan, {}, 'no coordinate system in the PAN'),
        (bare, no_pan, {}, 'no georeference in the PAN'),
        (fine, there, {}, '0.5 x 0.5 and PAN pixels of 1 x 1, a ratio of 0.5.*swapped'),
        (fits, there, {'ratio': 2}, 'found 4 PAN pixels per MS pixel, but ratio is 2'),
        (local, there, {}, 'no way from the MS grid'),
    ):
        with pytest.raises(DataError, match=message) as caught:
            raster_scene(first, second, 'IKONOS', **more).read_ms()
        assert '\n' not in str(caught.value)
    for more, message in (
        ({'ratio': 0}, 'ratio must be at least 1, found 0'),
        ({'bands': [0, 1]}, 'numbers from 1'),
        ({'resampling': 'magic'}, 'resampling must be one of nearest'),
        ({'samples': 'middle'}, 'samples must be one of auto, centre'),
    ):
        with pytest.raises(ValueError, match=message):
            raster_scene(fits, there, 'IKONOS', **more)


def test_warping_hides_no_bad_values(tmp_path):
    ms, pan = numbers((3, 20, 20)), numbers((1, 80, 80), 1)
    pan_path = write(tmp_path / 'p.tif', pan)
    ms[0, 3, 3] = 3000
    scene = raster_scene(write(tmp_path / 'a.tif', ms, 1.5, pixel=4), pan_path, 'generic', 11)
    with pytest.raises(DataError, match='a.tif: .*digital number 3000, but 11 bits'):
        scene.read_ms()
    ms = numbers((3, 20, 20)).astype(np.float32)
    ms[0, 3, 3] = np.nan
    scene = raster_scene(write(tmp_path / 'b.tif', ms, 1.5, pixel=4), pan_path, 'generic', 11)
    with pytest.raises(DataError, match='1 of 1200 values are NaN'):
        scene.read_ms()


# -- real pairs ------------------------------------------------------------------------------------


def correlation(image, pan):
    return np.corrcoef(image.ravel(), pan.ravel())[0, 1]


def upsampled(scene, method):
    ms = torch.from_numpy(scene.read_ms())[None].double()
    return upsample(ms, scene.ratio, method)[0].numpy()


def test_worldview_pair(data_root):
    scene = raster_scene('wv3_georef/mul.tif', 'wv3_georef/pan.tif', 'WV3')
    assert (scene.ratio, scene.ms_shape, scene.bands) == (4, (143, 144), 8)
    pan, image = scene.read_pan(), upsampled(scene, 'bicubic')
    assert correlation(image.mean(0), pan) == pytest.approx(0.9774, abs=5e-4)
    # With the intensity that fits the PAN best where both have the MS's resolution: .983.
    low = pan[0].reshape(143, 4, 144, 4).mean((1, 3))
    columns = np.c_[scene.read_ms().reshape(8, -1).T, np.ones(low.size)]
    weights = np.linalg.lstsq(columns, low.ravel(), rcond=None)[0][:-1]
    assert correlation(np.tensordot(weights, image, 1), pan) == pytest.approx(0.983, abs=5e-4)


def test_landsat_pair(data_root):
    paths = 'landsat_georef/ms.tif', 'landsat_georef/pan.tif'
    scene = raster_scene(*paths, 'Landsat')
    assert (scene.ratio, scene.ms_shape, scene.bands) == (2, (186, 278), 3)
    pan = scene.read_pan()
    # Interpolated straight to PAN's pixels, linearly: .893.
    with rasterio.open(data_root / paths[1]) as raster:
        place = BandFiles([data_root / paths[1]]).header.grid
        full = raster.read(1)
    direct = WarpedBands(BandFiles([data_root / paths[0]]), place, 'bilinear', 16)
    image, valid = direct.read(Window(0, 0, *place[:2]))
    assert valid.mean() > 0.99
    assert correlation(image.mean(0)[valid], full[valid]) == pytest.approx(0.8935, abs=1e-3)
    # Through the scene's grid the same is reached, and more where no resampling is needed.
    assert correlation(upsampled(scene, 'bicubic').mean(0), pan) > 0.893
    scene = raster_scene(*paths, 'Landsat', samples='interp23tap')
    with rasterio.open(data_root / paths[0]) as raster:
        raw = raster.read()[:, 1:187, 1:279]
    np.testing.assert_allclose(scene.read_ms() * 65535, raw, rtol=1e-6)
    assert correlation(upsampled(scene, 'interp23tap').mean(0), scene.read_pan()) > 0.905


def test_the_result_lies_on_the_pan(data_root, tmp_path):
    scene = raster_scene('landsat_georef/ms.tif', 'landsat_georef/pan.tif', 'Landsat')
    predict_scene(
        Simple(3, 2, upsampling='bicubic'), scene, tmp_path / 'o.tif', progress=False, picture=False
    )
    pan_path = data_root / 'landsat_georef' / 'pan.tif'
    with rasterio.open(tmp_path / 'o.tif') as out, rasterio.open(pan_path) as pan:
        assert out.crs == pan.crs
        assert out.shape == scene.pan_shape
        row, col = pan.index(*out.xy(0, 0))
        x, y = out.xy(out.height - 1, out.width - 1)
        assert (x, y) == pytest.approx(pan.xy(row + out.height - 1, col + out.width - 1))
        assert out.nodata == 0


def test_masks_of_other_scenes_by_window():
    assert SyntheticScene(4, 64).read_mask(Window(0, 0, 4, 4)) is None


@pytest.mark.parametrize(
    ('ms', 'pan', 'refused'),
    [
        (('EPSG:4326', 179.99), ('EPSG:4326', -180.01), True),  # one counts beyond 180
        (('EPSG:4326', 179.99), ('EPSG:32601', 166000), True),
        (('EPSG:4326', 179.99), ('EPSG:4326', 179.99), False),
        (('EPSG:4326', 12.0), ('EPSG:4326', 12.0), False),
    ],
)
def test_a_scene_on_the_180th_meridian(ms, pan, refused):
    def grid(place, side, step):
        code, x = place
        step = step * 100_000 if code != 'EPSG:4326' else step
        y = 50.0 if code == 'EPSG:4326' else 5_545_000.0
        return RasterGrid(side, side, CRS.from_string(code), from_origin(x, y, step, step))

    grids = grid(ms, 20, 0.001), grid(pan, 80, 0.00025)
    if refused:
        with pytest.raises(DataError, match='180th meridian.*warp them to a projected one'):
            align(*grids, None, 'a and b')
    else:
        assert align(*grids, None, 'a and b').shape == (20, 20)
