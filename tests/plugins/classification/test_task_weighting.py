"""Task weightings against values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from plugins.classification.task_weighting import (
    DynamicWeightAverage,
    FixedWeights,
    UncertaintyWeights,
)

TASKS = ('kind', 'shape')


def losses(kind, shape):
    return {name: torch.tensor(v, requires_grad=True) for name, v in zip(TASKS, (kind, shape))}


def test_fixed_weights():
    terms = FixedWeights(TASKS, {'shape': 0.25})(losses(2.0, 4.0), {'kind': 1, 'shape': 1})
    assert {name: term.item() for name, term in terms.items()} == {'kind': 2.0, 'shape': 1.0}
    with pytest.raises(ValueError, match="no task is named 'shap'; did you mean 'shape'"):
        FixedWeights(TASKS, {'shap': 1.0})
    with pytest.raises(ValueError, match='weights.shape must be 0 or more, found -1'):
        FixedWeights(TASKS, {'shape': -1.0})


def test_uncertainty_by_hand():
    weighting = UncertaintyWeights(TASKS)
    with torch.no_grad():
        weighting.log_variance['shape'].fill_(math.log(4))
    terms = weighting(losses(2.0, 4.0), {'kind': 3, 'shape': 3})
    assert {name: pytest.approx(term.item()) for name, term in terms.items()} == {
        'kind': 2.0,
        'uncertainty_kind': 0.0,
        'shape': 1.0,
        'uncertainty_shape': math.log(2),
    }
    sum(terms.values()).backward()
    # d/ds (exp(-s) L + s / 2)
    assert weighting.log_variance['kind'].grad == pytest.approx(0.5 - 2.0)
    assert weighting.log_variance['shape'].grad == pytest.approx(0.5 - 1.0)


def test_uncertainty_finds_its_minimum():
    weighting = UncertaintyWeights(TASKS)
    optimizer = torch.optim.SGD(weighting.parameters(), lr=0.2)
    for _ in range(300):
        optimizer.zero_grad()
        sum(weighting(losses(0.25, 3.0), dict.fromkeys(TASKS, 1)).values()).backward()
        optimizer.step()
    for name, loss in (('kind', 0.25), ('shape', 3.0)):
        assert weighting.log_variance[name].item() == pytest.approx(math.log(2 * loss), abs=1e-3)


def epoch_of(weighting, epoch, batches):
    weighting.start_epoch(epoch)
    return [weighting(losses(*values), dict(zip(TASKS, counts))) for values, counts in batches][-1]


def test_dynamic_average_by_hand():
    weighting = DynamicWeightAverage(TASKS, temperature=2.0)
    for epoch in (0, 1):  # without two epochs to compare every factor is 1
        terms = epoch_of(weighting, epoch, [((4.0 / (epoch + 1), 3.0), (2, 2))])
        assert [t.item() for t in terms.values()] == [4.0 / (epoch + 1), 3.0]
    terms = epoch_of(weighting, 2, [((1.0, 1.0), (2, 2))])
    # kind went from 4 to 2, shape stayed at 3: paces 0.5 and 1.
    high, low = math.exp(1 / 2), math.exp(0.5 / 2)
    expected = [2 * low / (low + high), 2 * high / (low + high)]
    assert [t.item() for t in terms.values()] == pytest.approx(expected)
    assert weighting.factors.tolist() == pytest.approx(expected)


def test_dynamic_average_means_over_labelled_samples():
    weighting = DynamicWeightAverage(TASKS)
    epoch_of(weighting, 0, [((4.0, 1.0), (3, 1)), ((0.0, 5.0), (1, 1)), ((9.0, 9.0), (0, 0))])
    weighting.start_epoch(1)
    assert weighting.last.tolist() == [3.0, 3.0]


def test_an_epoch_without_labels_is_no_progress():
    weighting = DynamicWeightAverage(TASKS)
    epoch_of(weighting, 0, [((4.0, 4.0), (2, 2))])
    epoch_of(weighting, 1, [((2.0, 4.0), (2, 2))])
    epoch_of(weighting, 2, [((2.0, 0.0), (2, 0))])
    weighting.start_epoch(3)
    assert weighting.pace.tolist() == [1.0, 1.0]  # 2 / 2, and 4 / 4 as it was
    assert weighting.last.tolist() == [2.0, 4.0]


def test_evaluation_is_not_followed_and_another_training_starts_anew():
    weighting = DynamicWeightAverage(TASKS)
    epoch_of(weighting, 0, [((4.0, 4.0), (2, 2))])
    epoch_of(weighting, 1, [((2.0, 4.0), (2, 2))])
    weighting.start_epoch(2)
    weighting.eval()(losses(9.0, 9.0), dict.fromkeys(TASKS, 5))
    assert weighting.samples.tolist() == [0, 0]
    weighting.start_epoch(0)
    assert weighting.factors.tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match='temperature must be above 0'):
        DynamicWeightAverage(TASKS, temperature=0.0)
