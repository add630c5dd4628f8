from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from plugins.pansharpening.metrics import functional
from plugins.pansharpening.visualization.error_maps import (
    ErrorMap,
    compute_error_maps,
    compute_rms_difference,
    compute_spectral_angle,
    correlate_locally,
    draw_histograms,
    draw_maps,
    paint_map,
)


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    reference = (0.2 + 0.5 * rng.random((4, 48, 56))).astype(np.float32)
    return reference + 0.05 * rng.random((4, 48, 56), np.float32), reference


def test_maps_pool_to_the_indices(images):
    image, reference = images
    rmse = np.sqrt((compute_rms_difference(image, reference) ** 2).mean())
    assert rmse == pytest.approx(float(functional.rmse(image, reference)), rel=1e-9)
    angle = compute_spectral_angle(image, reference).mean()
    assert angle == pytest.approx(float(functional.sam(image, reference)), rel=1e-6)


def test_angles_of_nothing_are_zero():
    image = np.zeros((3, 4, 5))
    assert not compute_spectral_angle(image, image + 1).any()
    assert np.isfinite(compute_spectral_angle(image + 1e-30, image + 1)).all()


def test_local_correlation_is_that_of_each_window():
    rng = np.random.default_rng(1)
    image, pan = rng.random((3, 40, 40)), rng.random((1, 40, 40))
    image[:, 20:] += pan[:, 20:]
    found = correlate_locally(image, pan, 9)
    for row, col in ((10, 10), (30, 25)):
        cut = (slice(row - 4, row + 5), slice(col - 4, col + 5))
        expected = np.corrcoef(image.mean(0)[cut].ravel(), pan[0][cut].ravel())[0, 1]
        assert found[row, col] == pytest.approx(expected, abs=1e-9)
    np.testing.assert_allclose(correlate_locally(3 * pan + 1, pan, 5), 1)
    flat = pan.copy()
    flat[:, :20] = 0.7
    assert np.isnan(correlate_locally(image, flat, 5)[:17]).all()


def test_local_correlation_along_a_rim_is_that_of_the_pixels_with_data():
    rng = np.random.default_rng(2)
    image, pan = rng.random((3, 30, 30)), rng.random((1, 30, 30))
    valid = np.ones((30, 30), bool)
    valid[:, :12] = False
    found = correlate_locally(np.where(valid, image, 0), np.where(valid, pan, 5), 9, valid)
    cut = (slice(11, 20), slice(12, 17))
    expected = np.corrcoef(image.mean(0)[cut].ravel(), pan[0][cut].ravel())[0, 1]
    assert found[15, 12] == pytest.approx(expected, abs=1e-9)


def test_which_maps(images):
    image, reference = images
    pan = reference.mean(0, keepdims=True)
    inside = np.ones((48, 56), bool)
    inside[:10] = False
    with_reference = compute_error_maps(image, pan, image, reference, 2047, inside)
    assert [m.title.split()[0] for m in with_reference] == ['RMSE', 'spectral']
    for shown in with_reference:
        assert np.isnan(shown.values[:10]).all()
        assert shown.high == pytest.approx(np.nanpercentile(shown.values, 99))
    without = compute_error_maps(image, pan, reference, None, 2047)
    assert [m.title.split()[0] for m in without] == ['difference', 'correlation']
    np.testing.assert_allclose(without[0].values, compute_rms_difference(image, reference) * 2047)
    assert without[1].high == 1


def test_a_coloured_map_goes_from_dark_to_bright():
    values = np.array([[0.0, 1.0, 2.0, 9.0, np.nan]])
    pixels = np.asarray(paint_map(ErrorMap('x', values, 0, 2))).astype(int).sum(-1)[0]
    assert pixels[0] < pixels[1] < pixels[2] == pixels[3]
    assert np.asarray(paint_map(ErrorMap('x', values, 0, 2)))[0, 4].tolist() == [127, 127, 127]


@pytest.mark.parametrize('bands', [1, 4, 8])
def test_figures_are_pictures(images, bands):
    image, reference = images
    maps = compute_error_maps(image, image[:1], image, reference, 2047)
    opened = Image.open(io.BytesIO(draw_maps(maps, 'title')))
    assert min(opened.size) > 300
    values = {'a': np.random.default_rng(0).random((bands, 500)), 'b': np.full((bands, 3), np.nan)}
    names = [f'band {i}' for i in range(bands)]
    drawn = Image.open(io.BytesIO(draw_histograms(values, names, 2047, 'title')))
    assert np.asarray(drawn).std() > 5
    empty = {'a': np.zeros((bands, 0))}
    assert Image.open(io.BytesIO(draw_histograms(empty, names, 1, 'title'))).size == drawn.size
