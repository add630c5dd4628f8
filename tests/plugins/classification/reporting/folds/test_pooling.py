"""Folds as one result: pooled predictions equal those of scikit-learn on all items together."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from plugins.classification.metrics.functional.bootstrap import BootstrapSettings
from plugins.classification.reporting.clinical.clinical_summary import ReportSettings
from plugins.classification.reporting.clinical.clinical_text import to_markdown
from plugins.classification.reporting.comparison import compare_runs
from plugins.classification.reporting.folds.pooled_panel import PooledFolds
from plugins.classification.reporting.folds.pooled_report import (
    make_clinical_record,
    summarize_pooled,
)
from plugins.classification.reporting.folds.pooled_text import to_markdown as pooled_markdown
from plugins.classification.reporting.folds.pooling import pool_study
from plugins.classification.tasks import Task
from tests.support.study_folders import CAPSULE, finish, planned, write, write_plan
from toolkit.analysis.aggregate import analyze_study
from toolkit.analysis.results import load
from toolkit.errors import ToolkitError
from toolkit.report.section import list_panel_runs

TASKS = {'t': {'classes': ['a', 'b'], 'positive': 'b'}}
N, FOLDS = 120, 3
LABELS = np.random.default_rng(7).integers(0, 2, N // 2).repeat(2)  # two images of each patient
# Each fold has a threshold of its own, for images and for patients.
THRESHOLDS, OF_PATIENTS = (0.3, 0.5, 0.7), (0.4, 0.55, 0.6)


def rows(fold: int, skill: float, seed: int) -> list[dict[str, Any]]:
    generator = np.random.default_rng(1000 * seed + int(10 * skill))
    logits = skill * (LABELS - 0.5) + generator.normal(size=N)
    chances = 1 / (1 + np.exp(-logits))
    return [
        {
            'id': f'i{i}',
            'patient': f'p{i // 2}',
            'centre': 'AB'[i % 2],
            'attributes': {},
            'label': int(LABELS[i]),
            'logits': [0.0, float(logits[i])],
            'probabilities': [float(1 - chances[i]), float(chances[i])],
            'decision': int(chances[i] >= THRESHOLDS[fold]),
            'threshold': THRESHOLDS[fold],
            'patient_threshold': OF_PATIENTS[fold],
        }
        for i in range(N)
        if (i // 2) % FOLDS == fold
    ]


def make_study(folder: Path, seeds: int = 2, folds: int = FOLDS, **changes: Any) -> Path:
    """A study of two variants over folds and seeds; `rows` changes those of fold 1 of `full`."""
    skills = {'full': 2.0, 'plain': 0.5}
    plan = [
        planned(v, s, fold=f, id=f'{v}-s{s}-f{f}')
        for v in skills
        for s in range(seeds)
        for f in range(folds)
    ]
    write_plan(folder, plan, metrics={'t.AUC': True})
    for run in plan:
        found = rows(run['fold'], skills[run['variant']], run['seed'])
        if run['variant'] == 'full' and run['fold'] == 1:
            found = changes.get('rows', lambda same: same)(found)
        path = folder / run['folder']
        finish(path, {'t.AUC': 0.5}, {'t': found})
        node = {'type': 'ClinicalMetrics', 'task': 't', 'tasks': TASKS}
        config = {'test_evaluator': {'metrics': {'t': node}}}
        write(path / 'capsule.json', {**CAPSULE, 'config': config})
        (path / 'config.yaml').write_text('model: {type: X}\n')
    return folder


def panel_runs(folder: Path) -> Any:
    return list_panel_runs(analyze_study(load(folder)))


def test_values_are_those_of_all_items_together(tmp_path: Path) -> None:
    study = pool_study(panel_runs(make_study(tmp_path / 'study')))
    assert study is not None and not study.left_out
    record = summarize_pooled(study, BootstrapSettings(200))
    full = [sum((rows(f, 2.0, seed) for f in range(FOLDS)), []) for seed in (0, 1)]
    labels = [[row['label'] for row in found] for found in full]
    scores = [[row['probabilities'][1] for row in found] for found in full]
    levels = record['tasks']['t']['levels']
    auc = levels['image']['conditions']['full']['values']['AUC']
    expected = [sk.roc_auc_score(y, p) for y, p in zip(labels, scores)]
    assert auc['value'] == pytest.approx(np.mean(expected), abs=1e-12)
    assert auc['low'] < auc['value'] < auc['high']
    # Each image and patient is decided by the rule of its own fold.
    decided = [[row['decision'] for row in found] for found in full]
    recall = levels['image']['conditions']['full']['values']['sensitivity']
    expected = [sk.recall_score(y, d) for y, d in zip(labels, decided)]
    assert recall['value'] == pytest.approx(np.mean(expected), abs=1e-12)
    people = levels['patient']['conditions']['full']
    assert (people['items'], people['patients'], people['folds']) == (60, 60, ['0', '1', '2'])
    expected = []
    for found in full:
        p = {row['patient']: [] for row in found}
        for row in found:
            p[row['patient']].append(row['probabilities'][1])
        names = sorted(p, key=lambda name: int(name[1:]))
        own = [np.mean(p[name]) >= OF_PATIENTS[int(name[1:]) % FOLDS] for name in names]
        expected.append(sk.recall_score(LABELS[::2], own))
    assert people['values']['sensitivity']['value'] == pytest.approx(np.mean(expected), abs=1e-12)


def test_variants_are_compared_on_the_pooled_items(tmp_path: Path) -> None:
    study = pool_study(panel_runs(make_study(tmp_path / 'study')))
    record = summarize_pooled(study, BootstrapSettings(300))
    found = record['tasks']['t']['levels']['patient']['comparisons']
    assert list(found) == ['plain'] and found['plain']['reference'] == 'full'
    auc = found['plain']['values']['AUC']
    full, plain = (one.runs['t'] for one in study.conditions)
    own = compare_runs(plain, full, names=['AUC'], level='patient', resamples=300)['values']['AUC']
    assert auc['difference'] == own['difference'] < 0
    assert auc['p'] == own['p'] == auc['p_holm'] < 0.05


def test_every_missing_interval_has_its_reason(tmp_path: Path) -> None:
    study = pool_study(panel_runs(make_study(tmp_path / 'study', seeds=1)))
    full, plain = study.conditions
    (run,) = full.runs['t']
    # As a temperature does: other probabilities, and the same decisions and order.
    flatter = dataclasses.replace(
        run.predictions, probabilities=0.1 + 0.8 * run.predictions.probabilities
    )
    plain = dataclasses.replace(plain, runs={'t': [dataclasses.replace(run, predictions=flatter)]})
    study = dataclasses.replace(study, conditions=[full, plain])
    text = pooled_markdown(summarize_pooled(study, BootstrapSettings(100)))
    for part in text.split('## t, by ')[1:]:
        (reason,) = re.findall(r'^plain against full, (.+): no resample changes it\.$', part, re.M)
        missing = re.findall(r'^\| plain \| full \| (\w+) \| \S+ \[-\]', part, re.M)
        assert reason.split(', ') == missing


def change_first(**values: Any) -> Any:
    return lambda found: [{**found[0], **values}, *found[1:]]


@pytest.mark.parametrize(
    ('change', 'said'),
    [
        (change_first(id='i0'), r"item.*'i0'.*folds 0 and 1"),
        (change_first(patient='p0'), r"patient.*'p0'.*folds 0 and 1"),
        (lambda found: [*found, found[0]], r"item.*'i2' twice in fold 1"),
        (lambda found: found[1:], r'not tested on the same items.*only in plain, seed 0 1: i2'),
    ],
)
def test_items_of_two_folds_or_of_none_are_refused(tmp_path: Path, change: Any, said: str) -> None:
    folder = make_study(tmp_path / 'study', seeds=1, rows=change)
    with pytest.raises(ToolkitError, match=said):
        summarize_pooled(pool_study(panel_runs(folder)), BootstrapSettings(100))


def test_items_of_the_data_that_no_fold_tests_are_named(tmp_path: Path, monkeypatch: Any) -> None:
    from plugins.classification.image_record import Record
    from plugins.classification.reporting.folds import pooling

    class Data:
        tasks = {'t': Task(('a', 'b'), 'b')}
        pool = [
            *(Record(id=f'i{i}', labels={'t': 'a'}) for i in range(N)),
            Record(id='lonely', labels={'t': 'b'}),
            Record(id='unlabelled', labels={}),
        ]

    monkeypatch.setattr(pooling._ExpectedItems, '_read', lambda self, folder: Data())
    folder = make_study(tmp_path / 'study', seeds=1)
    with pytest.raises(ToolkitError, match=r'1 of 121 labelled items .* folds 0, 1, 2: lonely'):
        pool_study(panel_runs(folder))


def test_files_of_the_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from toolkit.report.page import write_panel_files

    folder = make_study(tmp_path / 'study', seeds=1)
    write_panel_files(folder)
    assert 'summary.md' in capsys.readouterr().out
    text = (folder / 'pooled/summary.md').read_text()
    assert 'Against the reference' in text and 'not known whether every item' in text
    clinical = json.loads((folder / 'pooled/full-s0.json').read_text())
    assert clinical['tasks']['t']['counts']['images'] == N
    assert clinical['tasks']['t']['patients']['patients'] == N // 2
    assert 'Pooled over the folds 0, 1, 2 of full' in (folder / 'pooled/full-s0.md').read_text()
    shown = PooledFolds().render(panel_runs(folder), 1_000_000)
    assert shown is not None and 'plain' in shown.html
    # A fold that has not finished leaves its variant out, and says so.
    status = folder / 'runs/plain-s0-f2/status.json'
    status.write_text(json.dumps({**json.loads(status.read_text()), 'status': 'failed'}))
    study = pool_study(panel_runs(folder))
    assert study.left_out == {'plain': '1 of 3 runs have no result'}
    assert [c.label for c in study.conditions] == ['full']


def test_what_a_fold_does_not_hold_apart_is_said_of_the_pooled_result(tmp_path: Path) -> None:
    folder = make_study(tmp_path / 's', seeds=1)
    path = next(p for p in (folder / 'runs').iterdir() if p.name.endswith('full-s0-f1'))
    record = json.loads((path / 'metrics.json').read_text())
    write(path / 'metrics.json', {**record, 'overlap': 'the test holds 3 patients; allowed'})
    said = 'fold 1: the test holds 3 patients; allowed'
    study = pool_study(panel_runs(folder))
    assert study.notes[1:] == (f'not held apart in full, seed 0: {said}',)
    settings = ReportSettings(BootstrapSettings(resamples=10), {})
    pooled = {c.label: make_clinical_record(c, 0, settings) for c in study.conditions}
    assert f'**Not held apart: {said}.**' in to_markdown(pooled['full'])
    assert 'overlap' not in pooled['plain']


def test_a_study_whose_folds_overlap_ends_with_an_error(tmp_path: Path) -> None:
    from toolkit.commands.study import write_results
    from toolkit.errors import RunError

    folder = make_study(tmp_path / 'study', seeds=1, rows=change_first(patient='p0'))
    with pytest.raises(RunError, match=r"full, seed 0, task t: 1 patient .* 'p0' in folds 0 and 1"):
        write_results(folder)
    assert not (folder / 'pooled').exists()
    assert (folder / 'report.html').exists()
    assert 'the folds are not pooled' in (folder / 'report.html').read_text()
