"""Samples of scenes, and the dataset of one whole scene, for tests."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

from plugins.pansharpening.data.identities import collect_identities
from plugins.pansharpening.imaging.masks import coarse, shrink
from plugins.pansharpening.imaging.mtf import KERNEL_SIZE, sensor_degrade
from plugins.pansharpening.imaging.resample import imresize_by
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.scenes.window import Window
from toolkit.errors import DataError
from toolkit.interfaces import Dataset, Identities
from toolkit.ranges import NonNegativeInt, PositiveInt
from toolkit.registry import DATASETS

Protocol = Literal['full', 'reduced']
Sample = dict[str, Any]


class SceneDataset(Dataset):
    """Samples of scenes: `lrms` (C, h, w), `pan` (1, H, W) and, where there is a reference, `hrms`
    (C, H, W), float32 in [0, 1]; `mask` (1, H, W), True where there is data, where some may be
    missing; `meta` with `item` (a name of its own), `scene`, `window` (row, column, height, width
    in pixels of the scene's PAN), `sensor`, `scale`, `ratio` and `protocol`.

    Attributes:
        bands: C of `lrms` and `hrms`, the same in all scenes.
        ratio: PAN pixels per pixel of `lrms`, along each axis.
    """

    bands: int
    ratio: int


def meta(scene: Scene, window: Window, protocol: Protocol, item: str) -> dict[str, Any]:
    """Metadata of a sample."""
    return {
        'item': item,
        'scene': scene.name,
        'window': tuple(window),
        'sensor': scene.sensor.name,
        'scale': scene.scale,
        'ratio': scene.ratio,
        'protocol': protocol,
    }


@DATASETS.register
class WholeScene(SceneDataset):
    """One sample: the scene as it is, or reduced so that its own MS is the reference.

    Args:
        scene: which.
        protocol: 'full' for the scene as it is, with `hrms` where it was simulated; 'reduced' for
            Wald's: the MS through the sensor's MTF and decimated is `lrms`, the PAN brought down
            by bicubic resizing is `pan`, the MS itself is `hrms`.
        crop: use only the upper left corner, so many PAN pixels high and wide.
        window: use only this part: row, column, height and width in PAN pixels, multiples of the
            ratio; not together with `crop`.
    Raises:
        ValueError: a crop or a window that is no multiple of the ratio or not inside the scene.

    Source: Wald, Ranchin and Mangolini, PE&RS 63(6), 1997; the details are the DLPan toolbox's.
    """

    def __init__(
        self,
        scene: Scene,
        protocol: Protocol = 'full',
        crop: PositiveInt | None = None,
        window: tuple[NonNegativeInt, NonNegativeInt, PositiveInt, PositiveInt] | None = None,
    ) -> None:
        self.scene, self.protocol = scene, protocol
        self.bands, self.ratio = scene.bands, scene.ratio
        if window is not None and crop is not None:
            raise ValueError('give either crop or window')
        self.window = whole(scene, protocol, crop)
        if window is not None:
            part = _inside(scene, Window(*window))
            self.window = trim_to_reducible(scene, part) if protocol == 'reduced' else part

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
        return scene_sample(self.scene, self.window, self.protocol, self.scene.name)

    def fingerprint(self) -> str:
        """The scene's."""
        return self.scene.fingerprint()

    def identities(self, content: bool = True) -> dict[str, Identities]:
        return collect_identities([(self.scene, self.window)], self.protocol, content)


def whole(scene: Scene, protocol: Protocol, crop: int | None) -> Window:
    """The part of a scene that is tested, in PAN pixels.

    Raises:
        ValueError: see `WholeScene`.
    """
    if protocol not in ('full', 'reduced'):
        raise ValueError(f"protocol must be 'full' or 'reduced', found {protocol!r}")
    height, width = scene.pan_shape
    if crop is not None and (crop < 1 or crop % scene.ratio or crop > min(height, width)):
        raise ValueError(
            f'crop must be a multiple of the ratio {scene.ratio} up to the '
            f'{height} x {width} PAN pixels of {scene.name}, found {crop}'
        )
    window = Window(0, 0, crop or height, crop or width)
    return trim_to_reducible(scene, window) if protocol == 'reduced' else window


def _inside(scene: Scene, window: Window) -> Window:
    height, width = scene.pan_shape
    inside = Window.whole(scene.pan_shape).contains(window)
    if not inside or min(window.shape) < 1 or any(value % scene.ratio for value in window):
        raise ValueError(
            f'window must be multiples of the ratio {scene.ratio} inside the {height} x {width} '
            f'PAN pixels of {scene.name}, found {list(window)}'
        )
    return window


def scene_sample(scene: Scene, window: Window, protocol: Protocol, item: str) -> Sample:
    """A window of a scene as one sample, as it is or reduced.

    Raises:
        DataError: the scene cannot be read.
    """
    ms = torch.from_numpy(scene.read_ms(window.reduced(scene.ratio)))  # (C, h, w)
    pan = torch.from_numpy(scene.read_pan(window))  # (1, H, W)
    valid = scene.read_mask(window)
    sample = {'lrms': ms, 'pan': pan}
    if protocol == 'reduced':
        sample = reduce(ms, pan, scene)
    elif scene.has_reference:
        sample['hrms'] = torch.from_numpy(scene.read_reference(window))
    if valid is not None:
        mask = torch.from_numpy(valid)[None]  # (1, H, W)
        sample['mask'] = reduce_mask(mask, scene.ratio) if protocol == 'reduced' else mask
        if not sample['mask'].any():
            raise DataError(
                f'{scene.name}: found no pixel that is {KERNEL_SIZE // 2} MS pixels or more away '
                "from nodata, as far as the MTF's filter reaches; test it with protocol 'full'"
            )
    return {**sample, 'meta': meta(scene, window, protocol, item)}


def trim_to_reducible(scene: Scene, window: Window) -> Window:
    """Trims a window at its right and bottom edges so that it can be reduced, in PAN pixels.

    Raises:
        ValueError: nothing is left.
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


def reduce_mask(mask: Tensor, ratio: int) -> Tensor:
    """Computes the mask of a reduced image: pixels that depend on valid pixels alone.

    Args:
        mask: valid pixels at the scale of PAN, (1, H, W) bool.
        ratio: ratio of the scene.
    Returns:
        (1, H / ratio, W / ratio) bool.
    """
    whole_pixels = coarse(mask[None], ratio)
    shrunk = shrink(whole_pixels, KERNEL_SIZE // 2)  # the reach of the MTF's filter
    assert shrunk is not None
    return shrunk[0]
