"""Numbers and tables as text, Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

MISSING = '-'
NO_BREAK = '\N{NO-BREAK SPACE}'
# Apostrophes in front are those of a text that is quoted already.
FORMULA = re.compile(r"'*[=+\-@\t\r]")
_PIECE = r'[^ .]*[ .]*'  # of a line; it may end after a dot of a dotted name
_STARS = ((0.001, '***'), (0.01, '**'), (0.05, '*'))
_LATEX = {
    '\\': r'\textbackslash{}',
    **{character: '\\' + character for character in '&%$#_{}'},
    '~': r'\textasciitilde{}',
    '^': r'\textasciicircum{}',
    '<': r'\ensuremath{<}',
    '>': r'\ensuremath{>}',
    '±': r'\ensuremath{\pm}',
    '↑': r'\ensuremath{\uparrow}',
    '↓': r'\ensuremath{\downarrow}',
    '\N{MINUS SIGN}': r'\ensuremath{-}',
}

# -- numbers ---------------------------------------------------------------------------------------


def choose_digits(means: Sequence[float], deviations: Sequence[float]) -> int | None:
    """Chooses the digits after the point for a column of means and standard deviations.

    Two digits of the smallest standard deviation are shown, unless it is far below the others;
    without deviations, four digits of the largest mean.

    Returns:
        The digits; None for scientific notation, when more than eight would be needed.
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


def format_number(value: float | None, digits: int | None) -> str:
    """Formats a value with so many digits after the point; None for scientific notation."""
    if value is None:
        return MISSING
    text = f'{value:.3g}' if digits is None else f'{value:.{digits}f}'
    text = text.removeprefix('-') if float(text) == 0 else text
    return text.replace('-', '\N{MINUS SIGN}')


def format_signed(value: float | None, digits: int | None) -> str:
    """Formats a value as `format_number` does, with its sign."""
    text = format_number(value, digits)
    positive = value is not None and value > 0 and any(digit in text for digit in '123456789')
    return f'+{text}' if positive else text


def format_p(p: float | None) -> str:
    """Formats a p-value."""
    if p is None:
        return MISSING
    return '<0.001' if p < 0.001 else f'{p:.3f}' if p < 0.1 else f'{p:.2f}'


def format_stars(p: float | None) -> str:
    """Formats the significance of a p-value as stars; '' for p >= 0.05 and for None."""
    return next((stars for level, stars in _STARS if p is not None and p < level), '')


def format_count(value: float | None) -> str:
    """Formats a large count with its SI prefix: 107445 -> '107 k'."""
    if value is None:
        return MISSING
    value = float(f'{value:.3g}')
    for size, prefix in ((1e12, ' T'), (1e9, ' G'), (1e6, ' M'), (1e3, ' k')):
        if abs(value) >= size:
            return f'{value / size:g}{prefix}'
    return f'{value:g}'


def format_duration(seconds: float | None) -> str:
    """Formats seconds: '3.2 s', '12 s', '3 min 05 s', '2 h 07 min'."""
    if seconds is None:
        return MISSING
    if seconds < 99.5:
        return f'{seconds:.3g} s'
    if seconds < 5970:
        return f'{int(seconds + 0.5) // 60} min {int(seconds + 0.5) % 60:02d} s'
    minutes = int(seconds / 60 + 0.5)
    return f'{minutes // 60} h {minutes % 60:02d} min'


SECONDS = {'s': 1, 'min': 60, 'h': 3600, 'd': 86400}


def parse_duration(text: str) -> float:
    """Parses a time such as '90 s', '10 min', '2 h' or '1 d' to seconds.

    Raises:
        ValueError: it is none, or not above 0.
    """
    match = re.fullmatch(r'\s*(\d+(?:\.\d+)?)\s*(s|min|h|d)\s*', text)
    seconds = 0.0 if match is None else float(match[1]) * SECONDS[match[2]]
    if not seconds > 0:
        raise ValueError(f'expected a time such as 30 s, 10 min or 2 h, found {text!r}')
    return seconds


def format_memory(size: float | None) -> str:
    """Formats bytes in MB or GB (powers of ten)."""
    if size is None:
        return MISSING
    return f'{size / 1e9:.2f} GB' if size >= 1e9 else f'{size / 1e6:.0f} MB'


