from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from plugins.pansharpening.scenes.window import Window, read_around

SHAPE = (23, 31)
IMAGE = np.arange(2 * 23 * 31).reshape(2, *SHAPE)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    row, col = draw(st.integers(0, 22)), draw(st.integers(0, 30))
    return Window(row, col, draw(st.integers(1, 23 - row)), draw(st.integers(1, 31 - col)))


def covered(window: Window) -> set[tuple[int, int]]:
    return {(row, col) for row in range(SHAPE[0]) for col in range(SHAPE[1])} & {
        (window.row + i, window.col + j) for i in range(window.height) for j in range(window.width)
    }


@given(windows(), windows())
def test_intersection_and_containment_are_those_of_sets_of_pixels(a: Window, b: Window) -> None:
    assert covered(a.intersect(b)) == covered(a) & covered(b)
    assert a.contains(b) == (covered(b) <= covered(a))
    assert a.intersect(b).pixels == len(covered(a) & covered(b))


@given(windows(), st.integers(0, 9))
def test_expanding_stays_inside_the_image(window: Window, margin: int) -> None:
    expected = {
        (row, col)
        for row in range(window.row - margin, window.bottom + margin)
        for col in range(window.col - margin, window.right + margin)
    }
    assert covered(window.expand(margin, SHAPE)) == expected & covered(Window.whole(SHAPE))


@given(windows(), st.integers(1, 12))
def test_tiles_divide_a_window_and_blocks_lie_at_multiples(window: Window, side: int) -> None:
    tiles = list(window.tiles(side))
    assert sum(tile.pixels for tile in tiles) == window.pixels
    assert set().union(*map(covered, tiles)) == covered(window)
    blocks = list(window.blocks(side))
    assert all(b.row % side == b.col % side == 0 and b.shape == (side, side) for b in blocks)
    assert all(window.intersect(block).pixels for block in blocks)
    result = np.full((2, *window.shape), -1)
    for block in blocks:
        window.paste(result, block.cut(IMAGE), block)
    np.testing.assert_array_equal(result, window.cut(IMAGE))


@given(windows(), st.integers(1, 5))
def test_grids_of_other_resolutions(window: Window, ratio: int) -> None:
    fine = window.enlarged(ratio)
    assert fine.reduced(ratio) == fine.covering(ratio) == fine.covered(ratio) == window
    coarse = {(row // ratio, col // ratio) for row, col in covered(window)}
    assert covered(window.covering(ratio)) == coarse
    assert covered(window.covered(ratio)) == {
        (row, col) for row, col in coarse if window.contains(Window(row, col, 1, 1).enlarged(ratio))
    }


@given(windows(), windows())
def test_relative_places(a: Window, b: Window) -> None:
    assert a.relative_to(b).shift(b.row, b.col) == a
    shared = a.intersect(b)
    if shared.pixels:
        part = shared.relative_to(b).cut(b.cut(IMAGE))
        np.testing.assert_array_equal(part, shared.cut(IMAGE))


@given(windows(), st.integers(0, 40))
def test_reading_around_repeats_the_border(window: Window, margin: int) -> None:
    found = read_around(lambda w: w.cut(IMAGE), window, margin, SHAPE)
    padded = np.pad(IMAGE, ((0, 0), (margin, margin), (margin, margin)), mode='edge')
    expected = padded[
        :, window.row : window.bottom + 2 * margin, window.col : window.right + 2 * margin
    ]
    np.testing.assert_array_equal(found, expected)


def test_tensors_and_texts() -> None:
    window = Window(1, 2, 3, 4)
    assert str(window) == 'rows 1:4, columns 2:6'
    assert torch.equal(window.cut(torch.from_numpy(IMAGE)), torch.from_numpy(window.cut(IMAGE)))
    assert tuple(window.raster_window.flatten()) == (2, 1, 4, 3)
    with pytest.raises(ValueError, match='rows 1:4, columns 2:6 .* 2 times coarser'):
        window.reduced(2)
