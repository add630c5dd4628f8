"""Scenes in MATLAB files, the usual format of benchmark images."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import scipy.io

from plugins.pansharpening.scenes.scene import (
    SCENES,
    Scene,
    check_bit_depth,
    check_pair,
    choose_bands,
    choose_bits,
    scale_to_unit,
)
from plugins.pansharpening.scenes.sensors import SensorSpec, get_sensor
from plugins.pansharpening.scenes.window import Window
from toolkit.errors import DataError, did_you_mean
from toolkit.io.data_paths import find_data_file
from toolkit.io.verification.hashing import hash_files
from toolkit.io.verification.packed_arrays import check_unpacked_size
from toolkit.ranges import Ge, Le, PositiveInt

# Variables with whole numbers that describe a scene.
SCALARS = ('ratio', 'L')


@SCENES.register
class MatScene(Scene):
    """A .mat file with an MS (h, w, C) and a PAN (H, W); version 7.3 needs the extra `h5`.

    Args:
        path: absolute, or below $TOOLKIT_DATA, or below the current folder.
        sensor: name of the sensor, or its description; see `get_sensor`. None for the one that the
            variable `sensor` names, or 'generic'.
        bit_depth: of the digital numbers; None for the variable `L`, or the sensor's.
        ms_key: variable that holds the MS.
        pan_key: variable that holds the PAN.
        ratio: PAN pixels per MS pixel that the images must have; None for the variable `ratio`.
        bands: numbers of the bands that are used, from 1, in the order of the sensor; None for all.
    Raises:
        ValueError: no such sensor.
        DataError: no such file; on first use: unreadable, no such variables, shapes
            that do not fit.
    """

    def __init__(
        self,
        path: str,
        sensor: SensorSpec | None = None,
        bit_depth: Annotated[int, Ge(1), Le(32)] | None = None,
        ms_key: str = 'I_MS',
        pan_key: str = 'I_PAN',
        ratio: PositiveInt | None = None,
        bands: list[PositiveInt] | None = None,
    ) -> None:
        self.path = find_data_file(path)
        self.name = self.path.stem
        if sensor is None:
            sensor = read_own_sensor(str(self.path)) or 'generic'
        self.sensor = get_sensor(sensor)
        self.stated_bits, self.stated_ratio = bit_depth, ratio
        if bit_depth is not None:
            check_bit_depth(bit_depth)
        self.ms_key, self.pan_key, self.order = ms_key, pan_key, bands

    @property
    def states_bits(self) -> bool:
        return self._own().bits is not None

    @functools.cached_property
    def bits(self) -> int:  # type: ignore[override]
        own = self._own()
        if self.stated_bits is None and own.bits is not None:
            return check_bit_depth(own.bits)
        return choose_bits(self.sensor, self.stated_bits, self._images()[0])

    @property
    def bands(self) -> int:
        return self._images()[0].shape[0]

    @property
    def ms_shape(self) -> tuple[int, int]:
        h, w = self._images()[0].shape[1:]
        return h, w

    @property
    def pan_shape(self) -> tuple[int, int]:
        h, w = self._images()[1].shape[1:]
        return h, w

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._images()[0].dtype

    def files(self) -> list[Path]:
        return [self.path]

    def read_ms(self, window: Window | None = None) -> np.ndarray:
        return self._read(0, self.ms_key, window)

    def read_pan(self, window: Window | None = None) -> np.ndarray:
        return self._read(1, self.pan_key, window)

    def fingerprint(self) -> str:
        return hash_files(self.path)

    def _read(self, index: int, key: str, window: Window | None) -> np.ndarray:
        image = self._images()[index]
        window = window or Window.whole(image.shape[1:])
        return scale_to_unit(window.cut(image), self.bits, f'{self.path}: {key}, {window}')

    def _images(self) -> tuple[np.ndarray, np.ndarray]:
        own = self._own()
        ms = choose_bands(own.ms, self.order, str(self.path))
        check_pair(self.sensor, ms.shape, own.pan.shape[1:], str(self.path))
        found, stated = own.pan.shape[1] // ms.shape[1], self.stated_ratio or own.ratio
        if stated not in (None, found):
            source = 'ratio is' if self.stated_ratio else 'its variable ratio is'
            raise DataError(f'{self.path}: found images of ratio {found}, but {source} {stated}')
        return ms, own.pan

    def _own(self) -> MatContent:
        return _load(self.path, self.path.stat().st_mtime_ns, self.ms_key, self.pan_key)


class MatContent(NamedTuple):
    """Content of a .mat file.

    Attributes:
        ms: (C, h, w).
        pan: (1, H, W).
        ratio: its variable `ratio`; None if there is none.
        bits: its variable `L`, likewise.
    """

    ms: np.ndarray
    pan: np.ndarray
    ratio: int | None
    bits: int | None


@functools.lru_cache(maxsize=4)
def _load(path: Path, modified: int, ms_key: str, pan_key: str) -> MatContent:
    # The datasets of a run share one scene's memory; `modified` only keys the cache.
    try:
        stated = scipy.io.whosmat(path)
        for name, shape, _ in stated:
            check_unpacked_size(path, name, 8 * math.prod(shape), path.stat().st_size)
        variables = scipy.io.loadmat(path, variable_names=[ms_key, pan_key, *SCALARS])
        known = [name for name, *_ in stated]
    except DataError:
        raise
    except NotImplementedError:
        variables, known = read_matlab_variables(path, (ms_key, pan_key, *SCALARS))
    except Exception as error:  # scipy raises many kinds for files that are cut or no .mat at all
        raise DataError(f'{path} cannot be read as a .mat file: {error}') from error
    for key in (ms_key, pan_key):
        if key not in variables:
            raise DataError(
                f'{path} has no variable {key!r}{did_you_mean(key, known)}; there are: '
                f'{", ".join(known) or "none"}; set ms_key and pan_key (--ms-key, --pan-key)'
            )
    ms, pan = variables[ms_key], variables[pan_key]
    if ms.ndim != 3 or pan.ndim != 2:
        raise DataError(
            f'{path}: found {ms_key} of shape {ms.shape} and {pan_key} of shape {pan.shape}; '
            'expected an MS (height, width, bands) and a PAN (height, width)'
        )
    scalars = (_read_count(variables, key, path) for key in SCALARS)
    images = (np.ascontiguousarray(ms.transpose(2, 0, 1)), np.ascontiguousarray(pan[None]))
    return MatContent(*images, *scalars)


def _read_count(variables: Mapping[str, np.ndarray], key: str, path: Path) -> int | None:
    """Reads a whole number from 1 that a file may hold."""
    value = np.asarray(variables.get(key, ()))
    if not value.size:
        return None
    if value.size != 1 or value.dtype.kind not in 'uif' or not float(value.item()).is_integer():
        raise DataError(f'{path}: found the variable {key} of {value}, expected a whole number')
    return int(value.item())


def read_own_sensor(path: str) -> str | None:
    """Reads the name of the sensor from the variable `sensor` of a .mat file; None without one."""
    try:
        value = scipy.io.loadmat(find_data_file(path), variable_names=['sensor']).get('sensor')
    except Exception:  # version 7.3, whose texts are codes; a bad file is said when it is opened
        return None
    return None if value is None or value.dtype.kind != 'U' else str(value.flat[0])


def read_matlab_variables(
    path: Path, keys: Sequence[str] | None = None
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Reads arrays of a .mat file of version 7.3.

    Args:
        path: the file.
        keys: names of the variables to read; None for all. Missing ones are left out.
    Returns:
        Arrays by name, and the names of all variables in the file.
    Raises:
        DataError: as for `open_hdf5`.
    """
    with open_hdf5(path) as file:
        known = [name for name in file if not name.startswith('#')]
        wanted = known if keys is None else [key for key in keys if key in known]
        # MATLAB stores columns first: the axes come in reverse.
        arrays = {name: file[name] for name in wanted if hasattr(file[name], 'shape')}
        for name, array in arrays.items():
            check_unpacked_size(path, name, array.nbytes, array.id.get_storage_size())
        return {name: np.array(array).T for name, array in arrays.items()}, known


@contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """Opens an HDF5 file with h5py for reading.

    Raises:
        DataError: h5py is not installed, the file cannot be read, or its values are in other files.
    """
    try:
        import h5py
    except ImportError as error:
        raise DataError(
            f"{path} is an HDF5 file, which h5py reads; install it with pip install 'ablakit[h5]'"
        ) from error
    try:
        # Opened for each read: a handle must not cross into a data loader's process.
        with h5py.File(path, 'r') as file:
            for name in file:
                _check_own_values(path, name, file, h5py)
            yield file
    except (OSError, RuntimeError) as error:
        cause = str(error).splitlines()[0]
        raise DataError(f'{path} cannot be read: {cause}; it may be cut or no HDF5') from error


def _check_own_values(path: Path, name: str, file: Any, h5py: Any) -> None:
    """Refuses a variable whose values are in another file, which its sender may not know of.

    Raises:
        DataError: they are.
    """
    is_outside = isinstance(file.get(name, getlink=True), h5py.ExternalLink)
    if not is_outside:
        found = file.get(name)
        is_outside = isinstance(found, h5py.Dataset) and bool(
            found.external or found.is_virtual or found.file.filename != file.filename
        )
    if is_outside:
        raise DataError(
            f'{path}: the values of {name} are in another file (an external link); save a copy '
            'that holds them itself'
        )
