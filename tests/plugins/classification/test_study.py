"""A study over ClinicalMetrics compares runs; its values are no means of items, and are not
resampled as if they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from plugins.classification.metrics.clinical_metrics import ClinicalMetrics
from plugins.classification.tasks import Task
from tests.support.study_folders import finish, planned, write_plan
from toolkit.analysis.aggregate import Comparison, analyze_study
from toolkit.analysis.results import load

TASKS = {'t': Task(('a', 'b', 'c'))}
LABELS = np.tile([0, 1, 2, 2], 10)


def rows(skill: float, seed: int) -> list[dict[str, Any]]:
    logits = np.random.default_rng(seed).normal(size=(40, 3)) + skill * np.eye(3)[LABELS]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return [
        {'item': f'i{i}', 'id': f'i{i}', 'patient': f'p{i // 2}', 'label': int(LABELS[i])}
        | {'logits': logits[i].tolist(), 'probabilities': p[i].tolist()}
        | {'decision': int(p[i].argmax()), 'threshold': None}
        for i in range(40)
    ]


def test_runs_are_paired_and_items_are_not(tmp_path: Path) -> None:
    metric = ClinicalMetrics('t', TASKS, values=['macro_F1', 'macro_AUC', 'F1/c'])
    skills = {'full': 1.0, 'other': 2.0}
    names = {f't.{value}': True for value in metric.directions}
    plan = [planned(v, s) for v in skills for s in range(3)]
    folder = write_plan(tmp_path, plan, metrics=names)
    values: dict[str, list[dict[str, float]]] = {name: [] for name in skills}
    for variant, skill in skills.items():
        for seed in range(3):
            found = rows(skill, seed)
            values[variant].append(metric.summarize(found))
            reported = {f't.{name}': value for name, value in values[variant][-1].items()}
            finish(folder / 'runs' / f'{variant}-s{seed}', reported, {'t': found})
    analysis = analyze_study(load(folder))
    for name in metric.directions:
        found: Comparison = analysis.comparisons[1, f't.{name}']
        pairs = [[run[name] for run in values[variant]] for variant in ('other', 'full')]
        assert found.runs.p == pytest.approx(stats.ttest_rel(*pairs).pvalue)
        assert found.better is True
        assert found.items.why == 'not the mean of test items'


def test_the_mean_of_another_column_is_no_accident(tmp_path: Path) -> None:
    # Who always decides for 1 of two classes is as accurate as the labels' mean.
    folder = write_plan(tmp_path, [planned(v) for v in ('full', 'other')], metrics={'acc': True})
    for variant in ('full', 'other'):
        found = [{'id': f'i{i}', 'label': i % 2, 'decision': 1} for i in range(20)]
        finish(folder / f'runs/{variant}-s0', {'acc': 0.5}, {'acc': found})
    found = analyze_study(load(folder)).comparisons[1, 'acc']
    assert found.items.why == 'not the mean of test items'
