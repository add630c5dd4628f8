"""Figures that a test leaves, through the command line."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from plugins.classification.inference.embedding import embed
from plugins.classification.metrics.clinical_metrics import ClinicalMetrics
from plugins.classification.reporting.figures_hook import ClassificationFigures
from tests.support.patch_classifier import TASKS, classifier, clinical_metrics, run_of
from toolkit.engine.evaluator import Evaluator

EVALUATOR = {'metrics': clinical_metrics()}
HOOK = {'figures': {'type': 'ClassificationFigures', 'resamples': 20, 'failures': 3}}


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    hooks = {'figures': {**HOOK['figures'], 'format': 'svg'}}
    none = {'pictures': {'type': 'Pictures', 'count': 2}}
    return run_of(
        tmp_path_factory.mktemp('run'),
        custom_hooks=hooks,
        default_hooks=none,
        test_evaluator=EVALUATOR,
    )


def test_what_is_written(run):
    record = json.loads((run / 'figures/figures.json').read_text())
    found = {path.name for path in (run / 'figures').iterdir()}
    drawn = {f'{task}-{kind}.svg' for task in ('pathology', 'shape')
             for kind in ('confusion', 'curves', 'reliability')}  # fmt: skip
    own = {
        'embedding.svg',
        'figures.json',
        'pathology-failures.png',
        'pathology-decision-curve.svg',
    }
    assert drawn | own <= found and 'shape-decision-curve.svg' not in found
    pathology, shape = record['tasks']['pathology'], record['tasks']['shape']
    assert (pathology['images'], pathology['patients']) == (24, 12)
    assert (shape['images'], shape['patients']) == (22, 11)  # two have no label
    assert (pathology['threshold'], shape['threshold']) == (pytest.approx(0.4), None)
    assert (pathology['temperature'], shape['temperature']) == (2.0, 0.5)
    assert set(shape['curves']) == {'round', 'oval', 'irregular'}
    assert np.trace(shape['confusion']) == 22
    wrong = np.sum(pathology['confusion']) - np.trace(pathology['confusion'])
    assert len(pathology['failures']) == min(3, wrong) > 0
    for failure in pathology['failures']:
        assert failure['label'] != failure['prediction']
        assert Image.open(run / 'figures' / failure['file']).size == (160, 160)
    assert shape['failures'] == []
    assert len(record['embedding']['points']) == 24
    assert set(record['embedding']['colours']) == {'pathology', 'shape', 'centre'}
    assert record['embedding']['colours']['shape'].count('') == 2


@pytest.mark.slow
def test_they_are_the_same_again(run, tmp_path):
    hooks = {'figures': {**HOOK['figures'], 'format': 'svg'}}
    again = run_of(tmp_path, custom_hooks=hooks, test_evaluator=EVALUATOR)
    for path in (run / 'figures').iterdir():
        assert path.read_bytes() == (again / 'figures' / path.name).read_bytes(), path.name


def test_an_earlier_tests_figures_go(run):
    left = run / 'figures/old-failure-01.png'
    left.write_bytes(b'x')
    (run / 'figures/notes.txt').write_text('mine')
    runner = SimpleNamespace(
        system=classifier(),
        work_dir=run,
        test_loop=SimpleNamespace(evaluator=Evaluator({'t': ClinicalMetrics('shape', TASKS)}, 1)),
    )
    ClassificationFigures().before_test(runner)
    assert [path.name for path in (run / 'figures').iterdir()] == ['notes.txt']


@pytest.mark.parametrize(
    ('arguments', 'said'),
    [
        ({'resamples': 0}, 'resamples must be at least 1'),
        ({'failures': -1}, 'failures must be 0 or more'),
        ({'embedding': 'UMAP'}, 'needs umap-learn'),
    ],
)
def test_bad_arguments(arguments, said):
    with pytest.raises(ValueError, match=said):
        ClassificationFigures(**arguments)


def test_embeddings_that_cannot_be_made_say_why():
    assert 'too few' in embed(np.zeros((3, 4), np.float32), 't-SNE')
    assert 'the same' in embed(np.ones((20, 4), np.float32), 't-SNE')
    assert 'not finite' in embed(np.full((20, 4), np.nan, np.float32), 't-SNE')


def test_far_groups_are_apart_in_the_plane():
    generator = np.random.default_rng(0)
    features = generator.normal(0, 0.1, (40, 100)).astype(np.float32)
    features[:20, 0] += 20
    kept, points = embed(features, 't-SNE')
    assert kept.tolist() == list(range(40))
    between = np.linalg.norm(points[:20].mean(0) - points[20:].mean(0))
    within = np.linalg.norm(points[:20] - points[:20].mean(0), axis=1).mean()
    assert between > 2 * within
