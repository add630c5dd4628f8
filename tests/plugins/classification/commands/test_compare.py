"""`toolkit compare`: two sides on the same items, from the folders that tests leave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics as sk

from plugins.classification.metrics.functional.delong import compare_areas
from plugins.classification.reporting.comparison import compare_runs, read_tested_run
from tests.support.study_folders import CAPSULE
from toolkit import cli
from toolkit.errors import ToolkitError

TASKS = {
    't': {'classes': ['a', 'b'], 'positive': 'b'},
    'kind': {'classes': ['x', 'y', 'z'], 'positive': None},
}
N = 90


def write(folder: Path, skill: float, seed: int = 0, **changes: Any) -> Path:
    """A tested run whose predictions follow the labels by `skill`; the labels are always the
    same."""
    labels = np.random.default_rng(7).integers(0, 2, N)
    generator = np.random.default_rng(seed)
    rows = []
    for i, label in enumerate(labels):
        logit = skill * (label - 0.5) + generator.normal()
        p = float(1 / (1 + np.exp(-logit)))
        given = {'label': int(label), 'logits': [0.0, logit], 'probabilities': [1 - p, p]}
        named = {'id': f'i{i}', 'patient': f'p{i // 2}', 'centre': '', 'attributes': {}}
        rows.append({**named, **given, 'decision': int(p >= 0.5), 'threshold': 0.5})
    for i, change in changes.pop('rows', {}).items():
        if change is None:
            rows[i]['id'] = f'other{i}'
        else:
            rows[i].update(change)
    tasks = changes.pop('tasks', TASKS)
    metrics = {
        name: {'type': 'ClinicalMetrics', 'task': name, 'tasks': tasks}
        for name in changes.pop('measured', ['t'])
    }
    folder.mkdir()
    config = {'test_evaluator': {'metrics': metrics}}
    (folder / 'capsule.json').write_text(json.dumps({**CAPSULE, 'config': config}))
    (folder / 'metrics.json').write_text(json.dumps({'rows': {'t': rows}}))
    return folder


def test_a_better_run_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, poor = write(tmp_path / 'good', 3.0), write(tmp_path / 'poor', 0.5, seed=1)
    out = tmp_path / 'found.json'
    assert cli.main(['compare', str(good), str(poor), '--json', str(out), '--task', 't']) == 0
    found = json.loads(out.read_text())
    a, b = read_tested_run(good).predictions, read_tested_run(poor).predictions
    auc = found['values']['AUC']
    assert auc['a'] == pytest.approx(sk.roc_auc_score(a.labels, a.probabilities[:, 1]))
    assert auc['difference'] == pytest.approx(auc['a'] - auc['b'])
    assert 0 < auc['low'] < auc['difference'] < auc['high']
    assert auc['p'] < 0.01
    expected = compare_areas(
        a.probabilities[:, 1], b.probabilities[:, 1], a.labels == 1, a.patients
    )
    assert auc['delong']['p'] == pytest.approx(expected.p)
    # Both intervals tell of the same spread.
    wide = auc['high'] - auc['low'], auc['delong']['high'] - auc['delong']['low']
    assert wide[0] == pytest.approx(wide[1], rel=0.2)
    assert found['values']['Brier']['better'] == 'lower'
    assert found['values']['Brier']['high'] < 0
    assert (found['items'], found['patients']) == (90, 45)
    said = capsys.readouterr().out
    assert '90 images of 45 patients' in said
    assert 'AUC' in said
    assert 'not corrected' in said


def test_a_run_against_itself(tmp_path: Path) -> None:
    folder = write(tmp_path / 'run', 1.0)
    found = compare_runs([read_tested_run(folder)], [read_tested_run(folder)], resamples=200)
    for value in found['values'].values():
        assert (value['difference'], value['low'], value['high'], value['p']) == (0, 0, 0, 1)
    assert found['values']['AUC']['delong']['p'] == 1


def test_sides_of_several_runs_are_averaged(tmp_path: Path) -> None:
    good = [write(tmp_path / f'good{i}', 2.0, seed=i) for i in range(3)]
    poor = [write(tmp_path / f'poor{i}', 1.0, seed=10 + i) for i in range(2)]
    out = tmp_path / 'found.json'
    arguments = ['compare', *map(str, good), '--against', *map(str, poor), '--json', str(out)]
    assert cli.main([*arguments, '--value', 'AUC', '--value', 'F1']) == 0
    found = json.loads(out.read_text())
    assert list(found['values']) == ['AUC', 'F1']
    runs = [read_tested_run(folder).predictions for folder in good]
    each = [sk.roc_auc_score(run.labels, run.probabilities[:, 1]) for run in runs]
    assert found['values']['AUC']['a'] == pytest.approx(np.mean(each))
    assert len(found['a']) == 3
    by_patient = compare_runs(
        *([read_tested_run(folder) for folder in side] for side in (good, poor)),
        level='patient',
        resamples=200,
    )
    assert (by_patient['items'], by_patient['patients']) == (45, 45)


def test_items_are_matched_by_name(tmp_path: Path) -> None:
    a, b = write(tmp_path / 'a', 2.0), write(tmp_path / 'b', 1.0, seed=3)
    before = compare_runs([read_tested_run(a)], [read_tested_run(b)], resamples=200)
    record = json.loads((b / 'metrics.json').read_text())
    record['rows']['t'].reverse()
    (b / 'metrics.json').write_text(json.dumps(record))
    after = compare_runs([read_tested_run(a)], [read_tested_run(b)], resamples=200)
    assert after['values'] == before['values']


def refused(capsys: pytest.CaptureFixture[str], *arguments: Any) -> str:
    assert cli.main(['compare', *map(str, arguments)]) == 2
    said = capsys.readouterr().err
    assert 'Traceback' not in said
    return said


def test_runs_that_decide_by_other_rules_are_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = {'t': {'classes': ['a', 'b']}}
    for name, rule in (
        ('coverage', {'coverage': 0.9}),
        ('costs', {'costs': [[0, 1], [5, 0]]}),
    ):
        ruled = {'t': {**plain['t'], **rule}}
        a = write(tmp_path / f'{name}_a', 1.0, tasks=ruled)
        b = write(tmp_path / f'{name}_b', 1.0, seed=1, tasks=plain)
        for pair in ((a, b), (b, a)):
            found = compare_runs([read_tested_run(pair[0])], [read_tested_run(pair[1])])
            assert 'macro_AUC' in found['values'] and 'mean_cost' not in found['values']
    said = refused(capsys, a, b, '--value', 'mean_cost')
    assert 'mean_cost cannot be compared: the runs have other costs' in said


def test_what_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write(tmp_path / 'run', 1.0)
    other = write(tmp_path / 'other', 1.0, rows={3: None, 5: None})
    said = refused(capsys, run, other)
    assert f'only in {run} 2: i3, i5' in said
    assert f'only in {other} 2: other3, other5' in said
    told = write(tmp_path / 'told', 1.0, rows={4: {'label': -1}})
    assert 'give 1 items another label: i4' in refused(capsys, run, told)
    moved = write(tmp_path / 'moved', 1.0, rows={4: {'patient': 'p40'}})
    assert 'give 1 items another patient: i4' in refused(capsys, run, moved)
    twice = write(tmp_path / 'twice', 1.0, rows={4: {'id': 'i5'}})
    assert 'two items of one name' in refused(capsys, run, twice)
    named = {'t': {'classes': ['a', 'b'], 'positive': 'a'}}
    swapped = write(tmp_path / 'swapped', 1.0, tasks=named)
    assert '(positive: a)' in refused(capsys, run, swapped)
    assert "measures no task 'tt'; did you mean 't'" in refused(capsys, run, run, '--task', 'tt')
    several = write(tmp_path / 'several', 1.0, measured=['t', 'kind'])
    assert 'choose one: --task t or kind' in refused(capsys, several, several)
    assert "no value is named 'auc'" in refused(capsys, run, run, '--value', 'auc')
    assert 'expected RUN_A RUN_B, found 1' in refused(capsys, run)
    assert 'at least 100' in refused(capsys, run, run, '--resamples', '3')
    assert 'holds no run' in refused(capsys, run, tmp_path)
    (other / 'metrics.json').unlink()
    assert 'is not tested' in refused(capsys, run, other)
    (told / 'metrics.json').write_text('{')
    assert 'is damaged' in refused(capsys, run, told)
    with pytest.raises(ToolkitError, match='has no ClinicalMetrics'):
        (moved / 'capsule.json').write_text(json.dumps({**CAPSULE, 'config': {}}))
        read_tested_run(moved)


def test_a_difference_that_no_resample_changes_is_not_certain(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two runs that are right about everything differ by 0 here, and perhaps not elsewhere."""
    a, b = write(tmp_path / 'a', 90.0), write(tmp_path / 'b', 80.0, seed=1)
    found = compare_runs([read_tested_run(a)], [read_tested_run(b)], resamples=200)['values']
    for name in ('AUC', 'sensitivity', 'accuracy', 'MCC'):
        assert found[name]['difference'] == 0
        assert (found[name]['low'], found[name]['high'], found[name]['p']) == (None, None, None)
        assert found[name]['no_interval'] == 'no resample changes it'
    assert found['AUC']['delong'] == {'low': None, 'high': None, 'p': 1.0}
    assert cli.main(['compare', str(a), str(b), '--resamples', '100']) == 0
    assert 'AUC has no interval and no p: no resample changes it' in capsys.readouterr().out


def test_a_difference_of_few_patients_has_no_p(tmp_path: Path) -> None:
    one = {i: {'label': int(i < 4), 'patient': f'p{i // 2}'} for i in range(N)}
    a = write(tmp_path / 'a', 1.0, rows=one)
    b = write(tmp_path / 'b', 2.0, seed=1, rows=one)
    found = compare_runs([read_tested_run(a)], [read_tested_run(b)], resamples=200)['values']['AUC']
    assert (found['low'], found['p'], found['delong']) == (None, None, None)
    assert found['no_interval'] == '2 patients with b, 6 are needed'


def test_patients_are_joined_as_the_metric_of_the_run_joins_them(tmp_path: Path) -> None:
    folder = write(tmp_path / 'run', 1.0)
    record = json.loads((folder / 'capsule.json').read_text())
    record['config']['test_evaluator']['metrics']['t']['aggregate'] = 'max'
    (folder / 'capsule.json').write_text(json.dumps(record))
    run = read_tested_run(folder)
    assert compare_runs([run], [run], level='patient', resamples=200)['aggregate'] == 'max'
