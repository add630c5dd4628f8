"""Archives of test scenes: PanCollection's .h5, DLPan's .mat, folders of such, and manifests."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rasterio.transform import Affine

from plugins.pansharpening.data.archives.array_file import SUFFIXES, ArrayFile
from plugins.pansharpening.data.archives.image_layout import (
    ArrayLayout,
    describe_images,
    find_image_layout,
    find_pair_layouts,
)
from plugins.pansharpening.data.archives.image_listing import list_images
from plugins.pansharpening.scenes.arrays.memory_scene import MemoryScene
from plugins.pansharpening.scenes.manifest import SceneManifest, read_manifest
from plugins.pansharpening.scenes.open_scene import ImageFile, read_image
from plugins.pansharpening.scenes.rasters.alignment import RasterGrid
from plugins.pansharpening.scenes.scene import Scene, check_bit_depth
from plugins.pansharpening.scenes.sensors import SensorSpec, get_sensor
from toolkit.errors import DataError, MissingDataError, ToolkitError
from toolkit.io.data_paths import find_data_file, find_data_folder
from toolkit.io.tables.read_table import read_table

# Names of the arrays in the order in which they are looked for. The toolbox's I_MS is the
# upsampled MS where there is an I_MS_LR.
MS_KEYS, PAN_KEYS, REFERENCE_KEYS = ('ms', 'I_MS_LR', 'I_MS'), ('pan', 'I_PAN'), ('gt', 'I_GT')
# Inputs that a file of results may hold too.
INPUT_KEYS = {*MS_KEYS, *PAN_KEYS, *REFERENCE_KEYS, 'lms'}
BITS_KEY = 'L'
TABLES = ('.csv', '.parquet', '.pq')
MANIFEST_COLUMNS = ('ms', 'sensor')


class ArchivedScene(NamedTuple):
    """A scene of an archive.

    Attributes:
        scene: MS and PAN.
        reference: the true image in digital numbers; None at full resolution.
        reference_name: for messages.
    """

    scene: Scene
    reference: ImageFile | None
    reference_name: str


class SceneArchive(ABC):
    """Test scenes with unique names, opened one at a time.

    Attributes:
        path: of the file or the folder.
        names: of the scenes, in order.
    """

    path: Path
    names: list[str]

    @property
    def subsets(self) -> list[str]:
        """Subset of each scene that the archive itself states; '' for none."""
        return [''] * len(self.names)

    @abstractmethod
    def open(self, index: int) -> ArchivedScene:
        """Opens a scene.

        Raises:
            DataError: it cannot be read, or its arrays do not fit.
        """

    @abstractmethod
    def files(self) -> list[Path]:
        """Lists the files that are read."""


class ArrayArchive(SceneArchive):
    """Scenes in files of arrays: many in one file, or one in each of several.

    Args:
        path: of the file, or of the folder of the files.
        files: one file of many scenes or of one, or files of one scene each.
        sensor: see `get_sensor`.
        bit_depth: of the digital numbers; None for the variable `L` of a .mat, or the sensor's.
    Raises:
        ValueError: no such sensor, or a bit depth out of range.
        DataError: arrays are missing or do not fit.
    """

    def __init__(
        self, path: Path, files: list[Path], sensor: SensorSpec, bit_depth: int | None
    ) -> None:
        self.path, self._files = path, files
        self._sensor = get_sensor(sensor).spec
        self._bits = None if bit_depth is None else check_bit_depth(bit_depth)
        self._single = _SceneArrays(ArrayFile(files[0])) if len(files) == 1 else None
        count = None if self._single is None else self._single.ms.count
        stem = files[0].stem
        self.names = [f.stem for f in files] if count is None else make_names(stem, count)

    def open(self, index: int) -> ArchivedScene:
        if self._single is not None:
            arrays = self._single
        else:
            arrays = _SceneArrays(ArrayFile(self._files[index]))
            if arrays.ms.count is not None:
                raise DataError(
                    f'{arrays.file.path}: found {arrays.ms.count} scenes, expected one in each '
                    f'file of {self.path}; give the file itself'
                )
        ms, pan, reference = arrays.read(index)
        bits = self._bits or arrays.read_bits()
        name = f'{arrays.file.path}: {self.names[index]}'
        try:
            scene = MemoryScene(ms, pan, self._sensor, bits, name)
        except ValueError as error:
            raise DataError(str(error)) from error
        if reference is None:
            return ArchivedScene(scene, None, '')
        grid = RasterGrid(*reference.shape[1:], None, Affine.identity())
        return ArchivedScene(scene, ImageFile(reference, None, grid), f'{name}: the reference')

    def files(self) -> list[Path]:
        return self._files


class ManifestArchive(SceneArchive):
    """The scenes of a manifest.

    Args:
        manifest: as read.
    """

    def __init__(self, manifest: SceneManifest) -> None:
        self.path, self._rows = manifest.path, manifest.rows
        self.names = [row.name for row in manifest.rows]

    @property
    def subsets(self) -> list[str]:
        return [row.split for row in self._rows]

    def open(self, index: int) -> ArchivedScene:
        row = self._rows[index]
        scene = replace(row, reference=None).open()
        if row.reference is None:
            return ArchivedScene(scene, None, '')
        return ArchivedScene(
            scene, read_image(row.reference, scene.bands, row.outside), row.reference
        )

    def files(self) -> list[Path]:
        paths = [p for row in self._rows for p in (*row.ms, row.pan, row.reference) if p]
        return [self.path, *map(Path, paths)]


class _SceneArrays:
    """The arrays of the scenes of one file, found by their names and shapes."""

    def __init__(self, file: ArrayFile) -> None:
        self.file, shapes = file, file.shapes
        self.keys = [
            next((k for k in keys if k in shapes), None)
            for keys in (MS_KEYS, PAN_KEYS, REFERENCE_KEYS)
        ]
        known = ', '.join(f'{name} {shape}' for name, shape in shapes.items()) or 'none'
        for keys, key in zip((MS_KEYS, PAN_KEYS), self.keys):
            if key is None:
                raise DataError(
                    f'{file.path} has no array {" or ".join(keys)}; there are: {known}; expected '
                    'ms, pan and, at reduced resolution, gt'
                )
        ms, pan, reference = self.keys
        assert ms is not None and pan is not None
        fits = find_pair_layouts(shapes[ms], shapes[pan])
        if len(fits) != 1:
            found = 'sizes that do not fit' if not fits else 'sizes that fit in several ways'
            raise DataError(
                f'{file.path}: found {ms} of shape {shapes[ms]} and {pan} of shape {shapes[pan]}, '
                f'{found}; expected (scenes, bands, height, width) or bands last, and a PAN that '
                'is the same integer multiple along both axes'
            )
        self.ms, self.pan = fits[0]
        self.reference: ArrayLayout | None = None
        if reference is not None:
            image = (self.ms.bands, self.pan.height, self.pan.width)
            self.reference = find_image_layout(shapes[reference], self.ms.count, image)
            if self.reference is None:
                raise DataError(
                    f'{file.path}: found {reference} of shape {shapes[reference]}, expected '
                    f'{describe_images(self.ms.count, image)}'
                )

    def read(self, index: int) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        ms, pan, reference = self.keys
        images: list[Any] = [
            self.ms.read(self.file, str(ms), index),
            self.pan.read(self.file, str(pan), index),
        ]
        if self.reference is not None:
            images.append(self.reference.read(self.file, str(reference), index))
        return images[0], images[1], images[2] if len(images) > 2 else None

    def read_bits(self) -> int | None:
        """Reads the variable L of a .mat, which is the bit depth; None without one."""
        if self.file.shapes.get(BITS_KEY) not in ((), (1,), (1, 1)):
            return None
        value = float(self.file.read(BITS_KEY).item())
        if not value.is_integer() or not 1 <= value <= 32:
            raise DataError(f'{self.file.path}: found L = {value:g}, expected a bit depth')
        return int(value)


def open_archive(
    path: str, sensor: SensorSpec = 'generic', bit_depth: int | None = None, outside: bool = False
) -> SceneArchive:
    """Opens an archive by what it is.

    Args:
        path: of an .h5, .mat or .npz with one scene or many, of a folder with one such file for
            each scene, or of a manifest (.csv, .parquet); absolute, or below $TOOLKIT_DATA, or
            below the current folder.
        sensor: see `get_sensor`; a manifest states its own.
        bit_depth: of the digital numbers; None for the file's or the sensor's.
        outside: a manifest may name files outside its folder.
    Raises:
        ValueError: no such sensor, or a bit depth out of range.
        DataError: there is no such archive, or it cannot be used.
    """
    try:
        folder = find_data_folder(path)
    except MissingDataError:
        file = find_data_file(path)
        if file.suffix.lower() in TABLES:
            return ManifestArchive(read_manifest(file, outside))
        if file.suffix.lower() not in SUFFIXES:
            raise DataError(
                f'{file}: expected an archive of scenes: .h5, .mat, .npz, a folder of such, or a '
                'manifest (.csv, .parquet)'
            ) from None
        return ArrayArchive(file, [file], sensor, bit_depth)
    return ArrayArchive(folder, list_images(folder, SUFFIXES), sensor, bit_depth)


def is_scene_source(path: str) -> bool:
    """Tells by its name and header whether a path seems to be an archive of scenes."""
    suffix = Path(path).suffix.lower()
    if suffix in ('.h5', '.hdf5', '.mat'):
        return True
    try:
        if suffix in TABLES:
            columns = read_table(find_data_file(path), MANIFEST_COLUMNS).columns
            return 'image' not in columns and set(MANIFEST_COLUMNS) <= set(columns)
        if suffix == '.npz':
            return not {*MS_KEYS}.isdisjoint(ArrayFile(find_data_file(path)).shapes)
        folder = find_data_folder(path)
    except ToolkitError:
        return False
    return any(file.suffix.lower() in SUFFIXES for file in folder.iterdir())


def make_names(stem: str, count: int) -> list[str]:
    """Names the scenes of one file by their positions, from 0."""
    return [f'{stem}_{number}' for number in range(count)]
