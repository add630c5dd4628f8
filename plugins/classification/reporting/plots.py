"""Figures of a test by matplotlib: the same bytes for the same numbers.

All have a background of their own, so that they can be read on light and dark pages. The colours
are Okabe and Ito's, which colour-blind readers tell apart; markers and dashes repeat the
distinction.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from plugins.classification.metrics.functional.calibration import BINS
from plugins.classification.reporting.curves import GRID
from plugins.classification.reporting.plot_style import (
    DASHES,
    INK,
    MARKERS,
    MUTED,
    PALETTE,
    PAPER,
    RULE,
    STYLE,
    Numbers,
    format_percent,
    make_square,
    shorten_name,
    write_head,
    write_title,
)


def draw_curves(numbers: Numbers, task: str) -> Figure | None:
    """Draw ROC beside PR, with bands and the operating point; None for a test of one class."""
    curves = {name: c for name, c in numbers['curves'].items() if 'roc' in c}
    if not curves:
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure((11, 5.2), layout='constrained')
        left, right = figure.subplots(1, 2)
        for place, (name, found) in enumerate(curves.items()):
            style = {'color': PALETTE[place % len(PALETTE)], 'ls': DASHES[place % len(DASHES)]}
            total = found['positives'] + found['negatives']
            for axes, kind, area in ((left, 'roc', 'AUC'), (right, 'pr', 'AP')):
                if 'low' in found[kind]:
                    axes.fill_between(
                        *(GRID, found[kind]['low'], found[kind]['high']),
                        **{'color': style['color'], 'alpha': 0.15, 'lw': 0},
                    )
                steps = {} if kind == 'roc' else {'drawstyle': 'steps-pre'}
                axes.plot(
                    *(found[kind]['x'], found[kind]['y']),
                    **style,
                    **steps,
                    lw=2,
                    label=f'{name}: {area} {_format_interval(found[area])}',
                )
            share = found['positives'] / total
            right.axhline(share, color=style['color'], ls=style['ls'], lw=0.8, alpha=0.6)
            if (at := found.get('operating')) is not None:
                _mark(left, right, at)
        left.plot([0, 1], [0, 1], color=MUTED, lw=0.8, ls=':')
        make_square(left, '1 − specificity', 'sensitivity', 'ROC')
        make_square(right, 'recall (sensitivity)', 'precision (PPV)', 'Precision and recall')
        left.legend(loc='lower right', fontsize=10)
        right.legend(loc='lower left', fontsize=10)
        few = _describe_choice(numbers, len(numbers['curves']))
        write_head(figure, task, numbers, few + _describe_bands(curves))
    return figure


def draw_reliability(numbers: Numbers, task: str) -> Figure:
    """Draw confidence against accuracy, before and after the temperature, over the counts."""
    reliability = numbers['reliability']
    with matplotlib.rc_context(STYLE):
        figure = Figure((6.4, 6.6), layout='constrained')
        upper, lower = figure.subplots(2, 1, height_ratios=(3.4, 1), sharex=True)
        upper.plot([0, 1], [0, 1], color=MUTED, lw=0.8, ls=':')
        temperature = f'temperature {numbers["temperature"]:.3g}'
        for place, (name, label) in enumerate((('before', 'before'), ('after', temperature))):
            colour, bins = PALETTE[1 - place], reliability[name]['bins']
            upper.plot(
                *([b['confidence'] for b in bins], [b['accuracy'] for b in bins]),
                marker=MARKERS[place],
                ls=DASHES[1 - place],
                color=colour,
                lw=1.8,
                label=f'{label}: ECE {reliability[name]["ECE"]:.3f}',
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
            f'share that is {numbers["positive"]}' if numbers['positive'] else 'accuracy'
        )
        lower.set(xlabel=reliability['of'], ylabel='images')
        upper.grid(color=RULE, lw=0.6)
        write_head(figure, task, numbers, f'; {BINS} bins of equal width')
    return figure


def draw_gallery(
    failures: Sequence[Mapping[str, Any]], thumbnails: Sequence[Image.Image], task: str
) -> Figure:
    """Draw the worst mistakes as thumbnails with id, true and decided class."""
    columns = min(4, len(failures))
    rows = -(-len(failures) // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure((2.9 * columns, 3.3 * rows + 0.6), layout='constrained')
        grid = np.atleast_1d(figure.subplots(rows, columns)).ravel()
        for axes in grid:
            axes.set_axis_off()
        for axes, failure, picture in zip(grid, failures, thumbnails):
            axes.imshow(np.asarray(picture))
            axes.set_title(
                f'{shorten_name(failure["id"])}\n'
                f'true {failure["label"]} (p {failure["label_probability"]:.2f})\n'
                f'decided {failure["prediction"]} (p {failure["probability"]:.2f})',
                fontsize=9,
            )
        write_title(figure, f'{task}: mistakes with the lowest p of the true class')
    return figure


def draw_decision_curve(numbers: Numbers, task: str) -> Figure | None:
    """Draw the net benefit against the threshold, beside treating all and nobody.

    None if no class is positive.
    """
    found = numbers['decision_curve']
    if found is None:
        return None
    with matplotlib.rc_context(STYLE):
        figure = Figure((7, 5), layout='constrained')
        axes = figure.subplots()
        thresholds = found['threshold']
        axes.plot(thresholds, found['model'], color=PALETTE[0], lw=2, label='the classifier')
        axes.plot(thresholds, found['all'], color=PALETTE[1], ls='--', label='treat all')
        axes.axhline(0, color=MUTED, ls=':', label='treat nobody')
        if numbers['threshold'] is not None:
            label = f'stored threshold {numbers["threshold"]:.3f}'
            axes.axvline(numbers['threshold'], color=INK, lw=0.8, label=label)
        top = max(max(found['model']), max(found['all']), 0.01)
        axes.set(
            xlabel=f'threshold on the probability of {numbers["positive"]}',
            ylabel='net benefit, in true positives per image',
            title='Decision curve',
            xlim=(0, 1),
            ylim=(-0.3 * top, 1.1 * top),
        )
        axes.grid(color=RULE, lw=0.6)
        axes.legend()
        write_head(figure, task, numbers)
    return figure


def draw_risk_coverage(numbers: Numbers, task: str) -> Figure:
    """Draw the risk of the surest decisions against their share."""
    found = numbers['risk_coverage']
    with matplotlib.rc_context(STYLE):
        figure = Figure((6.4, 5), layout='constrained')
        axes = figure.subplots()
        label = f'AURC {found["AURC"]:.3f}'
        axes.plot(found['x'], found['y'], color=PALETTE[0], lw=2, label=label)
        axes.set(
            xlabel='coverage: share of the decisions that are kept, the surest first',
            ylabel='risk: share of errors among them',
            title='Risk and coverage',
            xlim=(0, 1.02),
            ylim=(0, max(0.05, 1.1 * max(found['y']))),
        )
        axes.grid(color=RULE, lw=0.6)
        axes.legend()
        write_head(figure, task, numbers)
    return figure


# -- pieces ----------------------------------------------------------------------------------------


def _mark(left: Axes, right: Axes, at: Mapping[str, Any]) -> None:
    """Mark the operating point on ROC and PR."""
    style = {'marker': '*', 'ms': 15, 'color': INK, 'mec': PAPER, 'ls': '', 'zorder': 5}
    label = (
        f'threshold {at["threshold"]:.3f}: sensitivity {format_percent(at["sensitivity"])}, '
        f'specificity {format_percent(at["specificity"])}'
    )
    left.plot([1 - at['specificity']], [at['sensitivity']], label=label, **style)
    if at['PPV'] is not None:
        label = f'threshold {at["threshold"]:.3f}: PPV {format_percent(at["PPV"])}'
        right.plot([at['sensitivity']], [at['PPV']], label=label, **style)


def _describe_choice(numbers: Numbers, shown: int) -> str:
    total = len(numbers['classes'])
    chosen = numbers['positive'] is None and shown < total
    return f'; the {shown} of {total} classes with the fewest images' if chosen else ''


def _describe_bands(curves: Mapping[str, Any]) -> str:
    resamples = [found['resamples'] for found in curves.values() if found['resamples']]
    return f'; bands: 95 % by patient, {min(resamples)} resamples' if resamples else ''


def _format_interval(values: Sequence[float | None]) -> str:
    value, low, high = values
    return f'{value:.3f}' + ('' if low is None else f' ({low:.3f} to {high:.3f})')
