"""The figure of a benchmark: what systems cost against what they are worth."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.io import atomic_write

STYLE = {'font.family': 'DejaVu Sans', 'svg.hashsalt': 'ablakit', 'svg.fonttype': 'path'}
METADATA: Mapping[str, dict[str, Any]] = {'.svg': {'Date': None}, '.png': {'Software': None}}


def draw_costs(conditions: Mapping[str, Mapping[str, Any]], metric: str | None, path: Path) -> None:
    """Draws the time of inference against a metric, or against the peak memory without one.

    The same numbers give the same bytes.

    Args:
        conditions: of the record; those without the metric are left out.
        metric: its name.
        path: of an SVG or PNG file.
    """
    import matplotlib  # takes half a second to import
    from matplotlib.figure import Figure

    points = {
        label: (
            1000 / one['inference']['samples_per_second'],
            one['metric'] if metric else one['memory']['inference'] / 1e6,
        )
        for label, one in conditions.items()
        if not metric or one.get('metric') is not None
    }
    with matplotlib.rc_context(STYLE):
        figure = Figure((8, 5), layout='constrained')
        axes = figure.subplots()
        axes.scatter(*zip(*points.values(), strict=True), s=30, color='#0072b2')
        for label, point in points.items():
            axes.annotate(label, point, (4, 4), textcoords='offset points', fontsize=7)
        axes.set(xscale='log', xlabel='inference, ms a sample', ylabel=metric or 'peak memory, MB')
        axes.grid(color='#dddddd', lw=0.6)
        axes.set_axisbelow(True)
        axes.margins(x=0.2)
        buffer = io.BytesIO()
        kind = path.suffix.lower()
        figure.savefig(buffer, format=kind[1:], dpi=150, metadata=METADATA[kind])
    atomic_write.write(path, buffer.getvalue())
