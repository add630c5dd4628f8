"""A manifest's table, a scene a row: reading and checking it before any image is opened."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

from plugins.pansharpening.scenes.manifest_scenes import Manifest, SceneRow
from plugins.pansharpening.scenes.raster import Samples
from plugins.pansharpening.scenes.scene import check_bit_depth
from plugins.pansharpening.scenes.sensors import sensor as sensor_named
from toolkit.errors import ToolkitError, did_you_mean
from toolkit.io.data_paths import data_path
from toolkit.io.read_table import read_table

NEEDED = ('name', 'ms', 'sensor')
COLUMNS = (
    *NEEDED,
    'pan',
    'reference',
    'bit_depth',
    'ratio',
    'bands',
    'samples',
    'group',
    'split',
    'weight',
)
# Between the files of one MS, where its bands come apart.
SEPARATOR = ';'


def read_manifest(path: str | Path, outside: bool = False) -> Manifest:
    """Read a manifest.

    Args:
        path: of the CSV or Parquet file: absolute, or below $TOOLKIT_DATA, or from here.
        outside: its paths may leave its folder.
    Raises:
        ToolkitError: with all mistakes, a line each: `FILE:LINE: what is wrong`.
    """
    return _Reader(data_path(path), outside).read()


class _Reader:
    """Reads one file and collects what is wrong with it."""

    def __init__(self, path: Path, outside: bool) -> None:
        self.path, self.outside = path, outside
        self.problems: list[str] = []

    def read(self) -> Manifest:
        columns, lines = self._lines()
        rows = [row for line, values in lines if (row := self._row(line, values)) is not None]
        self._twice(rows, lambda row: row.name, 'the name {!r}')
        # By the files themselves, so that a link to one counts as it.
        self._twice(rows, lambda row: tuple(map(os.path.realpath, row.ms)), 'the MS {0[0]}')
        self._groups(rows)
        if not lines and not self.problems:
            self._fail(1, 'found no scene, expected a row for each')
        if self.problems:
            raise ToolkitError('\n'.join(self.problems))
        told = json.dumps([{k: v for k, v in sorted(row.values.items()) if v} for row in rows])
        digest = hashlib.sha256(told.encode()).hexdigest()
        return Manifest(self.path, tuple(rows), tuple(columns), digest)

    def _fail(self, line: int, message: str) -> None:
        self.problems.append(f'{self.path}:{line}: {message}')

    def _lines(self) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
        """The columns, and each row's line and values by column."""
        table = read_table(self.path, COLUMNS)
        self._check_columns(table.header, table.columns)
        lines = []
        for line, values in table.rows:
            if len(values) != len(table.columns):
                expected = f'expected {len(table.columns)} as columns'
                self._fail(line, f'found {len(values)} values, {expected}')
            else:
                lines.append((line, dict(zip(table.columns, values, strict=True))))
        return table.columns, lines

    def _check_columns(self, line: int, columns: list[str]) -> None:
        missing = [name for name in NEEDED if name not in columns]
        for name in columns:
            # Columns that nothing here knows are the user's own.
            near = '' if name in COLUMNS else did_you_mean(name, COLUMNS)
            if near:
                self._fail(line, f'no column is named {name!r}{near}')
        for name in sorted({name for name in columns if columns.count(name) > 1}):
            self._fail(line, f'the column {name!r} is there twice')
        if missing and not self.problems:
            self._fail(
                line,
                f'no column {" and ".join(missing)}; found {", ".join(columns)}, expected '
                f'{", ".join(NEEDED)} and as needed {", ".join(COLUMNS[len(NEEDED) :])}',
            )
        if self.problems:
            raise ToolkitError('\n'.join(self.problems))

    def _row(self, line: int, values: dict[str, str]) -> SceneRow | None:
        before = len(self.problems)
        for name in NEEDED:
            if not values[name]:
                self._fail(line, f'{name} is empty')
        ms = tuple(self._file(line, 'ms', part.strip()) for part in values['ms'].split(SEPARATOR))
        pan, reference = (
            self._file(line, name, values[name]) if values.get(name) else None
            for name in ('pan', 'reference')
        )
        if len(self.problems) == before and pan is None and not _holds_both(ms):
            self._fail(line, f'pan is empty; only a .mat or .npz holds both, found {values["ms"]}')
        sensor = self._value(line, values, 'sensor', sensor_named)
        numbers = {
            'bit_depth': self._value(line, values, 'bit_depth', lambda v: check_bit_depth(int(v))),
            'ratio': self._value(line, values, 'ratio', _positive),
            'bands': self._value(line, values, 'bands', _positive),
            'samples': self._value(line, values, 'samples', _samples, 'centre'),
            'weight': self._value(line, values, 'weight', _weight, 1.0),
        }
        if len(self.problems) > before or sensor is None:
            return None
        return SceneRow(
            place=f'{self.path}:{line}',
            name=values['name'],
            ms=ms,
            pan=pan,
            sensor=sensor.name,
            reference=reference,
            split=values.get('split', ''),
            values=values,
            **numbers,
        )

    def _file(self, line: int, column: str, name: str) -> str:
        """The absolute path of a file that a row names."""
        path = Path(os.path.normpath(self.path.parent / name))
        if not self.outside and not path.is_relative_to(os.path.normpath(self.path.parent)):
            self._fail(
                line,
                f'{column} {name} leaves the folder of the manifest; keep its files in it, or '
                'allow it with `outside: true` (toolkit split: --outside)',
            )
        elif name and not path.is_file():
            try:
                beside = os.listdir(path.parent)
            except OSError:
                beside = []
            self._fail(line, f'{column}: no file {path}{did_you_mean(path.name, beside)}')
        return str(path)

    def _value(
        self,
        line: int,
        values: dict[str, str],
        column: str,
        convert: Callable[[str], Any],
        default: Any = None,
    ) -> Any:
        if not values.get(column):
            return default
        try:
            return convert(values[column])
        except ValueError as error:
            self._fail(line, f'{column}: {error}')
            return default

    def _twice(self, rows: list[SceneRow], key: Callable[[SceneRow], Any], named: str) -> None:
        first: dict[Any, SceneRow] = {}
        for row in rows:
            other = first.setdefault(key(row), row)
            if other is not row:
                line = row.place.rpartition(':')[2]
                self._fail(
                    int(line),
                    f'{named.format(key(row))} is that of line {other.place.rpartition(":")[2]} '
                    'too; a scene has one row',
                )

    def _groups(self, rows: list[SceneRow]) -> None:
        """What belongs together is not in two splits."""
        first: dict[str, SceneRow] = {}
        for row in rows:
            group = row.values.get('group', '')
            if group and row.split and (other := first.setdefault(group, row)).split != row.split:
                self._fail(
                    int(row.place.rpartition(':')[2]),
                    f'the group {group!r} is in the split {row.split!r} here and in '
                    f'{other.split!r} in line {other.place.rpartition(":")[2]}; put it in one',
                )


def _holds_both(ms: tuple[str, ...]) -> bool:
    return len(ms) == 1 and ms[0].lower().endswith(('.mat', '.npz'))


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f'expected a whole number from 1, found {text!r}')
    return int(text)


def _weight(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ValueError(f'expected a number of 0 or more, found {text!r}')
    return value


def _samples(text: str) -> str:
    known = get_args(Samples)
    if text not in known:
        raise ValueError(
            f'expected {" or ".join(known)}, found {text!r}{did_you_mean(text, known)}'
        )
    return text
