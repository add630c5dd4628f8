"""A manifest: a table of images, a row each, with what is known of them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugins.classification.data.cells import frame_number, in_pixels, read_boxes
from plugins.classification.data.image_io import image_size
from plugins.classification.data.manifest_columns import COLUMNS, Columns, Values, find, mistakes
from plugins.classification.image_record import Record
from plugins.classification.tasks import Task
from toolkit.errors import DataError, ToolkitError, did_you_mean
from toolkit.io.data_paths import data_path
from toolkit.io.read_table import Table, read_table

# Mistakes that are told one by one; a wrong folder makes as many as there are rows.
TOLD = 40


@dataclass(frozen=True)
class Manifest:
    """The images of a manifest.

    Attributes:
        path: of the file.
        records: in its order.
        lines: of the records in the file (rows of Parquet count from 2, as in CSV).
        columns: all of the file's, as written.
        digest: a hash of what the records say, whatever the file's line ends and quotes.
    """

    path: Path
    records: tuple[Record, ...]
    lines: tuple[int, ...]
    columns: tuple[str, ...]
    digest: str

    def place(self, index: int) -> str:
        """`FILE:LINE` of a record, for messages."""
        return f'{self.path}:{self.lines[index]}'


def read_manifest(
    path: str | Path,
    tasks: Mapping[str, Task],
    columns: Columns | None = None,
    values: Values | None = None,
    outside: bool = False,
) -> Manifest:
    """Read a manifest.

    Its columns: `image`, a path from its folder; and where they are known `id` (else the path),
    `patient` (else each image is taken for a patient of its own), `centre`, `frame` of a file with
    several, `boxes` (x0,y0,x1,y1 in pixels, several separated by `;`) or `relative_boxes` (the
    same in parts of width and height); a column for each task, blank where the label is missing.
    All other columns become the records' attributes.

    Args:
        path: of the CSV or Parquet file: absolute, or below $TOOLKIT_DATA, or from here.
        tasks: whose labels are read; with none, labels are attributes like all else.
        columns: names of the file for those above or for tasks: `{patient: case_id}`; None says
            that there is no such column, where one is taken for a misspelt one.
        values: by task, what the file writes for a class: `{malignancy: {2: benign}}`, None
            for what counts as missing. Names of classes are understood as they are.
        outside: paths may leave the manifest's folder.
    Raises:
        ToolkitError: with all mistakes, a line each: `FILE:LINE: what is wrong`.
    """
    return _Reader(data_path(path), tasks, columns or {}, values or {}, outside).read()


class _Reader:
    """Reads one file and collects what is wrong with it."""

    def __init__(
        self,
        path: Path,
        tasks: Mapping[str, Task],
        columns: Columns,
        values: Values,
        outside: bool,
    ) -> None:
        self.path, self.tasks, self.outside = path, tasks, outside
        self.folder = Path(os.path.normpath(path.parent))
        self.values = {
            task: {str(text): name for text, name in named.items()}
            for task, named in values.items()
        }
        self.problems: list[str] = []
        self._beside: dict[Path, list[str]] = {}
        self.columns = dict(columns)
        if problems := mistakes(columns, self.values, tasks):
            raise ToolkitError('\n'.join(problems))

    def read(self) -> Manifest:
        table = read_table(self.path, (*COLUMNS, *self.tasks))
        self.source = self._sources(table)
        self._stop()
        rows = []
        for line, cells in table.rows:
            if len(cells) != len(table.columns):
                self._fail(line, f'found {len(cells)} values, expected {len(table.columns)}')
                continue
            record = self._record(line, dict(zip(table.columns, cells, strict=True)))
            if record is not None:
                rows.append((line, record))
        self._twice(rows, _file_of, lambda record: f'the image {self._shown(record)}')
        self._twice(rows, lambda record: record.id, lambda record: f'the id {record.id!r}')
        if not table.rows:
            self._fail(table.header, 'found no image, expected a row for each')
        self._stop()
        records = tuple(record for _, record in rows)
        return Manifest(
            path=self.path,
            records=records,
            lines=tuple(line for line, _ in rows),
            columns=tuple(table.columns),
            digest=self._digest(records),
        )

    # -- columns -------------------------------------------------------------------------------

    def _sources(self, table: Table) -> dict[str, str]:
        """The file's column for each that is known and there, and for each task."""
        source, problems = find(table.columns, self.columns, self.tasks)
        for problem in problems:
            self._fail(table.header, problem)
        return source

    # -- rows ----------------------------------------------------------------------------------

    def _record(self, line: int, cells: dict[str, str]) -> Record | None:
        before = len(self.problems)
        given = {name: cells[column] for name, column in self.source.items()}
        path = self._file(line, given['image'])
        frame = self._value(line, 'frame', given.get('frame', ''), frame_number, 0)
        labels = {task: label for task in self.tasks if (label := self._label(line, task, given))}
        boxes = self._value(line, 'boxes', given.get('boxes', ''), read_boxes, ())
        if relative := given.get('relative_boxes', ''):
            boxes = self._value(line, 'relative_boxes', relative, read_boxes, ())
            if boxes and len(self.problems) == before:
                boxes = self._value(
                    line,
                    'relative_boxes',
                    relative,
                    lambda _: in_pixels(boxes, *image_size(path, frame)),
                    (),
                )
        if len(self.problems) > before:
            return None
        name = given.get('id') or given['image'] + (f'#{frame}' if given.get('frame') else '')
        used = set(self.source.values())
        return Record(
            id=name,
            path=path,
            patient=given.get('patient') or name,
            centre=given.get('centre', ''),
            labels=labels,
            boxes=boxes,
            attributes={column: text for column, text in cells.items() if column not in used},
            frame=frame,
        )

    def _label(self, line: int, task: str, given: Mapping[str, str]) -> str | None:
        text, classes, named = given[task], self.tasks[task].classes, self.values.get(task, {})
        if text in named:
            return named[text]
        if not text or text in classes:
            return text or None
        known = [*classes, *named]
        self._fail(
            line,
            f'{self.source[task]} is {text!r}, which is no class of {task}'
            f'{did_you_mean(text, known)}; there are: {", ".join(known)}',
        )
        return None

    def _file(self, line: int, name: str) -> Path:
        """The absolute path of an image."""
        path = Path(os.path.normpath(self.folder / name))
        if not name:
            self._fail(line, f'{self.source["image"]} is empty; expected the path of an image')
        elif not self.outside and not path.is_relative_to(self.folder):
            self._fail(
                line,
                f'{name} leaves the folder of the manifest; keep its images in it, or allow it '
                'with `outside: true`',
            )
        elif not path.is_file():
            near = ''
            if len(self.problems) < TOLD:
                near = did_you_mean(path.name, self._names_in(path.parent))
            self._fail(line, f'no file {path}{near}')
        return path

    def _names_in(self, folder: Path) -> list[str]:
        if folder not in self._beside:
            try:
                self._beside[folder] = os.listdir(folder)
            except OSError:
                self._beside[folder] = []
        return self._beside[folder]

    def _value(
        self, line: int, name: str, text: str, convert: Callable[[str], Any], default: Any
    ) -> Any:
        try:
            return convert(text) if text else default
        except (ValueError, DataError) as error:
            self._fail(line, f'{self.source[name]}: {error}')
            return default

    # -- what is wrong -------------------------------------------------------------------------

    def _twice(
        self,
        rows: list[tuple[int, Record]],
        key: Callable[[Record], Any],
        named: Callable[[Record], str],
    ) -> None:
        first: dict[Any, int] = {}
        for line, record in rows:
            other = first.setdefault(key(record), line)
            # A row that is told already is not told again for its id.
            if other != line and not self._told(line):
                self._fail(
                    line, f'{named(record)} is that of line {other} too; an image has one row'
                )

    def _shown(self, record: Record) -> str:
        path = os.path.relpath(record.path or '', self.folder)
        return f'{path} (frame {record.frame})' if record.frame else path

    def _told(self, line: int) -> bool:
        return any(problem.startswith(f'{self.path}:{line}: ') for problem in self.problems)

    def _fail(self, line: int, message: str) -> None:
        self.problems.append(f'{self.path}:{line}: {message}')

    def _stop(self) -> None:
        """Raise what was found."""
        if len(self.problems) > TOLD:
            self.problems[TOLD:] = [f'and {len(self.problems) - TOLD} mistakes more like these']
        if self.problems:
            raise ToolkitError('\n'.join(self.problems))

    def _digest(self, records: tuple[Record, ...]) -> str:
        told = [
            [
                record.id,
                os.path.relpath(record.path or '', self.folder),
                record.patient,
                record.centre,
                sorted(record.labels.items()),
                record.boxes,
                sorted(record.attributes.items()),
                record.frame,
            ]
            for record in records
        ]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _file_of(record: Record) -> tuple[str, int]:
    # By the file itself, so that a link to it counts as it.
    return os.path.realpath(record.path or ''), record.frame
