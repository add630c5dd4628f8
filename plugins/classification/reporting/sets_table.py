"""Table of the prediction sets of all variants in a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from plugins.classification.reporting.clinical.clinical_text import format_value

Record = Mapping[str, Any]


def make_rows(variants: Sequence[tuple[str, Sequence[Record]]]) -> list[list[str]]:
    """Makes a row of cells for each variant whose tests have prediction sets.

    Of one run the values have their intervals; of several there are the mean, and the lowest and
    the highest value.

    Args:
        variants: label, and the `prediction_sets` of each run that has some.
    Returns:
        Label, number of runs, coverage aimed at, of what, coverage, the coverage of the class that
        is covered least, and mean size of the sets.
    """
    rows = []
    for label, runs in variants:
        if not runs:
            continue
        first = runs[0]
        lowest = [_find_least_covered(run) for run in runs]
        names = ', '.join(dict.fromkeys(name for name, _ in lowest))
        rows.append(
            [
                label,
                str(len(runs)),
                f'{100 * first["coverage_aimed_at"]:g} %',
                'each class' if first['of'] == 'class' else 'all images',
                _format_values([run['coverage'] for run in runs]),
                f'{names}: {_format_values([value for _, value in lowest])}',
                _format_values([run['size'] for run in runs]),
            ]
        )
    return rows


def _find_least_covered(run: Record) -> tuple[str, Record]:
    known = {name: one for name, one in run['by_class'].items() if one['value'] is not None}
    name = min(known, key=lambda name: known[name]['value'])
    return name, known[name]


def _format_values(values: Sequence[Record]) -> str:
    if len(values) == 1:
        return format_value(values[0])
    numbers = [value['value'] for value in values]
    return f'{np.mean(numbers):.3f} ({min(numbers):.3f} to {max(numbers):.3f})'
