"""What differs, by meaning."""

from __future__ import annotations

from toolkit.config.diff import diff, report

BEFORE = {
    'model': {
        'type': 'S',
        'gray': {'type': 'ChannelGray', 'reduction': 4},
        'losses': {'kl': {'type': 'KL', 'weight': 0.1}, 'mse': {'type': 'MSE'}},
    },
    'optim_wrapper': {'optimizer': {'type': 'Adam', 'lr': 0.001}},
    'extra': {'note': 'a'},
}


def changed(**model):
    return {**BEFORE, 'model': {**BEFORE['model'], **model}}


def test_nothing_differs():
    assert report(diff(BEFORE, BEFORE)) == 'no difference: both configs run the same'
    assert diff(BEFORE, {**BEFORE, 'extra': {'note': 'b'}, 'load_from': None}) == []


def test_a_swapped_part_is_one_change_with_its_arguments():
    (change,) = diff(BEFORE, changed(gray={'type': 'LinearGray'}))
    assert change.what == 'part'
    assert str(change) == 'model.gray: ChannelGray(reduction=4) -> LinearGray()'


def test_removed_added_and_changed():
    losses = {'kl': None, 'mse': {'type': 'MSE', 'weight': 2}, 'l1': {'type': 'L1'}}
    text = report(diff(BEFORE, changed(losses=losses)))
    assert text.split('\n') == [
        'removed (1)',
        '  model.losses.kl: - KL(weight=0.1)',
        'added (2)',
        '  model.losses.mse.weight: + 2',
        '  model.losses.l1: + L1()',
    ]


def test_one_and_true_and_1_0_are_not_the_same():
    assert [str(c) for c in diff({'a': 1}, {'a': True})] == ['a: 1 -> true']
    assert [str(c) for c in diff({'a': 0.001}, {'a': 0.01})] == ['a: 0.001 -> 0.01']
