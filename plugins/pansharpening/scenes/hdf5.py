"""Opening HDF5 files, which need an extra package."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.errors import DataError


def matlab_variables(
    path: Path, keys: Sequence[str] | None = None
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Arrays of a .mat file of version 7.3 by name, and the names of all there are.

    Args:
        path: the file.
        keys: which to read; None for all. Those that are not there are left out.
    Raises:
        DataError: as for `opened_hdf5`.
    """
    with opened_hdf5(path) as file:
        known = [name for name in file if not name.startswith('#')]
        wanted = known if keys is None else [key for key in keys if key in known]
        # MATLAB stores columns first: the axes come in reverse.
        return {n: np.array(file[n]).T for n in wanted if hasattr(file[n], 'shape')}, known


@contextmanager
def opened_hdf5(path: Path) -> Iterator[Any]:
    """An `h5py.File` opened for reading.

    Raises:
        DataError: h5py is not installed, or the file cannot be read.
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
            yield file
    except (OSError, RuntimeError) as error:
        cause = str(error).splitlines()[0]
        raise DataError(f'{path} cannot be read: {cause}; it may be cut or no HDF5') from error
