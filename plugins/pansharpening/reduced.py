"""A scene reduced by Wald's protocol, whose own multispectral image is then the reference."""

from __future__ import annotations

import functools

import numpy as np
import torch

from plugins.pansharpening.dataset import reduce, reducible
from plugins.pansharpening.scene import SCENES, Scene, Window


@SCENES.register
class ReducedScene(Scene):
    """Another scene brought down by its ratio: what supervised networks are trained on.

    The MS through the sensor's MTF and decimated becomes the MS, the PAN brought down by bicubic
    resizing the PAN, the MS itself the reference. Trimmed to multiples of ratio^2 PAN pixels. Held
    in memory whole.

    Args:
        scene: which.
    Raises:
        ValueError: the scene is too small to be reduced.
    Source: Wald, Ranchin and Mangolini, PE&RS 63(6), 1997.
    """

    def __init__(self, scene: Scene) -> None:
        self.original = scene
        self.name = f'{scene.name}_reduced'
        self.sensor, self.bits = scene.sensor, scene.bits
        self._window = reducible(scene, Window(0, 0, *scene.pan_shape))

    @property
    def bands(self) -> int:
        return self.original.bands

    @property
    def ratio(self) -> int:
        return self.original.ratio

    @property
    def ms_shape(self) -> tuple[int, int]:
        return (
            self._window.height // self.ratio**2,
            self._window.width // self.ratio**2,
        )

    @property
    def pan_shape(self) -> tuple[int, int]:
        return self._window.height // self.ratio, self._window.width // self.ratio

    @property
    def reference(self) -> np.ndarray:
        return self._images['hrms']

    def read_ms(self, window: Window | None = None) -> np.ndarray:
        return _cut(self._images['lrms'], window)

    def read_pan(self, window: Window | None = None) -> np.ndarray:
        return _cut(self._images['pan'], window)

    def fingerprint(self) -> str:
        return self.original.fingerprint()

    @functools.cached_property
    def _images(self) -> dict[str, np.ndarray]:
        ms = torch.from_numpy(self.original.read_ms(self._window.reduced(self.ratio)))
        pan = torch.from_numpy(self.original.read_pan(self._window))
        images = {key: image.numpy() for key, image in reduce(ms, pan, self.original).items()}
        images['hrms'].flags.writeable = False  # shared by all that look at the reference
        return images


def _cut(image: np.ndarray, window: Window | None) -> np.ndarray:
    return image.copy() if window is None else image[(slice(None), *window.slices)].copy()
