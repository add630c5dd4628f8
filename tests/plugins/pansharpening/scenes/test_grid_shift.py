"""Samples are taken at other places, with the same bits in any window."""

from __future__ import annotations

import numpy as np
import pytest

from plugins.pansharpening.scenes.grid_shift import SHIFT_REACH, read_shifted
from plugins.pansharpening.scenes.window import Window

SHAPE = (40, 50)


def wave(row: float, col: float) -> np.ndarray:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] + 0.0
    return (np.sin((y + row) / 2) + np.cos((x + col) / 3))[None]


@pytest.mark.parametrize('offset', [(0.125, 0.125), (-0.5, 0.25), (2.3, -1.4), (1.0, 0.0)])
def test_a_wave_is_moved(offset):
    image = wave(0, 0)
    found = read_shifted(lambda w: w.cut(image), Window.whole(SHAPE), SHAPE, offset)
    edge = SHIFT_REACH + 3
    inside = np.s_[:, edge:-edge, edge:-edge]
    np.testing.assert_allclose(found[inside], wave(*offset)[inside], atol=5e-3)


def test_constants_stay_and_windows_hold_the_bits_of_the_whole():
    image = np.random.default_rng(0).random((2, *SHAPE), dtype=np.float32)
    whole = read_shifted(lambda w: w.cut(image), Window.whole(SHAPE), SHAPE, (0.125, -0.3))
    assert whole.dtype == np.float32
    for window in (Window(0, 0, 5, 50), Window(13, 21, 7, 9), Window(39, 49, 1, 1)):
        found = read_shifted(lambda w: w.cut(image), window, SHAPE, (0.125, -0.3))
        np.testing.assert_array_equal(found, window.cut(whole))
    flat = np.full((1, *SHAPE), 0.7, np.float32)
    found = read_shifted(lambda w: w.cut(flat), Window.whole(SHAPE), SHAPE, (0.125, 1.5))
    np.testing.assert_allclose(found, 0.7, rtol=1e-6)
