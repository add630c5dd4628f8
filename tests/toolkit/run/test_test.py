"""Testing: metrics.json, names of metrics, systems without weights, what is refused."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from toolkit.cli import main
from toolkit.commands.run.test import format_metrics
from toolkit.config.dump import dump
from toolkit.engine import checkpoint
from toolkit.engine.dataloader import SampleRequest
from toolkit.engine.evaluator import Evaluator, collect_directions
from toolkit.errors import ComponentRunError, ToolkitError
from toolkit.interfaces import Metric
from toolkit.registry import METRICS
from toolkit.run.capsule import CapsuleInput
from toolkit.run.test import test as run_test
from toolkit.run.train import train


class Given(Metric):
    """Says what it was made with."""

    def __init__(self, rows: Any, values: Any, directions: Any) -> None:
        self.rows, self.values, self.directions = rows, values, directions

    def measure(self, outputs: Any, batch: Any) -> list[dict[str, Any]]:
        return self.rows

    def summarize(self, rows: Any) -> dict[str, float]:
        return self.values


def test_metrics_json(config: Any, tmp_path: Path) -> None:
    result = train(config(), tmp_path / 'run')
    metrics = run_test(config(), tmp_path / 'run', result.checkpoint)
    record = json.loads((tmp_path / 'run' / 'metrics.json').read_text())
    assert record['metrics'] == metrics
    assert record['directions'] == {'mse': False, 'err.worst': False, 'err.close': True}
    assert record['checkpoint'] == str(result.checkpoint)
    assert (record['iter'], record['precision']) == (10, 'fp32')
    assert [row['id'] for row in record['rows']['mse']] == [f'item{i}' for i in range(7)]
    mean = sum(row['value'] for row in record['rows']['mse']) / 7
    assert metrics['mse'] == pytest.approx(mean)
    # The validation's data and metrics are the same here, and so is the answer.
    assert metrics == pytest.approx(result.metrics, rel=1e-6)
    assert run_test(config(), tmp_path / 'other', result.checkpoint) == metrics


def test_the_average_of_weights_is_tested(config: Any, tmp_path: Path) -> None:
    ema = {'custom_hooks': {'ema': {'type': 'EMA', 'decay': 0.7}}}
    result = train(config(**ema), tmp_path / 'run')
    with_hook = run_test(config(**ema), tmp_path / 'a', result.checkpoint)
    without = run_test(config(), tmp_path / 'b', result.checkpoint)
    assert with_hook == without
    assert with_hook == pytest.approx(result.metrics, rel=1e-6)


def test_a_system_without_weights_needs_no_checkpoint(config: Any, tmp_path: Path) -> None:
    run = config(model={'type': 'Constant'})
    metrics = run_test(run, tmp_path / 'run')
    assert metrics['mse'] > 0
    record = json.loads((tmp_path / 'run' / 'capsule.json').read_text())
    assert (record['kind'], record['status']) == ('test', 'finished')


def test_what_is_refused(config: Any, tmp_path: Path) -> None:
    with pytest.raises(ToolkitError, match='TinySystem has weights; give --checkpoint'):
        run_test(config(), tmp_path / 'run')
    with pytest.raises(ToolkitError, match='has no test'):
        run_test(config(test_dataloader=None, test_evaluator=None), tmp_path / 'run')
    checkpoint.save({'state_dict': {'a': torch.zeros(1)}}, tmp_path / 'a.pth')
    with pytest.raises(ToolkitError, match='not one of this TinySystem'):
        run_test(config(), tmp_path / 'run', tmp_path / 'a.pth')
    assert not (tmp_path / 'run').exists()


def test_early_stopping_stays_away_from_tests(config: Any, tmp_path: Path) -> None:
    stop = {'type': 'EarlyStoppingHook', 'monitor': 'mse', 'rule': 'less'}
    run = config(model={'type': 'Constant'}, custom_hooks={'stop': stop})
    assert run_test(run, tmp_path / 'run')


def test_numbers_that_are_not_finite_are_null(config: Any, tmp_path: Path) -> None:
    run = config(model={'type': 'Constant'})
    row = {'value': math.inf, 'id': 'a'}
    run.test_dataloader.batch_size = 1
    run.test_evaluator.metrics = {
        'x': lambda: Given([row], {'value': math.nan}, {'value': True}),
    }
    assert math.isnan(run_test(run, tmp_path / 'run')['x'])
    text = (tmp_path / 'run' / 'metrics.json').read_text()
    assert 'NaN' not in text and 'Infinity' not in text
    assert json.loads(text)['metrics'] == {'x': None}


def test_names(tiny_plugin: None) -> None:
    metrics = {'SAM/upsampled': METRICS.get('SquaredError')(), 'err': METRICS.get('Errors')()}
    assert collect_directions(metrics) == {
        'SAM/upsampled': False,
        'err.worst': False,
        'err.close': True,
    }


def test_repetitions_are_left_out_and_rows_are_in_order() -> None:
    metric = Given([{'v': 1}, {'v': 2}], {'value': 3.0}, {'value': True})
    evaluator = Evaluator({'m': metric}, 3)
    evaluator.add([SampleRequest(2, 2, 0), SampleRequest(0, 3, 0)], {}, {})
    evaluator.add([SampleRequest(0, 0, 0), SampleRequest(1, 1, 0)], {}, {})
    assert evaluator.finish().rows == {'m': [{'v': 1}, {'v': 2}, {'v': 1}]}


def test_metrics_that_break_their_promise() -> None:
    short = Evaluator({'m': Given([{}], {}, {'value': True})}, 2)
    with pytest.raises(ToolkitError, match='Given .*measured 1 rows for 2 items'):
        short.add([SampleRequest(0, 0, 0), SampleRequest(1, 1, 0)], {}, {})


@pytest.mark.parametrize(
    ('summary', 'told'),
    [
        ({'other': 1.0}, "summarizes with 'other'; .* its directions: value"),
        ({}, "summarizes without 'value'"),
        (None, 'summarizes as a NoneType'),
        ([1.0], 'summarizes as a list'),
        ({'value': 'high'}, "gives 'value' as a str"),
        ({'value': torch.ones(3)}, r"gives 'value' as a Tensor of shape \(3,\)"),
    ],
)
def test_a_summary_has_a_number_for_each_direction(summary: Any, told: str) -> None:
    broken = Evaluator({'m': Given([{}], summary, {'value': True})}, 1)
    broken.add([SampleRequest(0, 0, 0)], {}, {})
    with pytest.raises(ComponentRunError, match=rf'test_test.py:\d+\) {told}'):
        broken.finish()


def test_rows_that_no_file_can_hold_are_told_while_measuring() -> None:
    broken = Evaluator({'m': Given([{'value': 1.0, 'plot': object()}], {}, {'value': True})}, 1)
    with pytest.raises(ComponentRunError, match=r'\[0\].plot is object'):
        broken.add([SampleRequest(0, 0, 0)], {}, {})


def test_metrics_with_columns_of_their_own_have_tables_of_their_own() -> None:
    metrics = {'a.AUC': 0.5, 'a.F1/x': 0.2, 'a.F1/y': 0.3, 'b.AUC': 0.1, 'b.F1/z': 0.7}
    first, second = format_metrics(metrics, dict.fromkeys(metrics, True)).split('\n\n')
    assert first.splitlines()[0].split() == ['metric', 'better', 'value', 'x', 'y']
    assert second.splitlines()[0].split() == ['metric', 'better', 'value', 'z']
    assert [line.split() for line in second.splitlines()[1:]] == [
        ['b.AUC', 'higher', '0.1'],
        ['b.F1', 'higher', '0.7'],
    ]
    alike = {'SAM': 1.0, 'SAM/up': 2.0, 'err.worst': 3.0, 'err.worst/up': 4.0}
    assert '\n\n' not in format_metrics(alike, dict.fromkeys(alike, False))


@pytest.mark.parametrize(
    ('override', 'named'),
    [
        ('test_dataloader.dataset.length=5', 'test_dataloader.dataset.length'),
        ('+runtime.precision=bf16', 'runtime.precision'),
        ('+runtime.threads=1', ''),
        ('+test_dataloader.num_workers=0', ''),
    ],
)
def test_results_of_a_changed_config_do_not_replace_those_of_the_run(
    override: str, named: str, config: Any, tree: Any, tmp_path: Path, capsys: Any
) -> None:
    folder = tmp_path / 'run'
    changed = tree(runtime={}) if 'runtime' in override else tree()
    train(config(), folder, capsule_input=CapsuleInput(changed, dump(changed)))
    words = ['test', '--run', str(folder), override]
    if named:
        assert main(words) == 2
        said = capsys.readouterr().err
        assert f'with another {named};' in said and '--work-dir DIR' in said
        assert not (folder / 'metrics.json').exists()
        assert main([*words, '--work-dir', str(tmp_path / 'new')]) == 0
        assert (tmp_path / 'new' / 'metrics.json').exists()
    else:
        assert main(words) == 0
        assert (folder / 'metrics.json').exists()
