"""Manifests of images: tables with one row for each image, checked before an image is read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plugins.classification.data.manifests.manifest_columns import (
    COLUMNS,
    ClassNames,
    ColumnNames,
    check_names,
    match_columns,
    parse_boxes,
    parse_frame,
    scale_boxes,
)
from plugins.classification.data.manifests.patient_ids import REASON, PatientIds, find_ambiguous_ids
from plugins.classification.data.reading.image_io import read_image_size
from plugins.classification.image_record import Record
from plugins.classification.tasks import MISSING_NAMES, Task
from toolkit.errors import ToolkitError, did_you_mean
from toolkit.io.data_paths import find_data_file
from toolkit.io.tables.manifest_reader import ManifestReader
from toolkit.io.verification.hashing import hash_json


@dataclass(frozen=True)
class ImageManifest:
    """The images of a manifest.

    Attributes:
        path: path of the file.
        records: images in the order of the file.
        lines: line of each record in the file (rows of Parquet count from 2, as in CSV).
        columns: names of all columns, as written.
        digest: hash of the records, which line ends and quotes of the file do not change.
    """

    path: Path
    records: tuple[Record, ...]
    lines: tuple[int, ...]
    columns: tuple[str, ...]
    digest: str

    def locate(self, index: int) -> str:
        """Returns `FILE:LINE` of a record, for messages."""
        return f'{self.path}:{self.lines[index]}'


def read_manifest(
    path: str | Path,
    tasks: Mapping[str, Task],
    columns: ColumnNames | None = None,
    values: ClassNames | None = None,
    outside: bool = False,
    patients: PatientIds = 'check',
) -> ImageManifest:
    """Reads a manifest of images.

    The column `image` is required: a path from the folder of the manifest. Optional columns:
    `id` (default: the path); `patient` (default: each image shows another patient); `centre`;
    `frame`, the number of an image in a file with several; `boxes` (x0,y0,x1,y1 in pixels, several
    separated by `;`) or `relative_boxes` (the same as fractions of width and height). Each task has
    a column, blank where the label is missing. All other columns become attributes of the records.

    Args:
        path: path of the CSV or Parquet file: absolute, or below $TOOLKIT_DATA, or below the
            current folder.
        tasks: tasks whose labels are read; without any, columns of labels become attributes.
        columns: the file's names for the columns above and those of tasks: `{patient: case_id}`.
            None says that the file has no such column, even if another is named similarly; the
            labels of such a task are missing.
        values: by task, the class of each value in the file: `{malignancy: {2: benign}}`; None for
            a value that means a missing label. Names of classes stand for themselves.
        outside: allow paths that leave the folder of the manifest.
        patients: 'check' refuses patients that are equal but for case, leading zeros, a trailing
            `.0` and spaces, and several rows of a patient such as `NA`; 'as_written' allows both.
    Raises:
        ToolkitError: the manifest has mistakes; lists all, a line each: `FILE:LINE: mistake`.
    """
    reader = _ImageReader(
        find_data_file(path), tasks, columns or {}, values or {}, outside, patients
    )
    return reader.read()


class _ImageReader(ManifestReader[Record]):
    noun = 'image'

    def __init__(
        self,
        path: Path,
        tasks: Mapping[str, Task],
        columns: ColumnNames,
        values: ClassNames,
        outside: bool,
        patients: PatientIds,
    ) -> None:
        super().__init__(path, outside)
        self.patients = patients
        self.tasks, self.columns = tasks, dict(columns)
        # YAML reads a class that is written as a number as one; a cell is text.
        self.values = {
            task: {str(text): name for text, name in names.items()}
            for task, names in values.items()
        }
        if mistakes := check_names(columns, self.values, tasks):
            raise ToolkitError('\n'.join(mistakes))

    def read(self) -> ImageManifest:
        columns, rows = self.read_rows((*COLUMNS, *self.tasks))
        # Compares resolved paths, so that a link counts as the file it leads to.
        self.report_repeated(
            rows,
            lambda record: (os.path.realpath(record.path or ''), record.frame),
            lambda record: f'the image {self._image_name(record)}',
        )
        self.report_repeated(rows, lambda record: record.id, lambda record: f'the id {record.id!r}')
        if self.patients == 'check':
            self._check_patients(rows)
        self.raise_mistakes()
        records = tuple(record for _, record in rows)
        return ImageManifest(
            path=self.path,
            records=records,
            lines=tuple(line for line, _ in rows),
            columns=columns,
            digest=hash_json([self._values(record) for record in records]),
        )

    def check_columns(self, line: int, columns: Sequence[str]) -> None:
        self.source, mistakes = match_columns(columns, self.columns, self.tasks)
        for mistake in mistakes:
            self.add_mistake(line, mistake)

    def parse_row(self, line: int, cells: Mapping[str, str]) -> Record | None:
        known = {name: cells[column] for name, column in self.source.items()}
        path = self.resolve_file(line, self.source['image'], known['image'])
        frame = self._convert(line, 'frame', known, parse_frame, 0)
        labels = {
            task: label
            for task in self.tasks
            if task in known and (label := self._label(line, task, known))
        }
        boxes = self._convert(line, 'boxes', known, parse_boxes, ())
        if known.get('relative_boxes'):
            boxes = self._convert(line, 'relative_boxes', known, parse_boxes, ())
            # The size is read from the image, so its path must be right.
            if boxes and not self.has_mistake(line):
                boxes = self._convert(
                    line,
                    'relative_boxes',
                    known,
                    lambda _: scale_boxes(boxes, *read_image_size(path, frame)),
                    (),
                )
        if known.get('patient') == '':
            self.add_mistake(
                line,
                f'{self.source["patient"]} is blank; write an id, one of its own for an image '
                'whose patient is not known, or say that there is no such column by `columns: '
                '{patient: null}` (on the command line: --columns patient=)',
            )
        if self.has_mistake(line):
            return None
        name = known.get('id') or known['image'] + (f'#{frame}' if known.get('frame') else '')
        used = set(self.source.values())
        return Record(
            id=name,
            path=path,
            patient=known.get('patient') or name,
            centre=known.get('centre', ''),
            labels=labels,
            boxes=boxes,
            attributes={column: text for column, text in cells.items() if column not in used},
            frame=frame,
        )

    def _check_patients(self, rows: Sequence[tuple[int, Record]]) -> None:
        if 'patient' not in self.source:
            return
        first: dict[str, int] = {}
        for line, record in rows:
            if record.patient in first and record.patient.casefold() in MISSING_NAMES:
                self.add_mistake(
                    line,
                    f'{self.source["patient"]} is {record.patient!r}, as in line '
                    f'{first[record.patient]}: that is how tables write a missing value, and would '
                    'make one patient of all of them; write an id of its own for each image whose '
                    'patient is not known, or allow it with `patients: as_written` (on the command '
                    'line: --patients as_written)',
                )
            first.setdefault(record.patient, line)
        for names in find_ambiguous_ids(first):
            found = ', '.join(f'{name!r} (line {first[name]})' for name in names)
            self.add_mistake(
                first[names[1]],
                f'the patients {found} {REASON}; write one patient in one way, or allow it with '
                '`patients: as_written` (on the command line: --patients as_written)',
            )

    def _convert(
        self,
        line: int,
        name: str,
        known: Mapping[str, str],
        parse: Callable[[str], Any],
        default: Any,
    ) -> Any:
        column = self.source.get(name, name)
        return self.convert(line, column, known.get(name, ''), parse, default)

    def _label(self, line: int, task: str, known: Mapping[str, str]) -> str | None:
        text, classes, names = known[task], self.tasks[task].classes, self.values.get(task, {})
        if text in names:
            return names[text]
        if not text or text in classes:
            return text or None
        accepted = [*classes, *names]
        self.add_mistake(
            line,
            f'{self.source[task]} is {text!r}, which is no class of {task}'
            f'{did_you_mean(text, accepted)}; there are: {", ".join(accepted)}; name its class by '
            f'`values: {{{task}: {{{text!r}: CLASS}}}}`, or null where the label is missing',
        )
        return None

    def _image_name(self, record: Record) -> str:
        path = os.path.relpath(record.path or '', self.folder)
        return f'{path} (frame {record.frame})' if record.frame else path

    def _values(self, record: Record) -> list[object]:
        return [
            record.id,
            os.path.relpath(record.path or '', self.folder),
            record.patient,
            record.centre,
            sorted(record.labels.items()),
            record.boxes,
            sorted(record.attributes.items()),
            record.frame,
        ]
