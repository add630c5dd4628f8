"""A run in Python: weights, metrics, a test, predictions, and refusals."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

import toolkit
from toolkit.config.dump import dump
from toolkit.engine import checkpoint
from toolkit.errors import ToolkitError
from toolkit.interfaces import Predictor
from toolkit.registry import PREDICTORS, SYSTEMS
from toolkit.run import loaded_run
from toolkit.run.capsule import CapsuleInput
from toolkit.run.test import test as run_test
from toolkit.run.train import train


@pytest.fixture
def folder(config: Any, tree: Any, tmp_path: Path) -> Path:
    """A run that was trained and tested."""
    capsule_input = CapsuleInput(tree(), dump(tree()))
    result = train(config(), tmp_path / 'run', capsule_input=capsule_input)
    run_test(config(), tmp_path / 'run', result.checkpoint)
    return tmp_path / 'run'


@pytest.fixture
def doubling() -> Any:
    """A predictor of the tiny system while a test runs."""

    class Doubling(Predictor):
        """Doubles a number."""

        system = SYSTEMS.get('TinySystem')

        @classmethod
        def add_arguments(cls, parser: Any) -> None: ...

        def predict(self, *args: Any) -> list[Path]:
            return []

        def predict_in_memory(
            self, system: Any, options: Any, number: float, *, plus: float = 0
        ) -> Any:
            """Doubles `number`."""
            assert not system.training and options.dataset is not None
            return 2 * number + plus

    PREDICTORS.register(Doubling)
    yield
    PREDICTORS._module_dict.pop('Doubling')


def test_a_run_has_its_weights_config_and_metrics(folder: Path) -> None:
    before = sorted(folder.rglob('*'))
    run = toolkit.load_run(folder)
    saved = torch.load(run.checkpoint, weights_only=True)['state_dict']
    assert not run.system.training
    for name, value in run.system.state_dict().items():
        torch.testing.assert_close(value, saved[name], rtol=0, atol=0)
    assert run.config['model'] == {'type': 'TinySystem'}
    assert set(run.metrics) == {'mse', 'err.worst', 'err.close'}
    assert run.test() == pytest.approx(run.metrics)
    assert repr(run) == f'<TinySystem of {folder} ({run.checkpoint.name}) on cpu>'
    shown = run._repr_markdown_()
    assert '**TinySystem**' in shown and '| mse | lower | ' in shown
    assert sorted(folder.rglob('*')) == before


def test_metrics_of_other_weights_are_not_shown(
    folder: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert '| mse |' in toolkit.load_run(folder.name)._repr_markdown_()
    tested = toolkit.load_run(folder).checkpoint
    other = shutil.copy(tested, tested.with_name('iter_1.pth'))
    for weights in (other, shutil.copy(tested, tmp_path)):
        shown = toolkit.load_run(folder, weights)._repr_markdown_()
        assert f'not tested with these weights: metrics.json is of `{tested.name}`' in shown
        assert '| mse |' not in shown


def test_a_device_that_is_not_there(folder: Path) -> None:
    with pytest.raises(ToolkitError, match="no device 'cud' on this machine: expected cpu"):
        toolkit.load_run(folder, device='cud')


def test_a_test_prints_nothing(folder: Path, monkeypatch: Any, capsys: Any) -> None:
    def noisy(*args: Any) -> dict[str, float]:
        print('more in a folder that is gone')
        return {'mse': 1.0}

    monkeypatch.setattr(loaded_run, 'test', noisy)
    assert toolkit.load_run(folder).test() == {'mse': 1.0}
    assert capsys.readouterr().out == ''


def test_a_prediction(folder: Path, doubling: None) -> None:
    run = toolkit.load_run(folder, 'last', device='cpu')
    assert run.predict(3) == 6
    assert run.predict(3, plus=1) == 7
    assert run.help_predict() == 'predict(number, *, plus=0)\n\nDoubles `number`.'
    for arguments, options in (((), {}), ((1,), {'pluss': 2}), ((1, 2), {})):
        with pytest.raises(ToolkitError, match=r'expected run.predict\(number, \*, plus=0\)'):
            run.predict(*arguments, **options)


def test_a_system_is_built_from_a_config(tree: Any, tmp_path: Path) -> None:
    (tmp_path / 'c.yaml').write_text(dump(tree()))
    first, same, other = (
        toolkit.build(tmp_path / 'c.yaml', f'+randomness={{seed: {seed}}}') for seed in (3, 3, 4)
    )
    weights = [next(system.parameters()) for system in (first, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    with pytest.raises(ToolkitError, match='no such config'):
        toolkit.build('nothing/there')


def test_refusals(folder: Path, tmp_path: Path) -> None:
    run = toolkit.load_run(folder)
    with pytest.raises(ToolkitError, match='TinySystem cannot predict: no predictor serves it'):
        run.predict(1)
    with pytest.raises(ToolkitError, match='holds no run'):
        toolkit.load_run(tmp_path)
    with pytest.raises(ToolkitError, match='no checkpoint'):
        toolkit.load_run(folder, 'bets')
    checkpoint.save({'state_dict': {'a': torch.zeros(1)}}, tmp_path / 'a.pth')
    with pytest.raises(ToolkitError, match='not one of this TinySystem'):
        toolkit.load_run(folder, tmp_path / 'a.pth')
    (folder / 'metrics.json').write_text('{')
    with pytest.raises(ToolkitError, match='metrics.json is damaged'):
        assert run.metrics
    (folder / 'metrics.json').unlink()
    with pytest.raises(ToolkitError, match='test it by `run.test'):
        assert run.metrics
    with pytest.raises(AttributeError, match='no attribute'):
        assert toolkit.lod_run
