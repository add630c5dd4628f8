"""The dynamically weighted loss, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from plugins.classification.losses.class_weights import compute_effective_weights
from plugins.classification.losses.focal import Focal
from plugins.csasn.losses import DynamicClassWeights
from toolkit.errors import ToolkitError

COUNTS = {'benign': 60, 'rare': 30, 'rarest': 10}
BASE = compute_effective_weights(torch.tensor([60, 30, 10]), 0.999)


def dynamic(**options):
    loss = DynamicClassWeights(3, **options)
    loss.use_counts(COUNTS)
    return loss


def answers(*pairs):
    """Logits that say, and labels that are: `answers((0, 1))` is one sample of class 1 called 0."""
    said, labels = zip(*pairs)
    return 4 * torch.eye(3)[list(said)], torch.tensor(labels)


def expected(recall, base=BASE, gamma=1.0, eps=0.05, limits=(0.1, 10.0)):
    weights = np.asarray(base) * (1 - np.asarray(recall) + eps) ** gamma
    return np.clip(weights / weights.mean(), *limits)


def test_it_starts_at_the_base():
    loss = dynamic()
    loss.start_epoch(0)
    np.testing.assert_allclose(loss.current, BASE, rtol=1e-6)
    z, labels = answers((0, 0), (0, 1), (2, 2))
    each = torch.nn.functional.cross_entropy(z, labels, reduction='none')
    torch.testing.assert_close(loss(z, labels), (BASE[labels].float() * each).mean())


def test_weights_follow_recall_by_hand():
    loss = dynamic(momentum=0.5)
    loss.start_epoch(0)
    # Over two batches: class 0 found 3 of 4, class 1 found 1 of 2, class 2 found 0 of 1.
    loss(*answers((0, 0), (0, 0), (1, 1)))
    loss(*answers((0, 0), (1, 0), (0, 1), (1, 2)))
    np.testing.assert_allclose(loss.current, BASE, rtol=1e-6)  # within an epoch nothing moves
    loss.start_epoch(1)
    np.testing.assert_allclose(loss.recall, [0.75, 0.5, 0.0])
    np.testing.assert_allclose(loss.current, expected([0.75, 0.5, 0.0]), rtol=1e-6)
    assert loss.current.mean() == pytest.approx(1)
    # The second epoch finds all of 0 and 2, and sees nothing of 1.
    loss(*answers((0, 0), (2, 2)))
    loss.start_epoch(2)
    # Half of the past, corrected for its start: (0.25 x 0.75 + 0.5 x 1) / 0.75.
    recall = [(0.25 * 0.75 + 0.5) / 0.75, 0.5, 0.5 / 0.75]
    np.testing.assert_allclose(loss.recall, recall)
    np.testing.assert_allclose(loss.current, expected(recall), rtol=1e-6)


def test_a_class_that_is_missed_gains():
    loss = dynamic(class_weights=None)
    for epoch in range(6):
        loss.start_epoch(epoch)
        loss(*answers((0, 0), (1, 1), (0, 2)))
    assert loss.current[2] > 2.5
    assert loss.current[0] == loss.current[1] < 0.3


def test_gamma_eps_and_limits():
    for options in ({'gamma': 0.0}, {'gamma': 2.0, 'eps': 0.2}):
        loss = dynamic(**options)
        loss.start_epoch(0)
        loss(*answers((0, 0), (1, 1), (0, 2)))
        loss.start_epoch(1)
        np.testing.assert_allclose(loss.current, expected([1, 1, 0], **options), rtol=1e-6)
    loss = dynamic(class_weights=None, min_weight=0.5, max_weight=1.5)
    loss.start_epoch(0)
    loss(*answers((0, 0), (1, 1), (0, 2)))
    loss.start_epoch(1)
    assert loss.current.tolist() == [0.5, 0.5, 1.5]


def test_focal_base():
    loss = dynamic(focusing=2.0)
    loss.start_epoch(0)
    z, labels = answers((0, 0), (0, 1), (2, 2))
    focal = Focal(3, class_weights=BASE.tolist(), average='samples')
    focal.start_epoch(0)
    torch.testing.assert_close(loss(z, labels), focal(z, labels))


def test_told_twice_of_an_epoch_it_moves_once():
    loss = dynamic()
    loss.start_epoch(0)
    loss(*answers((0, 0), (0, 1)))
    loss.start_epoch(1)
    loss(*answers((0, 0)))
    before = {k: v.clone() for k, v in loss.state_dict().items()}
    loss.start_epoch(1)
    assert all(torch.equal(v, before[k]) for k, v in loss.state_dict().items())


@pytest.mark.parametrize('cut', [0, 1, 2, 3, 4, 5])
def test_a_resumed_training_is_the_same(cut):
    """Cut after any batch of three epochs of two: before, in and at the end of an epoch."""
    batches = [answers((k % 3, 0), (k % 2, 1), (2, (k + 1) % 3)) for k in range(6)]

    def run(loss, first, last):
        values = []
        if first % 2:
            loss.start_epoch(first // 2)
        for k in range(first, last):
            if k % 2 == 0:
                loss.start_epoch(k // 2)
            values.append(loss(*batches[k]).item())
        return values

    calm, stopped = dynamic(), dynamic()
    whole = run(calm, 0, 6)
    values = run(stopped, 0, cut)
    resumed = DynamicClassWeights(3)
    resumed.load_state_dict(stopped.state_dict())
    resumed.use_counts(COUNTS)
    values += run(resumed, cut, 6)
    assert values == whole
    assert all(torch.equal(v, calm.state_dict()[k]) for k, v in resumed.state_dict().items())


def test_evaluation_is_not_counted_and_another_training_starts_anew():
    loss = dynamic()
    loss.start_epoch(0)
    loss.eval()(*answers((0, 0), (0, 1)))
    assert loss.seen.sum() == 0
    loss.train()(*answers((0, 0), (0, 1)))
    loss.start_epoch(1)
    assert loss.recall[0] == 1
    loss.start_epoch(0)
    np.testing.assert_allclose(loss.current, BASE, rtol=1e-6)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'gamma': -1.0}, 'gamma must be 0 or more'),
        ({'focusing': -1.0}, 'focusing must be 0 or more'),
        ({'eps': 0.0}, 'eps must be above 0'),
        ({'momentum': 1.0}, 'momentum must be in'),
        ({'min_weight': 2.0}, 'found min_weight 2.0 and max_weight 10.0'),
        ({'class_weights': 'equal'}, "found 'equal'"),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        DynamicClassWeights(3, **options)


def test_smoothing_keeps_the_weight_of_a_memorised_rare_class():
    """All are right; the rare class has 3 images, the common one 300."""
    pairs = [(0, 0)] * 300 + [(1, 1)] * 30 + [(2, 2)] * 3
    plain, smooth = dynamic(class_weights=None), dynamic(class_weights=None, smoothing=12)
    for loss in (plain, smooth):
        loss.start_epoch(0)
        loss(*answers(*pairs))
        loss.start_epoch(1)
    np.testing.assert_allclose(plain.current, 1)
    recall = [(300 + 4) / 312, (30 + 4) / 42, (3 + 4) / 15]
    np.testing.assert_allclose(smooth.recall, recall)
    weights = 1 - np.array(recall) + 0.05
    np.testing.assert_allclose(
        smooth.current, np.clip(weights / weights.mean(), 0.1, 10), rtol=1e-6
    )
    assert smooth.current[2] > 2 * smooth.current[1] > 4 * smooth.current[0]


def test_validation_recall_is_followed_and_training_is_not_counted():
    loss = dynamic(class_weights=None, recall='validation')
    with pytest.raises(ToolkitError, match=r'custom_hooks.recall: \{type: ValidationRecall\}'):
        loss.start_epoch(0)
    loss.is_followed = True
    loss.start_epoch(0)
    loss(*answers((0, 0), (1, 1), (2, 2)))
    assert not loss.seen.any() and loss.takes_mixed_labels
    loss.use_validation(torch.tensor([40, 10, 1]), torch.tensor([50, 20, 4]))
    loss.start_epoch(1)
    np.testing.assert_allclose(loss.recall, [0.8, 0.5, 0.25])
    np.testing.assert_allclose(loss.current, expected([0.8, 0.5, 0.25], base=1), rtol=1e-6)
    loss.start_epoch(2)  # no validation in between: the weights stay
    np.testing.assert_allclose(loss.recall, [0.8, 0.5, 0.25])
