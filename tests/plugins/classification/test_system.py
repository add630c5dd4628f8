"""The classifier: missing labels, branches taken out, every place for a part, wrong data."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from plugins.classification.calibration import Choice
from plugins.classification.heads import LinearHead
from plugins.classification.losses.cross_entropy import CrossEntropy
from plugins.classification.system import Classifier
from plugins.classification.task_weighting import DynamicWeightAverage, UncertaintyWeights
from plugins.classification.tasks import MISSING, Task
from tests.support.labelled_images import TASKS, Branch, Labelled
from toolkit.errors import ComponentError, ToolkitError
from toolkit.interfaces import Attention, Dataset, Loss, Neck

SIZE = 16


class Joined(Neck):
    """Channels of all branches, one after the other."""

    def __init__(self, in_channels, strides):
        super().__init__()
        self.injected, self.out_channels = (
            (dict(in_channels), dict(strides)),
            sum(in_channels.values()),
        )

    def forward(self, features):
        return torch.cat(list(features.values()), 1)


class Doubled(Attention):
    """Twice the features; keeps what it was injected with."""

    def __init__(self, in_channels):
        super().__init__()
        self.in_channels = in_channels

    def forward(self, features):
        return 2 * features


class Widened(Neck):
    """A linear trunk."""

    def __init__(self, in_channels):
        super().__init__()
        self.linear, self.out_channels = nn.Linear(in_channels, 5), 5

    def forward(self, features):
        return self.linear(features)


class Tokens(Branch):
    """The map's places as tokens."""

    def forward(self, image):
        return super().forward(image).flatten(2).transpose(1, 2)


def classifier(**options):
    torch.manual_seed(0)
    given = {
        'tasks': TASKS,
        'branches': {'cnn': Branch},
        'head': LinearHead,
        'losses': {'ce': CrossEntropy},
        'size': SIZE,
    }
    return Classifier(**{**given, **options})


def batch(kind, shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        'image': torch.rand(len(kind), 3, SIZE, SIZE, generator=generator),
        'labels': {'kind': torch.tensor(kind), 'shape': torch.tensor(shape)},
        'meta': [{'item': str(i)} for i in range(len(kind))],
    }


# -- missing labels ----------------------------------------------------------------------------


def test_a_missing_label_is_left_out_of_its_task_alone():
    system = classifier()
    full = batch([0, 1, 1, 0], [2, MISSING, 0, MISSING])
    terms = system.loss(full)
    logits = system.tensor(full)
    cross_entropy = nn.functional.cross_entropy
    torch.testing.assert_close(terms['kind'], cross_entropy(logits['kind'], full['labels']['kind']))
    torch.testing.assert_close(
        terms['shape'], cross_entropy(logits['shape'][[0, 2]], torch.tensor([2, 0]))
    )


def test_a_batch_without_any_label_of_a_task():
    system = classifier()
    terms = system.loss(batch([0, 1], [MISSING, MISSING]))
    assert terms['shape'] == 0
    sum(terms.values()).backward()
    assert system.heads['shape'].linear.weight.grad.abs().max() == 0
    assert system.heads['kind'].linear.weight.grad.abs().max() > 0


@pytest.mark.parametrize('weighting', [None, UncertaintyWeights, DynamicWeightAverage])
def test_a_batch_without_any_label(weighting):
    system = classifier(task_weighting=weighting)
    terms = system.loss(batch([MISSING] * 3, [MISSING] * 3))
    total = sum(terms.values())
    assert total == 0
    total.backward()
    for parameter in system.parameters():
        assert parameter.grad is None or parameter.grad.abs().max() == 0


def test_several_losses_are_added_by_their_weights():
    one = batch([0, 1, 1], [2, 1, 0])
    plain = classifier().loss(one)['shape']
    several = classifier(
        losses={'ce': CrossEntropy, 'more': partial(CrossEntropy, weight=0.5)}
    ).loss(one)['shape']
    torch.testing.assert_close(several, 1.5 * plain)


