"""The pooled result of a study's folds as values: each condition, and their comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from plugins.classification.interfaces import NOTE
from plugins.classification.metrics.clinical_metrics import Level
from plugins.classification.metrics.functional import bootstrap
from plugins.classification.metrics.functional.bootstrap import BootstrapSettings
from plugins.classification.metrics.intervals import (
    compute_with_intervals,
    explain_few_patients,
    find_fixed_classes,
    list_parts,
    summarize_resamples,
)
from plugins.classification.metrics.named_metrics import main_names
from plugins.classification.metrics.predictions import Predictions
from plugins.classification.reporting.clinical.clinical_summary import (
    ReportSettings,
    summarize_predictions,
)
from plugins.classification.reporting.clinical.combinations import find_contradictions
from plugins.classification.reporting.comparison import TestedRun, compare_runs
from plugins.classification.reporting.folds.pooling import PooledCondition, PooledStudy
from toolkit.analysis.paired_tests import adjust_holm

Record = dict[str, Any]


def summarize_pooled(study: PooledStudy, settings: BootstrapSettings | None = None) -> Record:
    """Summarizes the pooled conditions, and compares each with its reference.

    Values of several seeds are means over the seeds, in the same resamples of patients. The
    p-values of a metric are corrected by Holm's method over the conditions.

    Args:
        study: the pooled conditions.
        settings: settings of the bootstrap.
    Returns:
        `tasks` by name, each with `classes`, `positive`, and by level ('image', and 'patient' if a
        patient has several images) `conditions` and `comparisons` by label.
    """
    settings = settings or BootstrapSettings()
    tasks = list(dict.fromkeys(task for c in study.conditions for task in c.runs))
    return {
        'note': NOTE,
        'resamples': settings.resamples,
        'seed': settings.seed,
        'tasks': {
            task: _summarize_task(task, [c for c in study.conditions if task in c.runs], settings)
            for task in tasks
        },
        'left_out': dict(study.left_out),
        'notes': list(study.notes),
    }


def make_clinical_record(condition: PooledCondition, seed: int, settings: ReportSettings) -> Record:
    """Makes the clinical report of a pooled condition and seed, as the hook makes that of a test.

    Args:
        condition: the pooled condition.
        seed: one of its seeds.
        settings: settings of the report.
    """
    place = condition.seeds.index(seed)
    runs = {task: tested[place] for task, tested in condition.runs.items()}
    chosen = f'on the validation data of each of the {len(condition.folds)} folds'
    empty = dict.fromkeys(
        ('threshold', 'temperature', 'patient_threshold', 'weights', 'log_prior', 'costs')
    )
    overlap = '; '.join(dict.fromkeys(run.overlap for run in runs.values() if run.overlap))
    return {
        'note': NOTE,
        **({'overlap': overlap} if overlap else {}),
        'pooled': {'condition': condition.label, 'seed': seed, 'folds': list(condition.folds)},
        'interval': '95 %, percentiles of a bootstrap by patient',
        'resamples': settings.bootstrap.resamples,
        'seed': settings.bootstrap.seed,
        'stratified': settings.bootstrap.stratified,
        'tasks': {
            task: {
                **empty,
                'chosen': chosen,
                **summarize_predictions(run.metric, run.predictions, settings, run.aggregate),
            }
            for task, run in runs.items()
        },
        'contradictions': find_contradictions({t: run.predictions for t, run in runs.items()}),
    }


def _summarize_task(
    task: str, conditions: Sequence[PooledCondition], settings: BootstrapSettings
) -> Record:
    first = conditions[0].runs[task][0]
    images = first.predictions.labelled()
    levels: list[Level] = ['image']
    if len(np.unique(images.patients)) < len(images):
        levels.append('patient')
    names = main_names(first.metric.task)
    by_label = {c.label: c for c in conditions}
    found: Record = {
        'classes': list(first.metric.task.classes),
        'positive': first.metric.task.positive,
        'aggregate': first.aggregate,
        'levels': {},
    }
    for level in levels:
        compared = {
            c.label: _compare(c, by_label[c.reference], task, level, names, settings)
            for c in conditions
            if c.reference in by_label
        }
        _correct(compared, names)
        found['levels'][level] = {
            'conditions': {
                c.label: _summarize_seeds(c.runs[task], level, names, settings)
                | {'seeds': list(c.seeds), 'folds': list(c.folds)}
                for c in conditions
            },
            'comparisons': compared,
        }
    return found


def _summarize_seeds(
    runs: Sequence[TestedRun], level: Level, names: Sequence[str], settings: BootstrapSettings
) -> Record:
    """Computes the means over seeds with intervals in which all seeds meet the same patients."""
    items = [_list_items(run, level) for run in runs]
    values = [run.metric.metric_values(one) for run, one in zip(runs, items, strict=True)]
    base = items[0]
    counts = {'items': len(base), 'patients': len(np.unique(base.patients))}
    if len(runs) == 1:
        found = compute_with_intervals(values[0], base.patients, names, settings)
        return {**counts, 'values': found}
    scored = list(
        dict.fromkeys([*names, *(own for n in names for own in list_parts(values[0], n))])
    )
    resampled = [
        bootstrap.score_resamples(
            partial(_compute, value, scored), settings.weights(one.patients, one.labels)
        )
        for value, one in zip(values, items, strict=True)
    ]
    means = {name: np.mean([one[name] for one in resampled], 0) for name in scored}
    whole = [value.compute(names) for value in values]
    records = {}
    for name in names:
        few = next(filter(None, (explain_few_patients(v, base.patients, name) for v in values)), '')
        if fixed := find_fixed_classes(values[0], name, means):
            few = few or f'no resample changes {", ".join(fixed)}'
        mean = float(np.mean([float(one[name]) for one in whole]))
        records[name] = summarize_resamples(mean, means[name], few)
        if why := next(filter(None, (v.explain_undefined(name) for v in values)), ''):
            records[name]['why'] = why
    return {**counts, 'values': records}


def _compute(values: Any, names: Sequence[str], weights: np.ndarray) -> Mapping[str, np.ndarray]:
    return values.compute(names, weights)


def _list_items(run: TestedRun, level: Level) -> Predictions:
    if level == 'patient':
        return run.predictions.by_patient(run.aggregate)
    return run.predictions.labelled()


def _compare(
    condition: PooledCondition,
    reference: PooledCondition,
    task: str,
    level: Level,
    names: Sequence[str],
    settings: BootstrapSettings,
) -> Record:
    record = compare_runs(
        condition.runs[task],
        reference.runs[task],
        names=names,
        level=level,
        resamples=settings.resamples,
        seed=settings.seed,
    )
    return {'reference': reference.label, 'values': record['values']}


def _correct(compared: Mapping[str, Record], names: Sequence[str]) -> None:
    """Adds `p_holm`, corrected over the conditions, to each value."""
    for name in names:
        found = [record['values'][name] for record in compared.values()]
        for value, p in zip(found, adjust_holm([v['p'] for v in found]), strict=True):
            value['p_holm'] = p