# -- tables ----------------------------------------------------------------------------------------


def format_text_table(
    rows: Sequence[Sequence[str]], left: int = 1, rule: bool = False, width: int | None = None
) -> str:
    """Formats rows of cells as aligned text.

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
        if rule and row is rows[0]:
            lines.append('  '.join('-' * size for size in widths))
    return '\n'.join(lines)


def format_markdown_table(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Formats rows of cells as the lines of a Markdown table.

    Args:
        rows: of equally many cells, which are Markdown; the first one is the header.
        left: number of columns at the left that are aligned to the left; the others hold numbers.
    """
    rules = ['---' if i < left else '---:' for i in range(len(rows[0]))]
    return ['| ' + ' | '.join(line) + ' |' for line in (rows[0], rules, *rows[1:])]


def escape_markdown(text: str) -> str:
    """Escapes plain text, so that Markdown shows it as it is, in one line."""
    text = ' '.join(text.split()).replace('\\', '\\\\').replace('&', '&amp;').replace('<', '&lt;')
    return re.sub(r'[|*_`\[\]#]', r'\\\g<0>', text)


def neutralize_markdown(text: str) -> str:
    """Makes tags and links that run scripts plain text in Markdown that has none of its own."""
    text = re.sub(r'<(?=[a-zA-Z/!?])', '&lt;', text)
    return re.sub(
        r'\]\((?=\s*(?:javascript|vbscript|data)\s*:)', r']\\(', text, flags=re.IGNORECASE
    )


def escape_cell(text: str) -> str:
    """Escapes Markdown, so that it is one cell of a table."""
    return text.replace('|', '\\|').replace('\n', ' ')


def format_latex_table(
    rows: Sequence[Sequence[str]], left: int = 1, caption: str = ''
) -> list[str]:
    """Formats rows of cells as the lines of a LaTeX table, which needs the package booktabs.

    Args:
        rows: of equally many cells, which are LaTeX; the first one is the header.
        left: number of columns at the left that are aligned to the left; the others hold numbers.
        caption: LaTeX.
    """
    lines = ['    ' + ' & '.join(row) + r' \\' for row in rows]
    return [
        r'\begin{table}',
        r'  \centering',
        rf'  \caption{{{caption}}}',
        # Only a table that is too wide is scaled.
        r'  \resizebox{\ifdim\width>\columnwidth\columnwidth\else\width\fi}{!}{'
        rf'\begin{{tabular}}{{{"l" * left + "r" * (len(rows[0]) - left)}}}',
        r'    \toprule',
        lines[0],
        r'    \midrule',
        *lines[1:],
        r'    \bottomrule',
        r'  \end{tabular}}',
        r'\end{table}',
    ]


def escape_latex(text: str) -> str:
    """Escapes plain text, so that LaTeX shows it as it is, in one line."""
    return ''.join(_LATEX.get(character, character) for character in ' '.join(text.split()))


def format_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Formats rows as CSV with a header.

    A text that a spreadsheet would run as a formula (`=1+1`, `@SUM(A1)`) gets an apostrophe in
    front, which `toolkit.io.tables.read_table` removes; numbers stay numbers.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator='\n')
    writer.writerow([_quote_formula(cell) for cell in columns])
    writer.writerows([_quote_formula(cell) for cell in row] for row in rows)
    return stream.getvalue()


def _quote_formula(cell: Any) -> Any:
    """Source: OWASP, "CSV Injection", https://owasp.org/www-community/attacks/CSV_Injection."""
    if not isinstance(cell, str) or not FORMULA.match(cell):
        return cell
    try:
        float(cell)
        return cell
    except ValueError:
        return f"'{cell}"


def unquote_formula(text: str) -> str:
    """Removes the apostrophe that `format_csv` puts in front of a formula."""
    return text[1:] if text.startswith("'") and FORMULA.match(text) else text


def _narrow(rows: Sequence[Sequence[str]], widths: list[int], left: int, width: int) -> list[int]:
    """Narrows the widest columns of words until the lines fit, if their longest words allow it."""
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
