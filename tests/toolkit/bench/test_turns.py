"""Times taken in turns."""

import time

import pytest
import torch

from toolkit.bench import turns

CPU = torch.device('cpu')


@pytest.mark.parametrize('warm_up', [False, True])
def test_runs_take_turns(warm_up):
    order = []
    runs = {name: lambda name=name: order.append(name) for name in 'ab'}
    assert list(turns.in_turns(runs, 3, CPU, warm_up)) == ['a', 'b']
    assert order == ['a', 'b'] * (3 + warm_up)


def test_medians_without_the_first_round(monkeypatch):
    """Rounds of 9, 1, 5 and 2 seconds, of the processor half."""
    clock = {'now': 0.0}
    rounds = iter([9.0, 1.0, 5.0, 2.0])
    monkeypatch.setattr(time, 'perf_counter', lambda: clock['now'])
    monkeypatch.setattr(time, 'process_time', lambda: clock['now'] / 2)

    def run():
        clock['now'] += next(rounds)

    assert turns.in_turns({'a': run}, 3, CPU, warm_up=True) == {'a': (2.0, 1.0)}
