"""What the engine tells a system besides batches: its data, once, and where epochs begin."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import pytest
import torch

from toolkit.errors import ToolkitError
from toolkit.registry import SYSTEMS
from toolkit.run.test import test as run_test
from toolkit.run.train import train


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the tiny system is told, in order, while a test runs."""
    tiny = SYSTEMS.get('TinySystem')

    heard: list[Any] = []

    def prepare(self: Any, datasets: Any, **options: Any) -> None:
        assert isinstance(options['context'](), contextlib.AbstractContextManager)
        heard.append((sorted(datasets), options['device'].type, self.head.bias.item()))
        options['say'](f'learned from {len(datasets)} datasets')

    loss = tiny.loss

    def counted(self: Any, batch: Any) -> Any:
        heard.append('batch')
        return loss(self, batch)

    monkeypatch.setattr(tiny, 'prepare', prepare)
    monkeypatch.setattr(tiny, 'start_epoch', lambda self, epoch: heard.append(epoch))
    monkeypatch.setattr(tiny, 'loss', counted)
    return heard


def test_data_come_first_then_epochs(
    config: Any, tmp_path: Path, told: list[Any], capsys: pytest.CaptureFixture[str]
) -> None:
    train(config(train_dataloader__batch_size=10), tmp_path / 'run')
    (roles, device, _), *rest = told
    assert (roles, device) == (['train', 'val'], 'cpu')
    assert rest == [0, 'batch', 'batch', 1, 'batch', 'batch']
    assert 'learned from 2 datasets' in capsys.readouterr().out


def test_a_test_tells_its_data_with_the_weights_loaded(
    config: Any, tmp_path: Path, told: list[Any]
) -> None:
    run = config(train_dataloader__batch_size=10)
    path = train(run, tmp_path / 'run').checkpoint
    told.clear()
    run_test(run, tmp_path / 'run', path)
    weights = torch.load(path, weights_only=True)['state_dict']
    assert told == [(['test'], 'cpu', float(weights['head.bias']))]


def test_a_run_taken_up_within_an_epoch_is_told_it_again(
    config: Any, tmp_path: Path, told: list[Any]
) -> None:
    changes = {'train_dataloader__batch_size': 5, 'val_dataloader': None, 'val_evaluator': None}
    train(config(**changes, train_cfg={'max_iters': 6}), tmp_path / 'run')
    told.clear()
    train(config(**changes, train_cfg={'max_iters': 9}), tmp_path / 'run', resume=True)
    assert told[1:] == [1, 'batch', 'batch', 2, 'batch']


def test_what_a_system_refuses_is_said(
    config: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny = SYSTEMS.get('TinySystem')

    def prepare(self: Any, datasets: Any, **options: Any) -> None:
        raise ToolkitError('a class has no sample')

    monkeypatch.setattr(tiny, 'prepare', prepare)
    with pytest.raises(ToolkitError, match='a class has no sample'):
        train(config(), tmp_path / 'run')
    assert not (tmp_path / 'run').exists()
