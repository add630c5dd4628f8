"""Order of the axes of arrays that hold one image or many."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from plugins.pansharpening.data.archives.array_file import ArrayFile

# N images, C bands, H rows, W columns; 1 is an axis of that length.
MANY = ('NCHW', 'NHWC', 'HWCN')
ONE = ('CHW', 'HWC')
PANS = {
    True: ('N1HW', 'NHW1', 'HW1N', 'NHW', 'HWN'),
    False: ('1HW', 'HW1', 'HW'),
}


class ArrayLayout(NamedTuple):
    """Axes of an array, and the sizes found.

    Attributes:
        axes: such as 'NHWC'.
        count: number of images; None for an array of one image.
        bands, height, width: of an image.
    """

    axes: str
    count: int | None
    bands: int
    height: int
    width: int

    def read(self, file: ArrayFile, name: str, index: int) -> np.ndarray:
        """Reads an image as (C, H, W)."""
        if self.count is None:
            image, axes = file.read(name), self.axes
        else:
            image = file.read(name, index, self.axes.index('N'))
            axes = self.axes.replace('N', '')
        if 'C' not in axes:
            if '1' not in axes:
                return image[None]
            axes = axes.replace('1', 'C')
        return np.ascontiguousarray(image.transpose([axes.index(axis) for axis in 'CHW']))


def parse_layout(shape: tuple[int, ...], axes: str) -> ArrayLayout | None:
    """Gives the sizes of an array by the names of its axes; None if they cannot be these."""
    if len(shape) != len(axes) or 0 in shape:
        return None
    sizes = dict(zip(axes, shape, strict=True))
    if sizes.get('1', 1) != 1:
        return None
    return ArrayLayout(axes, sizes.get('N'), sizes.get('C', 1), sizes['H'], sizes['W'])


def find_pair_layouts(
    ms: tuple[int, ...], pan: tuple[int, ...]
) -> list[tuple[ArrayLayout, ArrayLayout]]:
    """Lists the layouts of an MS and a PAN whose sizes fit each other."""
    many = len(ms) == 4
    found = []
    for ms_axes in MANY if many else ONE:
        for pan_axes in PANS[many]:
            low, high = parse_layout(ms, ms_axes), parse_layout(pan, pan_axes)
            if low is None or high is None or low.count != high.count:
                continue
            ratio = high.height // low.height
            if ratio > 1 and (high.height, high.width) == (ratio * low.height, ratio * low.width):
                found.append((low, high))
    return found


def find_image_layout(
    shape: tuple[int, ...], count: int | None, image: tuple[int, int, int]
) -> ArrayLayout | None:
    """Finds the layout of an array of images of a known size.

    Args:
        shape: of the array.
        count: number of images; None for any, or for one image.
        image: bands, height and width.
    """
    for axes in (*MANY, *ONE):
        found = parse_layout(shape, axes)
        if found and found[2:] == image and count in (None, found.count):
            return found
    return None


def describe_images(count: int | None, image: tuple[int, int, int]) -> str:
    """Describes the expected shape of an array of images."""
    bands, height, width = image
    if count is None:
        return f'({bands}, {height}, {width}) or ({height}, {width}, {bands})'
    return f'({count}, {bands}, {height}, {width}) or ({count}, {height}, {width}, {bands})'
