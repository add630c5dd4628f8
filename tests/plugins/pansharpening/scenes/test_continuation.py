"""Images beyond their border: the next step is a part of the last one, in any window."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from plugins.pansharpening.imaging.lazy_image import LazyImage
from plugins.pansharpening.scenes.continuation import MS_SLOPE, compute_ramp, pad_image
from plugins.pansharpening.scenes.rasters.nodata_fill import fill_invalid
from plugins.pansharpening.scenes.window import Window, read_around


def test_steps_beyond_the_border_shrink() -> None:
    image = np.array([[[4.0, 6.0, 6.0]]])
    padded = pad_image(image, (0, 1), (3, 2), 0.5)
    assert padded[0, 0].tolist() == [2.25, 2.5, 3, 4, 6, 6, 6, 6]
    assert padded[0, 1].tolist() == padded[0, 0].tolist()  # a single row goes on as it is
    assert compute_ramp(3, 0.5).tolist() == [0.5, 0.75, 0.875]


def test_nothing_continues_below_zero_and_negative_numbers_stay() -> None:
    image = np.array([[[0.1, 0.5, 0.9, 0.2], [-0.2, 0.0, 0.3, 0.0]]], np.float32)
    padded = pad_image(image, (4, 4), (4, 4), MS_SLOPE)
    places = range(-4, 6), range(-4, 8)
    lazy = LazyImage.of(torch.from_numpy(image)[None]).continued(*places, 'extrapolate')[0].numpy()
    for found in (padded, lazy):
        assert (found[0, 4, :5] > 0).all() and (found[0, 4, 7:] > 0).all()
        assert found[0, 4, 3] == pytest.approx(0.05)  # not 0.1 - 0.2
        assert (found[0, 5, :5] < 0).all() and (found[0, 5, 8:] == 0).all()


def test_slope_is_that_of_a_random_walk_under_an_mtf() -> None:
    """The regression of a step on the one before it, of a walk blurred to .3 at Nyquist."""
    fine, deviation = 16, np.sqrt(-2 * np.log(0.3)) / np.pi
    walk = np.cumsum(np.random.default_rng(0).standard_normal(400_000))
    place = np.arange(-4 * fine, 4 * fine + 1) / fine
    blur = np.exp(-0.5 * (place / deviation) ** 2)
    steps = np.diff(np.convolve(walk, blur / blur.sum(), 'valid')[::fine])
    assert (steps[1:] @ steps[:-1]) / (steps @ steps) == pytest.approx(MS_SLOPE, abs=0.05)


@pytest.mark.parametrize('shape', [(9, 11), (2, 7), (1, 1)])
def test_lazy_images_arrays_and_windows_hold_the_same(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(1).random((2, *shape), dtype=np.float32)
    whole = pad_image(image, (5, 5), (5, 5), MS_SLOPE)
    lazy = LazyImage.of(torch.from_numpy(image)[None])
    rows, cols = (range(-5, extent + 5) for extent in shape)
    found = lazy.continued(rows, cols, 'extrapolate')[0].numpy()
    np.testing.assert_allclose(found, whole, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(
        lazy.continued(range(-1, 1), range(0, 1), 'extrapolate')[0], whole[:, 4:6, 5:6], rtol=1e-6
    )
    part = lazy.continued(range(-5, 1), range(shape[1] - 1, shape[1] + 3), 'extrapolate')[0]
    np.testing.assert_array_equal(part.numpy(), found[:, :6, shape[1] + 4 : shape[1] + 8])
    corner = Window(0, shape[1] - 1, 1, 1)
    around = read_around(lambda w: w.cut(image), corner, 5, shape, MS_SLOPE)
    np.testing.assert_array_equal(
        around, whole[:, : around.shape[1], shape[1] - 1 : shape[1] + 10][:, :11]
    )


def test_fill_goes_on_with_a_part_of_the_step_and_keeps_the_sign() -> None:
    image = np.broadcast_to(np.array([0, 0, 0.1, 0.5, 0.9, 1.0], np.float32), (1, 5, 6)).copy()
    valid = np.broadcast_to(np.array([0, 0, 1, 1, 1, 1], bool), (5, 6)).copy()
    filled = fill_invalid(image * valid, valid, 3, 0.5)
    assert filled[0, 2, 1] == pytest.approx(0.05)  # not 0.1 - 0.2
    assert (filled > 0).all()
    image[:, :, 2] = 0.6
    assert fill_invalid(image * valid, valid, 3, 0.5)[0, 2, 1] == pytest.approx(0.65)
