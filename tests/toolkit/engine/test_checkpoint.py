"""Checkpoints: plain, atomic, and refused with one clear line when they cannot be used."""

from __future__ import annotations

import os
import pickle
import resource
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from toolkit.engine import checkpoint
from toolkit.engine.checkpoint import CheckpointError
from toolkit.errors import RunError


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f'touch {self.path}',)


def test_what_is_saved_loads_without_running_anything(tmp_path: Path) -> None:
    shared = torch.arange(1000.0)
    content = {
        'numpy': [np.float32(0.5), np.int64(3), np.arange(3)],
        'nested': {'tuple': (1, 'a', None, True), 3: 2.5},
        'view': shared[:2],
        'parameter': nn.Parameter(torch.ones(2)),
    }
    checkpoint.save(content, tmp_path / 'a.pth')
    loaded = torch.load(tmp_path / 'a.pth', weights_only=True)
    assert loaded['numpy'][:2] == [0.5, 3]
    assert torch.equal(loaded['numpy'][2], torch.arange(3))
    assert loaded['nested'] == content['nested']
    assert torch.equal(loaded['view'], shared[:2])
    assert not isinstance(loaded['parameter'], nn.Parameter)
    assert (tmp_path / 'a.pth').stat().st_size < 4000
    assert [p.name for p in tmp_path.iterdir()] == ['a.pth']


def test_what_cannot_be_plain_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r'hooks\.mine\[1\] is Path|hooks\.mine\[1\] is PosixPath'):
        checkpoint.save({'hooks': {'mine': [1, tmp_path]}}, tmp_path / 'a.pth')
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_previous_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / 'last.pth'
    checkpoint.save({'state_dict': {'a': torch.zeros(3)}}, path)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))  # as a disk with little space
    try:
        with pytest.raises(RunError, match='cannot write the checkpoint .*previous .* intact'):
            checkpoint.save({'state_dict': {'a': torch.zeros(100_000)}}, path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ['last.pth']


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('')
    with pytest.raises(RunError, match='cannot write the checkpoint'):
        checkpoint.save({}, tmp_path / 'file' / 'last.pth')


def test_hostile_checkpoints_are_refused_and_do_not_run(tmp_path: Path) -> None:
    fuse = tmp_path / 'ran'
    for name, protocol in (('zip.pth', None), ('raw.pth', 2)):
        path = tmp_path / name
        if protocol is None:
            torch.save({'state_dict': Bomb(fuse)}, path)
        else:
            path.write_bytes(pickle.dumps({'state_dict': Bomb(fuse)}, protocol))
        with pytest.raises(CheckpointError) as caught:
            checkpoint.load(path)
        assert 'refused' in str(caught.value) or 'damaged' in str(caught.value)
        assert '\n' not in str(caught.value)
    assert not fuse.exists()


def test_a_refusal_names_what_was_in_the_file(tmp_path: Path) -> None:
    torch.save({'model': nn.Linear(2, 2)}, tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=r'torch\.nn\.modules\.linear\.Linear.* is refused'):
        checkpoint.load(tmp_path / 'a.pth')


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_damaged_checkpoints_are_one_line(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp('damaged') / 'a.pth'
    checkpoint.save({'state_dict': {'weight': torch.zeros(30)}, 'meta': {'iter': 1}}, path)
    whole = path.read_bytes()
    if data.draw(st.booleans()):
        damaged = whole[: data.draw(st.integers(0, len(whole) - 1))]
    else:
        place = data.draw(st.integers(0, len(whole) - 1))
        damaged = whole[:place] + data.draw(st.binary(min_size=1, max_size=40)) + whole[place + 1 :]
    path.write_bytes(damaged)
    try:
        content = checkpoint.load(path)
        checkpoint.extract_weights(content, path)
    except CheckpointError as error:
        assert '\n' not in str(error)
        assert str(path) in str(error)


def test_other_files_are_no_checkpoints(tmp_path: Path) -> None:
    path = tmp_path / 'a.pth'
    with pytest.raises(CheckpointError, match='no checkpoint'):
        checkpoint.load(path)
    path.write_text('hello')
    with pytest.raises(CheckpointError, match=r'a\.pth'):
        checkpoint.load(path)
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('a.txt', 'b')
    with pytest.raises(CheckpointError, match=r'a\.pth'):
        checkpoint.load(path)
    torch.save([1], path)
    with pytest.raises(CheckpointError, match='holds a list'):
        checkpoint.load(path)
    torch.save({'epoch': 1}, path)
    with pytest.raises(CheckpointError, match='has no weights'):
        checkpoint.load_weights(nn.Linear(1, 1), path)


def test_a_missing_checkpoint_says_which_there_are(tmp_path: Path) -> None:
    checkpoint.save({}, tmp_path / 'last.pth')
    with pytest.raises(CheckpointError, match=r'no checkpoint .*best\.pth; there are: last\.pth'):
        checkpoint.load(tmp_path / 'best.pth')


def test_weights_of_another_system_are_listed_and_not_loaded(tmp_path: Path) -> None:
    path = tmp_path / 'a.pth'
    checkpoint.save({'state_dict': {'weight': torch.zeros(3, 2), 'gain': torch.zeros(1)}}, path)
    layer = nn.Linear(2, 2)
    before = layer.weight.clone()
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load_weights(layer, path)
    assert 'missing: bias; unexpected: gain; of another shape: weight (3, 2) for (2, 2)' in str(
        caught.value
    )
    assert torch.equal(layer.weight, before)


@pytest.mark.parametrize('prefix', ['', 'module.', '_orig_mod.', 'module._orig_mod.'])
def test_plain_state_dicts_of_other_programs_load(tmp_path: Path, prefix: str) -> None:
    source, target = nn.Linear(2, 2), nn.Linear(2, 2)
    state = {prefix + name: tensor for name, tensor in source.state_dict().items()}
    torch.save(state, tmp_path / 'a.pth')
    checkpoint.load_weights(target, tmp_path / 'a.pth')
    assert torch.equal(source.weight, target.weight)
