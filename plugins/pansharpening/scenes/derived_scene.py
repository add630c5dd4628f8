"""Base of scenes that change another scene."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from plugins.pansharpening.scenes.raster_tags import RasterTags
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.scenes.window import Window


class DerivedScene(Scene):
    """A scene made of another one, whose shapes, PAN, values and tags it keeps.

    Args:
        scene: the other scene.
    """

    def __init__(self, scene: Scene) -> None:
        self.original = scene
        self.name, self.sensor, self.bits = scene.name, scene.sensor, scene.bits

    @property
    def bands(self) -> int:
        return self.original.bands

    @property
    def ms_shape(self) -> tuple[int, int]:
        return self.original.ms_shape

    @property
    def pan_shape(self) -> tuple[int, int]:
        return self.original.pan_shape

    @property
    def ratio(self) -> int:
        return self.original.ratio

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.original.dtype

    @property
    def states_bits(self) -> bool:
        return self.original.states_bits

    @property
    def band_names(self) -> tuple[str, ...]:
        return self.original.band_names

    @property
    def tags(self) -> RasterTags:
        return self.original.tags

    @property
    def notes(self) -> tuple[str, ...]:
        return self.original.notes

    @property
    def nodata(self) -> float | None:
        return self.original.nodata

    @property
    def mask(self) -> np.ndarray | None:
        return self.read_mask()

    def files(self) -> list[Path]:
        return self.original.files()

    def read_pan(self, window: Window | None = None) -> np.ndarray:
        return self.original.read_pan(window)