def test_a_weighting_is_told_how_many_labels_there_are():
    system = classifier(task_weighting=DynamicWeightAverage)
    system.start_epoch(0)
    system.loss(batch([0, 1, MISSING], [MISSING, 1, MISSING]))
    assert system.task_weighting.samples.tolist() == [2, 1]


# -- the network -------------------------------------------------------------------------------


def test_branches_are_joined_and_one_is_taken_out():
    branches = {'cnn': Branch, 'vit': partial(Branch, width=6)}
    both = classifier(branches=branches, neck=Joined)
    assert both.neck.injected == ({'cnn': 8, 'vit': 6}, {'cnn': 4, 'vit': 4})
    assert both.joint_channels == 14
    assert both.predict(both.example(2))['joint'].shape == (2, 14)
    # `null` in a config leaves the entry out; the neck stays.
    alone = classifier(branches={'vit': branches['vit']}, neck=Joined)
    assert alone.joint_channels == 6
    assert alone.predict(alone.example(2))['joint'].shape == (2, 6)
    with pytest.raises(ValueError, match='2 branches need a neck'):
        classifier(branches=branches)


def test_attention_of_a_branch_and_of_all():
    branches = {'cnn': Branch, 'vit': partial(Branch, width=6)}
    plain = classifier(branches=branches, neck=Joined)
    refined = classifier(
        branches=branches, neck=Joined, branch_attention={'vit': Doubled}, attention=Doubled
    )
    assert refined.branch_attention['vit'].in_channels == 6
    assert refined.attention.in_channels == 14
    given = batch([0, 1], [0, 1])
    before, after = (s.predict(given)['joint'] for s in (plain, refined))
    torch.testing.assert_close(after[:, :8], 2 * before[:, :8])
    torch.testing.assert_close(after[:, 8:], 4 * before[:, 8:])
    with pytest.raises(ValueError, match=r'branch_attention\.cn: there is no such branch'):
        classifier(branch_attention={'cn': Doubled})


@pytest.mark.parametrize('branch', [Branch, Tokens, partial(Branch, vector=True)])
def test_pooling(branch):
    given = batch([0, 1], [0, 1])
    systems = {
        pool: classifier(branches={'cnn': branch}, pool=pool) for pool in ('avg', 'max', 'avgmax')
    }
    joint = {pool: system.predict(given)['joint'] for pool, system in systems.items()}
    places = systems['avg'].branches['cnn'](given['image'])
    if places.ndim == 4:
        places = places.flatten(2)
    elif places.ndim == 3:
        places = places.transpose(1, 2)
    else:
        places = places[..., None]
    torch.testing.assert_close(joint['avg'], places.mean(-1))
    torch.testing.assert_close(joint['max'], places.amax(-1))
    torch.testing.assert_close(joint['avgmax'], torch.cat([joint['avg'], joint['max']], 1))
    assert systems['avgmax'].heads['kind'].linear.in_features == 16


def test_a_trunk_is_shared_by_the_heads():
    system = classifier(trunk=Widened)
    given = batch([0, 1], [0, 1])
    refined = system.trunk(system.predict(given)['joint'])
    for name, logits in system.tensor(given).items():
        torch.testing.assert_close(logits, system.heads[name](refined))
        assert logits.shape == (2, len(TASKS[name].classes))


def test_features_that_come_with_a_batch_take_the_branchs_place():
    system = classifier()
    given = batch([0, 1], [0, 1])
    kept = {'features': {'cnn': system.branches['cnn'](given['image'])}}
    without = {key: value for key, value in given.items() if key != 'image'} | kept
    for name, logits in system.tensor(given).items():
        assert torch.equal(system.tensor(without)[name], logits)


