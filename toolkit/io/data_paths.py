"""Where files of data are, and what tells two versions of one apart."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from toolkit.errors import MissingDataError

DATA_VARIABLE = 'TOOLKIT_DATA'


def data_path(path: str | Path) -> Path:
    """Where a file of data is: as given if absolute, else in $TOOLKIT_DATA, else from here.

    Raises:
        MissingDataError: it is in none of them; says where it was looked for.
    """
    return _found(path, 'file')


def data_folder(path: str | Path) -> Path:
    """Where a folder of data is; otherwise as `data_path`.

    Raises:
        MissingDataError: there is none; says where it was looked for.
    """
    return _found(path, 'folder')


def _found(path: str | Path, what: Literal['file', 'folder']) -> Path:
    candidates = _candidates(path)
    files = [candidate for candidate in candidates if candidate.is_file()]
    folders = [candidate for candidate in candidates if candidate.is_dir()]
    if right := files if what == 'file' else folders:
        return right[0]
    if folders:
        raise MissingDataError(f'{path} is a folder; name the file in it')
    if files:
        raise MissingDataError(f'{path} is a file; name the folder that it is in')
    raise _missing(what, path, candidates)


def _candidates(path: str | Path) -> list[Path]:
    path = Path(path).expanduser()
    if path.is_absolute():
        return [path]
    root = os.environ.get(DATA_VARIABLE)
    return [folder / path for folder in ([Path(root)] if root else []) + [Path.cwd()]]


def _missing(what: str, path: str | Path, candidates: list[Path]) -> MissingDataError:
    path = Path(path).expanduser()
    if path.is_absolute():
        return MissingDataError(f'no {what} {path}')
    root = os.environ.get(DATA_VARIABLE)
    looked = ' nor in '.join(f'{c.parent}' for c in candidates)
    advice = f'set {DATA_VARIABLE} to the folder that holds it'
    if root and not Path(root).is_dir():
        advice = f'{DATA_VARIABLE} is {root}, which is no folder; {advice}'
    return MissingDataError(f'no {what} {path.name} in {looked} (from {str(path)!r}); {advice}')
