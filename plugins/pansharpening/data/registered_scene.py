"""A scene whose MS is moved onto its PAN."""

from __future__ import annotations

import functools

import numpy as np

from plugins.pansharpening.imaging.registration import register
from plugins.pansharpening.scenes.continuation import MS_SLOPE
from plugins.pansharpening.scenes.derived_scene import DerivedScene
from plugins.pansharpening.scenes.grid_shift import read_shifted
from plugins.pansharpening.scenes.scene import SCENES, Georeference, Scene
from plugins.pansharpening.scenes.window import Window


@SCENES.register
class RegisteredScene(DerivedScene):
    """A scene whose MS is moved by a fraction of its pixels onto the PAN; the PAN stays as it is.

    Args:
        scene: scene to correct.
        shift: PAN pixels, rows and columns, by which the MS lies below and right of the PAN; None
            to measure them by the correlation of details (`register`).
    Raises:
        DataError: on first use, if the scene cannot be read, or its images show no common details.
    Source: Guizar-Sicairos, Thurman and Fienup, "Efficient subpixel image registration algorithms",
        Optics Letters 33(2), 2008, by scikit-image.
    """

    def __init__(self, scene: Scene, shift: tuple[float, float] | None = None) -> None:
        super().__init__(scene)
        self.stated_shift = None if shift is None else (float(shift[0]), float(shift[1]))

    @functools.cached_property
    def shift(self) -> tuple[float, float]:
        """Rows and columns of the shift in PAN pixels."""
        if self.stated_shift is not None:
            return self.stated_shift
        found = register(self.original)
        found.check(self.name)
        return found.rows, found.cols

    @property
    def samples(self) -> str | None:
        return self.original.samples

    @property
    def georeference(self) -> Georeference | None:
        return self.original.georeference

    @property
    def reference(self) -> np.ndarray | None:
        return self.original.reference

    @property
    def has_reference(self) -> bool:
        return self.original.has_reference

    @property
    def masked(self) -> bool:
        return self.original.masked or self._is_far

    def read_ms(self, window: Window | None = None) -> np.ndarray:
        rows, cols = (distance / self.ratio for distance in self.shift)
        shape = self.ms_shape
        whole = Window.whole(shape)
        return read_shifted(self.original.read_ms, window or whole, shape, (rows, cols), MS_SLOPE)

    def read_reference(self, window: Window) -> np.ndarray:
        return self.original.read_reference(window)

    def read_mask(self, window: Window | None = None) -> np.ndarray | None:
        """Pixels with data; none where the MS comes from more than a pixel beyond its border."""
        window = window or Window.whole(self.pan_shape)
        own = self.original.read_mask(window)
        if not self._is_far:
            return own
        result = np.ones(window.shape, bool) if own is None else own.copy()
        moved = window.shift(*(round(distance) for distance in self.shift))
        inside = moved.intersect(Window.whole(self.pan_shape))
        there = np.zeros(window.shape, bool)
        if inside.pixels:
            other = self.original.read_mask(inside)
            inside.relative_to(moved).cut(there)[:] = True if other is None else other
        return result & there

    def fingerprint(self) -> str:
        return f'{self.original.fingerprint()} {self.shift}'

    def version(self) -> str:
        return f'{self.original.version()} {self.shift}'

    @property
    def _is_far(self) -> bool:
        return max(abs(distance) for distance in self.shift) > self.ratio
