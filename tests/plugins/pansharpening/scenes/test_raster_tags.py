"""Band names, tags and colours decide which band is which, and stay with the result."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import rasterio
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.rpc import RPC

from plugins.pansharpening.inference.scene_prediction import predict_scene
from plugins.pansharpening.scenes.rasters.band_names import check_order
from plugins.pansharpening.scenes.rasters.raster import RasterScene
from plugins.pansharpening.scenes.sensors import get_sensor
from plugins.pansharpening.untrained_method import sharpener
from tests.support.synthetic_rasters import write_geotiff
from toolkit.errors import DataError

BGRN = ('blue', 'green', 'red', 'nir')


def numbers(*shape: int, dtype: type = np.uint16) -> np.ndarray:
    return np.random.default_rng(0).integers(1, 200, shape).astype(dtype)


def check(names, colours=(), numbers=None, sensor='QB'):
    return check_order(get_sensor(sensor), names, 'f', numbers, colours)


@pytest.mark.parametrize(
    ('names', 'colours', 'expected'),
    [
        (
            ('Red', 'Green', 'Blue', 'NIR'),
            (),
            r'band 1 is described as red.*QuickBird has blue.*\[3, 2, 1, 4\]',
        ),
        (
            ('', '', '', ''),
            ('red', 'green', 'blue', 'undefined'),
            r'tagged as red.*--bands 3,2,1,4.*--bands 1,2,3,4',
        ),
        (('blue', '', '', ''), ('gray', 'gray', 'gray', 'red'), 'band 4 is tagged as red'),
        (('blue', 'red', 'x', 'Near-Infrared'), (), r'band 2 is described as red'),
    ],
)
def test_a_band_that_is_named_as_another_is_an_error(names, colours, expected) -> None:
    with pytest.raises(DataError, match=expected):
        check(names, colours)


def test_names_that_agree_or_say_nothing() -> None:
    assert check(('Blue', 'GREEN', 'red', 'near infrared')) is None
    assert check(('B1', 'B2', 'B3', 'B4'), ('gray', 'undefined', 'undefined', 'undefined')) is None
    assert check(('red', 'green', 'blue'), sensor='generic') is None
    note = check(('',) * 4, ('red', 'green', 'blue', 'undefined'), [1, 2, 3, 4])
    assert 'tagged as red' in note and 'the stated bands 1,2,3,4 count' in note
    with pytest.raises(DataError, match=r'set bands: \[3, 2, 1, 4\]'):
        check(('red', 'green', 'blue', 'nir'), (), [1, 2, 3, 4])


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_geotiff(Path('pan.tif'), numbers(1, 32, 32))
    return tmp_path


def write_alpha(values: np.ndarray, bands: int = 3) -> None:
    image = np.concatenate([numbers(bands, 8, 8), values[None].astype(np.uint16)])
    write_geotiff(Path('ms.tif'), image, alpha='unspecified')
    with rasterio.open('ms.tif', 'r+') as raster:
        raster.colorinterp = [ColorInterp.undefined] * bands + [ColorInterp.alpha]


@pytest.mark.parametrize(
    ('values', 'sensor', 'order', 'bands', 'masked'),
    [
        (numbers(8, 8), 'generic', None, 4, False),  # other numbers than a mask holds
        (np.eye(8) * 65535, 'generic', None, 3, True),
        (np.full((8, 8), 255), 'generic', None, 3, True),
        (np.eye(8) * 255, 'QB', None, 4, False),  # the sensor has four bands
        (np.eye(8) * 255, 'generic', [1, 2, 3, 4], 4, False),
        (numbers(8, 8), 'generic', [1, 2, 3], 3, True),
    ],
)
def test_an_alpha_band_is_a_mask_only_where_it_is_one(
    folder, values, sensor, order, bands, masked
) -> None:
    write_alpha(values)
    scene = RasterScene('ms.tif', 'pan.tif', sensor, bands=order)
    assert (scene.bands, scene.masked) == (bands, masked)
    if bands == 4:
        assert 'band 4 is tagged as alpha and read as a band' in scene.notes[0]
        found = np.round(scene.read_ms()[3] * scene.scale)
        np.testing.assert_array_equal(found, values)
    else:
        assert scene.notes == ()


@pytest.mark.parametrize('output', ['out.tif', 'out.vrt'])
def test_names_tags_units_colours_and_control_points_stay(folder, output: str) -> None:
    write_geotiff(Path('ms.tif'), numbers(4, 8, 8), names=['b', 'g', 'r', 'n'])
    with rasterio.open('ms.tif', 'r+') as raster:
        raster.update_tags(ACQUIRED='2020')
        raster.update_tags(2, wavelength='560', STATISTICS_MEAN='3')
        raster.units, raster.scales, raster.offsets = ['DN'] * 4, [1e-4] * 4, [-0.1] * 4
        raster.colorinterp = [ColorInterp[c] for c in ('blue', 'green', 'red', 'undefined')]
    points = [GroundControlPoint(r, c, 10 + c, 50 - r, 0) for r, c in ((0, 0), (9, 0), (0, 9))]
    ones = [1.0] * 20
    with rasterio.open('pan.tif', 'r+') as raster:
        raster.gcps = (points, rasterio.crs.CRS.from_epsg(4326))
        raster.rpcs = RPC(
            height_off=1, height_scale=1, lat_off=50, lat_scale=1, line_den_coeff=ones,
            line_num_coeff=ones, line_off=16, line_scale=16, long_off=10, long_scale=1,
            samp_den_coeff=ones, samp_num_coeff=ones, samp_off=16, samp_scale=16,
        )  # fmt: skip
    scene = RasterScene('ms.tif', 'pan.tif', 'QB')
    predict_scene(sharpener('EXP', scene), scene, Path(output), progress=False, picture=False)
    with rasterio.open(output) as raster:
        assert raster.descriptions == ('b', 'g', 'r', 'n')
        assert [c.name for c in raster.colorinterp][:3] == ['blue', 'green', 'red']
        assert ColorInterp.alpha not in raster.colorinterp
        assert raster.tags()['ACQUIRED'] == '2020'
        assert raster.tags(2)['wavelength'] == '560' and 'STATISTICS_MEAN' not in raster.tags(2)
        assert (raster.units[0], raster.scales[0], raster.offsets[0]) == ('DN', 1e-4, -0.1)
        assert len(raster.gcps[0]) == 3
        assert raster.rpcs.line_off == 16
    assert not [p for p in folder.iterdir() if p.name.endswith('.aux.xml')]


def test_what_a_result_cannot_have_is_said(folder) -> None:
    write_geotiff(Path('ms.tif'), numbers(4, 8, 8))
    with rasterio.open('ms.tif', 'r+') as raster:
        point = [GroundControlPoint(0, 0, 10, 50, 0)] * 3
        raster.gcps = (point, rasterio.crs.CRS.from_epsg(4326))
    said: list[str] = []
    scene = RasterScene('ms.tif', 'pan.tif', 'QB')
    predict_scene(
        sharpener('EXP', scene),
        scene,
        Path('o.tif'),
        progress=False,
        picture=False,
        report=said.append,
    )
    assert any('the ground control points of' in line and 'are lost' in line for line in said)
