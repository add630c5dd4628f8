"""Reads the metrics of a program from its files or its output."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.errors import ToolkitError, did_you_mean, list_names
from toolkit.io.json_values import parse_json
from toolkit.io.reported_metrics import read_number
from toolkit.study.programs.keys import ResultsSpec

_MISSING = object()


def read_results(
    results: ResultsSpec, metrics: Sequence[str], run: Path, log: str, reported: Path
) -> dict[str, float | None]:
    """Read the metrics of a program that has ended well.

    Args:
        results: place of the metrics.
        metrics: their names.
        run: folder that the program was given as {run}.
        log: output of the program.
        reported: file of `report_metrics`.
    Returns:
        A number by name; None for one that is not finite.
    Raises:
        ToolkitError: a metric is missing, or is no number.
    """
    if results.log:
        return {name: _search(name, results.log[name], log) for name in metrics}
    if results.file is None:
        return _read_reported(reported, metrics)
    path = run / results.file
    if not path.is_file():
        raise ToolkitError(
            f'the program ended without writing {results.file} into {{run}}'
            + _suggest_file(results.file, run)
        )
    try:
        rows = list(_read_rows(results, path))
    except (OSError, ValueError, csv.Error) as error:
        raise ToolkitError(f'{results.file} in {{run}} cannot be read: {error}') from error
    return {name: _find_last(name, results, rows) for name in metrics}


def list_values(results: ResultsSpec, metric: str, run: Path, log: str) -> list[Any]:
    """List the values of a metric in order; empty where the program has written none yet.

    Raises:
        OSError, ValueError, csv.Error: a file cannot be read.
    """
    if results.log:
        found = re.finditer(results.log[metric], log, re.MULTILINE)
        return [_parse(match[1]) for match in found if match[1] is not None]
    if results.file is None or not (run / results.file).is_file():
        return []
    rows = _read_rows(results, run / results.file)
    values = [_look_up(row, results.keys.get(metric, metric)) for row in rows]
    if results.csv is None:
        return [value for value in values if value is not _MISSING]
    return [_parse(value) for value in values if value not in (_MISSING, None, '')]


def _suggest_file(name: str, run: Path) -> str:
    there = sorted(p.relative_to(run).as_posix() for p in run.rglob(f'*{Path(name).suffix}'))
    if not there:
        return ''
    return did_you_mean(name, there) or f'; there are: {list_names(there, 5)}'


def _read_reported(path: Path, metrics: Sequence[str]) -> dict[str, float | None]:
    values = _expect_object(parse_json(path.read_bytes())) if path.exists() else {}
    if not values:
        raise ToolkitError(
            'the program ended without metrics: it calls toolkit.report_metrics nowhere, and the '
            'study names no other place (program.results)'
        )
    for name in metrics:
        if name not in values:
            raise ToolkitError(
                f'the program does not report {name!r}'
                + (did_you_mean(name, values) or f'; it reports: {list_names(values)}')
            )
    # null stands for a number that is not finite.
    return {n: None if values[n] is None else read_number(n, values[n]) for n in metrics}


def _read_rows(results: ResultsSpec, path: Path) -> Iterator[Mapping[str, Any]]:
    """Read the objects of a file, a table's rows as text.

    Raises:
        OSError, ValueError, csv.Error: it cannot be read.
    """
    if results.json is not None:
        yield _expect_object(parse_json(path.read_bytes()))
    elif results.jsonl is not None:
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            if line.strip():
                try:
                    yield _expect_object(parse_json(line))
                except ValueError as error:
                    raise ValueError(f'line {number}: {error}') from None
    else:
        with open(path, encoding='utf-8-sig', newline='') as file:
            reader = csv.DictReader(file, skipinitialspace=True, strict=True)
            for row in reader:
                yield {str(k).strip(): v for k, v in row.items() if k is not None}


def _expect_object(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f'expected an object, found {type(value).__name__}')
    return value


def _find_last(name: str, results: ResultsSpec, rows: Sequence[Mapping[str, Any]]) -> float | None:
    """Find the last value of a metric; rows without one are those of another kind."""
    key, file = results.keys.get(name, name), results.file
    for row in reversed(rows):
        value = _look_up(row, key)
        if results.csv is not None and (value is None or value == ''):
            continue
        if value is not _MISSING:
            return read_number(name, _parse(value) if results.csv is not None else value)
    known = list(dict.fromkeys(k for row in rows for k in _list_keys(row)))
    near = did_you_mean(key, known) or (f'; there are: {list_names(known)}' if known else '')
    raise ToolkitError(f'{file} in {{run}} has no {key!r}{near}')


def _look_up(row: Any, key: str) -> Any:
    """Look a key up; one with dots also goes into mappings."""
    if isinstance(row, Mapping):
        if key in row:
            return row[key]
        first, _, rest = key.partition('.')
        if rest and first in row:
            return _look_up(row[first], rest)
    return _MISSING


def _list_keys(row: Mapping[str, Any], prefix: str = '') -> Iterator[str]:
    for key, value in row.items():
        if isinstance(value, Mapping):
            yield from _list_keys(value, f'{prefix}{key}.')
        else:
            yield f'{prefix}{key}'


def _search(name: str, pattern: str, log: str) -> float | None:
    """Find the last match of a regular expression in the output."""
    found = [match[1] for match in re.finditer(pattern, log, re.MULTILINE) if match[1] is not None]
    if not found:
        raise ToolkitError(
            f'the output of the program has no match of {pattern!r}, which tells the metric {name}'
        )
    return read_number(name, _parse(found[-1]))


def _parse(text: Any) -> Any:
    """Read a text as a number; other text stays, also `1_000`, a number for Python alone."""
    try:
        return text if '_' in str(text) else float(str(text).strip())
    except ValueError:
        return text