def test_decisions_follow_temperature_and_threshold():
    system = classifier()
    given = batch([0, 1, 1, 0], [0, 1, 2, 0])
    before = system.predict(given)
    p = before['probabilities']['kind'][:, 1]
    system.calibration.store('kind', Choice(2.0, float(p.detach().median())))
    after = system.predict(given)
    torch.testing.assert_close(
        after['probabilities']['kind'], torch.softmax(before['logits']['kind'] / 2, 1)
    )
    positive = after['probabilities']['kind'][:, 1] >= system.calibration.threshold('kind')
    assert torch.equal(after['decision']['kind'].bool(), positive)
    assert torch.equal(after['decision']['shape'], before['logits']['shape'].argmax(1))


# -- data --------------------------------------------------------------------------------------


def test_losses_are_given_the_counts_of_training_data():
    system = classifier(losses={'ce': partial(CrossEntropy, class_weights='inverse')})
    train = Labelled(kind=[0, 0, 0, 1], shape=[0, 1, 2, None])
    system.prepare({'train': train, 'val': train}, device='cpu', context=None, say=print)
    assert system.losses['kind']['ce'].base.tolist() == [0.5, 1.5]
    assert system.losses['shape']['ce'].base.tolist() == [1, 1, 1]


def test_a_class_without_training_samples_is_named():
    system = classifier(losses={'ce': partial(CrossEntropy, class_weights='inverse')})
    train = Labelled(kind=[0, 0, 1, 1], shape=[0, 2, 2, None])
    with pytest.raises(ToolkitError, match=r"losses\.ce, task shape: the class 'round' has no"):
        system.prepare({'train': train}, device='cpu', context=None, say=print)
    system.prepare({'test': train}, device='cpu', context=None, say=print)


def test_nothing_to_train_by():
    train = Labelled(kind=[0, 1], shape=[0, 1])
    with pytest.raises(ToolkitError, match='nothing to train by: fill model.losses'):
        classifier(losses=None).prepare({'train': train}, device='cpu', context=None, say=print)


def other_classes():
    dataset = Labelled(kind=[0, 1], shape=[0, 1])
    dataset.tasks = {**dataset.tasks, 'shape': Task(('round', 'oval', 'irregular'))}
    return dataset


class Plain(Dataset):
    def __len__(self):
        return 1

    def __getitem__(self, index):
        return {}


@pytest.mark.parametrize(
    ('dataset', 'message'),
    [
        (Plain(), 'Plain gives no labelled images'),
        (Labelled(kind=[0], shape=[0], channels=1), r'have 1 channels, .* model.in_channels 3'),
        (Labelled(kind=[0, 1]), "no task 'shape'; they have: kind"),
        (other_classes(), 'round, oval, irregular in the data and oval, round, irregular in model'),
    ],
    ids=['plain', 'channels', 'task', 'classes'],
)
def test_data_that_do_not_fit(dataset, message):
    with pytest.raises(ToolkitError, match=message):
        classifier().check_data(dataset)


def test_data_that_fit_may_have_more_tasks():
    classifier(tasks={'kind': TASKS['kind']}).check_data(Labelled(kind=[0, 1], shape=[0, 1]))


class Distance(Loss):
    def __init__(self, weight=1.0, **injected):
        super().__init__(weight)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'tasks': {}}, 'tasks is empty'),
        ({'tasks': {'a b': TASKS['kind']}}, "'a b' is no name"),
        ({'branches': {}}, 'branches is empty'),
    ],
)
def test_wrong_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        classifier(**options)


def test_a_loss_that_compares_no_logits_is_told_its_base_class() -> None:
    message = r'losses\.mse: Distance \(.*\) compares no logits .*interfaces\.ClassLoss \(docs/'
    with pytest.raises(ComponentError, match=message):
        classifier(losses={'mse': Distance})


# -- one-sample batches ------------------------------------------------------------------------


def test_one_sample_without_a_batch_norm():
    terms = classifier().loss(batch([1], [2]))
    assert all(torch.isfinite(term) and term > 0 for term in terms.values())
