"""Figures with a place for each class: the confusion matrix and the embedding.

Of many classes they have no text for each one, so that their size does not grow with the classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from plugins.classification.reporting.plot_style import (
    INK,
    MARKERS,
    PALETTE,
    RULE,
    STYLE,
    Numbers,
    write_head,
    write_title,
)

MAX_CLASSES = 30  # that have texts of their own


def draw_confusion(numbers: Numbers, task: str) -> Figure:
    """Draw counts beside shares of each true class; of many classes colours alone."""
    classes, counts = numbers['classes'], np.array(numbers['confusion'])
    totals = counts.sum(1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    if len(classes) > MAX_CLASSES:
        return _draw_shares(shares, classes, task, numbers)
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
        write_head(figure, task, numbers)
    return figure


def draw_embedding(
    points: np.ndarray,
    colours: Mapping[str, Sequence[str]],
    order: Mapping[str, Sequence[str]],
    method: str,
    images: int,
) -> Figure:
    """Draw points (M, 2) once for each way to colour them.

    Args:
        points: (M, 2).
        colours: name of each point's group, by the title of an axes.
        order: names of the groups in the order of the legend, by the title of an axes.
        method: name of the embedding.
        images: number of images before thinning.
    """
    with matplotlib.rc_context(STYLE):
        figure = Figure((5.2 * len(colours), 5.4), layout='constrained')
        for axes, (title, names) in zip(
            np.atleast_1d(figure.subplots(1, len(colours))), colours.items()
        ):
            values = np.array(names)
            for place, name in enumerate((*order[title], '')):
                group = points[values == name]
                if not len(group):
                    continue
                style = (
                    {
                        'color': PALETTE[place % len(PALETTE)],
                        'marker': MARKERS[place % len(MARKERS)],
                    }
                    if name
                    else {'color': RULE, 'marker': '.'}
                )
                axes.scatter(
                    *group.T,
                    s=24,
                    alpha=0.8,
                    lw=0,
                    label=f'{name or "missing"} ({len(group)})',
                    **style,
                )
            many = len(order[title]) > MAX_CLASSES
            axes.set(xticks=[], yticks=[], title=f'{title} (colours repeat)' if many else title)
            axes.spines[:].set_visible(False)
            axes.set_aspect('equal', adjustable='datalim')
            if not many:
                axes.legend(loc='upper center', bbox_to_anchor=(0.5, -0.02), ncols=2, fontsize=10)
        few = '' if len(points) == images else f' of {images}'
        write_title(figure, f'{method} of the joint feature, {len(points)}{few} images')
    return figure


def _draw_shares(shares: np.ndarray, classes: Sequence[str], task: str, numbers: Numbers) -> Figure:
    """Draw the shares (K, K) of each true class as colours, with the names of some classes."""
    with matplotlib.rc_context(STYLE):
        figure = Figure((9, 8), layout='constrained')
        axes = figure.subplots()
        drawn = axes.imshow(shares, cmap='Blues', vmin=0, vmax=1, interpolation='nearest')
        figure.colorbar(drawn, ax=axes)
        some = range(0, len(classes), -(-len(classes) // MAX_CLASSES))
        axes.set_xticks(some, [classes[i] for i in some], rotation=90, fontsize=8)
        axes.set_yticks(some, [classes[i] for i in some], fontsize=8)
        axes.set(xlabel='decided', ylabel='true', title='share of each true class')
        write_head(figure, task, numbers, f', {len(classes)} classes')
    return figure
