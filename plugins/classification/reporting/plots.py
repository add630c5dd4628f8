"""Figures of a test by matplotlib: the same bytes for the same numbers.

All have paper of their own, so that they are read on light and dark pages; colours are Okabe and
Ito's, which the colour-blind tell apart, and markers and dashes say the same.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from plugins.classification.metrics.functional.calibration import BINS
from plugins.classification.reporting.curves import GRID

INK, PAPER, MUTED, RULE = '#1c1b19', '#fcfbf8', '#67635b', '#d8d3c7'
PALETTE = ('#0072b2', '#d55e00', '#00875f', '#b95c94', '#c98a00', '#3d9fdc', '#1c1b19')
DASHES = ('-', '--', ':', '-.')
MARKERS = ('o', 's', '^', 'D', 'v', 'P', 'X', '*')
STYLE = {
    'font.size': 11,
    'font.family': 'DejaVu Sans',  # comes with matplotlib, so that it is the same everywhere
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

Numbers = Mapping[str, Any]


def rendered(figure: Figure, format: Literal['png', 'svg', 'pdf']) -> bytes:
    """A figure as a file's content, without the time at which it was made."""
    buffer = io.BytesIO()
    metadata = {'png': {'Software': None}, 'svg': {'Date': None}, 'pdf': {'CreationDate': None}}
    with matplotlib.rc_context(STYLE):
        figure.savefig(
            buffer, format=format, dpi=DPI, bbox_inches='tight', metadata=metadata[format]
        )
    return buffer.getvalue()


