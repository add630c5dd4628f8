"""Finds data files and folders, absolute or below $TOOLKIT_DATA or the current folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from toolkit.errors import MissingDataError

DATA_VARIABLE = 'TOOLKIT_DATA'


def find_data_file(path: str | Path) -> Path:
    """Finds a data file.

    Args:
        path: absolute, or below $TOOLKIT_DATA, or below the current folder.
    Raises:
        MissingDataError: there is no such file; names the folders that were searched.
    """
    return _find(path, 'file')


def find_data_folder(path: str | Path) -> Path:
    """Finds a data folder.

    Args:
        path: absolute, or below $TOOLKIT_DATA, or below the current folder.
    Raises:
        MissingDataError: there is no such folder; names the folders that were searched.
    """
    return _find(path, 'folder')


def _find(path: str | Path, kind: Literal['file', 'folder']) -> Path:
    candidates = _list_candidates(path)
    try:
        files = [candidate for candidate in candidates if candidate.is_file()]
        folders = [candidate for candidate in candidates if candidate.is_dir()]
    except OSError as error:  # a name that is too long, a folder without permission
        raise MissingDataError(f'{path} cannot be read: {error.strerror}') from error
    if right := files if kind == 'file' else folders:
        return right[0]
    if folders:
        raise MissingDataError(f'{path} is a folder; name the file in it')
    if files:
        raise MissingDataError(f'{path} is a file; name the folder that it is in')
    raise _make_error(kind, path, candidates)


def _list_candidates(path: str | Path) -> list[Path]:
    path = Path(path).expanduser()
    if path.is_absolute():
        return [path]
    root = os.environ.get(DATA_VARIABLE)
    return [folder / path for folder in ([Path(root)] if root else []) + [Path.cwd()]]


def _make_error(kind: str, path: str | Path, candidates: list[Path]) -> MissingDataError:
    path = Path(path).expanduser()
    if path.is_absolute():
        return MissingDataError(f'no {kind} {path}')
    root = os.environ.get(DATA_VARIABLE)
    searched = ' nor in '.join(f'{c.parent}' for c in candidates)
    advice = f'set {DATA_VARIABLE} to the folder that holds it'
    if root and not Path(root).is_dir():
        advice = f'{DATA_VARIABLE} is {root}, which is not a folder; {advice}'
    return MissingDataError(f'no {kind} {path.name} in {searched} (from {str(path)!r}); {advice}')
