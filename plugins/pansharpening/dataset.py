"""Samples of a scene: random patches to train on, and the whole of it to test on."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from plugins.pansharpening.mtf import sensor_degrade
from plugins.pansharpening.resample import imresize_by
from plugins.pansharpening.scene import Scene, Window
from toolkit.interfaces import Dataset
from toolkit.registry import DATASETS

Protocol = Literal['full', 'reduced']
Sample = dict[str, Any]


# MS pixels around a patch that its upsampling looks at: the 23 taps reach 5.5 of them.
CONTEXT = 6


class SceneDataset(Dataset):
    """Samples of one scene: `lrms` (C, h, w), `pan` (1, H, W) and, where there is a reference,
    `hrms` (C, H, W), float32 in [0, 1]; `meta` with `scene`, `window` (row, column, height, width
    in pixels of the scene's PAN), `sensor`, `scale`, `ratio` and `protocol`.
    """

    scene: Scene

    @property
    def bands(self) -> int:
        """C of `lrms` and `hrms`."""
        return self.scene.bands

    @property
    def ratio(self) -> int:
        """PAN pixels per pixel of `lrms`, along each axis."""
        return self.scene.ratio

    def fingerprint(self) -> str:
        """The scene's."""
        return self.scene.fingerprint()

    def _meta(self, window: Window, protocol: Protocol) -> dict[str, Any]:
        return {
            'scene': self.scene.name,
            'window': tuple(window),
            'sensor': self.scene.sensor.name,
            'scale': self.scene.scale,
            'ratio': self.ratio,
            'protocol': protocol,
        }


@DATASETS.register
class ScenePatches(SceneDataset):
    """Patches cut from random places of a scene, without reduction of its resolution.

    A sample also holds `lrms_context` (C, h + 12, w + 12), the patch with what lies around it, so
    that it can be upsampled without a border of its own; at the scene's borders it is repeated.

    Args:
        scene: where from.
        size: of a patch in PAN pixels, a multiple of the ratio.
        length: samples an epoch; None for as many as there are patches that do not overlap.
        augment: mirror and transpose at random. Multispectral sample i lies at ratio * i +
            ratio // 2, off the centre of its PAN pixels, so PAN is cut anew for mirrored axes:
            the images stay as exactly on each other as they were.
        region: the part of the scene that is used: top, left, bottom, right as fractions of it;
            None for all. Regions that do not overlap keep training and test data apart.
    Raises:
        ValueError: arguments out of range, or patches larger than the region.
    """

    def __init__(
        self,
        scene: Scene,
        size: int = 256,
        length: int | None = None,
        augment: bool = False,
        region: tuple[float, float, float, float] | None = None,
    ) -> None:
        self.scene = scene
        self.size, self.augment = size, augment
        if size < 1 or size % self.ratio:
            raise ValueError(
                f'size must be a positive multiple of the ratio {self.ratio}, found {size}'
            )
        if length is not None and length < 1:
            raise ValueError(f'length must be at least 1, found {length}')
        self._region = _region(scene, region)  # in MS pixels
        rows, cols = (extent // (size // self.ratio) for extent in self._region[2:])
        if rows < 1 or cols < 1:
            height, width = self._region.enlarged(self.ratio)[2:]
            raise ValueError(
                f'patches of {size} x {size} do not fit into the {height} x {width} PAN pixels of '
                f'{scene.name} that are used; choose a smaller size or a larger region'
            )
        self._length = rows * cols if length is None else length
        # What cannot be read is said before any training; what is cached, loaders' processes share.
        scene.read_ms(Window(*self._region[:2], 1, 1))

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Sample:
        """A patch from a random place, whatever the index.

        Raises:
            DataError: the scene cannot be read there.
        """
        low = self.size // self.ratio
        row, col = (
            start + int(torch.randint(extent - low + 1, ()))
            for start, extent in zip(self._region[:2], self._region[2:])
        )
        window = Window(row, col, low, low)
        transpose, *mirrored = (
            (bool(flag) for flag in torch.randint(2, (3,))) if self.augment else (False,) * 3
        )
        fine = window.enlarged(self.ratio)
        context = _turned(self._read_around(window), transpose, *mirrored)
        sample = {
            'lrms': context[:, CONTEXT:-CONTEXT, CONTEXT:-CONTEXT].clone(),
            'lrms_context': context,
            'pan': _turned(self._read_fine(fine, mirrored, True), transpose, *mirrored),
        }
        if self.scene.reference is not None:
            image = self._read_fine(fine, mirrored, False)
            sample['hrms'] = _turned(image, transpose, *mirrored)
        return {**sample, 'meta': self._meta(fine, 'full')}

    def _read_around(self, window: Window) -> np.ndarray:
        """The MS of a window and CONTEXT pixels on each side."""
        spans = []
        for start, length, extent in zip(window[:2], window[2:], self.scene.ms_shape):
            first, last = start - CONTEXT, start + length + CONTEXT
            spans.append((max(first, 0), min(last, extent), max(-first, 0), max(last - extent, 0)))
        (top, bottom, above, below), (left, right, before, after) = spans
        image = self.scene.read_ms(Window(top, left, bottom - top, right - left))
        return np.pad(image, ((0, 0), (above, below), (before, after)), mode='edge')

    def _read_fine(self, window: Window, mirrored: list[bool], pan: bool) -> np.ndarray:
        """PAN or the reference, one pixel further along axes that will be mirrored."""
        shift = 1 - self.ratio % 2  # with an odd ratio samples lie in the centre
        down, right = (shift * int(flag) for flag in mirrored)
        height, width = self.scene.pan_shape
        row, col = window.row + down, window.col + right
        inside = Window(row, col, min(self.size, height - row), min(self.size, width - col))
        if pan:
            image = self.scene.read_pan(inside)
        else:
            image = self.scene.reference[(slice(None), *inside.slices)]  # type: ignore[index]
        # At the scene's last rows and columns that pixel is repeated.
        missing = ((0, 0), (0, self.size - inside.height), (0, self.size - inside.width))
        return np.pad(image, missing, mode='edge')


@DATASETS.register
class WholeScene(SceneDataset):
    """One sample: the scene as it is, or reduced so that its own MS is the reference.

    Args:
        scene: which.
        protocol: 'full' for the scene as it is, with `hrms` where it was simulated; 'reduced' for
            Wald's: the MS through the sensor's MTF and decimated is `lrms`, the PAN brought down
            by bicubic resizing is `pan`, the MS itself is `hrms`.
        crop: use only the upper left corner, so many PAN pixels high and wide.
    Raises:
        ValueError: a crop that is no multiple of the ratio or larger than the scene.

    Source: Wald, Ranchin and Mangolini, PE&RS 63(6), 1997; the details are the DLPan toolbox's.
    """

    def __init__(self, scene: Scene, protocol: Protocol = 'full', crop: int | None = None) -> None:
        self.scene = scene
        if protocol not in ('full', 'reduced'):
            raise ValueError(f"protocol must be 'full' or 'reduced', found {protocol!r}")
        self.protocol: Protocol = protocol
        height, width = scene.pan_shape
        if crop is not None and (crop < 1 or crop % self.ratio or crop > min(height, width)):
            raise ValueError(
                f'crop must be a multiple of the ratio {self.ratio} up to the '
                f'{height} x {width} PAN pixels of {scene.name}, found {crop}'
            )
        self.window = Window(0, 0, crop or height, crop or width)
        if protocol == 'reduced':
            self.window = reducible(scene, self.window)

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Sample:
        """The sample.

        Raises:
            IndexError: an index other than 0.
            DataError: the scene cannot be read.
        """
        if index not in (0, -1):
            raise IndexError(f'a whole scene is one sample, found index {index}')
        scene, window = self.scene, self.window
        ms = torch.from_numpy(scene.read_ms(window.reduced(self.ratio)))  # (C, h, w)
        pan = torch.from_numpy(scene.read_pan(window))  # (1, H, W)
        sample = {'lrms': ms, 'pan': pan}
        if self.protocol == 'reduced':
            sample = reduce(ms, pan, scene)
        elif scene.reference is not None:
            # A copy, since the scene's own array is shared and read-only.
            sample['hrms'] = torch.tensor(scene.reference[(slice(None), *window.slices)])
        return {**sample, 'meta': self._meta(window, self.protocol)}


def reducible(scene: Scene, window: Window) -> Window:
    """As much of a window from its upper left corner as can be reduced, in PAN pixels.

    Raises:
        ValueError: that is nothing.
    """
    # The MS is decimated in turn, so it must be a multiple of the ratio too.
    step = scene.ratio**2
    height, width = (extent // step * step for extent in window[2:])
    if not height or not width:
        raise ValueError(
            f'{scene.name} with {window.height} x {window.width} PAN pixels is too small to be '
            f'reduced by {scene.ratio}'
        )
    return Window(window.row, window.col, height, width)


def reduce(ms: Tensor, pan: Tensor, scene: Scene) -> dict[str, Tensor]:
    """Wald's protocol on a pair of images.

    Args:
        ms: (C, h, w), float32 in [0, 1].
        pan: (1, ratio h, ratio w).
        scene: gives sensor and ratio.
    Returns:
        `lrms` (C, h / ratio, w / ratio), `pan` (1, h, w) and `hrms`, which is `ms`.
    """
    # In float64, as the reference figures were computed.
    low = sensor_degrade(ms.double(), scene.sensor, scene.ratio).to(ms.dtype)
    low_pan = imresize_by(pan.double(), scene.ratio).to(pan.dtype)
    return {'lrms': low, 'pan': low_pan, 'hrms': ms}


def _region(scene: Scene, region: tuple[float, float, float, float] | None) -> Window:
    """The fractions as a window in MS pixels."""
    top, left, bottom, right = (0.0, 0.0, 1.0, 1.0) if region is None else region
    if not (0 <= top < bottom <= 1 and 0 <= left < right <= 1):
        raise ValueError(
            'region is top, left, bottom, right in fractions of the scene, such as '
            f'[0, 0, 1, 0.5] for its left half; found {list(region or ())}'
        )
    height, width = scene.ms_shape
    row, col = round(top * height), round(left * width)
    return Window(row, col, round(bottom * height) - row, round(right * width) - col)


def _turned(image: np.ndarray, transpose: bool, rows: bool, cols: bool) -> Tensor:
    """Mirror rows and columns, then transpose; (C, H, W) -> a tensor of its own."""
    if rows:
        image = image[:, ::-1]
    if cols:
        image = image[:, :, ::-1]
    if transpose:
        image = image.transpose(0, 2, 1)
    return torch.tensor(np.ascontiguousarray(image))
