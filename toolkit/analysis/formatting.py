"""Numbers as tables print them."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence

MISSING = '-'
NO_BREAK = '\N{NO-BREAK SPACE}'
_PIECE = r'[^ .]*[ .]*'  # of a line; it may end after a dot of a dotted name
MARKS = ((0.001, '***'), (0.01, '**'), (0.05, '*'))


def decimals(means: Sequence[float], deviations: Sequence[float]) -> int | None:
    """Digits after the point for a column: two of the smallest standard deviation, if that is not
    far below the others, or where there is none four of the largest mean. None where that needs
    more than eight, for scientific notation.
    """
    spread = sorted(d for d in deviations if d > 0)
    largest = max((abs(mean) for mean in means), default=0.0)
    if not spread and not largest:
        return 1
    if spread:
        smallest, typical = (
            1 - math.floor(math.log10(d)) for d in (spread[0], spread[len(spread) // 2])
        )
        digits = min(smallest, typical + 1)
    else:
        digits = 3 - math.floor(math.log10(largest))
    return max(digits, 0) if digits <= 8 else None


def number(value: float | None, digits: int | None) -> str:
    """A value with that many digits after the point."""
    if value is None:
        return MISSING
    text = f'{value:.3g}' if digits is None else f'{value:.{digits}f}'
    return text.replace('-', '\N{MINUS SIGN}')


def signed(value: float | None, digits: int | None) -> str:
    """The same with its sign."""
    text = number(value, digits)
    return f'+{text}' if value is not None and value > 0 else text


def probability(p: float | None) -> str:
    """A p-value."""
    if p is None:
        return MISSING
    return '<0.001' if p < 0.001 else f'{p:.3f}' if p < 0.1 else f'{p:.2f}'


def mark(p: float | None) -> str:
    """Stars of significance; '' where there is none."""
    return next((stars for level, stars in MARKS if p is not None and p < level), '')


def count(value: float | None) -> str:
    """A large count with its SI prefix: 107445 -> '107 k'."""
    if value is None:
        return MISSING
    value = float(f'{value:.3g}')
    for size, prefix in ((1e12, ' T'), (1e9, ' G'), (1e6, ' M'), (1e3, ' k')):
        if abs(value) >= size:
            return f'{value / size:g}{prefix}'
    return f'{value:g}'


def format_duration(seconds: float | None) -> str:
    """Seconds as people say them: '12 s', '3 min 05 s', '2 h 07 min'."""
    if seconds is None:
        return MISSING
    if seconds < 99.5:
        return f'{seconds:.3g} s'
    if seconds < 5970:
        return f'{int(seconds + 0.5) // 60} min {int(seconds + 0.5) % 60:02d} s'
    minutes = int(seconds / 60 + 0.5)
    return f'{minutes // 60} h {minutes % 60:02d} min'


def memory(size: float | None) -> str:
    """Bytes in MB or GB (powers of ten)."""
    if size is None:
        return MISSING
    return f'{size / 1e9:.2f} GB' if size >= 1e9 else f'{size / 1e6:.0f} MB'


def text_table(
    rows: Sequence[Sequence[str]], left: int = 1, rule: bool = False, width: int | None = None
) -> str:
    """Align rows of cells as text.

    Args:
        rows: of equally many cells; the first one may be the header.
        left: number of columns at the left that are aligned to the left; the others hold numbers.
        rule: draw a line below the first row.
        width: characters of a line; the widest of the columns at the left are wrapped to fit, at
            spaces or else after dots, and never at a no-break space. None for lines of any length.
    """
    if not rows:
        return ''
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    if width is not None:
        widths = _narrow(rows, widths, left, width)
    lines = []
    for row in rows:
        wrapped = [_wrap(cell, size) for cell, size in zip(row, widths, strict=True)]
        for line in itertools.zip_longest(*wrapped, fillvalue=''):
            cells = (
                cell.ljust(size) if i < left else cell.rjust(size)
                for i, (cell, size) in enumerate(zip(line, widths, strict=True))
            )
            lines.append('  '.join(cells).rstrip().replace(NO_BREAK, ' '))
        if rule and len(rows[0]) and row is rows[0]:
            lines.append('  '.join('-' * size for size in widths))
    return '\n'.join(lines)


def _narrow(rows: Sequence[Sequence[str]], widths: list[int], left: int, width: int) -> list[int]:
    """Narrow the widest columns of words until the lines fit, if their longest words allow it."""
    widths = list(widths)
    for pattern in (r'[^ ]+', _PIECE):
        for i in sorted(range(left), key=lambda i: -widths[i]):
            excess = sum(widths) + 2 * (len(widths) - 1) - width
            pieces = (piece for row in rows for piece in re.findall(pattern, row[i]))
            longest = max((len(piece.rstrip()) for piece in pieces), default=0)
            widths[i] -= min(max(excess, 0), max(widths[i] - longest, 0))
    return widths


def _wrap(text: str, width: int) -> list[str]:
    if len(text) <= width:
        return [text]
    lines = ['']
    for word in re.findall(r'[^ ]+ *', text):
        fits = len(word.rstrip(' ')) <= width
        for piece in [word] if fits else re.findall(_PIECE, word):
            if lines[-1] and len(lines[-1] + piece.rstrip(' ')) > width:
                lines.append('')
            lines[-1] += piece
    return [line.rstrip(' ') for line in lines]
