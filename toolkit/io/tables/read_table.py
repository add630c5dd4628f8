"""Reads CSV tables, and Parquet tables if pyarrow is installed, as text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from toolkit.errors import DataError, ToolkitError
from toolkit.io.tables.csv_text import read_csv_rows


class DataTable(NamedTuple):
    """The rows of a file.

    Attributes:
        columns: names as written, in order; names may repeat.
        header: line of the names.
        rows: line and values of each row; a row of a CSV file may have more or fewer values than
            there are columns.
    """

    columns: list[str]
    header: int
    rows: list[tuple[int, list[str]]]


def read_table(path: Path, expected: Sequence[str]) -> DataTable:
    """Reads a CSV file, or a Parquet file if its suffix says so; spaces around values are removed.

    Rows of a Parquet file count as lines of the same table in CSV, from 2.

    Args:
        path: path of the file.
        expected: expected columns, for the message if the file is empty.
    Raises:
        ToolkitError: the file is no CSV that `read_csv_rows` reads, no Parquet, or empty; or
            pyarrow is missing.
    """
    return (
        _read_parquet(path)
        if path.suffix.lower() in ('.parquet', '.pq')
        else _read_csv(path, expected)
    )


def _read_csv(path: Path, expected: Sequence[str]) -> DataTable:
    found = read_csv_rows(path)
    if not found:
        raise ToolkitError(f'{path} is empty; expected the columns {", ".join(expected)}')
    (header, columns), *rows = found
    return DataTable(columns, header, rows)


def _read_parquet(path: Path) -> DataTable:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise DataError(
            f'{path} is Parquet, which pyarrow reads; install it with pip install '
            "'ablakit[parquet]'"
        ) from error
    try:
        found = parquet.read_table(path)
        columns = [
            [_format_value(value) for value in column.to_pylist()] for column in found.columns
        ]
    except (OSError, pyarrow.ArrowException) as error:
        cause = str(error).splitlines()[0]
        raise ToolkitError(f'{path} cannot be read as Parquet: {cause}') from error
    rows = [(line, list(row)) for line, row in enumerate(zip(*columns), 2)]
    return DataTable([str(name) for name in found.column_names], 1, rows)


def _format_value(value: Any) -> str:
    """Writes a value as in a CSV file: whole numbers without `.0`, lists with `,` between values.

    Lists of lists have `;` between lists.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ''
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # integers with missing values become floats in many tools
    if isinstance(value, (list, tuple)):
        nested = any(isinstance(inner, (list, tuple)) for inner in value)
        return (';' if nested else ',').join(map(_format_value, value))
    return str(value).strip()
