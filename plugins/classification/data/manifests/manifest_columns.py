"""Columns of a manifest of images: their names in a file, and values of single cells."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from plugins.classification.image_record import Box
from plugins.classification.tasks import Tasks
from toolkit.errors import did_you_mean, find_nearest

# Columns besides those of tasks; every other column is an attribute.
COLUMNS = ('image', 'id', 'patient', 'centre', 'frame', 'boxes', 'relative_boxes')
# Separates the boxes of one image.
SEPARATOR = ';'

# A file's name for each known column; None where the file has no such column.
ColumnNames = Mapping[str, str | None]
# By task, the class of each value in a file; None for a missing label.
ClassNames = Mapping[str, Mapping[str, str | None]]


def check_names(columns: ColumnNames, values: ClassNames, tasks: Tasks) -> list[str]:
    """Returns the mistakes in the names that a user gives for columns and classes."""
    mistakes = []
    known = (*COLUMNS, *tasks)
    for task in tasks:
        if task in COLUMNS:
            mistakes.append(f'a task cannot be named {task!r}, which is a column of its own')
    for name in columns:
        if name not in known:
            mistakes.append(
                f'columns: {name!r} is neither a task nor known{did_you_mean(name, known)}; '
                f'there are: {", ".join(known)}'
            )
    for task, names in values.items():
        if task not in tasks:
            mistakes.append(f'values: there is no task {task!r}{did_you_mean(task, tasks)}')
            continue
        classes = tasks[task].classes
        for text, name in names.items():
            if name is not None and name not in classes:
                mistakes.append(
                    f'values: {text!r} of {task} is {name!r}, which is no class'
                    f'{did_you_mean(str(name), classes)}; there are: {", ".join(classes)}'
                )
    return mistakes


def match_columns(
    found: Sequence[str], columns: ColumnNames, tasks: Tasks
) -> tuple[dict[str, str], list[str]]:
    """Finds the file's column for each known column and each task.

    Args:
        found: the file's columns.
        columns: the file's names for known columns and tasks.
        tasks: tasks by name.
    Returns:
        The file's column by known name, without those that the file lacks; and mistakes.
    """
    mistakes = []
    source = {}
    for name in (*COLUMNS, *tasks):
        wanted = columns.get(name, name)
        if wanted in found:
            source[name] = wanted
        elif name in columns and wanted is not None:
            mistakes.append(
                f'no column {wanted!r} for {name}{did_you_mean(wanted, found)}; found '
                f'{", ".join(found)}'
            )
        elif name == 'image' or (name in tasks and name not in columns):
            what = f'for the task {name!r}' if name in tasks else "'image'"
            mistakes.append(
                f'no column {what}{did_you_mean(name, found)}; found {", ".join(found)}; name one '
                f'by `columns: {{{name}: COLUMN}}` (on the command line: --columns {name}=COLUMN)'
            )
    for name in COLUMNS:
        # A column of patients that is overlooked lets a split leak, so the reader asks.
        if name not in source and name not in columns:
            free = [column for column in found if column not in source.values()]
            for column in _similar_columns(name, free):
                mistakes.append(
                    f'is the column {column!r} meant as {name!r}? Say so by `columns: {{{name}: '
                    f'{column}}}` (on the command line: --columns {name}={column}), or that it is '
                    f'not by `columns: {{{name}: null}}` (--columns {name}=)'
                )
    if 'boxes' in source and 'relative_boxes' in source:
        mistakes.append('found boxes and relative_boxes; keep one of them')
    return source, mistakes


def parse_frame(text: str) -> int:
    """Parses the number of a frame.

    Raises:
        ValueError: the text is no whole number from 0.
    """
    if not text.isdecimal():
        raise ValueError(f'expected a whole number from 0, found {text!r}')
    return int(text)


def parse_boxes(text: str) -> tuple[Box, ...]:
    """Parses boxes: `x0,y0,x1,y1`, several separated by `;`.

    Raises:
        ValueError: a box does not have four numbers, or its corners are not in order.
    """
    boxes = []
    for part in text.split(SEPARATOR):
        try:
            x0, y0, x1, y1 = (float(number) for number in part.split(','))
        except ValueError:
            raise ValueError(f'expected x0,y0,x1,y1, found {part!r}') from None
        # NaN fails this too.
        if not (0 <= x0 < x1 < math.inf and 0 <= y0 < y1 < math.inf):
            raise ValueError(f'expected 0 <= x0 < x1 and 0 <= y0 < y1, found {part!r}')
        boxes.append((x0, y0, x1, y1))
    return tuple(boxes)


def scale_boxes(boxes: tuple[Box, ...], height: int, width: int) -> tuple[Box, ...]:
    """Converts boxes from fractions of an image to its pixels.

    Raises:
        ValueError: a box leaves the image.
    """
    if any(edge > 1 for box in boxes for edge in box):
        raise ValueError(f'expected fractions from 0 to 1, found {max(map(max, boxes)):g}')
    return tuple((x0 * width, y0 * height, x1 * width, y1 * height) for x0, y0, x1, y1 in boxes)


def _similar_columns(name: str, columns: list[str]) -> list[str]:
    stems = [column for column in columns if column.lower() in (f'{name}_id', f'{name}id')]
    return stems or [
        column for column in find_nearest(name, columns, 1) if _is_similar(name, column)
    ]


def _is_similar(name: str, column: str) -> bool:
    shorter, longer = sorted((name, column.lower()), key=len)
    return len(longer) - len(shorter) <= 1 and column[0].lower() == name[0]
