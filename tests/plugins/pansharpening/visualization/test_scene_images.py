from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.pansharpening.imaging.resample import upsample
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.scenes.sensors import get_sensor
from plugins.pansharpening.scenes.window import Window
from plugins.pansharpening.synthetic.scene import SyntheticScene
from plugins.pansharpening.visualization import scene_images
from plugins.pansharpening.visualization.scene_images import (
    PAN,
    SHARPENED,
    UPSAMPLED,
    enlarge_window,
    find_detailed_windows,
    get_scene_images,
    make_overview,
    make_reader,
    sample_pixels,
    spread_windows,
)


class VastScene(Scene):
    """A scene of any size that is made as it is read, and counts what is."""

    name, bits = 'vast', 11

    def __init__(self, size=20_000, ratio=4):
        self.sensor = get_sensor('IKONOS')
        self.size, self._ratio = size, ratio
        self.largest = self.total = 0

    bands = property(lambda self: 4)
    pan_shape = property(lambda self: (self.size, self.size))
    ms_shape = property(lambda self: (self.size // self._ratio,) * 2)

    def made(self, window, bands):
        self.largest = max(self.largest, bands * window.height * window.width)
        self.total += bands * window.height * window.width
        rows = np.arange(window.row, window.row + window.height, dtype=np.uint32)[:, None]
        cols = np.arange(window.col, window.col + window.width, dtype=np.uint32)
        plane = ((rows * 73 ^ cols * 151) % 1024).astype(np.float32) / 2048 + 0.2
        return np.repeat(plane[None], bands, 0)

    def read_ms(self, window=None):
        return self.made(window or Window(0, 0, *self.ms_shape), 4)

    def read_pan(self, window=None):
        return self.made(window or Window(0, 0, *self.pan_shape), 1)

    def fingerprint(self):
        return 'vast'


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40), st.integers(1, 4000))
def test_an_overview_is_made_of_means(height, width, side, strip):
    image = np.random.default_rng(0).random((2, height, width)).astype(np.float32)
    before, scene_images.STRIP_BYTES = scene_images.STRIP_BYTES, strip
    try:
        small, step = make_overview(make_reader(image), (height, width), side)
    finally:
        scene_images.STRIP_BYTES = before
    assert max(small.shape[1:]) <= side
    tall, wide = min(step, height), min(step, width)
    for row, col in ((0, 0), (small.shape[1] - 1, small.shape[2] - 1)):
        block = image[:, row * tall : (row + 1) * tall, col * wide : (col + 1) * wide]
        np.testing.assert_allclose(small[:, row, col], block.mean((1, 2)), rtol=1e-5)


def test_pieces_cover_a_small_image_and_spread_over_a_large_one():
    seen = np.zeros((300, 570), int)
    for window in spread_windows(seen.shape):
        seen[window.slices] += 1
    assert (seen == 1).all()
    found = list(spread_windows((5000, 9000)))
    assert len(found) == 81
    assert found[0][:2] == (0, 0)
    assert found[-1] == Window(5000 - 64, 9000 - 64, 64, 64)


@pytest.mark.parametrize('method', ['interp23tap', 'bicubic'])
def test_windows_of_the_upsampled_ms(method):
    """Those of the whole, the borders too."""
    scene = SyntheticScene(4, 256)
    whole = upsample(torch.from_numpy(scene.read_ms())[None], 4, method, 'extrapolate')[0].numpy()
    images = get_scene_images(scene, lambda window: np.zeros((4, *window[2:])), method)
    window = Window(33, 41, 77, 90)
    found = images.readers[UPSAMPLED](window)
    np.testing.assert_allclose(found, whole[(slice(None), *window.slices)], atol=1e-5)
    assert images.readers[UPSAMPLED](Window(250, 0, 6, 7)).shape == (4, 6, 7)


def test_a_view_is_in_units_of_full_scale_and_knows_nodata():
    scene = SyntheticScene(4, 128)
    digital = np.round(scene.reference * 2047).astype(np.uint16)
    images = get_scene_images(scene, make_reader(digital))
    assert (images.base, images.mask, images.scale) == ('reference', None, 2047)
    window = Window(8, 16, 32, 24)
    np.testing.assert_allclose(
        images.readers[SHARPENED](window), scene.read_reference(window), atol=3e-4
    )
    half = np.zeros((128, 128), bool)
    half[:, 64:] = True
    scene.read_mask = lambda window=None: half[(window or Window(0, 0, 128, 128)).slices]
    images = get_scene_images(scene, make_reader(digital))
    np.testing.assert_array_equal(images.read_valid(Window(0, 60, 2, 8)), half[:2, 60:68])
    for read in images.readers.values():
        shown = read(Window(0, 60, 2, 8))
        assert (shown[:, ~half[:2, 60:68]] == 0).all() and (shown[:, half[:2, 60:68]] > 0).all()
    values = sample_pixels(images)
    assert {name: v.shape for name, v in values.items()}[PAN] == (1, 64 * 128)
    for place in find_detailed_windows(images, 32, 3):
        assert place.col >= 64


def detailed(height, width, busy):
    """A flat image with noise in some squares of 16 pixels."""
    image = np.zeros((1, height, width), np.float32)
    rng = np.random.default_rng(0)
    for row, col in busy:
        image[0, row : row + 16, col : col + 16] = rng.random((16, 16))
    return image


def test_places_have_detail_lie_apart_and_are_always_the_same():
    rng = np.random.default_rng(1)
    busy = [(16 * int(r), 16 * int(c)) for r, c in rng.integers(1, 15, (40, 2))]
    image = detailed(256, 256, busy)
    images = get_scene_images(SyntheticScene(4, 256), lambda window: None)
    object.__setattr__(images, 'readers', {PAN: make_reader(image)})
    found = find_detailed_windows(images, 16, 3)
    assert len(found) == 3
    assert found == find_detailed_windows(images, 16, 3)
    assert all(image[(0, *place.slices)].any() for place in found)
    for i in range(3):
        for j in range(i):
            apart = max(abs(found[i].row - found[j].row), abs(found[i].col - found[j].col))
            assert apart >= 32


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 2, 3, 4]))
def test_places_and_crops_lie_inside(rows, cols, ratio):
    height, width = rows * ratio, cols * ratio
    image = np.random.default_rng(0).random((1, height, width)).astype(np.float32)
    images = get_scene_images(SyntheticScene(4, 64), lambda window: None)
    object.__setattr__(images, 'shape', (height, width))
    object.__setattr__(images, 'readers', {PAN: make_reader(image)})
    found = find_detailed_windows(images, 160, 3)
    assert found
    for place in found:
        crop = enlarge_window(place, 24, (height, width), ratio)
        assert all(value % ratio == 0 for value in crop)
        assert max(crop[2:]) <= 24
        for window in (place, crop):
            assert window.row >= 0 <= window.col
            assert window.row + window.height <= height
            assert window.col + window.width <= width
            assert min(window[2:]) >= 1
