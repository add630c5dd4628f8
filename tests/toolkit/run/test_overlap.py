"""What training, validation and test hold in common stops a run, or is said of its results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from toolkit.analysis.results import load
from toolkit.analysis.table_files import study_table
from toolkit.engine import components, overlap
from toolkit.errors import ComponentError, ToolkitError
from toolkit.interfaces import Identities
from toolkit.run.test import test as run_test
from toolkit.run.train import train

CPU = torch.device('cpu')


def people(train: Any = None, val: Any = None, test: Any = None) -> dict[str, Any]:
    """Changes of the tiny config that name who is in each subset."""
    named = {'train': train, 'val': val, 'test': test}
    return {f'{name}_dataloader__dataset__people': who for name, who in named.items() if who}


@pytest.mark.parametrize(
    ('who', 'said', 'path'),
    [
        ({'train': ['a', 'b'], 'test': ['b', 'c']}, '1 of 2 persons (b) that the training', 'test'),
        ({'train': ['a'], 'val': ['a']}, 'validation holds 1 of 1 persons (a) that the tr', 'val'),
        ({'train': list('abcd'), 'test': list('dcba')}, '4 of 4 persons (a, b, c, ...)', 'test'),
    ],
)
def test_a_training_that_holds_its_test_is_refused(
    config: Any, tmp_path: Path, who: Any, said: str, path: str
) -> None:
    with pytest.raises(ComponentError) as error:
        train(config(**people(**who)), tmp_path / 'run')
    assert said in error.value.message and 'allow_overlap' in error.value.message
    assert (error.value.path, error.value.other_path) == (
        f'{path}_dataloader.dataset',
        'train_dataloader.dataset',
    )
    assert not (tmp_path / 'run').exists()


def test_the_validation_may_be_the_test_only_if_nothing_follows_it(config: Any) -> None:
    who = people(val=['a'], test=['a'])
    assert not components.build_for_training(config(**who), CPU).overlaps
    for follower in (
        {'default_hooks': {'keep': {'type': 'Checkpoint', 'save_best': 'mse'}}},
        {'param_scheduler': {'plateau': {'type': 'ReduceOnPlateauLR', 'monitor': 'mse'}}},
        {'custom_hooks__stop': {'type': 'EarlyStoppingHook', 'monitor': 'mse', 'rule': 'less'}},
    ):
        with pytest.raises(ToolkitError, match='that the validation holds too'):
            components.build_for_training(config(**who, **follower), CPU)


def test_an_allowed_overlap_is_said_of_the_result(config: Any, tmp_path: Path) -> None:
    run = config(**people(train=['a'], test=['a']), allow_overlap=['as published'])
    result = train(run, tmp_path / 'run')
    run_test(run, tmp_path / 'run', result.checkpoint)
    record = json.loads((tmp_path / 'run' / 'metrics.json').read_text())
    assert '1 of 1 persons (a) that the training holds too' in record['overlap']
    assert 'allowed since: as published' in record['overlap']


def test_a_test_is_compared_with_what_its_weights_have_seen(config: Any, tmp_path: Path) -> None:
    result = train(config(**people(train=['a', 'b'], test=['c'])), tmp_path / 'run')
    run_test(config(**people(test=['c'])), tmp_path / 'new', result.checkpoint)
    # The config of the test need not say what the training was.
    with pytest.raises(ToolkitError, match=r'1 of 2 persons \(b\) that the training holds too'):
        run_test(config(**people(test=['b', 'c'])), tmp_path / 'other', result.checkpoint)
    assert not (tmp_path / 'other').exists()


def test_a_training_is_compared_with_that_of_the_weights_it_starts_from(
    config: Any, tmp_path: Path
) -> None:
    first = train(config(**people(train=['a', 'b'], test=['c'])), tmp_path / 'first')
    start = {'load_from': str(first.checkpoint)}
    with pytest.raises(ToolkitError, match=r'\(b\) that the training .* \(the training of .*last'):
        train(config(**people(train=['c'], test=['b']), **start), tmp_path / 'second')
    assert not (tmp_path / 'second').exists()
    second = train(config(**people(train=['c'], test=['d']), **start), tmp_path / 'second')
    # Its folder says what both have seen.
    for seen in 'abc':
        with pytest.raises(ToolkitError, match='1 of 1 persons .* that the training holds'):
            run_test(config(**people(test=[seen])), tmp_path / 'test', second.checkpoint)
    run_test(config(**people(test=['d'])), tmp_path / 'test', second.checkpoint)


def test_what_two_datasets_hold_is_merged() -> None:
    one = Identities({'x': 'X', 'y': 'Y'}, {'x': [(0, 0, 1, 1)], 'y': [(0, 0, 1, 1)]})
    other = Identities({'x': 'x', 'z': 'Z'}, {'x': [(1, 1, 2, 2)]}, apart=False)
    merged = overlap.merge_groups({'tile': one}, {'tile': other, 'scene': other})
    assert merged['scene'] == other
    assert merged['tile'].labels == {'x': 'X', 'y': 'Y', 'z': 'Z'}
    areas = {'x': [(0, 0, 1, 1), (1, 1, 2, 2)], 'y': [(0, 0, 1, 1)]}
    assert merged['tile'].areas == areas and merged['tile'].apart
    whole = overlap.merge_groups({'tile': one}, {'tile': Identities({'x': 'X'})})
    assert whole['tile'].areas == {'y': [(0, 0, 1, 1)]}


def test_areas_and_claims_decide() -> None:
    class Learner:
        def may_share(self, group: str) -> bool:
            return group == 'reference'

    def find(group: str, one: Identities, other: Identities) -> int:
        held = {'train': {group: one}, 'test': {group: other}}
        return len(overlap.find_overlaps(held, Learner(), False))  # type: ignore[arg-type]

    left, right = ({'x': [(0, 0, 4, 4)]}, {'x': [(0, 4, 4, 8)]})
    middle = {'x': [(0, 3, 4, 5)]}
    name = {'x': 'X'}
    assert find('window', Identities(name, left), Identities(name, middle)) == 1
    assert find('window', Identities(name, left), Identities(name, right)) == 0
    assert find('window', Identities(name, left), Identities(name)) == 1
    assert find('reference', Identities(name), Identities(name)) == 0
    assert find('scene', Identities(name, apart=False), Identities(name, apart=False)) == 0
    assert find('scene', Identities(name, apart=False), Identities(name)) == 1


def test_tables_say_what_was_not_held_apart(tmp_path: Path) -> None:
    from tests.support.study_folders import study_of

    folder = study_of(tmp_path / 'study', {'full': [0.7, 0.8], 'other': [0.7, 0.6]})
    for seed in (0, 1):
        path = folder / 'runs' / f'other-s{seed}' / 'metrics.json'
        path.write_text(json.dumps(json.loads(path.read_text()) | {'overlap': 'ALL OF IT'}))
    results = load(folder)
    for style in ('text', 'markdown', 'latex', 'csv', 'json'):
        assert 'ALL OF IT' in study_table(results, style)
    assert 'Not held apart: ALL OF IT (other-s0, other-s1).' in study_table(results, 'text')
