"""The style of all figures: colours, dashes, markers, fonts, and rendering to bytes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

Numbers = Mapping[str, Any]

INK, PAPER, MUTED, RULE = '#1c1b19', '#fcfbf8', '#67635b', '#d8d3c7'
PALETTE = ('#0072b2', '#d55e00', '#00875f', '#b95c94', '#c98a00', '#3d9fdc', '#1c1b19')
DASHES = ('-', '--', ':', '-.')
MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X', '*')
STYLE = {
    'font.size': 11,
    'font.family': 'DejaVu Sans',  # comes with matplotlib, so it is the same everywhere
    'figure.facecolor': PAPER,
    'axes.facecolor': PAPER,
    'savefig.facecolor': PAPER,
    'text.color': INK,
    'axes.labelcolor': INK,
    'axes.edgecolor': INK,
    'xtick.color': INK,
    'ytick.color': INK,
    'axes.spines.top': False,
    'axes.spines.right': False,
    'axes.titlesize': 12,
    'axes.titlelocation': 'left',
    'legend.frameon': False,
    'svg.hashsalt': 'ablakit',
    'svg.fonttype': 'path',
}
DPI = 150
DISCLAIMER = 'Research use only.'


def render(figure: Figure, format: Literal['png', 'svg', 'pdf']) -> bytes:
    """Render a figure as the content of a file, without the time of its making."""
    buffer = io.BytesIO()
    metadata = {'png': {'Software': None}, 'svg': {'Date': None}, 'pdf': {'CreationDate': None}}
    with matplotlib.rc_context(STYLE):
        figure.savefig(
            buffer, format=format, dpi=DPI, bbox_inches='tight', metadata=metadata[format]
        )
    return buffer.getvalue()


def make_square(axes: Axes, x: str, y: str, title: str) -> None:
    """Makes axes square, with both ranges from 0 to 1."""
    axes.set(xlabel=x, ylabel=y, title=title, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set_aspect('equal')
    axes.grid(color=RULE, lw=0.6)


def write_head(figure: Figure, task: str, numbers: Numbers, more: str = '') -> None:
    """Writes the line above a figure: the task, its numbers of images and patients."""
    write_title(
        figure, f'{task}: {numbers["images"]} images of {numbers["patients"]} patients{more}'
    )


def write_title(figure: Figure, text: str) -> None:
    """Writes a line above a figure, and that it is for research."""
    figure.suptitle(f'{text}. {DISCLAIMER}', x=0.01, ha='left', fontsize=11)


def format_percent(value: float | None) -> str:
    """Formats a share as a whole percentage; a dash for None."""
    return '–' if value is None else f'{100 * value:.0f} %'


def shorten_name(name: str) -> str:
    """Shortens a long name to its end."""
    return name if len(name) <= 26 else f'…{name[-25:]}'
