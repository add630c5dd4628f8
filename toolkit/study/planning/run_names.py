"""Names of a study's runs, which are those of their folders."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.config.dump import dump_inline
from toolkit.errors import list_few

# A run's folder is named after it; file systems allow 255 bytes.
LONGEST_ID = 120


def number_fold(values: list[Any], place: int) -> int:
    """Number a fold: its value where all values are integers, its place among them otherwise."""
    whole = all(isinstance(value, int) and not isinstance(value, bool) for value in values)
    return values[place] if whole else place


def join_names(names: Sequence[str]) -> str:
    """Join the first three names, and the number of the others."""
    return list_few(names, separator='; ')


class FolderNames:
    """Makes names for folders, no two of them the same."""

    def __init__(self) -> None:
        self._used: dict[str, int] = {}

    def name_run(
        self,
        variant: str,
        settings: Mapping[str, Any],
        data: str | None,
        fold: int | None,
        seed: int | None,
    ) -> str:
        """Make a new name for a run by its variant, values of axes, data set, fold and seed."""
        parts = [variant, *_shorten_settings(settings)]
        parts += [data] if data else []
        parts += [] if fold is None else [f'f{fold}']
        return self.new('-'.join([*parts, f's{seed}']))

    def new(self, wanted: str) -> str:
        """Make a new name that is as close to `wanted` as possible."""
        name = re.sub(r'[^\w.=+-]+', '_', wanted)[:LONGEST_ID].lstrip('.')
        # Some file systems do not distinguish upper from lower case.
        count = self._used[name.lower()] = self._used.get(name.lower(), 0) + 1
        return name if count == 1 else self.new(f'{name[: LONGEST_ID - 8]}_{count}')


def _shorten_settings(settings: Mapping[str, Any]) -> list[str]:
    """Write the values of the axes as `key=value`, by the last keys of their paths."""
    return [f'{path.rpartition(".")[2]}={_to_word(value)}' for path, value in settings.items()]


def _to_word(value: Any) -> str:
    if isinstance(value, Mapping) and isinstance(value.get('type'), str):
        return value['type']
    return dump_inline(value)
