"""A flipped bit in a file of weights is noticed, wherever it is, and the record is named."""

from __future__ import annotations

import hashlib
import random
import zipfile
from pathlib import Path

import pytest
import torch

from toolkit.engine import checkpoint
from toolkit.engine.checkpoint import CheckpointError
from toolkit.io.verification.integrity import DamagedFileError, check_file


def write(path: Path) -> dict[str, torch.Tensor]:
    state = {f'layer{i}.weight': torch.randn(40, 40) for i in range(6)}
    checkpoint.save({'state_dict': state, 'meta': {'iter': 3}}, path)
    return state


def flip(path: Path, place: int, bits: int = 1) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= bits
    path.write_bytes(content)


def test_two_flipped_bits_in_a_weight_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / 'best.pth'
    write(path)
    with zipfile.ZipFile(path) as archive:
        entry = next(e for e in archive.infolist() if e.filename.endswith('/data/3'))
        content = archive.read(entry)
    place = path.read_bytes().index(content) + 401
    torch.load(path, weights_only=True)
    flip(path, place, 0b11)
    torch.load(path, weights_only=True)  # says nothing; once it does, the check is not needed
    with pytest.raises(CheckpointError) as caught:
        checkpoint.load(path)
    assert str(caught.value) == (
        f'the checkpoint {path} is damaged: its record archive/data/3 is not what was written (its '
        'CRC-32 differs)'
    )


def test_every_flip_is_refused_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / 'last.pth'
    state = write(path)
    whole = path.read_bytes()
    chance = random.Random(7)
    refused = 0
    for _ in range(100):
        path.write_bytes(whole)
        flip(path, chance.randrange(len(whole)), chance.randrange(1, 256))
        try:
            content = checkpoint.load(path)
        except CheckpointError as error:
            assert str(path) in str(error) and '\n' not in str(error)
            refused += 1
            continue
        assert content['meta'] == {'iter': 3}  # padding between records, dates
        assert all(torch.equal(content['state_dict'][name], t) for name, t in state.items())
    assert refused > 60


def test_a_digest_beside_a_file_is_compared(tmp_path: Path) -> None:
    path = tmp_path / 'weights.safetensors'
    path.write_bytes(b'content')
    digest = hashlib.sha256(b'content').hexdigest()
    (tmp_path / 'weights.safetensors.sha256').write_text(f'{digest}  weights.safetensors\n')
    check_file(path)
    flip(path, 3)
    with pytest.raises(DamagedFileError, match=r'weights\.safetensors is damaged or another file'):
        check_file(path)
