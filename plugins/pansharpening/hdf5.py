"""Opening HDF5 files, which need an extra package."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from toolkit.errors import DataError


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
