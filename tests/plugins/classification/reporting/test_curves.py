"""Numbers behind the figures, against scikit-learn and by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from plugins.classification.metrics.clinical_metrics import ClinicalMetrics
from plugins.classification.metrics.functional.bootstrap import BootstrapSettings
from plugins.classification.metrics.predictions import Predictions
from plugins.classification.reporting import class_plots, curves, plots
from plugins.classification.reporting.curves import GRID
from plugins.classification.tasks import Task

TASK = Task(('benign', 'malignant'), 'malignant')
METRIC = ClinicalMetrics('t', {'t': TASK})


def predicted(labels, probability, patients, threshold=0.4, logits=None, task=TASK):
    """Predictions from the probability (N,) of the second of two classes."""
    probabilities = np.stack([1 - probability, probability], 1)
    decisions = (probability >= threshold).astype(int)
    ids = np.array([str(i) for i in range(len(labels))], dtype=object)
    if logits is None:
        logits = np.log(np.maximum(probabilities, 1e-12))
    return Predictions(
        task, ids, np.asarray(patients), labels, logits, probabilities, decisions, threshold, {}
    )


def figures(resamples):
    return curves.FigureSettings(BootstrapSettings(resamples), resamples)


@given(
    st.lists(
        st.tuples(st.integers(0, 6).map(lambda x: x / 6), st.booleans()), min_size=2, max_size=30
    ).filter(lambda rows: 0 < sum(positive for _, positive in rows) < len(rows))
)
@settings(max_examples=30, deadline=None)
def test_curves_and_areas_are_those_of_scikit_learn(rows):
    scores = np.array([score for score, _ in rows])
    positive = np.array([hit for _, hit in rows])
    images = predicted(positive.astype(int), scores, np.arange(len(rows)))
    found = curves.compute_curve(METRIC, images, 1, figures(3))
    assert found['AUC'][0] == pytest.approx(metrics.roc_auc_score(positive, scores), abs=1e-4)
    average = metrics.average_precision_score(positive, scores)
    assert found['AP'][0] == pytest.approx(average, abs=1e-4)
    fpr, tpr, _ = metrics.roc_curve(positive, scores, drop_intermediate=False)
    np.testing.assert_allclose(found['roc']['x'], fpr, atol=1e-4)
    np.testing.assert_allclose(found['roc']['y'], tpr, atol=1e-4)
    precision, recall, _ = metrics.precision_recall_curve(positive, scores)
    # scikit-learn goes the other way and adds the point of recall 0.
    np.testing.assert_allclose(found['pr']['x'], recall[-2::-1], atol=1e-4)
    np.testing.assert_allclose(found['pr']['y'], precision[-2::-1], atol=1e-4)


def noisy(n=200, groups=50, seed=0):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, n)
    logits = np.stack([np.zeros(n), generator.normal(3 * labels - 1.5, 2)], 1)
    raw = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return predicted(labels, raw[:, 1], [f'p{i % groups}' for i in range(n)], logits=logits)


def test_bands_hold_the_curve_and_copies_of_patients_make_them_no_narrower():
    images = noisy()

    def curve(images):
        return curves.compute_curve(METRIC, images, 1, figures(400))

    alone = curve(images)
    value, low, high = alone['AUC']
    assert low < value < high
    middle = np.interp(GRID, alone['roc']['x'], alone['roc']['y'])[5:-5]
    assert np.mean(middle >= np.array(alone['roc']['low'])[5:-5] - 1e-3) == 1
    assert np.mean(middle <= np.array(alone['roc']['high'])[5:-5] + 1e-3) == 1
    # The same images four times over, of the same patients, say nothing more.
    many = images.subset(np.tile(np.arange(200), 4))
    assert curve(many)['AUC'] == pytest.approx(alone['AUC'], abs=1e-9)
    # Each as a patient of its own would make them half as wide.
    wrong = predicted(many.labels, many.probabilities[:, 1], np.arange(800))
    narrow = curve(wrong)['AUC']
    assert narrow[2] - narrow[1] < 0.65 * (high - low)


def test_the_numbers_of_a_task_are_plain_and_agree_with_each_other():
    found = curves.compute_task_numbers(METRIC, noisy(), 1.0, figures(100))
    assert json.loads(json.dumps(found)) == found
    matrix = np.array(found['confusion'])
    assert matrix.sum() == found['images'] == 200
    assert found['patients'] == 50
    at = found['curves']['malignant']['operating']
    assert at['sensitivity'] == pytest.approx(matrix[1, 1] / matrix[1].sum())
    assert at['specificity'] == pytest.approx(matrix[0, 0] / matrix[0].sum())
    assert at['PPV'] == pytest.approx(matrix[1, 1] / matrix[:, 1].sum())
    assert list(found['curves']) == ['malignant']
    assert found == curves.compute_task_numbers(METRIC, noisy(), 1.0, figures(100))


def test_a_class_without_images_has_its_counts_alone():
    images = predicted(np.zeros(2, int), np.array([0.1, 0.9]), ['a', 'b'])
    found = curves.compute_curve(METRIC, images, 1, figures(100))
    assert found == {'positives': 0, 'negatives': 2}


def test_one_patient_has_neither_interval_nor_band():
    images = predicted(np.array([1, 0]), np.array([0.9, 0.1]), ['a', 'a'])
    found = curves.compute_curve(METRIC, images, 1, figures(100))
    assert found['AUC'] == [1.0, None, None]
    assert found['resamples'] == 0
    assert 'low' not in found['roc']


def test_classes_that_are_separated_have_an_exact_interval_and_no_band():
    images = predicted(np.arange(40) % 2, 0.2 + 0.6 * (np.arange(40) % 2), np.arange(40))
    found = curves.compute_curve(METRIC, images, 1, figures(100))
    assert found['AUC'] == [1.0, pytest.approx(0.025 ** (1 / 20)), 1.0]
    assert 'low' not in found['roc']


def test_reliability_by_hand():
    probability = np.array([0.05, 0.06, 0.72, 1.0])
    labels = np.array([0, 1, 1, 1])
    found = curves.compute_reliability(METRIC, predicted(labels, probability, list('abcd')))
    bins = [(round(b['low'] * 15), b['confidence'], b['accuracy'], b['n']) for b in found['bins']]
    assert bins == [(0, 0.055, 0.5, 2), (10, 0.72, 1, 1), (14, 1, 1, 1)]
    assert found['ECE'] == pytest.approx((2 * abs(0.055 - 0.5) + 0.28 + 0) / 4)
    plain = Task(('benign', 'malignant'))
    images = predicted(labels, probability, list('abcd'), task=plain)
    sure = curves.compute_reliability(ClinicalMetrics('t', {'t': plain}), images)
    assert sum(b['n'] for b in sure['bins']) == 4
    assert sure['bins'][-1]['accuracy'] == pytest.approx(2 / 3, abs=1e-4)


def test_figures_of_many_classes_stay_small_and_say_what_they_show() -> None:
    classes = 150
    names = [f'c{i}' for i in range(classes)]
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), [4 if i % 10 else 2 for i in range(classes)])
    probability = generator.dirichlet(np.ones(classes), len(labels))
    task = Task(tuple(names))
    ids = np.arange(len(labels)).astype(str).astype(object)
    decisions = probability.argmax(1)
    logits = np.log(probability)
    images = Predictions(task, ids, ids, labels, logits, probability, decisions, None, {})
    metric = ClinicalMetrics('t', {'t': task})
    found = curves.compute_task_numbers(metric, images, 1.0, figures(100))
    assert list(found['curves']) == [f'c{10 * i}' for i in range(10)]  # the rarest ones
    confusion = class_plots.draw_confusion(found, 't')
    points = generator.normal(size=(len(labels), 2))
    colours = {'t': [names[k] for k in labels]}
    drawn = plots.draw_curves(found, 't')
    embedding = class_plots.draw_embedding(points, colours, {'t': names}, 't-SNE', len(labels))
    assert drawn is not None
    assert 'the 10 of 150 classes with the fewest images' in drawn.get_suptitle()
    for figure in (confusion, drawn, embedding):
        assert max(figure.get_size_inches()) < 12
        assert sum(len(axes.texts) for axes in figure.axes) == 0
        labels_shown = [a.get_legend() for a in figure.axes if a.get_legend()]
        assert all(len(legend.get_texts()) < 15 for legend in labels_shown)
