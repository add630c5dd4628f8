"""A run can be repeated from what it left behind, and differences are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from toolkit.config.schema import RunConfig
from toolkit.engine import checkpoint
from toolkit.errors import ToolkitError
from toolkit.registry import build
from toolkit.run import capsule, changes
from toolkit.run.capsule import CapsuleInput
from toolkit.run.rerun import rerun
from toolkit.run.test import test as run_test
from toolkit.run.train import train


def run_with_capsule(tree: dict[str, Any], folder: Path) -> Any:
    return train(build.fill(RunConfig, tree), folder, capsule_input=CapsuleInput(tree, 'a: 1\n'))


def edit(folder: Path, **edits: Any) -> None:
    record = capsule.read(folder)
    for path, value in edits.items():
        section, _, key = path.partition('__')
        if key:
            record[section][key] = value
        else:
            record[section] = value
    (folder / 'capsule.json').write_text(json.dumps(record))


def test_the_same_to_the_last_bit(tree: Any, tmp_path: Path) -> None:
    run_with_capsule(tree(), tmp_path / 'run')
    report = rerun(tmp_path / 'run', tmp_path / 'again')
    assert (report.equal, report.difference, report.exit_status) == (True, None, 0)
    assert report.warnings == []
    assert (tmp_path / 'again' / 'config.yaml').read_text() == 'a: 1\n'


def test_the_first_difference_and_what_changed_are_named(tree: Any, tmp_path: Path) -> None:
    folder = tmp_path / 'run'
    last = run_with_capsule(tree(), folder).checkpoint
    content = checkpoint.load(last)
    content['state_dict']['head.bias'] += 0.25
    checkpoint.save(content, last)
    edit(folder, data__train='other', packages__torch='1.0', python='2.7')
    edit(folder, git={'commit': 'abc', 'dirty': False})
    edit(folder, sources__toolkit='0')
    report = rerun(folder, tmp_path / 'again')
    assert not report.equal and report.exit_status == 1
    assert report.difference == 'the weights head.bias differ (by up to 0.25)'
    text = '\n'.join(report.warnings)
    assert 'the code was at commit abc' in text
    assert 'changed source: toolkit' in text
    assert 'changed package: torch' in text
    assert 'the train data is not the same' in text
    assert 'python was 2.7' in text


def test_metrics_are_compared_too(tree: Any, tmp_path: Path) -> None:
    run_with_capsule(tree(), tmp_path / 'run')
    log = tmp_path / 'run' / 'metrics.jsonl'
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    lines[1]['loss'] = 7.0
    log.write_text(''.join(json.dumps(line) + '\n' for line in lines))
    report = rerun(tmp_path / 'run', tmp_path / 'again')
    assert report.difference is not None
    assert report.difference.startswith('metrics.jsonl: loss at iteration 10 was 7.0 and is 0.')


def test_a_test_is_repeated(tree: Any, tmp_path: Path) -> None:
    plain = tree(model={'type': 'Constant'})
    run = build.fill(RunConfig, plain)
    run_test(run, tmp_path / 'run', capsule_input=CapsuleInput(plain, 'a: 1\n'))
    assert rerun(tmp_path / 'run', tmp_path / 'again').equal
    record = json.loads((tmp_path / 'run' / 'metrics.json').read_text())
    record['metrics']['mse'] = 1.0
    (tmp_path / 'run' / 'metrics.json').write_text(json.dumps(record))
    report = rerun(tmp_path / 'run', tmp_path / 'third')
    assert report.difference == 'metrics.json: metrics.mse differs'


def test_what_cannot_be_repeated(config: Any, tree: Any, tmp_path: Path) -> None:
    with pytest.raises(ToolkitError, match='holds no run'):
        rerun(tmp_path, tmp_path / 'again')
    train(config(), tmp_path / 'bare')
    with pytest.raises(ToolkitError, match='does not hold its config'):
        rerun(tmp_path / 'bare', tmp_path / 'again')
    run_with_capsule(tree(), tmp_path / 'run')
    edit(tmp_path / 'run', status='interrupted')
    with pytest.raises(ToolkitError, match='did not finish'):
        rerun(tmp_path / 'run', tmp_path / 'again')
    (tmp_path / 'run' / 'capsule.json').write_text('{')
    with pytest.raises(ToolkitError, match='is damaged'):
        rerun(tmp_path / 'run', tmp_path / 'again')


def test_differences_are_dotted_paths() -> None:
    a = {'a': {'b': 1, 'c': [1, 2]}, 'd': None}
    assert changes.find_differences(a, {'a': {'b': 1, 'c': [1, 2]}, 'd': None}) == []
    assert changes.find_differences(a, {'a': {'b': 1.0, 'c': [2]}}) == ['a.b', 'a.c']
    assert changes.find_differences({'a': True}, {'a': 1}) == ['a']


def test_seeds_change_the_result(tree: Any, tmp_path: Path) -> None:
    a, b = (
        checkpoint.load(
            run_with_capsule(tree(randomness={'seed': s}), tmp_path / str(s)).checkpoint
        )
        for s in (0, 1)
    )
    assert not torch.equal(a['state_dict']['conv.weight'], b['state_dict']['conv.weight'])
