"""Base class of the readers of manifests: tables with one row for each image or scene."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

from toolkit.errors import DataError, ToolkitError, did_you_mean
from toolkit.io.tables.read_table import read_table

# More mistakes than these are only counted: a wrong folder makes one in each row.
MAX_MISTAKES = 40

Row = TypeVar('Row')
Value = TypeVar('Value')


class ManifestReader(ABC, Generic[Row]):
    """Reader of a manifest that collects all mistakes and raises them together.

    Args:
        path: path of the CSV or Parquet file.
        outside: allow paths that leave the folder of the manifest.

    Attributes:
        noun: name of the thing in a row, for messages: 'image'.
        outside_option: how a user allows paths that leave the folder, for messages.
    """

    noun: ClassVar[str]
    outside_option: ClassVar[str] = '`outside: true` (on the command line: --outside)'

    def __init__(self, path: Path, outside: bool) -> None:
        self.path, self.outside = path, outside
        # Not resolved: a folder that is reached by a link keeps the name that the user knows.
        self.folder = Path(os.path.normpath(path.parent))
        self._mistakes: list[str] = []
        self._faulty_lines: set[int] = set()
        self._files_in: dict[Path, list[str]] = {}
        self._real_folders: dict[Path, Path] = {}

    @abstractmethod
    def check_columns(self, line: int, columns: Sequence[str]) -> None:
        """Adds the mistakes in the names of the columns, which stand in `line`."""

    @abstractmethod
    def parse_row(self, line: int, cells: Mapping[str, str]) -> Row | None:
        """Converts the cells of a row, by column; adds its mistakes and returns None if it has any.

        Args:
            line: line of the row in the file.
            cells: stripped text of each column, '' for a blank cell.
        """

    def read_rows(self, expected: Sequence[str]) -> tuple[tuple[str, ...], list[tuple[int, Row]]]:
        """Reads the columns as written, and each row without a mistake with its line.

        Args:
            expected: names of columns, for the message about an empty file.
        Raises:
            ToolkitError: the file is no table, or its columns are wrong.
        """
        table = read_table(self.path, expected)
        named = [name for name in table.columns if name]
        if len(named) == 1 and any(len(list(filter(None, cells))) > 1 for _, cells in table.rows):
            self.add_mistake(
                table.header,
                f'found {named[0]!r} alone, expected the names of the columns, such as '
                f'{", ".join(expected)}; delete the lines of a title above them',
            )
            self.raise_mistakes()
        for name in sorted({name for name in named if named.count(name) > 1}):
            self.add_mistake(table.header, f'the column {name!r} is there twice')
        blank = [str(i) for i, name in enumerate(table.columns, 1) if not name]
        if len(blank) > 1:  # pandas writes its index without a name
            told = f'the columns {", ".join(blank)} have no name; write names above them'
            self.add_mistake(table.header, told)
        self.check_columns(table.header, table.columns)
        self.raise_mistakes()
        rows = []
        for line, cells in table.rows:
            if len(cells) != len(table.columns):
                expected_count = f'expected {len(table.columns)}, one for each column'
                self.add_mistake(line, f'found {len(cells)} values, {expected_count}')
                continue
            row = self.parse_row(line, dict(zip(table.columns, cells, strict=True)))
            if row is not None:
                rows.append((line, row))
        if not table.rows:
            self.add_mistake(table.header, f'found no {self.noun}, expected one row for each')
        return tuple(table.columns), rows

    # -- cells ---------------------------------------------------------------------------------

    def resolve_file(self, line: int, column: str, name: str) -> Path:
        """Returns the absolute path of a file that a row names; adds a mistake if it is wrong.

        Args:
            line: line of the row.
            column: column that names the file.
            name: path from the folder of the manifest, or an absolute path; with `/` or, as on
                Windows, a backslash between folders.
        """
        path = Path(os.path.normpath(self.folder / name))
        try:
            path.is_file()
        except OSError as error:  # a name that is too long, a folder without permission
            self.add_mistake(line, f'{column}: {name} cannot be read: {error.strerror}')
            return path
        if '\\' in name and not path.exists():  # written on Windows
            path = Path(os.path.normpath(self.folder / name.replace('\\', '/')))
        if not name:
            self.add_mistake(line, f'{column} is empty; expected the path of a file')
        elif not self.outside and not path.is_relative_to(self.folder):
            self.add_mistake(
                line,
                f'{column}: {name} leaves the folder of the manifest; keep its files in it, or '
                f'allow it with {self.outside_option}',
            )
        elif not path.is_file():
            self.add_mistake(line, f'{column}: {self._explain_missing(path)}')
        elif not self.outside and self._is_led_out(path):
            self.add_mistake(
                line,
                f'{column}: {name} is a link that leaves the folder of the manifest; put the file '
                f'itself there, or allow it with {self.outside_option}',
            )
        return path

    def _is_led_out(self, path: Path) -> bool:
        """Tells whether links on the way to a file lead out of the manifest's folder."""
        real = path.resolve() if path.is_symlink() else self._resolve_folder(path.parent)
        return not real.is_relative_to(self._resolve_folder(self.folder))

    def _resolve_folder(self, folder: Path) -> Path:
        if folder not in self._real_folders:  # thousands of rows are in one folder
            self._real_folders[folder] = folder.resolve()
        return self._real_folders[folder]

    def convert(
        self, line: int, column: str, text: str, parse: Callable[[str], Value], default: Value
    ) -> Value:
        """Returns the value of a cell, or `default` if it is blank or wrong.

        Args:
            line: line of the row.
            column: column of the cell.
            text: text of the cell.
            parse: parses the text; raises ValueError or DataError for a wrong one.
            default: value of a blank cell.
        """
        try:
            return parse(text) if text else default
        except (ValueError, DataError) as error:
            self.add_mistake(line, f'{column}: {error}')
            return default

    def _explain_missing(self, path: Path) -> str:
        if path.is_dir():
            return f'{path} is a folder, expected a file'
        # Names are compared only for mistakes that are shown, since a folder may hold many files.
        shown = len(self._mistakes) < MAX_MISTAKES
        near = did_you_mean(path.name, self._list_folder(path.parent)) if shown else ''
        return f'no file {path}{near}'

    def _list_folder(self, folder: Path) -> list[str]:
        if folder not in self._files_in:
            try:
                self._files_in[folder] = sorted(os.listdir(folder))
            except OSError:
                self._files_in[folder] = []
        return self._files_in[folder]

    # -- mistakes ------------------------------------------------------------------------------

    def report_repeated(
        self,
        rows: Sequence[tuple[int, Row]],
        key: Callable[[Row], Hashable],
        describe: Callable[[Row], str],
    ) -> None:
        """Adds a mistake for each row whose key an earlier row has.

        Args:
            rows: line and row.
            key: function that returns the value that must differ between rows.
            describe: function that names the repeated value: `the id 'x'`.
        """
        first: dict[Hashable, int] = {}
        for line, row in rows:
            other = first.setdefault(key(row), line)
            # A row that repeats an image and its id has one mistake, not two.
            if other != line and not self.has_mistake(line):
                self.add_mistake(
                    line,
                    f'{describe(row)} is that of line {other} too; each {self.noun} has one row',
                )

    def has_mistake(self, line: int | None = None) -> bool:
        """Tells whether a line, or any line, has a mistake."""
        return bool(self._mistakes) if line is None else line in self._faulty_lines

    def add_mistake(self, line: int, message: str) -> None:
        """Adds a mistake, which is told as `FILE:LINE: message`."""
        self._mistakes.append(f'{self.path}:{line}: {message}')
        self._faulty_lines.add(line)

    def raise_mistakes(self) -> None:
        """Raises all mistakes that were added, one a line, if there are any.

        Raises:
            ToolkitError: there are mistakes.
        """
        told = self._mistakes[:MAX_MISTAKES]
        if len(self._mistakes) > MAX_MISTAKES:
            told.append(f'and {len(self._mistakes) - MAX_MISTAKES} mistakes more like these')
        if told:
            raise ToolkitError('\n'.join(told))
