"""A run is resumed from its newest good checkpoint, with its own data, plugins and threads."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.support import subprocesses
from toolkit import cli
from toolkit.config.schema import RunConfig
from toolkit.engine import checkpoint
from toolkit.errors import ToolkitError
from toolkit.io import atomic_write
from toolkit.registry import build
from toolkit.run import capsule
from toolkit.run.capsule import CapsuleInput
from toolkit.run.changes import ALLOWED, check_circumstances, check_config
from toolkit.run.train import train

HOOKS = {
    'checkpoint': {'type': 'Checkpoint', 'interval': 4, 'keep': 3, 'save_best': 'mse'},
    'logger': {'type': 'MetricsLog', 'interval': 3},
}
LENGTH = {'max_iters': 14, 'val_interval': 5}


def run_in(folder: Path, tree: dict[str, Any], **options: Any) -> Any:
    given = CapsuleInput(tree, json.dumps(tree))
    return train(build.fill(RunConfig, tree), folder, capsule_input=given, **options)


def read_all(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob('*') if p.suffix == '.pth'
    } | {'log': (folder / 'metrics.jsonl').read_bytes()}


@pytest.fixture
def run_tree(tree: Any) -> dict[str, Any]:
    return tree(train_cfg=LENGTH, default_hooks=HOOKS)


def flip(path: Path) -> None:
    # A copy of its own: iter_N.pth may be the same file under another name.
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 8
    path.unlink()
    path.write_bytes(content)


def test_the_newest_good_checkpoint_is_found(
    run_tree: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calm, hurt = tmp_path / 'calm', tmp_path / 'hurt'
    run_in(calm, run_tree)
    for damage, expected in (
        (lambda folder: (folder / 'last.pth').unlink(), 'last.pth is missing'),
        (lambda folder: flip(folder / 'last.pth'), 'last.pth is damaged: its record'),
    ):
        shutil.copytree(calm, hurt)
        damage(hurt / 'checkpoints')
        flip(hurt / 'checkpoints' / 'iter_12.pth')
        capsys.readouterr()
        run_in(hurt, run_tree, resume=True)
        printed = capsys.readouterr().out
        assert expected in printed and 'iter_12.pth is damaged' in printed
        assert f'resuming from {hurt}/checkpoints/iter_8.pth' in printed
        subprocesses.assert_same_run(calm, hurt)
        shutil.rmtree(hurt)


def test_a_start_from_the_beginning_overwrites_nothing(run_tree: Any, tmp_path: Path) -> None:
    folder = tmp_path / 'run'
    run_in(folder, run_tree)
    for path in (folder / 'checkpoints').glob('*.pth'):
        if path.name != 'best.pth':
            flip(path)
    before = read_all(folder)
    with pytest.raises(ToolkitError, match=r'can be resumed: .*last\.pth is damaged.*Nothing was'):
        run_in(folder, run_tree, resume=True)
    assert read_all(folder) == before
    for path in (folder / 'checkpoints').glob('*.pth'):
        path.unlink()
    with pytest.raises(ToolkitError, match='its run is finished, and its checkpoints are gone'):
        run_in(folder, run_tree, resume=True)
    record = capsule.read(folder)
    (folder / 'capsule.json').write_text(json.dumps({**record, 'status': 'running'}))
    run_in(folder, run_tree, resume=True)  # killed before its first checkpoint
    assert (folder / 'metrics.jsonl.1').read_bytes() == before['log']
    (folder / 'capsule.json').unlink()
    (folder / 'metrics.jsonl').unlink()
    with pytest.raises(ToolkitError, match='already holds a run'):
        run_in(folder, run_tree)


def test_a_best_checkpoint_that_the_run_has_not_reached_is_put_aside(
    run_tree: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calm, other = tmp_path / 'calm', tmp_path / 'other'
    run_in(calm, run_tree)
    best = torch.load(calm / 'checkpoints' / 'best.pth', weights_only=True)['meta']['iter']
    assert best > 4
    shutil.copytree(calm, other)
    stopped = {'resume': other / 'checkpoints' / 'iter_4.pth', 'stop_at': 4}
    run_in(other, run_tree, **stopped)
    aside = other / 'checkpoints' / f'best_of_{best}.pth'
    assert (
        f'best.pth is of a later iteration than this run resumes from: it is now {aside.name}'
        in (capsys.readouterr().out)
    )
    assert aside.exists() and not (other / 'checkpoints' / 'best.pth').exists()
    assert checkpoint.find_best_or_last(other) == other / 'checkpoints' / 'last.pth'
    run_in(other, run_tree, resume=True)
    for name in ('last.pth', 'best.pth'):
        contents = [
            torch.load(folder / 'checkpoints' / name, weights_only=True) for folder in (calm, other)
        ]
        assert subprocesses.first_difference(*contents) is None, name


def test_a_chosen_checkpoint(run_tree: Any, tmp_path: Path) -> None:
    calm, other = tmp_path / 'calm', tmp_path / 'other'
    run_in(calm, run_tree)
    shutil.copytree(calm, other)
    run_in(other, run_tree, resume=other / 'checkpoints' / 'iter_4.pth')
    subprocesses.assert_same_run(calm, other)
    for words, resume, config in (
        (['c', '--resume', 'a.pth'], Path('a.pth'), 'c'),
        (['--resume', 'c'], True, 'c'),
        (['c', '--resume'], True, 'c'),
        (['c'], False, 'c'),
    ):
        parsed = cli._parse(['train', *words, '--work-dir', 'x'])
        assert (parsed.resume, parsed.config) == (resume, config), words


def test_resuming_a_finished_run_changes_nothing(run_tree: Any, tmp_path: Path) -> None:
    folder = tmp_path / 'run'
    run_tree['train_cfg']['max_iters'] = 16  # its last checkpoint is written before its last line
    run_in(folder, run_tree)
    before = read_all(folder)
    assert b'"iter": 16' in before['log'].splitlines()[-1]
    for _ in range(2):
        run_in(folder, run_tree, resume=True)
        assert read_all(folder) == before
    # Killed after its last checkpoint and before its last line.
    log = folder / 'metrics.jsonl'
    log.write_bytes(b''.join(before['log'].splitlines(keepends=True)[:-1]))
    run_in(folder, run_tree, resume=True)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    whole = [json.loads(line) for line in before['log'].decode().splitlines()]
    assert [{**x, 'time': 0, 'data_time': 0} for x in lines] == [
        {**x, 'time': 0, 'data_time': 0} for x in whole
    ]


def test_an_old_checkpoint_goes_only_after_the_new_one_is_safe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from toolkit.engine.hooks import Checkpoint

    events: list[str] = []
    sync, unlink = atomic_write.sync_folder, Path.unlink
    monkeypatch.setattr(atomic_write, 'sync_folder', lambda p: (events.append('sync'), sync(p))[1])
    monkeypatch.setattr(
        Path, 'unlink', lambda p, **k: (events.append(f'unlink {p.name}'), unlink(p, **k))[1]
    )
    last = tmp_path / 'checkpoints' / 'last.pth'
    hook = Checkpoint(keep=1)
    for iteration in (1, 2):
        checkpoint.save({'state_dict': {'a': torch.zeros(3)}}, last)
        events.clear()
        hook._keep(last, iteration)
    assert events.index('sync') < events.index('unlink iter_1.pth')
    assert [p.name for p in checkpoint.list_numbered(tmp_path)] == ['iter_2.pth']


def test_later_checkpoints_do_not_push_out_those_of_a_resumed_run(tmp_path: Path) -> None:
    """A run that went on from an older checkpoint finds later ones, perhaps damaged."""
    from toolkit.engine.hooks import Checkpoint

    last = tmp_path / 'checkpoints' / 'last.pth'
    checkpoint.save({'state_dict': {'a': torch.zeros(3)}}, last)
    for iteration in (2, 9):
        checkpoint.keep_numbered(last, iteration)
    left = []
    for iteration in (3, 5):
        Checkpoint(keep=1)._keep(last, iteration)
        left.append([p.name for p in checkpoint.list_numbered(tmp_path)])
    assert left == [['iter_3.pth', 'iter_9.pth'], ['iter_5.pth', 'iter_9.pth']]


def test_the_log_is_on_the_disk_before_its_checkpoint(
    run_tree: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    sync = os.fsync

    def record(descriptor: int) -> None:
        synced.append(Path(os.readlink(f'/proc/self/fd/{descriptor}')).name)
        sync(descriptor)

    monkeypatch.setattr(os, 'fsync', record)
    run_in(tmp_path / 'run', run_tree)
    places = [place for place, name in enumerate(synced) if name == '.last.pth.tmp']
    assert len(places) == 4  # of iterations 4, 8, 12 and 14
    assert all(synced[place - 1] == 'metrics.jsonl' for place in places)


def test_changed_data_plugins_and_threads_are_refused_and_recorded(
    run_tree: Any, tmp_path: Path
) -> None:
    folder = tmp_path / 'run'
    run_in(folder, run_tree)
    record = capsule.read(folder)
    record['data']['train'] = 'other'
    record['plugins'][0]['sha256'] = 'other'
    record['threads'] = 99
    (folder / 'capsule.json').write_text(json.dumps(record))
    before = read_all(folder)
    with pytest.raises(ToolkitError) as caught:
        run_in(folder, run_tree, resume=True)
    message = str(caught.value)
    assert 'data.train, plugins.tiny_engine.py, threads (was 99, is 1) changed' in message
    assert '--allow-changed' in message and 'config.yaml uses the plugins' in message
    assert capsule.read(folder) == record and read_all(folder) == before
    run_in(folder, run_tree, resume=True, allow_changed=ALLOWED)
    (resumed,) = capsule.read(folder)['resumed']
    assert ' '.join(resumed['changed']) == 'data.train plugins.tiny_engine.py threads'


def test_another_number_of_processes_needs_the_same_samples_in_an_iteration() -> None:
    def check(size: int, *processes: int) -> None:
        configs = ({'train_dataloader': {'batch_size': n}} for n in (6, size))
        check_config(Path('run'), *configs, processes)

    check(6, 2, 2)
    check(12, 2, 1)
    check(3, 2, 4)
    for size, now, message in (
        (6, 1, 'on 1 processes with batches of 6: .*12 samples .*set train_data.*batch_size=12'),
        (6, 5, '12 cannot be shared evenly by 5: start another number'),
        (12, 2, 'the config differs in train_dataloader.batch_size'),
    ):
        with pytest.raises(ToolkitError, match=message):
            check(size, 2, now)


def test_threads_that_the_config_names_are_a_change_of_the_config(tmp_path: Path) -> None:
    before = {'data': {}, 'processes': 1, 'threads': 1, 'config': {'runtime': {'threads': 1}}}
    after = {'data': {}, 'processes': 1, 'threads': 2, 'config': {'runtime': {'threads': 2}}}
    assert check_circumstances(tmp_path, before, after) == []
    after['config'] = before['config']
    with pytest.raises(ToolkitError, match=r'threads \(was 1, is 2\)'):
        check_circumstances(tmp_path, before, after)
