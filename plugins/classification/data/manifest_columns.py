"""The columns of a manifest: which are known, and what a file calls them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from plugins.classification.tasks import Tasks
from toolkit.errors import did_you_mean, nearest

# What a manifest may say of an image besides its labels; every other column is an attribute.
COLUMNS = ('image', 'id', 'patient', 'centre', 'frame', 'boxes', 'relative_boxes')

Columns = Mapping[str, str | None]
Values = Mapping[str, Mapping[str, str | None]]


def mistakes(columns: Columns, values: Values, tasks: Tasks) -> list[str]:
    """What is wrong with the names that a user gives for columns and classes."""
    problems = []
    known = (*COLUMNS, *tasks)
    for task in tasks:
        if task in COLUMNS:
            problems.append(f'a task cannot be named {task!r}, which is a column of its own')
    for name in columns:
        if name not in known:
            problems.append(
                f'columns: {name!r} is neither a task nor known{did_you_mean(name, known)}; '
                f'there are: {", ".join(known)}'
            )
    for task, named in values.items():
        if task not in tasks:
            problems.append(f'values: there is no task {task!r}{did_you_mean(task, tasks)}')
            continue
        classes = tasks[task].classes
        for text, name in named.items():
            if name is not None and name not in classes:
                problems.append(
                    f'values: {text!r} of {task} is {name!r}, which is no class'
                    f'{did_you_mean(str(name), classes)}; there are: {", ".join(classes)}'
                )
    return problems


def find(found: Sequence[str], columns: Columns, tasks: Tasks) -> tuple[dict[str, str], list[str]]:
    """The file's column for each that is known and there, and for each task; and what is wrong.

    Args:
        found: the file's columns.
        columns: the file's names for those that are known and for tasks; None says that there is
            no such column, where one is taken for a misspelt one.
        tasks: by name.
    """
    problems = [
        f'the column {name!r} is there twice'
        for name in sorted({name for name in found if found.count(name) > 1})
    ]
    source = {}
    for name in (*COLUMNS, *tasks):
        wanted = columns.get(name, name)
        if wanted in found:
            source[name] = wanted
        elif name in columns and wanted is not None:
            problems.append(
                f'no column {wanted!r} for {name}{did_you_mean(wanted, found)}; found '
                f'{", ".join(found)}'
            )
        elif name == 'image' or name in tasks:
            what = f'for the task {name!r}' if name in tasks else "'image'"
            problems.append(
                f'no column {what}{did_you_mean(name, found)}; found {", ".join(found)}; name one '
                f'by `columns: {{{name}: COLUMN}}`'
            )
    for name in COLUMNS:
        # A patient that is overlooked lets a split leak, so what is nearly it is asked about.
        if name not in source and name not in columns:
            free = [column for column in found if column not in source.values()]
            for column in _very_near(name, free):
                problems.append(
                    f'is the column {column!r} meant as {name!r}? Say so by `columns: {{{name}: '
                    f'{column}}}`, or that it is not by `columns: {{{name}: null}}`'
                )
    if 'boxes' in source and 'relative_boxes' in source:
        problems.append('found boxes and relative_boxes; keep one of them')
    return source, problems


def _very_near(name: str, columns: list[str]) -> list[str]:
    stems = [column for column in columns if column.lower() in (f'{name}_id', f'{name}id')]
    return stems or [column for column in nearest(name, columns, 1) if _alike(name, column)]


def _alike(name: str, column: str) -> bool:
    shorter, longer = sorted((name, column.lower()), key=len)
    return len(longer) - len(shorter) <= 1 and column[0].lower() == name[0]
