"""Checks compressed arrays before they are unpacked: their size, shape and type as stated."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from toolkit.errors import DataError

# Images compress to a tenth at best; a file of a few megabytes that unpacks to gigabytes is no
# image, and would take the memory of all other processes.
LARGE = 1 << 30
MOST_RATIO = 100


def check_unpacked_size(path: Path, name: str, unpacked: int, packed: int) -> None:
    """Refuses an array that is large only once it is unpacked.

    Raises:
        DataError: it is.
    """
    if unpacked > LARGE and unpacked > MOST_RATIO * packed:
        raise DataError(
            f'{path}: {name} takes {packed / 1e6:.1f} MB and unpacks to {unpacked / 1e9:.1f} GB, '
            'which no image does; if it is right, save it uncompressed'
        )


def check_npz(path: Path, names: Sequence[str]) -> None:
    """Checks arrays of an `.npz` file by their headers, without reading their values.

    Args:
        path: of the file.
        names: of arrays; missing ones are left to the reader.
    Raises:
        DataError: an array holds Python objects, states another size than it has, or is large only
            once it is unpacked.
        OSError, ValueError, zipfile.BadZipFile: the file is no `.npz`.
    """
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: info for info in archive.infolist()}
        for name in names:
            info = members.get(f'{name}.npy')
            if info is None:
                continue
            check_unpacked_size(path, name, info.file_size, info.compress_size)
            with archive.open(info) as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0
                if version > (1, 0):
                    read = np.lib.format.read_array_header_2_0
                shape, _, dtype = read(file)
                header = file.tell()
            if dtype.hasobject:
                raise DataError(f'{path}: {name} holds Python objects, which could run code')
            stated = math.prod(shape) * dtype.itemsize
            if stated != info.file_size - header:
                raise DataError(
                    f'{path}: {name} states {stated} bytes ({shape} {dtype}) and holds '
                    f'{info.file_size - header}; it is damaged'
                )
