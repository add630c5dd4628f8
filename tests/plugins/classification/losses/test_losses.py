"""Losses against values worked out by hand and against other programs' formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils.class_weight import compute_class_weight

from plugins.classification.losses.class_weights import (
    compute_effective_weights,
    compute_inverse_weights,
)
from plugins.classification.losses.cross_entropy import CrossEntropy
from plugins.classification.losses.focal import Focal
from plugins.classification.losses.ldam import LDAM
from plugins.classification.losses.logit_adjustment import LogitAdjustment
from toolkit.errors import ToolkitError

COUNTS = {'benign': 100, 'rare': 25, 'rarest': 4}
LABELS = torch.tensor([0, 0, 1, 2, 0, 1])


def logits(seed=0, n=6):
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def softmax_loss(z, labels):
    """-log p of each sample, by numpy."""
    z = np.asarray(z, dtype=np.float64)
    p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    return -np.log(p[np.arange(len(z)), np.asarray(labels)])


def ready(loss, counts=COUNTS):
    loss.double().use_counts(counts)
    loss.start_epoch(0)
    return loss


# -- class weights ---------------------------------------------------------------------------------


def test_inverse_weights_are_scikit_learns_up_to_a_factor():
    labels = np.repeat([0, 1, 2], list(COUNTS.values()))
    theirs = compute_class_weight('balanced', classes=np.arange(3), y=labels)
    ours = compute_inverse_weights(torch.tensor(list(COUNTS.values())))
    np.testing.assert_allclose(ours, theirs / theirs.mean())


def test_effective_weights_by_hand():
    # beta 0.5: effective numbers of 1, 2 and 3 samples are 1, 1.5 and 1.75.
    weights = compute_effective_weights(torch.tensor([1, 2, 3]), 0.5)
    raw = np.array([1, 1 / 1.5, 1 / 1.75])
    np.testing.assert_allclose(weights, raw / raw.mean())


@pytest.mark.parametrize('beta', [0.9, 0.999, 0.9999])
def test_effective_weights_are_timms(beta):
    theirs = pytest.importorskip('timm.loss.class_weights').compute_class_weights
    counts = list(COUNTS.values())
    _, weights = theirs(counts, sum(counts), 'effective_num', beta=beta)
    np.testing.assert_allclose(
        compute_effective_weights(torch.tensor(counts), beta), weights, rtol=1e-5
    )


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=6), st.floats(0.01, 0.99999))
def test_rarer_classes_never_weigh_less(counts, beta):
    counts = torch.tensor(counts)
    for weights in (compute_inverse_weights(counts), compute_effective_weights(counts, beta)):
        assert weights.mean() == pytest.approx(1)
        assert (weights > 0).all()
        assert (weights[counts.argsort()].diff() <= 1e-12).all()


# -- cross entropy -----------------------------------------------------------------------------


def test_plain_cross_entropy():
    z = logits()
    ours = ready(CrossEntropy(3))(z, LABELS)
    np.testing.assert_allclose(ours, softmax_loss(z, LABELS).mean())


@pytest.mark.parametrize('weights', ['inverse', 'effective', [1.0, 2.0, 5.0]], ids=str)
def test_weighted_cross_entropy_is_torchs(weights):
    z, loss = logits(), ready(CrossEntropy(3, class_weights=weights))
    factors = {
        'inverse': compute_inverse_weights(torch.tensor([100, 25, 4])),
        'effective': compute_effective_weights(torch.tensor([100, 25, 4]), 0.999),
    }.get(str(weights), torch.tensor([1.0, 2.0, 5.0]).double())
    theirs = torch.nn.CrossEntropyLoss(factors)(z, LABELS)
    torch.testing.assert_close(loss(z, LABELS), theirs, rtol=1e-6, atol=0)
    # And by hand: a mean of samples, each as heavy as its class.
    heavy = factors.numpy()[LABELS]
    by_hand = (heavy * softmax_loss(z, LABELS)).sum() / heavy.sum()
    np.testing.assert_allclose(theirs, by_hand)


def test_averaged_by_samples_a_batch_of_one_class_is_weighted():
    z, labels = logits(), torch.full((6,), 2)
    plain = softmax_loss(z, labels).mean()
    options = {'class_weights': [1.0, 1.0, 4.0]}
    by_weights, by_samples = (
        ready(CrossEntropy(3, average=a, **options))(z, labels) for a in ('weights', 'samples')
    )
    np.testing.assert_allclose(by_weights, plain)
    np.testing.assert_allclose(by_samples, 4 * plain)


@pytest.mark.parametrize('weights', [None, [1.0, 2.0, 5.0]])
def test_label_smoothing_is_torchs(weights):
    z = logits()
    ours = ready(CrossEntropy(3, label_smoothing=0.1, class_weights=weights))(z, LABELS)
    factors = None if weights is None else torch.tensor(weights).double()
    theirs = torch.nn.CrossEntropyLoss(factors, label_smoothing=0.1)(z, LABELS)
    torch.testing.assert_close(ours, theirs)


def test_label_smoothing_by_hand():
    z = torch.zeros(1, 3).double()
    z[0, 0] = math.log(2)  # probabilities 1/2, 1/4, 1/4
    ours = ready(CrossEntropy(3, label_smoothing=0.3))(z, torch.tensor([0]))
    assert float(ours) == pytest.approx(0.8 * math.log(2) + 0.2 * math.log(4))


def test_deferred_reweighting():
    z, loss = logits(), ready(CrossEntropy(3, class_weights='inverse', from_epoch=2))
    plain = ready(CrossEntropy(3))(z, LABELS)
    weighted = ready(CrossEntropy(3, class_weights='inverse'))(z, LABELS)
    for epoch, expected in enumerate([plain, plain, weighted, weighted]):
        loss.start_epoch(epoch)
        assert loss(z, LABELS) == expected


# -- the others --------------------------------------------------------------------------------


@pytest.mark.parametrize('gamma', [0.0, 0.5, 2.0])
def test_focal_by_its_formula(gamma):
    z = logits()
    each = softmax_loss(z, LABELS)
    expected = ((1 - np.exp(-each)) ** gamma * each).mean()
    np.testing.assert_allclose(ready(Focal(3, gamma=gamma))(z, LABELS), expected)


def test_focal_by_hand_and_weighted():
    z = torch.log(torch.tensor([[0.8, 0.1, 0.1], [0.25, 0.5, 0.25]])).double()
    labels = torch.tensor([0, 1])
    each = [0.2**2 * -math.log(0.8), 0.5**2 * -math.log(0.5)]
    loss = ready(Focal(3, class_weights=[1.0, 3.0, 1.0]))
    assert float(loss(z, labels)) == pytest.approx((each[0] + 3 * each[1]) / 4, rel=1e-6)


@pytest.mark.parametrize('gamma', [0.0, 0.5, 1.0, 2.0])
def test_focal_of_a_binary_task_is_torchvisions(gamma):
    sigmoid_focal_loss = pytest.importorskip('torchvision.ops').sigmoid_focal_loss
    score = logits()[:, 0]
    labels = torch.tensor([0, 1, 1, 0, 1, 0])
    theirs = sigmoid_focal_loss(score, labels.double(), alpha=-1, gamma=gamma, reduction='mean')
    two = torch.stack([torch.zeros_like(score), score], 1)
    torch.testing.assert_close(ready(Focal(2, gamma=gamma), {'a': 1, 'b': 1})(two, labels), theirs)


def test_focal_gradient_where_a_label_is_certain():
    z = torch.tensor([[200.0, 0, 0]], requires_grad=True)
    Focal(3, gamma=0.5)(z, torch.tensor([0])).backward()
    assert torch.isfinite(z.grad).all()


def test_ldam_margins_by_hand():
    loss = ready(LDAM(3, max_margin=0.5), {'a': 10000, 'b': 625, 'c': 16})
    # n^(-1/4): 0.1, 0.2, 0.5; the rarest has the whole margin.
    np.testing.assert_allclose(loss.margins, [0.1, 0.2, 0.5], rtol=1e-6)


def test_ldam_by_its_formula():
    z = logits() / 4
    loss = ready(LDAM(3, max_margin=0.4, scale=10.0, class_weights='effective', from_epoch=3))
    counts = np.array([100, 25, 4])
    margins = 0.4 * counts**-0.25 / (counts**-0.25).max()
    lowered = z.numpy().copy()
    lowered[np.arange(6), LABELS] -= margins[LABELS]
    each = softmax_loss(10 * lowered, LABELS)
    np.testing.assert_allclose(loss(z, LABELS), each.mean(), rtol=1e-6)
    loss.start_epoch(3)
    heavy = compute_effective_weights(torch.tensor(counts), 0.999).numpy()[LABELS]
    np.testing.assert_allclose(loss(z, LABELS), (heavy * each).sum() / heavy.sum(), rtol=1e-6)


def test_logit_adjustment_by_its_formula():
    z = logits()
    prior = np.array([100, 25, 4]) / 129
    for tau in (0.0, 0.5, 1.0):
        expected = softmax_loss(z.numpy() + tau * np.log(prior), LABELS).mean()
        np.testing.assert_allclose(
            ready(LogitAdjustment(3, tau=tau))(z, LABELS), expected, rtol=1e-6
        )


def test_adjusted_logits_of_the_prior_favour_no_class():
    """Where an image says nothing, the loss is least at equal logits."""
    counts = {'a': 6, 'b': 3, 'c': 1}
    labels = torch.tensor([0] * 6 + [1] * 3 + [2])
    z = torch.zeros(10, 3, dtype=torch.float64, requires_grad=True)
    ready(LogitAdjustment(3), counts)(z, labels).backward()
    torch.testing.assert_close(z.grad.sum(0), torch.zeros(3).double(), atol=1e-7, rtol=0)


# -- what is wrong -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    'loss',
    [
        CrossEntropy(3, class_weights='inverse'),
        Focal(3, class_weights='effective'),
        LDAM(3),
        LogitAdjustment(3),
    ],
    ids=lambda loss: type(loss).__name__,
)
def test_a_class_without_samples_is_named(loss):
    with pytest.raises(ToolkitError, match="'rare' has no training sample"):
        loss.use_counts({'benign': 5, 'rare': 0, 'rarest': 3})


def test_a_loss_without_weights_needs_no_sample_of_each():
    CrossEntropy(3).use_counts({'benign': 5, 'rare': 0, 'rarest': 3})
    CrossEntropy(3, class_weights=[1.0, 2.0, 3.0]).use_counts({'a': 5, 'b': 0, 'c': 3})


@pytest.mark.parametrize(
    ('cls', 'arguments', 'message'),
    [
        (CrossEntropy, {'class_weights': 'invers'}, "found 'invers'"),
        (CrossEntropy, {'class_weights': [1.0, 2.0]}, r'3 positive numbers.*found \[1.0, 2.0\]'),
        (CrossEntropy, {'class_weights': [1.0, 2.0, 0.0]}, '3 positive numbers'),
        (CrossEntropy, {'class_weights': [1.0, 2.0, math.nan]}, '3 positive numbers'),
        (CrossEntropy, {'beta': 1.0}, 'beta must be in'),
        (CrossEntropy, {'from_epoch': -1}, 'from_epoch must be 0 or more'),
        (CrossEntropy, {'average': 'mean'}, "average must be .* found 'mean'"),
        (CrossEntropy, {'label_smoothing': 1.0}, 'label_smoothing must be in'),
        (Focal, {'gamma': -1.0}, 'gamma must be 0 or more'),
        (LDAM, {'max_margin': -0.1}, 'max_margin must be'),
        (LDAM, {'scale': 0.0}, 'scale must be above 0'),
        (LogitAdjustment, {'tau': math.inf}, 'tau must be'),
    ],
)
def test_wrong_arguments(cls, arguments, message):
    with pytest.raises(ValueError, match=message):
        cls(3, **arguments)


def test_losses_are_float32_under_autocast():
    with torch.autocast('cpu', dtype=torch.bfloat16):
        value = Focal(3)(logits().bfloat16(), LABELS)
    assert value.dtype == torch.float32
    expected = F.cross_entropy(logits().bfloat16().float(), LABELS, reduction='none')
    expected = ((1 - torch.exp(-expected)) ** 2 * expected).mean()
    torch.testing.assert_close(value, expected)
