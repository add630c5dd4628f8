"""MATLAB files of version 7.3, as MATLAB's `save -v7.3` writes them."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np

HEAD = b'MATLAB 7.3 MAT-file, Platform: GLNXA64, Created on: a day HDF5 schema 1.00 .'


def write_matlab_73(path: Path, **variables: np.ndarray) -> None:
    """Writes arrays behind MATLAB's header, with their axes in reverse."""
    with h5py.File(path, 'w', userblock_size=512) as file:
        for name, array in variables.items():
            file[name] = array.T
    with path.open('r+b') as file:
        file.write(HEAD.ljust(124) + b'\x00\x02IM')
