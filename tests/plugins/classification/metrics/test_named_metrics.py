"""All values together: their bounds, what they do not depend on, and that NaN has a reason."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.classification.metrics.named_metrics import (
    DEFAULT,
    OVERALL,
    PER_CLASS,
    POSITIVE_DEFAULT,
    MetricValues,
    expand_names,
)
from plugins.classification.tasks import Task

CLASSES = ('a', 'b', 'c')
BELOW_0 = {'MCC', 'kappa', 'kappa_quadratic'}


@st.composite
def predicted(draw: st.DrawFn) -> tuple[Task, np.ndarray, np.ndarray, np.ndarray]:
    """A task with labels (N,), some classes possibly without any, probabilities and decisions."""
    positive = draw(st.booleans())
    classes = 2 if positive else draw(st.integers(2, 3))
    task = Task(CLASSES[:classes], 'b' if positive else None)
    n = draw(st.integers(0, 12))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    of = draw(st.integers(1, classes))
    p = generator.dirichlet(np.ones(classes), n)
    return task, generator.integers(0, of, n), p, p.argmax(1) if n else np.zeros(0, int)


@given(predicted())
@settings(max_examples=60, deadline=None)
def test_nan_has_a_reason_and_values_have_bounds(
    case: tuple[Task, np.ndarray, np.ndarray, np.ndarray],
) -> None:
    task, labels, p, decisions = case
    scored = MetricValues(task, labels, p, decisions)
    wanted = expand_names(task, [*PER_CLASS, *OVERALL])
    found = scored.compute(wanted)
    for name, value in found.items():
        assert bool(scored.explain_undefined(name)) == math.isnan(value), name
        if name.partition('/')[0] in BELOW_0:
            assert not value < -1 - 1e-9
        else:
            assert not value < 0
        bound = math.inf if name == 'NLL' else 2 if name == 'Brier' else 1
        assert not value > bound + 1e-9
    # One resample that holds every sample once is the whole.
    if len(labels):
        once = scored.compute(wanted, np.ones((2, len(labels))))
        for name in wanted:
            np.testing.assert_allclose(once[name], [found[name]] * 2, atol=1e-12)


@given(predicted(), st.integers(0, 1000))
@settings(max_examples=30, deadline=None)
def test_neither_the_order_of_samples_nor_that_of_classes_counts(
    case: tuple[Task, np.ndarray, np.ndarray, np.ndarray], seed: int
) -> None:
    task, labels, p, decisions = case
    wanted = expand_names(task, [*PER_CLASS, *OVERALL])
    found = MetricValues(task, labels, p, decisions).compute(wanted)
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(labels))
    again = MetricValues(task, labels[order], p[order], decisions[order]).compute(wanted)
    turned = np.arange(len(task.classes))[::-1]
    other = Task(task.classes[::-1], task.positive)
    back = MetricValues(other, turned[labels], p[:, turned], turned[decisions]).compute(wanted)
    rarest = np.bincount(labels, minlength=len(turned))
    for name in wanted:
        np.testing.assert_allclose(again[name], found[name], atol=1e-12)
        if name != 'recall_rarest' or len(set(rarest)) == len(rarest):
            np.testing.assert_allclose(back[name], found[name], atol=1e-12, err_msg=name)


def test_names() -> None:
    positive, several = Task(('a', 'b'), 'a'), Task(CLASSES)
    assert expand_names(positive) == list(POSITIVE_DEFAULT)
    assert expand_names(several)[-3:] == ['AP/a', 'AP/b', 'AP/c']
    assert len(expand_names(several)) == len(DEFAULT) + 2 * len(PER_CLASS)
    assert expand_names(positive, ['F1', 'F1/b', 'F1']) == ['F1', 'F1/b']
    with pytest.raises(ValueError, match="'accuracy/a'"):
        expand_names(several, ['accuracy/a'])
