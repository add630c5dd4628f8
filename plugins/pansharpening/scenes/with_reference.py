"""Scenes with a reference image in another file."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from plugins.pansharpening.scenes.derived_scene import DerivedScene
from plugins.pansharpening.scenes.rasters.alignment import RasterGrid, align
from plugins.pansharpening.scenes.rasters.band_files import BandFiles
from plugins.pansharpening.scenes.scene import SCENES, Georeference, Scene, scale_to_unit
from plugins.pansharpening.scenes.window import Window
from toolkit.errors import DataError
from toolkit.io.data_paths import find_data_file
from toolkit.io.verification.hashing import hash_files


class SceneWithReference(DerivedScene):
    """Base of scenes that add a reference image to another scene.

    Args:
        scene: scene without reference.

    Attributes:
        reference_is_ms: the reference is the multispectral image of the other scene.
    """

    reference_is_ms: ClassVar[bool] = False

    @property
    def has_reference(self) -> bool:
        return True

    @property
    def reference(self) -> np.ndarray:
        return self.read_reference(Window.whole(self.pan_shape))


@SCENES.register
class ReferencedScene(SceneWithReference):
    """A scene with a reference image from another file, such as one of an airborne camera.

    Args:
        scene: scene without reference.
        reference: path of the image, a raster or an .npy (C, H, W) with the bands of the MS in the
            same digital numbers, on the pixel grid of the PAN; it covers the scene. Absolute, or
            below $TOOLKIT_DATA, or below the current folder. Pixels without data there have none in
            the scene either.
    Raises:
        DataError: no such file; on first use: unreadable, other bands, or pixels that are not the
            PAN's.
    """

    def __init__(self, scene: Scene, reference: str) -> None:
        super().__init__(scene)
        self.path = find_data_file(reference)

    @property
    def samples(self) -> str | None:
        return self.original.samples

    @property
    def georeference(self) -> Georeference | None:
        return self.original.georeference

    def files(self) -> list[Path]:
        return [*super().files(), self.path]

    def read_ms(self, window: Window | None = None) -> np.ndarray:
        return self.original.read_ms(window)

    def read_mask(self, window: Window | None = None) -> np.ndarray | None:
        window = window or Window.whole(self.pan_shape)
        other = self.original.read_mask(window)
        masked = self._files is not None and self._files.header.masked
        own = self._read(window)[1] if masked else None
        return own if other is None else other if own is None else own & other

    def read_reference(self, window: Window) -> np.ndarray:
        return scale_to_unit(self._read(window)[0], self.bits, f'{self.path}: {window}')

    def fingerprint(self) -> str:
        return f'{self.original.fingerprint()}{hash_files(self.path)}'

    def version(self) -> str:
        return f'{self.original.version()}{hash_files(self.path)}'

    def _read(self, window: Window) -> tuple[np.ndarray, np.ndarray | None]:
        """Reads digital numbers and the mask of pixels with data."""
        window = window.shift(*self._origin)
        if self._files is None:
            return np.ascontiguousarray(window.cut(_map_array(self.path))), None
        return self._files.read(window)

    @functools.cached_property
    def _files(self) -> BandFiles | None:
        return None if self.path.suffix.lower() == '.npy' else BandFiles([self.path])

    @functools.cached_property
    def _origin(self) -> tuple[int, int]:
        """Row and column of the image at which the scene begins; checks that they fit."""
        if self._files is None:
            shape = _map_array(self.path).shape
            grid: Any = None
        else:
            header = self._files.header
            shape, grid = (len(header.bands), *header.grid[:2]), header.grid
        if len(shape) != 3 or shape[0] != self.bands:
            raise DataError(
                f'{self.path}: found an image of shape {tuple(shape)}, expected {self.bands} bands '
                f'as in the MS of {self.name}: (bands, height, width)'
            )
        place = self.georeference
        if place is not None and grid is not None and grid.located:
            pan = RasterGrid(*self.pan_shape, *place)
            found = align(grid, pan, 1, f'{self.path} and the PAN of {self.name}')
            if found.ms_origin and (found.pan_origin, found.shape) == ((0, 0), self.pan_shape):
                return found.ms_origin
            raise DataError(
                f'{self.path}: found pixels of {grid.pixel()} that do not lie on all those of the '
                f"PAN of {self.name}, {pan.pixel()}; expected an image on PAN's grid that covers "
                'the scene'
            )
        if tuple(shape[1:]) != self.pan_shape:
            raise DataError(
                f'{self.path}: found {shape[1]} x {shape[2]} pixels, expected those of the PAN of '
                f'{self.name}, {self.pan_shape[0]} x {self.pan_shape[1]}'
            )
        return 0, 0


def _map_array(path: Path) -> np.ndarray:
    try:
        return np.load(path, mmap_mode='r', allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f'{path} cannot be read as an .npy file: {error}') from error
