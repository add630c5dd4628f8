from __future__ import annotations

import numpy as np
import pytest
from rasterio.transform import from_origin

from plugins.pansharpening.scenes.arrays.npy import ArrayScene
from plugins.pansharpening.scenes.rasters.raster import RasterScene
from plugins.pansharpening.scenes.scene import Georeference
from plugins.pansharpening.scenes.window import Window
from plugins.pansharpening.scenes.with_reference import ReferencedScene
from tests.support.synthetic_rasters import write_geotiff
from toolkit.errors import DataError
from toolkit.registry import DATASETS
from toolkit.registry.build import build


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).integers(1, 2048, shape).astype(np.uint16)


@pytest.fixture
def files(tmp_path):
    """An MS and a PAN of 64 x 64 m, and a writer of references that begin elsewhere."""

    def write(name, image, pixel, row=0, col=0, **more):
        place = from_origin(500000 + col, 4000000 - row, pixel, pixel)
        write_geotiff(tmp_path / name, image, Georeference('EPSG:32633', place), **more)
        return str(tmp_path / name)

    ms, pan = write('ms.tif', numbers(4, 16, 16), 4), write('pan.tif', numbers(1, 64, 64), 1)
    return RasterScene(ms, pan, 'IKONOS'), write


def test_the_reference_is_found_by_its_place(files):
    plain, write = files
    image = numbers(4, 80, 90, seed=3)
    scene = ReferencedScene(plain, write('true.tif', image, 1, row=-6, col=-9))
    inside = image[:, 6:70, 9:73] / np.float32(2047)
    np.testing.assert_allclose(scene.reference, inside, rtol=1e-6)
    window = Window(10, 20, 7, 9)
    np.testing.assert_array_equal(
        scene.read_reference(window), scene.reference[(slice(None), *window.slices)]
    )
    np.testing.assert_array_equal(scene.read_ms(), plain.read_ms())
    assert (scene.has_reference, scene.mask, scene.ratio) == (True, None, 4)
    assert scene.georeference == plain.georeference
    assert scene.fingerprint() != plain.fingerprint()


def test_without_data_in_the_reference_there_is_none(files):
    plain, write = files
    image = numbers(4, 64, 64)
    image[:, :16] = 0
    scene = ReferencedScene(plain, write('true.tif', image, 1, nodata=0))
    assert not scene.mask[:16].any()
    assert scene.read_mask(Window(16, 0, 48, 64)).all()


def test_references_that_do_not_fit(files):
    plain, write = files
    for image, place, message in (
        (numbers(3, 64, 64), {}, r'found an image of shape \(3, 64, 64\), expected 4 bands'),
        (numbers(4, 64, 64), {'row': 4}, 'do not lie on all those of the PAN'),
        (numbers(4, 64, 65), {'col': -0.5}, 'do not lie on all those of the PAN'),
        (numbers(4, 64, 64), {'row': 5000}, 'no overlap'),
    ):
        with pytest.raises(DataError, match=message):
            ReferencedScene(plain, write('true.tif', image, 1, **place)).read_reference(
                Window(0, 0, 4, 4)
            )
    with pytest.raises(DataError, match='no file gone.tif'):
        ReferencedScene(plain, 'gone.tif')


def test_in_arrays(tmp_path):
    for name, image in (
        ('ms', numbers(4, 8, 8)),
        ('pan', numbers(32, 32)),
        ('true', numbers(4, 32, 32)),
        ('small', numbers(4, 32, 31)),
    ):
        np.save(tmp_path / f'{name}.npy', image)
    plain = ArrayScene(str(tmp_path / 'ms.npy'), str(tmp_path / 'pan.npy'), 'IKONOS')
    scene = ReferencedScene(plain, str(tmp_path / 'true.npy'))
    assert scene.reference.shape == (4, 32, 32)
    assert scene.read_mask() is None
    with pytest.raises(DataError, match='found 32 x 31 pixels, expected those of the PAN of ms'):
        ReferencedScene(plain, str(tmp_path / 'small.npy')).reference  # noqa: B018
    (tmp_path / 'cut.npy').write_bytes((tmp_path / 'true.npy').read_bytes()[:300])
    with pytest.raises(DataError, match=r'cut.npy cannot be read as an .npy file'):
        ReferencedScene(plain, str(tmp_path / 'cut.npy')).reference  # noqa: B018


def test_from_a_config(files):
    plain, write = files
    reference = write('true.tif', numbers(4, 64, 64, seed=5), 1)
    node = {'type': 'ReferencedScene', 'reference': reference}
    node['scene'] = {
        'type': 'RasterScene',
        'ms': str(plain.ms_path),
        'pan': str(plain.pan_path),
        'sensor': 'IKONOS',
    }
    sample = build({'type': 'WholeScene', 'scene': node}, DATASETS)[0]
    assert sample['hrms'].shape == (4, 64, 64)
