"""The charting library inside the page: plotly.js as its Python package carries it, compressed.

The page unpacks it by itself (DecompressionStream, in all browsers since 2023), which leaves most
of a report's size to its pictures.
"""

from __future__ import annotations

import base64
import gzip
import re
from functools import cache

from plotly.offline import get_plotlyjs

# Okabe and Ito's palette, ink first, which is the reference's as a rule, and without its yellow,
# which is too pale on paper. The page's style says what each number is in light and dark.
COLOURS = 7
DASHES = ('solid', 'dash', 'dot', 'dashdot')
SYMBOLS = (
    *('circle', 'square', 'diamond', 'triangle-up', 'x', 'triangle-down', 'cross', 'pentagon'),
)


@cache
def packed() -> str:
    """The library, gzipped, in base64."""
    return base64.b64encode(gzip.compress(get_plotlyjs().encode(), 9, mtime=0)).decode()


@cache
def licence() -> str:
    """Name and version, copyright, and licence, from the library's own first lines."""
    head = get_plotlyjs()[:600]
    patterns = (r'(plotly\.js v[\d.]+)', r'Copyright ([\d, -]+Plotly, Inc\.)', r'the (\w+) license')
    found = [re.search(pattern, head) for pattern in patterns]
    name, owner, terms = (match.group(1) if match else '' for match in found)
    return f'{name or "plotly.js"}, © {owner or "Plotly, Inc."}, {terms or "MIT"} license'


def look(place: int) -> dict[str, int | str]:
    """Colour, dash and marker of a cell; told apart without any one of them for 56 cells."""
    return {
        'colour': place % COLOURS,
        'dash': DASHES[place // COLOURS % len(DASHES)],
        'symbol': SYMBOLS[place % len(SYMBOLS)],
    }
