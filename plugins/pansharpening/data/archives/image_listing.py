"""Lists the image files of a folder in the order of their numbers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from toolkit.errors import DataError


def list_images(folder: Path, suffixes: Iterable[str]) -> list[Path]:
    """Lists the files of a folder that have one of the extensions, in the order of their numbers.

    Raises:
        DataError: there are none, or they have several extensions.
    """
    known = tuple(suffixes)
    found = [path for path in folder.iterdir() if path.suffix.lower() in known]
    kinds = sorted({path.suffix.lower() for path in found})
    if len(kinds) != 1:
        raise DataError(
            f'{folder}: found {" and ".join(kinds) or "no"} files, expected one image in each '
            f'file, all with the same extension of {", ".join(known)}'
        )
    return sorted(found, key=lambda path: split_numbers(path.stem))


def split_numbers(name: str) -> list[tuple[bool, Any]]:
    """Splits a name into texts and numbers, so that image 2 comes before image 10."""
    pieces = re.findall(r'\d+|\D+', name)
    return [(piece.isdigit(), int(piece) if piece.isdigit() else piece) for piece in pieces]
