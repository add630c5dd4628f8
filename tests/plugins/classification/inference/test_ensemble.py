"""Ensembles of runs: means and spread of what the runs say alone, in tables and in ONNX files."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from plugins.classification.calibration import Calibration, Choice
from plugins.classification.inference.ensemble import join_calibrations
from tests.support import patch_classifier
from tests.support.patch_classifier import TASKS, PatchImages, clinical_metrics, run_of
from toolkit import cli

NO_PICTURES = {'pictures': {'type': 'Pictures', 'count': 0}}
THRESHOLDS = (0.4, 0.6, 0.5)


@pytest.fixture(scope='module')
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three tested runs that differ in a bias and in the threshold."""
    made = []
    original = patch_classifier.teach
    for place, threshold in enumerate(THRESHOLDS):

        def teach(system: Any, place: int = place, threshold: float = threshold) -> None:
            original(system)
            with torch.no_grad():
                system.heads['pathology'].linear.bias[1] += 0.5 * place
                system.heads['shape'].linear.bias[1] += 0.7 * place
            system.calibration.store('pathology', Choice(2.0 - 0.3 * place, threshold, 0.5))

        patch_classifier.teach = teach
        try:
            folder = tmp_path_factory.mktemp('fold')
            metrics = {'metrics': clinical_metrics()}
            made.append(run_of(folder, default_hooks=NO_PICTURES, test_evaluator=metrics))
        finally:
            patch_classifier.teach = original
    return made


def predict(output: Path, *runs: Path, inputs: Path | None = None) -> list[dict[str, str]]:
    given = [] if inputs is None else ['--input', str(inputs)]
    more = ['--ensemble', *map(str, runs[1:])] if len(runs) > 1 else []
    words = ['predict', '--run', str(runs[0]), *more, *given, '--output', str(output)]
    assert cli.main(words) == 0
    return list(csv.DictReader(output.open()))


def column(rows: list[dict[str, str]], name: str) -> np.ndarray:
    return np.array([float(row[name]) for row in rows])


@pytest.mark.parametrize('kind', ['images', 'patients'])
def test_the_mean_and_spread_of_what_the_runs_say_alone(
    runs: list[Path], tmp_path: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    alone, joined = [], predict(tmp_path / 'all.csv', *runs)
    assert 'an ensemble of 3 networks' in capsys.readouterr().out
    for place, run in enumerate(runs):
        alone.append(predict(tmp_path / f'{place}.csv', run))
    if kind == 'patients':
        files = [tmp_path / f'{name}-patients.csv' for name in ('all', 0, 1, 2)]
        joined, *alone = [list(csv.DictReader(path.open())) for path in files]
    assert not any('spread' in name for name in alone[0][0])
    for task, classes in {name: task.classes for name, task in TASKS.items()}.items():
        for label in classes:
            own = np.stack([column(rows, f'{task}_probability_{label}') for rows in alone])
            found = column(joined, f'{task}_probability_{label}')
            np.testing.assert_allclose(found, own.mean(0), rtol=1e-5)
            spread = column(joined, f'{task}_spread_{label}')
            np.testing.assert_allclose(spread, own.std(0, ddof=1), rtol=1e-3, atol=1e-6)
        agreeing = [
            sum(rows[i][task] == row[task] for rows in alone) for i, row in enumerate(joined)
        ]
        assert [int(row[f'{task}_members_agreeing']) for row in joined] == agreeing
    assert len({row['pathology_members_agreeing'] for row in joined} - {'3'}) > 0
    malignant = column(joined, 'pathology_probability_malignant')
    assert column(joined, 'pathology_threshold') == pytest.approx(0.5)
    decided = np.where(malignant >= 0.5, 'malignant', 'benign')
    assert [row['pathology'] for row in joined] == list(decided)
    about = json.loads((tmp_path / 'all.json').read_text())
    assert about['ensemble']['members'] == list(map(str, runs))
    assert about['tasks']['pathology']['threshold'] == pytest.approx(0.5)


def test_rules_are_joined() -> None:
    found = []
    for threshold, weights in ((0.2, (1.0, 2.0, 4.0)), (0.6, (1.0, 8.0, 1.0))):
        one = Calibration(TASKS)
        one.store('pathology', Choice(3.0, threshold, threshold + 0.1))
        one.store('shape', Choice(0.5, weights=weights))
        found.append(one)
    joined = join_calibrations(found, TASKS)
    pathology, shape = joined.choice('pathology'), joined.choice('shape')
    assert (pathology.temperature, shape.temperature) == (1, 1)
    assert pathology.threshold == pytest.approx(0.4)
    assert pathology.patient_threshold == pytest.approx(0.5)
    assert shape.weights == pytest.approx((1, 4, 2))


def test_members_that_do_not_fit_are_refused(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / 'said.csv'

    def refuse(*folders: Any) -> str:
        words = ['predict', '--run', str(runs[0]), '--ensemble', *map(str, folders)]
        assert cli.main([*words, '--output', str(output)]) == 2
        assert not list(tmp_path.glob('said*'))
        return capsys.readouterr().err

    assert 'is given twice' in refuse(runs[1], runs[0])
    assert 'missing' in refuse(tmp_path / 'missing')
    copy = tmp_path / 'copy'
    shutil.copytree(runs[1], copy)
    config = copy / 'config.yaml'
    text = config.read_text()
    config.write_text(text.replace('positive: malignant', 'positive: benign'))
    assert 'other tasks, classes or costs' in refuse(copy)
    tree = yaml.safe_load(text)
    for node in tree['test_evaluator']['metrics'].values():
        node['aggregate'] = 'max'
    config.write_text(yaml.safe_dump(tree))
    assert 'of a patient by max' in refuse(copy)
    config.write_text(text)
    for path in copy.rglob('*.pth'):
        path.unlink()
    assert 'has no checkpoint' in refuse(copy)


@pytest.mark.slow
def test_the_exported_ensemble_says_the_same(
    runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip('onnx')
    runtime = pytest.importorskip('onnxruntime')
    output = tmp_path / 'all.onnx'
    words = ['export', '--run', str(runs[0]), '--ensemble', str(runs[2])]
    assert cli.main([*words, '--output', str(output)]) == 0
    shown = capsys.readouterr().out
    assert shown.count('pathology: 0 of 24 decisions differ') == 2
    assert 'an ensemble of 2 networks' in shown
    session = runtime.InferenceSession(output, providers=['CPUExecutionProvider'])
    data = PatchImages()
    images = torch.stack([data.pool_image(i) for i in range(len(data))]).numpy()
    names = ['pathology_probabilities', 'pathology_decision', 'pathology_spread']
    chances, decided, spread = session.run(names, {'image': images})
    rows = predict(tmp_path / 'all.csv', runs[0], runs[2])
    np.testing.assert_allclose(
        chances[:, 1], column(rows, 'pathology_probability_malignant'), atol=1e-5
    )
    np.testing.assert_allclose(spread[:, 1], column(rows, 'pathology_spread_malignant'), atol=1e-5)
    assert [TASKS['pathology'].classes[i] for i in decided] == [row['pathology'] for row in rows]
