"""Names of runs: short, fit for folders, no two the same."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from toolkit.config.dump import dump_inline

# A run's folder is named after it; file systems allow 255 bytes.
LONGEST_ID = 120


def fold_number(values: list[Any], number: int) -> int:
    """What a fold goes by: its value where all are integers, its place among them otherwise."""
    whole = all(isinstance(value, int) and not isinstance(value, bool) for value in values)
    return values[number] if whole else number


def short(settings: Mapping[str, Any]) -> list[str]:
    """The axes' values, `key=value`, by the last keys of their paths."""
    return [f'{path.rpartition(".")[2]}={_word(value)}' for path, value in settings.items()]


def _word(value: Any) -> str:
    if isinstance(value, Mapping) and isinstance(value.get('type'), str):
        return value['type']
    return dump_inline(value)


class Names:
    """Names for folders, no two the same."""

    def __init__(self) -> None:
        self._used: dict[str, int] = {}

    def new(self, wanted: str) -> str:
        """A name for a folder as near to `wanted` as can be."""
        name = re.sub(r'[^\w.=+-]+', '_', wanted)[:LONGEST_ID].lstrip('.')
        # Not told apart by case either: some file systems do not.
        count = self._used[name.lower()] = self._used.get(name.lower(), 0) + 1
        return name if count == 1 else self.new(f'{name[: LONGEST_ID - 8]}_{count}')
