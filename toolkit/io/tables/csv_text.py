"""Reads the rows of CSV files as spreadsheets write them: separators, encodings, compression."""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from pathlib import Path

from toolkit.errors import ToolkitError
from toolkit.io.tables.formatting import unquote_formula

SEPARATORS = (',', ';', '\t')
SPREADSHEETS = ('.xlsx', '.xlsm', '.xls', '.ods', '.numbers')
LARGEST = 256 << 20  # bytes of a table; a small file can unpack to any size
SAVE = "save the table as 'CSV UTF-8'"

Row = tuple[int, list[str]]


def read_csv_rows(path: Path) -> list[Row]:
    """Reads the line and the values of each row that is not blank.

    The separator is a comma, or a semicolon or tab if the first row has no comma; a first line
    `sep=;` names it. The text is UTF-8 or, with a byte order mark, UTF-16; a name that ends in
    `.gz` is of a file compressed by gzip. Columns at the right without a name and a value are left
    out. Spaces around values are removed.

    Raises:
        ToolkitError: the file is a spreadsheet, no text in these encodings, no CSV, or cut; or its
            first row has several separators.
    """
    if path.suffix.lower() in SPREADSHEETS:
        raise ToolkitError(f'{path} is a spreadsheet, which is not read; {SAVE} and name that file')
    text = _decode(_read_bytes(path), path)
    separator, skipped = _find_separator(text, path)
    reader = csv.reader(io.StringIO(text, newline=''), strict=True, delimiter=separator)
    try:
        found = [
            (reader.line_num, [unquote_formula(value.strip()) for value in row])
            for row in reader
            if any(value.strip() for value in row)
        ]
    except csv.Error as error:
        raise ToolkitError(f'{path}:{reader.line_num}: no CSV: {error}') from error
    return _drop_empty_columns(found[skipped:])


def _read_bytes(path: Path) -> bytes:
    try:
        opener = gzip.open if path.suffix.lower() == '.gz' else open
        with opener(path, 'rb') as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise ToolkitError(f'{path} holds more than {LARGEST >> 20} MB; split the table')
        return content
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ToolkitError(f'{path} is no gzip file, or is cut: {error}; copy it again') from error
    except OSError as error:
        raise ToolkitError(f'{path} cannot be read: {error.strerror}') from error


def _decode(content: bytes, path: Path) -> str:
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        try:
            return content.decode('utf-16')
        except UnicodeDecodeError as error:
            raise ToolkitError(f'{path} is cut UTF-16: {error.reason}; {SAVE} again') from error
    if b'\0' in content:
        raise ToolkitError(f'{path} is no text in UTF-8: it has bytes of 0; {SAVE}')
    try:
        # Spreadsheets write a byte order mark before the first column's name.
        return content.decode('utf-8-sig')
    except UnicodeDecodeError as error:
        line = content.count(b'\n', 0, error.start) + 1
        guess = content[error.start : error.start + 1].decode('cp1252', 'replace')
        raise ToolkitError(
            f'{path}:{line}: is no text in UTF-8: {error.reason} (in CP1252 it would be '
            f'{guess!r}); {SAVE}'
        ) from error


def _find_separator(text: str, path: Path) -> tuple[str, int]:
    """Find the separator, and the number of rows before the names of the columns."""
    lines = text.splitlines()
    first = next((line for line in lines if line.strip()), '')
    if first.lower().startswith('sep=') and first[4:5] in SEPARATORS:
        return first[4], 1
    outside = ''.join(first.split('"')[::2])  # of quotes; a doubled quote leaves nothing
    found = [separator for separator in SEPARATORS if separator in outside]
    if len(found) > 1:
        names = ' and '.join(map(repr, found))
        raise ToolkitError(
            f'{path}:1: the names of the columns are separated by {names}; keep one of them, or '
            'put names with the other one in quotes'
        )
    return (found[0] if found else ','), 0


def _drop_empty_columns(rows: list[Row]) -> list[Row]:
    """Drop columns at the right without a name and a value, as spreadsheets write them."""
    if not rows:
        return rows
    width = len(rows[0][1])
    used = max((i + 1 for _, row in rows for i, value in enumerate(row) if value), default=0)
    named = max((i + 1 for i, value in enumerate(rows[0][1]) if value), default=0)
    keep = max(used, named)
    if keep < width:
        rows = [(line, row[: max(keep, 1)]) for line, row in rows]
        width = len(rows[0][1])
    # Blank values beyond the names of the columns.
    return [(line, row[:width] if not any(row[width:]) else row) for line, row in rows]
