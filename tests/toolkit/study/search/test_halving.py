"""Successive halving and samplers on simulated objectives."""

from __future__ import annotations

import math
import random

import pytest

from toolkit.study.planning.compose import Composer
from toolkit.study.search.halving import (
    enter_bracket,
    find_bracket,
    find_cut,
    find_thresholds,
    list_bracket_sizes,
)
from toolkit.study.search.keys import Halving, Parameter, SearchSpec
from toolkit.study.search.sampler import KnownTrial, choose_point, fits_space
from toolkit.study.search.space import list_corners, list_grid
from toolkit.study.study_file import read_study

RULE = Halving(factor=3, first=1, most=27)


def test_thresholds_are_those_of_the_best_third():
    earlier = [[0.5], [0.4, 0.5, 0.6], [0.3], [0.2], [0.1]]
    # Of six at the first rung, the new one included, two go on; too few have come to the next one.
    assert find_thresholds(RULE, earlier, True) == {'1': 0.4}
    assert find_thresholds(RULE, earlier, False) == {'1': 0.2}
    assert find_thresholds(RULE, earlier[:2], True) == {}
    assert find_thresholds(RULE, [[None]] * 5, True) == {}


def test_a_trial_is_cut_at_the_first_rung_that_it_misses():
    thresholds = {'1': 0.4, '3': 0.6}
    assert find_cut(thresholds, [0.4, 0.1], True) is None
    assert find_cut(thresholds, [0.4, 0.9, 0.5, 0.9], True).validations == 3
    assert find_cut(thresholds, [None], True).value is None
    assert find_cut({'1': 0.4}, [0.5], False).threshold == 0.4


def test_brackets_of_hyperband_have_the_sizes_of_its_paper():
    """Li et al. 2018, algorithm 1: ceil(B / R * eta ** s / (s + 1)), R = 81, eta = 3, B = 5 R."""
    assert list_bracket_sizes(Halving(factor=3, first=1, most=81)) == [81, 34, 15, 8, 5]
    sizes = list_bracket_sizes(RULE)
    numbers = [find_bracket(RULE, n) for n in range(sum(sizes))]
    assert [numbers.count(bracket) for bracket in range(4)] == sizes
    for count in (7, 13, 30):  # a short search has its share of each
        for bracket, size in enumerate(sizes):
            assert abs(numbers[:count].count(bracket) - count * size / sum(sizes)) <= 1
    assert enter_bracket(RULE, 1).list_rungs(27) == [3, 9]
    assert enter_bracket(RULE, 3).list_rungs(27) == []


def search_slow_starters(seed, stop):
    """The best value of 40 trials, of which those above 0.5 are best and start slowly."""
    generator, known, best = random.Random(seed), [], -1.0
    for number in range(40):
        x = generator.random()
        delay = 4 if x > 0.5 else 0
        values = [x if n > delay else 0.3 * (1 - x) for n in range(1, 28)]
        rule, earlier = RULE, known
        if stop == 'hyperband':
            bracket = find_bracket(RULE, number)
            rule = enter_bracket(RULE, bracket)
            earlier = [v for n, v in enumerate(known) if find_bracket(RULE, n) == bracket]
        cut = find_cut(find_thresholds(rule, earlier, True), values, True)
        known.append(values if cut is None else values[: cut.validations])
        best = max(best, values[-1] if cut is None else -1.0)
    return best


def test_hyperband_finds_what_starts_slowly():
    found = {
        stop: [search_slow_starters(seed, stop) for seed in range(20)]
        for stop in ('asha', 'hyperband')
    }
    assert sum(found['hyperband']) / 20 > 0.85
    assert sum(found['asha']) < sum(found['hyperband'])


def learn(quality, generator):
    """Validations of a run: a curve towards its quality, with noise."""
    return [quality * (1 - math.exp(-n / 5)) + generator.gauss(0, 0.01) for n in range(1, 28)]


