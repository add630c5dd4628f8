"""Numbers behind the figures, against scikit-learn and by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from plugins.classification.reporting import curves
from plugins.classification.reporting.curves import GRID, Scored
from plugins.classification.tasks import Task


@given(
    st.lists(
        st.tuples(st.integers(0, 6).map(lambda x: x / 6), st.booleans()), min_size=2, max_size=30
    ).filter(lambda rows: 0 < sum(positive for _, positive in rows) < len(rows))
)
@settings(max_examples=30, deadline=None)
def test_curves_and_areas_are_those_of_scikit_learn(rows):
    scores = np.array([score for score, _ in rows])
    positive = np.array([hit for _, hit in rows])
    found = curves.curve(scores, positive, np.arange(len(rows)), 3)
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


def scored(n=200, groups=50, seed=0):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, n)
    logits = np.stack([np.zeros(n), generator.normal(3 * labels - 1.5, 2)], 1)
    raw = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    decisions = (raw[:, 1] >= 0.4).astype(int)
    patients = [f'p{i % groups}' for i in range(n)]
    return Scored([str(i) for i in range(n)], patients, labels, logits, raw, decisions)


def test_bands_hold_the_curve_and_copies_of_patients_make_them_no_narrower():
    said = scored()
    task = Task(('benign', 'malignant'), 'malignant')
    alone = curves.numbers(said, task, 0.4, 1.0, 400)['curves']['malignant']
    value, low, high = alone['AUC']
    assert low < value < high
    middle = np.interp(GRID, alone['roc']['x'], alone['roc']['y'])[5:-5]
    assert np.mean(middle >= np.array(alone['roc']['low'])[5:-5] - 1e-3) == 1
    assert np.mean(middle <= np.array(alone['roc']['high'])[5:-5] + 1e-3) == 1
    # The same images four times over, of the same patients, say nothing more.
    copies = [np.concatenate([x] * 4) for x in (said.labels, said.logits, said.probabilities)]
    many = Scored(said.ids * 4, said.patients * 4, *copies, np.concatenate([said.decisions] * 4))
    again = curves.numbers(many, task, 0.4, 1.0, 400)['curves']['malignant']
    assert again['AUC'] == pytest.approx(alone['AUC'], abs=1e-9)
    # Each as a patient of its own would make them half as wide.
    wrong = Scored(*[[str(i) for i in range(800)]] * 2, *copies, many.decisions)
    narrow = curves.numbers(wrong, task, 0.4, 1.0, 400)['curves']['malignant']['AUC']
    assert narrow[2] - narrow[1] < 0.65 * (high - low)


def test_the_numbers_of_a_task_are_plain_and_agree_with_each_other():
    said = scored()
    found = curves.numbers(said, Task(('benign', 'malignant'), 'malignant'), 0.4, 1.0, 20)
    assert json.loads(json.dumps(found)) == found
    matrix = np.array(found['confusion'])
    assert matrix.sum() == found['images'] == 200
    assert found['patients'] == 50
    at = found['curves']['malignant']['operating']
    assert at['sensitivity'] == pytest.approx(matrix[1, 1] / matrix[1].sum(), abs=1e-4)
    assert at['specificity'] == pytest.approx(matrix[0, 0] / matrix[0].sum(), abs=1e-4)
    assert at['PPV'] == pytest.approx(matrix[1, 1] / matrix[:, 1].sum(), abs=1e-4)
    assert list(found['curves']) == ['malignant']
    assert found == curves.numbers(said, Task(('benign', 'malignant'), 'malignant'), 0.4, 1.0, 20)


def test_a_class_without_images_has_its_counts_alone():
    found = curves.curve(np.array([0.1, 0.9]), np.array([False, False]), np.array([0, 1]), 5, 0.5)
    assert found == {'positives': 0, 'negatives': 2}


def test_one_patient_with_each_class_leaves_no_interval_where_none_can_be_drawn():
    found = curves.curve(np.array([0.9, 0.1]), np.array([True, False]), np.array([0, 0]), 5)
    assert found['AUC'] == [1.0, 1.0, 1.0]
    assert found['resamples'] == 5


def test_reliability_by_hand():
    probabilities = np.array([[0.95, 0.05], [0.94, 0.06], [0.28, 0.72], [0.0, 1.0]])
    labels = np.array([0, 1, 1, 1])
    found = curves.reliability(probabilities, labels, 1)
    told = [(round(b['low'] * 15), b['said'], b['so'], b['n']) for b in found['bins']]
    assert told == [(0, 0.055, 0.5, 2), (10, 0.72, 1, 1), (14, 1, 1, 1)]
    assert found['ECE'] == pytest.approx((2 * abs(0.055 - 0.5) + 0.28 + 0) / 4, abs=1e-4)
    sure = curves.reliability(probabilities, labels, None)
    assert sum(b['n'] for b in sure['bins']) == 4
    assert sure['bins'][-1]['so'] == pytest.approx(2 / 3, abs=1e-4)


def test_mistakes_come_with_the_surest_first():
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.01, 0.99]])
    said = Scored(
        list('abcd'), list('abcd'), np.array([1, 1, 1, 0]), np.log(probabilities), probabilities,
        np.array([0, 0, 1, 1]),
    )  # fmt: skip
    assert curves.mistakes(said, 2).tolist() == [3, 0]
    assert curves.mistakes(said, 9).tolist() == [3, 0, 1]
