"""The plotly.js of the installed plotly package, compressed for embedding.

The page unpacks it (DecompressionStream, in all browsers since 2023), so that most of the size of
a report is left for images.
"""

from __future__ import annotations

import base64
import gzip
import re
from functools import cache

from plotly.offline import get_plotlyjs

# Okabe and Ito's palette without yellow, which is too pale on paper. The first colour is that of
# ink, usually for the reference. The style sheet defines the colours in light and dark.
COLOURS = 7
DASHES = ('solid', 'dash', 'dot', 'dashdot')
SYMBOLS = (
    *('circle', 'square', 'diamond', 'triangle-up', 'x', 'triangle-down', 'cross', 'pentagon'),
)


def read_plotly() -> str:
    """Reads the source of the library."""
    return get_plotlyjs()


@cache
def pack_plotly() -> str:
    """Compresses the library with gzip and encodes it in base64."""
    return base64.b64encode(gzip.compress(read_plotly().encode(), 9, mtime=0)).decode()


@cache
def read_licence() -> str:
    """Reads name, version, copyright and licence from the first lines of the library."""
    head = get_plotlyjs()[:600]
    patterns = (r'(plotly\.js v[\d.]+)', r'Copyright ([\d, -]+Plotly, Inc\.)', r'the (\w+) license')
    found = [re.search(pattern, head) for pattern in patterns]
    name, owner, terms = (match.group(1) if match else '' for match in found)
    return f'{name or "plotly.js"}, © {owner or "Plotly, Inc."}, {terms or "MIT"} license'


def choose_plot_style(variant: int, context: int = 0, contexts: int = 1) -> dict[str, int | str]:
    """Chooses colour, dash and marker: the colour by the variant, the dash by the setting.

    Without axes, the styles of 56 variants differ even without any one of the three.

    Args:
        variant: index of the variant.
        context: index of its setting of the axes and its data set.
        contexts: number of these.
    """
    turn = variant // COLOURS
    if contexts == 1:
        dash, symbol = turn, variant
    else:
        dash, symbol = context, context // len(DASHES) + 3 * turn
    return {
        'colour': variant % COLOURS,
        'dash': DASHES[dash % len(DASHES)],
        'symbol': SYMBOLS[symbol % len(SYMBOLS)],
    }
