"""MixUp and CutMix: images and shares, losses of mixed and of missing labels, refusals."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from plugins.classification.batch_mixing import CutMix, MixUp
from plugins.classification.heads import LinearHead
from plugins.classification.interfaces import BatchMixing
from plugins.classification.losses.cross_entropy import CrossEntropy
from plugins.classification.losses.focal import Focal
from plugins.classification.losses.ldam import LDAM
from plugins.classification.losses.logit_adjustment import LogitAdjustment
from plugins.classification.system import Classifier
from plugins.csasn.losses import DynamicClassWeights
from tests.support.patch_classifier import SIDE, TASKS, CellMeans
from toolkit.errors import ComponentError


class Fixed(BatchMixing):
    """Mixes each image with the next one, a quarter of it."""

    def mix(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        partner = torch.arange(len(image)).roll(-1)
        share = torch.tensor(0.75)
        return share * image + (1 - share) * image[partner], partner, share


def system(loss: Any = CrossEntropy, mixing: Any = Fixed, **more: Any) -> Classifier:
    torch.manual_seed(0)
    made = Classifier(
        tasks=TASKS,
        branches={'cells': CellMeans},
        head=partial(LinearHead),
        losses={'classes': loss},
        mixing=mixing,
        size=SIDE,
        **more,
    )
    for losses in made.losses.values():
        count = losses['classes'].num_classes
        losses['classes'].use_counts({str(i): 5 + i for i in range(count)})
    return made.train()


def batch(missing: bool = False) -> dict[str, Any]:
    torch.manual_seed(1)
    labels = {'pathology': torch.tensor([0, 1, 1, 0]), 'shape': torch.tensor([0, 1, 2, 1])}
    if missing:
        labels['shape'] = torch.tensor([0, -1, 2, -1])
    return {'image': torch.rand(4, 3, SIDE, SIDE), 'labels': labels, 'meta': []}


def test_mixup_is_the_average_of_two_images() -> None:
    torch.manual_seed(3)
    image = torch.rand(5, 3, 8, 8)
    mixed, partner, share = MixUp(1.0)(image)
    assert sorted(partner.tolist()) == list(range(5)) and 0 < share < 1
    for i, j in enumerate(partner.tolist()):
        torch.testing.assert_close(mixed[i], share * image[i] + (1 - share) * image[j])
    untouched, _, share = MixUp(1.0, probability=0)(image)
    assert share == 1 and torch.equal(untouched, image)
    untouched, partner, share = MixUp(1.0).eval()(image)
    assert share == 1 and torch.equal(untouched, image) and partner.tolist() == list(range(5))


def test_shares_follow_the_beta_distribution() -> None:
    torch.manual_seed(0)
    image = torch.zeros(2, 1, 4, 4)
    shares = torch.stack([MixUp(0.4)(image)[2] for _ in range(2000)])
    # Mean 1/2 and variance 1 / (4 (2 alpha + 1)) of Beta(alpha, alpha).
    assert float(shares.mean()) == pytest.approx(0.5, abs=0.03)
    assert float(shares.var()) == pytest.approx(1 / (4 * 1.8), rel=0.08)


def test_cutmix_shares_the_label_by_the_area() -> None:
    torch.manual_seed(0)
    image = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 1, 24, 32)
    shares = []
    for _ in range(200):
        mixed, partner, share = CutMix()(image)
        shares.append(float(share))
        for i, j in enumerate(partner.tolist()):
            own = mixed[i, 0] == i
            if i != j:
                assert float(own.float().mean()) == pytest.approx(float(share), abs=1e-6)
                assert set(mixed[i, 0][~own].tolist()) <= {float(j)}
                rows, columns = (~own).any(1), (~own).any(0)
                assert torch.equal(~own, rows[:, None] & columns[None])  # a rectangle
    assert min(shares) < 0.3 and max(shares) > 0.9


def test_the_loss_is_that_of_soft_labels() -> None:
    made, data = system(), batch()
    found = made.loss(data)
    mixed, partner, share = Fixed()(data['image'])
    logits = made.tensor({'image': mixed})
    for name, labels in data['labels'].items():
        hot = F.one_hot(labels, len(TASKS[name].classes)).float()
        soft = share * hot + (1 - share) * hot[partner]
        torch.testing.assert_close(found[name], F.cross_entropy(logits[name], soft))


def test_class_weights_are_those_of_both_labels() -> None:
    weighted = partial(CrossEntropy, class_weights='inverse', average='samples')
    made, data = system(weighted), batch()
    found = made.loss(data)
    mixed, partner, share = Fixed()(data['image'])
    logits = made.tensor({'image': mixed})
    for name, labels in data['labels'].items():
        weights = made.losses[name]['classes'].base
        hot = F.one_hot(labels, len(weights)).float()
        soft = (share * hot + (1 - share) * hot[partner]) * weights
        expected = -(soft * logits[name].log_softmax(1)).sum(1).mean()
        torch.testing.assert_close(found[name], expected)


def test_a_missing_label_counts_on_neither_side() -> None:
    made, data = system(), batch(missing=True)
    found = made.loss(data)['shape']
    mixed, partner, share = Fixed()(data['image'])
    logits = made.tensor({'image': mixed})['shape']
    labels = data['labels']['shape']
    own = F.cross_entropy(logits[[0, 2]], labels[[0, 2]])
    other = F.cross_entropy(logits[[1, 3]], labels[partner][[1, 3]])
    torch.testing.assert_close(found, share * own + (1 - share) * other)
    data['labels']['shape'][:] = -1
    assert made.loss(data)['shape'] == 0


def test_only_trainings_are_mixed() -> None:
    mixed, plain, data = system(), system(mixing=None), batch()
    assert mixed.loss(data)['shape'] != plain.loss(data)['shape']
    torch.testing.assert_close(mixed.eval().loss(data), plain.eval().loss(data))


def test_the_same_seed_mixes_alike() -> None:
    image = torch.rand(6, 3, 8, 8)
    for mixing in (MixUp(), CutMix()):
        torch.manual_seed(5)
        first = mixing(image)
        torch.manual_seed(5)
        assert all(torch.equal(a, b) for a, b in zip(first, mixing(image)))


@pytest.mark.parametrize('loss', [LDAM, DynamicClassWeights])
def test_losses_that_count_whole_labels_are_refused(loss: Any) -> None:
    with pytest.raises(ComponentError, match=f'{loss.__name__}.*take CrossEntropy, Focal or Logit'):
        system(loss)


@pytest.mark.parametrize('loss', [CrossEntropy, Focal, LogitAdjustment])
def test_losses_that_take_mixed_labels(loss: Any) -> None:
    assert all(torch.isfinite(value) for value in system(loss).loss(batch()).values())


def test_what_is_refused() -> None:
    for cls in (MixUp, CutMix):
        with pytest.raises(ValueError, match='alpha must be above 0, found 0'):
            cls(0)
        with pytest.raises(ValueError, match='probability must be between 0 and 1, found 2'):
            cls(probability=2)
    from plugins.classification.data.feature_cache import FeatureCache

    with pytest.raises(ValueError, match='mixing needs images'):
        system(cache=FeatureCache())
