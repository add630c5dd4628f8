"""Pixels without data are filled from around them, with the same bits in any window."""

from __future__ import annotations

import numpy as np
import pytest

from plugins.pansharpening.scenes.rasters.nodata_fill import fill_invalid, read_filled
from plugins.pansharpening.scenes.window import Window


@pytest.fixture
def holed() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    valid = np.ones((50, 60), bool)
    valid[:, :9] = False
    valid[20:31, 25:38] = False
    valid[rng.random(valid.shape) < 0.03] = False
    image = rng.random((3, 50, 60), dtype=np.float32)
    return image * valid, valid


def test_a_constant_stays_constant_and_what_is_valid_stays_as_it_is(holed):
    image, valid = holed
    filled = fill_invalid(valid[None] * np.float32(0.5), valid, 64)
    np.testing.assert_allclose(filled, 0.5, rtol=1e-6)
    filled = fill_invalid(image, valid, 64)
    np.testing.assert_array_equal(filled[:, valid], image[:, valid])
    assert filled.min() >= image[:, valid].min()
    assert filled.max() <= image[:, valid].max()


def test_a_fill_reaches_so_far_and_no_farther(holed):
    image, valid = holed
    filled = fill_invalid(image, valid, 4)
    assert (filled[:, 25, 25:29] > 0).all()
    assert not filled[:, 25, 30:32].any()


@pytest.mark.parametrize('reach', [3, 12])
def test_any_window_holds_the_bits_of_the_whole(holed, reach):
    image, valid = holed
    whole = fill_invalid(image, valid, reach)

    def read(window: Window) -> tuple[np.ndarray, np.ndarray]:
        return window.cut(image), window.cut(valid)

    for window in (Window(0, 0, 50, 60), Window(18, 20, 9, 11), Window(40, 3, 10, 7)):
        found = read_filled(read, window, valid.shape, reach)
        np.testing.assert_array_equal(found, window.cut(whole))


def test_nothing_to_fill_or_nothing_to_fill_from(holed):
    image, valid = holed
    assert fill_invalid(image, np.ones_like(valid), 5) is image
    assert fill_invalid(image, np.zeros_like(valid), 5) is image
