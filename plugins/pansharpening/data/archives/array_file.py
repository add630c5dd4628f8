"""Files of named arrays: .h5, .mat of any version, .npy and .npz, read one image at a time."""

from __future__ import annotations

import functools
import math
import threading
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import scipy.io

from plugins.pansharpening.scenes.arrays.matlab import open_hdf5
from toolkit.errors import DataError
from toolkit.io.verification.packed_arrays import check_npz, check_unpacked_size

HDF5 = b'\x89HDF\r\n\x1a\n'
MATLAB_7_3 = b'MATLAB 7.3'  # an HDF5 file whose axes are stored in reverse
SUFFIXES = ('.h5', '.hdf5', '.mat', '.npy', '.npz')
ARRAY = 'array'  # name of the only array of an .npy
_NUMERIC = ('double', 'single', *(f'{u}int{bits}' for u in ('', 'u') for bits in (8, 16, 32, 64)))
_DAMAGED = (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)


class ArrayFile:
    """The arrays of one file.

    HDF5 files (.h5, and .mat of version 7.3) and .npy are read image by image; older .mat files and
    .npz are unpacked whole, and stay in memory as long as this object.

    Args:
        path: of the file.
    Raises:
        DataError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open('rb') as file:
                head = file.read(16)
        except OSError as error:
            raise DataError(f'{path} cannot be read: {error}') from error
        self._reversed = head.startswith(MATLAB_7_3)
        hdf5_suffix = path.suffix.lower() in ('.h5', '.hdf5')
        self._hdf5 = self._reversed or head.startswith(HDF5) or hdf5_suffix
        self._lock = threading.Lock()
        self._unpacked: dict[str, np.ndarray] | None = None

    @functools.cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each array of real numbers by name.

        Raises:
            DataError: the file cannot be read.
        """
        if self._hdf5:
            with open_hdf5(self.path) as file:
                found = {n: file[n] for n in file if not n.startswith('#')}
                kinds = {
                    n: getattr(getattr(a, 'dtype', None), 'kind', '') for n, a in found.items()
                }
                shapes = {n: tuple(found[n].shape) for n, kind in kinds.items() if kind in 'uif'}
            return {n: shape[::-1] if self._reversed else shape for n, shape in shapes.items()}
        if self.path.suffix.lower() == '.mat':
            return {n: shape for n, shape, kind in self._list_variables() if kind in _NUMERIC}
        return {n: a.shape for n, a in self._load().items() if a.dtype.kind in 'uif'}

    def read(self, name: str, index: int | None = None, axis: int = 0) -> np.ndarray:
        """Reads an array, or one image of it.

        Args:
            name: of the array.
            index: of the image; None for the whole array.
            axis: along which the images follow each other.
        Raises:
            DataError: it cannot be read.
        """
        place: list[Any] = [slice(None)] * len(self.shapes[name])
        if index is not None:
            place[axis] = index
        if not self._hdf5:
            return np.asarray(self._load()[name][tuple(place)])
        with open_hdf5(self.path) as file:
            if self._reversed:
                return np.asarray(file[name][tuple(reversed(place))]).T
            return np.asarray(file[name][tuple(place)])

    def _list_variables(self) -> list[tuple[str, tuple[int, ...], str]]:
        try:
            return scipy.io.whosmat(self.path)
        except Exception as error:  # scipy raises many kinds for files that are cut or no .mat
            raise DataError(f'{self.path} cannot be read as a .mat file: {error}') from error

    def _load(self) -> dict[str, np.ndarray]:
        with self._lock:
            if self._unpacked is None:
                unpack = {'.mat': self._unpack_mat, '.npz': self._unpack_npz}
                self._unpacked = unpack.get(self.path.suffix.lower(), self._map_npy)()
        return self._unpacked

    def _unpack_mat(self) -> dict[str, np.ndarray]:
        packed = self.path.stat().st_size
        for name, shape, _ in self._list_variables():
            check_unpacked_size(self.path, name, 8 * math.prod(shape), packed)
        try:
            return scipy.io.loadmat(self.path, variable_names=list(self.shapes))
        except Exception as error:
            raise DataError(f'{self.path} cannot be read as a .mat file: {error}') from error

    def _unpack_npz(self) -> dict[str, np.ndarray]:
        try:
            with np.load(self.path, allow_pickle=False) as file:
                check_npz(self.path, file.files)
                return {name: file[name] for name in file.files}
        except _DAMAGED as error:
            raise DataError(f'{self.path} cannot be read as an .npz file: {error}') from error

    def _map_npy(self) -> dict[str, np.ndarray]:
        try:
            return {ARRAY: np.load(self.path, mmap_mode='r', allow_pickle=False)}
        except _DAMAGED as error:
            raise DataError(f'{self.path} cannot be read as an .npy file: {error}') from error