def confusion_figure(numbers: Numbers, task: str) -> Figure:
    """Counts beside shares of each true class."""
    classes, counts = numbers['classes'], np.array(numbers['confusion'])
    totals = counts.sum(1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    side = max(3.2, 0.9 * len(classes) + 1.4)
    with matplotlib.rc_context(STYLE):
        figure = Figure((2 * side + 0.8, side + 0.4), layout='constrained')
        for axes, title, texts in zip(
            figure.subplots(1, 2),
            ('images', 'share of each true class'),
            (
                [[str(n) for n in row] for row in counts],
                [[f'{100 * x:.0f} %' if t else '–' for x in row] for row, t in zip(shares, totals)],
            ),
        ):
            axes.imshow(shares, cmap='Blues', vmin=0, vmax=1)
            for row in range(len(classes)):
                for column in range(len(classes)):
                    colour = 'white' if shares[row, column] > 0.55 else INK
                    axes.text(
                        *(column, row, texts[row][column]),
                        **{'ha': 'center', 'va': 'center', 'color': colour, 'fontsize': 13},
                    )
            slant = {'rotation': 30, 'ha': 'right'} if max(map(len, classes)) > 9 else {}
            axes.set_xticks(range(len(classes)), classes, **slant)
            axes.set_yticks(range(len(classes)), classes)
            axes.set_xlabel('decided')
            axes.set_ylabel('true')
            axes.tick_params(length=0)
            axes.spines[:].set_visible(False)
            axes.set_title(title)
        _head(figure, task, numbers)
    return figure


def curves_figure(numbers: Numbers, task: str) -> Figure | None:
    """ROC beside PR, with bands, and where the threshold puts the decision; None of a test without
    two classes."""
    drawn = {name: c for name, c in numbers['curves'].items() if 'roc' in c}
    if not drawn:
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure((11, 5.2), layout='constrained')
        left, right = figure.subplots(1, 2)
        for place, (name, found) in enumerate(drawn.items()):
            look = {'color': PALETTE[place % len(PALETTE)], 'ls': DASHES[place % len(DASHES)]}
            total = found['positives'] + found['negatives']
            for axes, kind, what in ((left, 'roc', 'AUC'), (right, 'pr', 'AP')):
                if 'low' in found[kind]:
                    axes.fill_between(
                        *(GRID, found[kind]['low'], found[kind]['high']),
                        **{'color': look['color'], 'alpha': 0.15, 'lw': 0},
                    )
                steps = {} if kind == 'roc' else {'drawstyle': 'steps-pre'}
                axes.plot(
                    *(found[kind]['x'], found[kind]['y']),
                    **look,
                    **steps,
                    lw=2,
                    label=f'{name}: {what} {_interval(found[what])}',
                )
            share = found['positives'] / total
            right.axhline(share, color=look['color'], ls=look['ls'], lw=0.8, alpha=0.6)
            if (at := found.get('operating')) is not None:
                _mark(left, right, at)
        left.plot([0, 1], [0, 1], color=MUTED, lw=0.8, ls=':')
        _square(left, '1 − specificity', 'sensitivity', 'ROC')
        _square(right, 'recall (sensitivity)', 'precision (PPV)', 'Precision and recall')
        left.legend(loc='lower right', fontsize=10)
        right.legend(loc='lower left', fontsize=10)
        _head(figure, task, numbers, f'; bands: 95 % by patient, {_resamples(drawn)} resamples')
    return figure


def reliability_figure(numbers: Numbers, task: str) -> Figure:
    """What was said against what was so, before and after the temperature, over the counts."""
    told = numbers['reliability']
    with matplotlib.rc_context(STYLE):
        figure = Figure((6.4, 6.6), layout='constrained')
        upper, lower = figure.subplots(2, 1, height_ratios=(3.4, 1), sharex=True)
        upper.plot([0, 1], [0, 1], color=MUTED, lw=0.8, ls=':')
        temperature = f'temperature {numbers["temperature"]:.3g}'
        for place, (name, label) in enumerate((('before', 'before'), ('after', temperature))):
            colour, bins = PALETTE[1 - place], told[name]['bins']
            upper.plot(
                *([b['said'] for b in bins], [b['so'] for b in bins]),
                marker=MARKERS[place],
                ls=DASHES[1 - place],
                color=colour,
                lw=1.8,
                label=f'{label}: ECE {told[name]["ECE"]:.3f}',
            )
            width = (bins[0]['high'] - bins[0]['low']) * 0.4
            bars = lower.bar(
                [(b['low'] + b['high']) / 2 + (place - 0.5) * width for b in bins],
                [b['n'] for b in bins],
                **{'width': width, 'color': colour, 'alpha': 0.9},
            )
            lower.bar_label(bars, fontsize=8, color=MUTED)
        upper.legend(loc='best')
        upper.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        upper.set_ylabel(
            f'share that is {numbers["positive"]}' if numbers['positive'] else 'share that is right'
        )
        lower.set(xlabel=told['of'], ylabel='images')
        upper.grid(color=RULE, lw=0.6)
        _head(figure, task, numbers, f'; {BINS} bins of equal width')
    return figure


def gallery_figure(
    failures: Sequence[Mapping[str, Any]], thumbnails: Sequence[Image.Image], task: str
) -> Figure:
    """The worst mistakes as thumbnails with id, true and decided class."""
    columns = min(4, len(failures))
    rows = -(-len(failures) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure((2.9 * columns, 3.3 * rows + 0.6), layout='constrained')
        grid = np.atleast_1d(figure.subplots(rows, columns)).ravel()
        for axes in grid:
            axes.set_axis_off()
        for axes, told, picture in zip(grid, failures, thumbnails):
            axes.imshow(np.asarray(picture))
            axes.set_title(
                f'{_short(told["id"])}\ntrue {told["label"]} (p {told["of_label"]:.2f})\n'
                f'said {told["prediction"]} (p {told["probability"]:.2f})',
                fontsize=9,
            )
        figure.suptitle(
            f'{task}: the mistakes that were surest. {DISCLAIMER}', x=0.01, ha='left', fontsize=11
        )
    return figure


def embedding_figure(
    points: np.ndarray,
    colours: Mapping[str, Sequence[str]],
    order: Mapping[str, Sequence[str]],
    method: str,
    images: int,
) -> Figure:
    """Points (M, 2), once for each way to colour them; the names of each come in an order."""
    with matplotlib.rc_context(STYLE):
        figure = Figure((5.2 * len(colours), 5.4), layout='constrained')
        for axes, (title, names) in zip(
            np.atleast_1d(figure.subplots(1, len(colours))), colours.items()
        ):
            values = np.array(names)
            for place, name in enumerate((*order[title], '')):
                chosen = points[values == name]
                if not len(chosen):
                    continue
                look = (
                    {
                        'color': PALETTE[place % len(PALETTE)],
                        'marker': MARKERS[place % len(MARKERS)],
                    }
                    if name
                    else {'color': RULE, 'marker': '.'}
                )
                axes.scatter(
                    *chosen.T,
                    s=24,
                    alpha=0.8,
                    lw=0,
                    label=f'{name or "missing"} ({len(chosen)})',
                    **look,
                )
            axes.set(xticks=[], yticks=[], title=title)
            axes.spines[:].set_visible(False)
            axes.set_aspect('equal', adjustable='datalim')
            axes.legend(loc='upper center', bbox_to_anchor=(0.5, -0.02), ncols=2, fontsize=10)
        few = '' if len(points) == images else f' of {images}'
        figure.suptitle(
            f'{method} of the joint feature, {len(points)}{few} images. {DISCLAIMER}',
            **{'x': 0.01, 'ha': 'left', 'fontsize': 11},
        )
    return figure


# -- pieces ----------------------------------------------------------------------------------------


def _mark(left: Axes, right: Axes, at: Mapping[str, Any]) -> None:
    """The operating point on ROC and PR."""
    look = {'marker': '*', 'ms': 15, 'color': INK, 'mec': PAPER, 'ls': '', 'zorder': 5}
    label = (
        f'threshold {at["threshold"]:.3f}: sensitivity {_percent(at["sensitivity"])}, '
        f'specificity {_percent(at["specificity"])}'
    )
    left.plot([1 - at['specificity']], [at['sensitivity']], label=label, **look)
    if at['PPV'] is not None:
        label = f'threshold {at["threshold"]:.3f}: PPV {_percent(at["PPV"])}'
        right.plot([at['sensitivity']], [at['PPV']], label=label, **look)


def _square(axes: Axes, x: str, y: str, title: str) -> None:
    axes.set(xlabel=x, ylabel=y, title=title, xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.set_aspect('equal')
    axes.grid(color=RULE, lw=0.6)


def _head(figure: Figure, task: str, numbers: Numbers, more: str = '') -> None:
    figure.suptitle(
        f'{task}: {numbers["images"]} images of {numbers["patients"]} patients{more}. {DISCLAIMER}',
        **{'x': 0.01, 'ha': 'left', 'fontsize': 11},
    )


def _resamples(drawn: Mapping[str, Any]) -> int:
    return min(found['resamples'] for found in drawn.values())


def _interval(values: Sequence[float | None]) -> str:
    value, low, high = values
    return f'{value:.3f}' + ('' if low is None else f' ({low:.3f} to {high:.3f})')


def _percent(value: float | None) -> str:
    return '–' if value is None else f'{100 * value:.0f} %'


def _short(name: str) -> str:
    return name if len(name) <= 26 else f'…{name[-25:]}'
