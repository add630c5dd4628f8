"""Pictures that a system writes of the items of a test."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from mmengine.hooks import Hook

from tests.support import subprocesses
from tests.toolkit.engine.process.test_distributed import finish
from toolkit.engine.hooks import images
from toolkit.engine.hooks.images import make_file_stem
from toolkit.registry import VISUALIZERS
from toolkit.run.test import test as run_test

MODEL = {'type': 'Constant', 'pictures': True}


def written(folder: Path) -> dict[str, Any]:
    return {p.stem: json.loads(p.read_text()) for p in sorted((folder / 'pictures').glob('*.json'))}


def hooks(count: int) -> dict[str, Any]:
    return {'pictures': {'type': 'Pictures', 'count': count}}


@pytest.mark.parametrize(('count', 'items'), [(4, 4), (0, 0), (99, 7)])
def test_the_first_items(config: Any, tmp_path: Path, count: int, items: int) -> None:
    run_test(config(model=MODEL, default_hooks=hooks(count)), tmp_path / 'run')
    found = written(tmp_path / 'run')
    assert [record['item'] for record in found.values()] == [f'item{i}' for i in range(items)]
    assert list(found) == [f'item{i}' for i in range(items)]


def test_those_of_an_earlier_test_are_gone(config: Any, tmp_path: Path) -> None:
    run_test(config(model=MODEL, default_hooks=hooks(5)), tmp_path / 'run')
    (tmp_path / 'run' / 'pictures' / 'notes.txt').write_text('mine')
    run_test(config(model=MODEL, default_hooks=hooks(2)), tmp_path / 'run')
    assert list(written(tmp_path / 'run')) == ['item0', 'item1']
    assert (tmp_path / 'run' / 'pictures' / 'notes.txt').read_text() == 'mine'


def test_they_are_written_where_nothing_is_configured(config: Any, tmp_path: Path) -> None:
    run_test(config(model=MODEL), tmp_path / 'run')
    assert len(written(tmp_path / 'run')) == 7


def test_a_system_without_pictures_writes_none(config: Any, tmp_path: Path) -> None:
    run_test(config(model={'type': 'Constant'}), tmp_path / 'run')
    assert not (tmp_path / 'run' / 'pictures').exists()


def test_each_process_writes_those_of_its_items(tree: Any, tmp_path: Path) -> None:
    config = tree(model=MODEL, default_hooks=hooks(5))
    finish(subprocesses.start_joined('test', config, tmp_path / 'two', 2), tmp_path / 'two')
    finish(subprocesses.start_joined('test', config, tmp_path / 'one', 1), tmp_path / 'one')
    assert written(tmp_path / 'two') == written(tmp_path / 'one')
    assert len(written(tmp_path / 'two')) == 5


def test_no_process_writes_before_earlier_images_are_removed(
    config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_test(config(model=MODEL, default_hooks=hooks(3)), tmp_path / 'run')
    changes = []
    run_on_main = images.distributed.run_on_main

    def run_and_look(function: Any) -> Any:
        before = len(written(tmp_path / 'run'))
        result = run_on_main(function)  # from here all processes go on together
        changes.append((before, len(written(tmp_path / 'run'))))
        return result

    monkeypatch.setattr(images.distributed, 'run_on_main', run_and_look)
    run_test(config(model=MODEL, default_hooks=hooks(1)), tmp_path / 'run')
    assert (3, 0) in changes
    assert set(written(tmp_path / 'run')) == {'item0'}


def test_a_visualizer_chooses_by_the_results(
    config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Any items, whatever their place, as the test has loaded them."""
    run_test(config(model=MODEL, default_hooks=hooks(99)), tmp_path / 'all')
    visualizer = VISUALIZERS.get('ScoreVisualizer')
    calls = []

    def choose(self: Any, metrics: Any, rows: Any, count: int) -> list[int]:
        calls.append((list(metrics), {key: len(found) for key, found in rows.items()}, count))
        return [5, 2]

    monkeypatch.setattr(visualizer, 'chooses', True)
    monkeypatch.setattr(visualizer, 'choose_items', choose)
    run_test(config(model=MODEL, default_hooks=hooks(3)), tmp_path / 'run')
    every, found = written(tmp_path / 'all'), written(tmp_path / 'run')
    assert found == {name: every[name] for name in ('item2', 'item5')}
    keys, lengths, count = calls[0]
    assert (set(lengths.values()), count) == ({7}, 3)
    assert keys == list(lengths)
    run_test(config(model=MODEL, default_hooks=hooks(0)), tmp_path / 'none')
    assert len(calls) == 1


def test_names_of_files() -> None:
    assert make_file_stem('scene_1.tif') == 'scene_1.tif'
    odd = ['a/b', 'a b', '../a_b', 'ä', '.a', 'x' * 200, 'x' * 201]
    stems = [make_file_stem(name) for name in odd]
    assert len(set(stems)) == len(odd)
    assert all('/' not in stem and not stem.startswith('.') and len(stem) < 100 for stem in stems)
    with pytest.raises(ValueError, match='count must be 0 or more, found -1'):
        from toolkit.engine.hooks import Pictures

        Pictures(-1)


@pytest.mark.parametrize('chooses', [False, True])
def test_images_that_fail_cost_no_result(
    config: Any,
    tmp_path: Path,
    chooses: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    visualizer = VISUALIZERS.get('ScoreVisualizer')
    write = visualizer.write_images

    def fail(self: Any, system: Any, outputs: Any, batch: Any, index: int, *rest: Any) -> None:
        if rest[-1] != 'item3':
            raise KeyError('no map')
        write(self, system, outputs, batch, index, *rest)

    monkeypatch.setattr(visualizer, 'write_images', fail)
    monkeypatch.setattr(visualizer, 'chooses', chooses)
    monkeypatch.setattr(visualizer, 'choose_items', lambda *arguments: [3, 4, 99], raising=False)
    metrics = run_test(config(model=MODEL, default_hooks=hooks(7)), tmp_path / 'run')
    assert json.loads((tmp_path / 'run' / 'metrics.json').read_text())['metrics'] == metrics
    assert list(written(tmp_path / 'run')) == ['item3']
    printed = capsys.readouterr().out
    # The author's line, as where the error costs the run.
    place = r'could not be written: KeyError at .*test_images\.py:\d+: .no map'
    assert re.search(place, printed), printed
    assert 'Traceback' not in printed
    assert 'Traceback' in (tmp_path / 'run' / 'test.log').read_text()


def test_a_hook_that_fails_after_the_measurement_costs_no_result(
    config: Any, tmp_path: Path
) -> None:
    class Failing(Hook):
        def after_test_epoch(self, runner: Any, metrics: Any = None) -> None:
            raise ValueError('no table')

    run = config(model=MODEL)
    run.custom_hooks = {'failing': Failing}
    with pytest.raises(ValueError, match='no table'):
        run_test(run, tmp_path / 'run')
    record = json.loads((tmp_path / 'run' / 'metrics.json').read_text())
    assert record['metrics'].keys() == {'mse', 'err.worst', 'err.close'}
