"""What differs, by meaning."""

from __future__ import annotations

from toolkit.config.diff import compare_configs, format_changes

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
    assert (
        format_changes(compare_configs(BEFORE, BEFORE))
        == 'no difference: both configs run the same'
    )
    assert compare_configs(BEFORE, {**BEFORE, 'extra': {'note': 'b'}, 'load_from': None}) == []


def test_a_swapped_part_is_one_change_with_its_arguments():
    (change,) = compare_configs(BEFORE, changed(gray={'type': 'LinearGray'}))
    assert change.kind == 'component'
    assert str(change) == 'model.gray: ChannelGray(reduction=4) -> LinearGray()'


def test_removed_added_and_changed():
    losses = {'kl': None, 'mse': {'type': 'MSE', 'weight': 2}, 'l1': {'type': 'L1'}}
    text = format_changes(compare_configs(BEFORE, changed(losses=losses)))
    assert text.split('\n') == [
        'removed (1)',
        '  model.losses.kl: - KL(weight=0.1)',
        'added (2)',
        '  model.losses.mse.weight: + 2',
        '  model.losses.l1: + L1()',
    ]


def test_one_and_true_and_1_0_are_not_the_same():
    assert [str(c) for c in compare_configs({'a': 1}, {'a': True})] == ['a: 1 -> true']
    assert [str(c) for c in compare_configs({'a': 0.001}, {'a': 0.01})] == ['a: 0.001 -> 0.01']
