"""A try goes through training, validation and test with one batch each, and keeps nothing."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest

from toolkit.cli import main
from toolkit.config.dump import dump
from toolkit.errors import DataError, RunError
from toolkit.interfaces import PredictOptions, Predictor, System
from toolkit.registry import PREDICTORS
from toolkit.run.try_run import try_run


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for what is temporary."""
    (tmp_path / 'scratch').mkdir()
    monkeypatch.setattr(tempfile, 'tempdir', str(tmp_path / 'scratch'))
    # The folder that torch makes once for its compiler is not the try's.
    monkeypatch.setenv('TORCHINDUCTOR_CACHE_DIR', str(tmp_path / 'inductor'))
    return tmp_path / 'scratch'


def test_one_batch_of_each(
    tree: Any, tmp_path: Path, scratch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Samples after the first batch are broken: they are not read.
    changes = {f'{subset}_dataloader__dataset__broken': 5 for subset in ('val', 'test')}
    path = tmp_path / 'c.yaml'
    path.write_text(dump(tree(**changes, val_dataloader__batch_size=2)))
    assert main(['train', str(path), '--try']) == 0
    said = capsys.readouterr().out
    assert 'one batch of training, validation, test went through; nothing was kept' in said
    assert list(scratch.iterdir()) == []
    assert main(['train', str(path)]) == 2
    assert '--work-dir DIR' in capsys.readouterr().err


class Writer(Predictor):
    """Writes the value of a system's first parameter; fails where its data are said to."""

    system = System

    @classmethod
    def add_arguments(cls, parser: Any) -> None: ...

    def predict(self, *arguments: Any) -> Any: ...

    def predict_part(self, system: System, folder: Path, options: PredictOptions) -> list[Path]:
        assert options.dataset is not None and not system.training
        if options.dataset().broken == 7:
            raise DataError('no prediction')
        (folder / 'predicted').write_text(str(next(system.parameters()).sum()))
        return [folder / 'predicted']


def test_the_predictor_of_the_system_is_tried(
    config: Any, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PREDICTORS, 'find_for', lambda system: Writer)
    run = config(train_cfg={'max_iters': 1})
    assert try_run(run) == ('training', 'validation', 'test', 'prediction')
    with pytest.raises(DataError, match='no prediction'):
        try_run(config(train_cfg={'max_iters': 1}, test_dataloader__dataset__broken=7))
    assert list(scratch.iterdir()) == []


def test_a_batch_size_beyond_the_data_is_told(
    config: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    try_run(config(train_cfg={'max_iters': 1}, train_dataloader__batch_size=64))
    told = 'warning: train_dataloader.batch_size is 64, and an epoch has 20 samples'
    assert told in capsys.readouterr().out


def test_a_failure_leaves_nothing(config: Any, scratch: Path) -> None:
    run = config(train_cfg={'max_iters': 1}, test_dataloader__dataset__broken=0)
    with pytest.raises(RunError, match='sample 0 is cut off'):
        try_run(run)
    assert list(scratch.iterdir()) == []