def test_halving_saves_most_of_the_time_and_finds_the_optimum():
    """Random points on [0, 1] with the optimum at 0.3; means over 30 searches of 60 trials."""
    spent, regrets, whole = [], [], []
    for seed in range(30):
        generator, known, best, full = random.Random(seed), [], (-1.0, 0.0), (-1.0, 0.0)
        used = 0
        for _ in range(60):
            x = generator.random()
            values = learn(1 - abs(x - 0.3), generator)
            cut = find_cut(find_thresholds(RULE, known, True), values, True)
            known.append(values if cut is None else values[: cut.validations])
            used += len(known[-1])
            full = max(full, (values[-1], x))
            if cut is None:
                best = max(best, (values[-1], x))
        spent.append(used / (60 * 27))
        regrets.append(abs(best[1] - 0.3))
        whole.append(abs(full[1] - 0.3))
    assert sum(spent) / 30 < 0.2
    assert sum(regrets) / 30 < sum(whole) / 30 + 0.005
    assert max(regrets) < 0.05


SPACE = {
    'lr': Parameter(log=[1e-4, 1e-1]),
    'part': Parameter(choice=[None, {'type': 'A'}]),
    'size': Parameter(integer=[2, 10], step=2, when={'part': {'type': 'A'}}),
}


def test_the_space_knows_its_corners_and_its_grid():
    corners = list_corners(SPACE)
    for path, ends in (('lr', (1e-4, 1e-1)), ('size', (2, 10)), ('part', (None, {'type': 'A'}))):
        assert all(any(c.get(path, 0) == end for c in corners) for end in ends)
    assert all(('size' in c) == (c['part'] is not None) for c in corners)
    grid = list(list_grid({'part': SPACE['part'], 'size': SPACE['size']}))
    assert grid == [{'part': None}, *({'part': {'type': 'A'}, 'size': n} for n in range(2, 11, 2))]


@pytest.mark.parametrize('sampler', ['tpe', 'random'])
def test_a_point_follows_from_seed_number_and_results(sampler):
    pytest.importorskip('optuna')
    search = SearchSpec(SPACE, trials=20, sampler=sampler, startup=3)

    def value(point):
        return -abs(math.log10(point['lr']) + 2) - (point['part'] is None)

    known = []
    for number in range(8):
        point = choose_point(search, number, known, True)
        assert fits_space(search, point)
        known.append(KnownTrial(point, value(point)))
    assert choose_point(search, 8, known, True) == choose_point(search, 8, list(known), True)
    assert choose_point(search, 8, known, True) != choose_point(search, 9, known, True)
    cut = [*known[:-1], KnownTrial(known[-1].point, -3.0, validations=2)]
    assert fits_space(search, choose_point(search, 8, cut, True))
    assert not fits_space(search, {'lr': 1.0, 'part': None})
    assert not fits_space(search, {'lr': 0.01, 'part': None, 'size': 2})


@pytest.mark.parametrize(
    ('given', 'step'),
    [
        ({'uniform': [1e6, 1e6 + 100], 'step': 1}, 1),
        ({'uniform': [0.0, 1.0], 'step': 0.1}, 0.1),
        ({'uniform': [1e5, 1e5 + 0.5]}, None),
        ({'log': [1000.0, 1000.01]}, None),
    ],
)
def test_a_narrow_range_far_from_zero_is_drawn_from_whole(given, step):
    pytest.importorskip('optuna')
    parameter = Parameter(**given)
    search = SearchSpec({'x': parameter}, trials=30, sampler='random')
    low, high = parameter.range
    drawn = [choose_point(search, n, [], True)['x'] for n in range(30)]
    assert all(low <= x <= high for x in drawn)
    if step is None:
        assert len(set(drawn)) == 30 and max(drawn) - min(drawn) > 0.8 * (high - low)
    else:
        assert all((x - low) / step == pytest.approx(round((x - low) / step)) for x in drawn)
        assert len({round((x - low) / step) % 10 for x in drawn}) > 5


def test_a_choice_keeps_its_own_value_where_another_path_changes_a_part_of_it(tmp_path):
    (tmp_path / 's.yaml').write_text(
        """study: s
base: csasn/csasn_demo
primary: composition.macro_AUC
search:
  trials: 4
  space:
    model.attention.channel: {choice: [null, {type: ChannelAttention}]}
    +model.attention.channel.reduction:
      integer: [4, 32]
      when: {model.attention.channel: {type: ChannelAttention}}
"""
    )
    study = read_study(tmp_path / 's.yaml')
    composer = Composer(study)
    for point in list_corners(study.spec.search.space):
        channel = composer.config('reference', {}, None, None, 1, point).tree['model']['attention']
        assert (channel['channel'] or {}).get('reduction') in (None, 4, 32)
    assert study.spec.search.space['model.attention.channel'].choice[1] == {
        'type': 'ChannelAttention'
    }
