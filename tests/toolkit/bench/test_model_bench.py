"""`toolkit bench model`: ratios under load, regressions, the figure, a bench of a tiny system."""

from __future__ import annotations

import copy
import json
import math
import random
import statistics
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

from tests.support.tiny_plugin import make_tree
from toolkit.bench.model import command, record, worker
from toolkit.bench.model.command import _read_axis
from toolkit.bench.model.plot import draw_costs
from toolkit.bench.model.worker import Sizes, SystemTimer, Turn
from toolkit.bench.turns import Taken
from toolkit.cli import main
from toolkit.config import load
from toolkit.errors import ToolkitError

RATIO, TURNS = 3.0, 9
DEVICES = ('cpu', 'cuda')
CONDITION: dict[str, Any] = {
    'parameters': 1000,
    'macs': 5000,
    'memory': {'start': 10, 'inference': 100, 'training': 200},
    'latency_ms': {'p50': 1.0, 'p90': 1.1, 'p99': 1.2, 'n': 9},
    'inference': {'samples_per_second': 10.0, 'relative': 2.0, 'by_processor': 2.0},
    'training': {'samples_per_second': 5.0, 'relative': 4.0, 'by_processor': 4.0},
}
RECORD: dict[str, Any] = {
    'bench': 'model',
    'config': 'c',
    'changes': [],
    'hardware': {'cpu': 'x'},
    'device': 'cpu',
    'threads': 1,
    'batch_size': 8,
    'conditions': {'a': CONDITION},
}


def simulate(seed: int) -> tuple[float, float]:
    """Simulates a bench on a machine whose load drifts and jumps.

    Returns:
        The relative time of a system that takes three times the ruler's, and the median seconds.
    """
    rng, load = random.Random(seed), math.exp(random.Random(seed).gauss(0, 0.5))
    turns, rulers = [], []
    for _ in range(TURNS):
        load *= math.exp(rng.gauss(0, 0.3))
        seconds = [load * math.exp(rng.gauss(0, 0.03)) for _ in range(2)]
        if rng.random() < 0.15:  # another program begins between ruler and system
            seconds[1] *= 2.5
        taken = Taken(RATIO * seconds[1], RATIO)
        rulers.append(Taken(seconds[0], 1.0))
        turns.append(Turn([taken.seconds], taken, None))
    found = record.summarize_turns(turns, rulers, 4)['inference']
    return found['relative'], found['seconds']


def test_two_benches_agree_in_their_ratios_on_a_noisy_machine():
    found = [simulate(seed) for seed in range(100)]
    ratios, seconds = zip(*found)
    assert all(abs(ratio / RATIO - 1) < 0.1 for ratio in ratios)
    # Times alone would not do: most pairs of benches differ by more.
    assert statistics.median(abs(math.log(a / b)) for a, b in zip(seconds, seconds[1:])) > 0.1


def test_a_summary_has_percentiles_throughput_and_processor_times():
    turns = [Turn([0.001 * n], Taken(0.5, 0.25), None) for n in range(1, 4)]
    found = record.summarize_turns(turns, [Taken(0.25, 0.25)] * 3, 4)
    assert found['latency_ms'] == {'p50': 2.0, 'p90': 2.8, 'p99': 2.98, 'n': 3}
    assert found['inference'] == {
        'seconds': 0.5,
        'samples_per_second': 8.0,
        'relative': 2.0,
        'relative_quartiles': [2.0, 2.0],
        'by_processor': 1.0,
    }
    assert 'training' not in found


@pytest.mark.parametrize(
    ('path', 'value', 'line'),
    [
        (('inference', 'by_processor'), 2.19, None),
        (('inference', 'by_processor'), 2.3, 'a: time of inference: +15%, more than 10%'),
        (('inference', 'relative'), 9.0, None),  # on a CPU, processor times count
        (('training',), None, 'a: time of training: is not measured any more'),
        (('memory', 'training'), 230, 'a: peak memory after training: +15%, more than 10%'),
        (('macs',), 5001, 'a: macs: 5000 -> 5001: another network'),
    ],
)
def test_regressions(path, value, line):
    after = copy.deepcopy(RECORD)
    node = after['conditions']['a']
    for key in path[:-1]:
        node = node[key]
    node[path[-1]] = value
    assert list(record.find_regressions(RECORD, after, 0.1)) == ([] if line is None else [line])


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'hardware': {'cpu': 'y'}}, 'b.json was measured with hardware'),
        ({'batch_size': 4}, 'b.json was measured with batch_size 4, and this with 8'),
        ({'config': 'x'}, 'b.json was measured with config x, and this with c'),
        ({'changes': ['a=1']}, r"b.json was measured with changes \['a=1'\], and this with \[\]"),
        ({'conditions': {'b': CONDITION}}, 'b.json has other conditions: b'),
    ],
)
def test_records_of_other_machines_or_options_are_not_compared(change, message):
    with pytest.raises(ToolkitError, match=message):
        record.check_comparable({**RECORD, **change}, RECORD, Path('b.json'))


def test_what_is_no_record_is_refused(tmp_path):
    for content in ('{}', '[1]', 'x', '{"bench": "gpu"}', '{"bench": "model"}'):
        (tmp_path / 'r.json').write_text(content)
        with pytest.raises(ToolkitError, match='r.json'):
            record.read_record(tmp_path / 'r.json')


def test_conditions_on_different_devices_are_not_compared(tmp_path, monkeypatch):
    (tmp_path / 'c.yaml').write_text(yaml.safe_dump(make_tree()))
    configs = {name: load(tmp_path / 'c.yaml', [f'+runtime.device={name}']) for name in DEVICES}
    monkeypatch.setattr(
        command.precision, 'choose_device', lambda runtime: torch.device(runtime.device)
    )
    with pytest.raises(ToolkitError, match='on one device, found cpu: cpu; cuda: cuda'):
        command._describe_measurement(configs, Sizes(1, 0.0, False), 1)


def test_a_study_without_values_or_configs_is_told(tmp_path, monkeypatch):
    condition = SimpleNamespace(label='a', select_runs=lambda _: [SimpleNamespace(folder=tmp_path)])
    analysis = SimpleNamespace(
        metrics={'AUC': True},
        conditions=[condition],
        summarize=lambda *_: SimpleNamespace(mean=None),
    )
    monkeypatch.setattr(command, 'load_study', lambda folder: folder)
    monkeypatch.setattr(command, 'analyze_study', lambda _: analysis)
    monkeypatch.setattr(command, 'load', lambda _: SimpleNamespace(use_plugins=lambda: None))
    with pytest.raises(ToolkitError, match='has no config.yaml: programs are not measured'):
        command._load_study(Path('w'), None)
    (tmp_path / 'config.yaml').touch()
    with pytest.raises(ToolkitError, match='w has no finished run with AUC'):
        command._load_study(Path('w'), None)


def test_axes():
    assert _read_axis('a.b=1,fp32,[1, 2],null') == ['a.b=1', 'a.b=fp32', 'a.b=[1, 2]', 'a.b=null']
    for text in ('a.b', '=1', 'a.b=', 'a.b=1,1'):
        with pytest.raises(ToolkitError, match='--axis'):
            _read_axis(text)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ([], 'give a config, or the folder of a study'),
        (['c', '--study', 'w'], 'give a config, or the folder of a study'),
        (['--study', 'w', '--axis', 'a=1'], '--axis changes a config'),
        (['c', '--metric', 'm'], '--metric names a metric of a study'),
        (['c', '--repeats', '0'], '--repeats must be at least 1, found 0'),
        (['c', '--seconds', 'nan'], '--seconds must be 0 or more, found nan'),
        (['c', '--plot', 'x.pdf'], '--plot ends in .svg or .png, found x.pdf'),
        (['--study', 'nothing'], 'nothing holds no study: there is no such folder'),
        (['c', '--against', 'none.json'], 'none.json cannot be read'),
        (['c', '--against', 'r.json', '--output', 'r.json', '--overwrite'], 'is an input'),
    ],
)
def test_mistakes_are_told_before_anything_is_measured(
    arguments, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'r.json').write_text('{}')
    assert main(['bench', 'model', *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert 'Traceback' not in error


@pytest.mark.parametrize('suffix', ['.svg', '.png'])
def test_the_figure_is_the_same_for_the_same_numbers(tmp_path, suffix):
    conditions = {'a': {**CONDITION, 'metric': 0.9}, 'b': {**CONDITION, 'metric': None}}
    files = [tmp_path / f'{name}{suffix}' for name in 'xy']
    for file in files:
        draw_costs(conditions, 'AUC', file)
    assert files[0].read_bytes() == files[1].read_bytes()
    draw_costs(conditions, None, files[1])
    assert files[0].read_bytes() != files[1].read_bytes()


def test_a_system_is_timed_with_its_costs(tmp_path):
    (tmp_path / 'c.yaml').write_text(yaml.safe_dump(make_tree()))
    timer = SystemTimer(load(tmp_path / 'c.yaml'), Sizes(3, 0.0, True))
    before = [p.clone() for p in timer.run.model().parameters()]
    turn = timer.take_turn()
    assert before and len(turn.latencies) == 1
    assert min(turn.inference.seconds, turn.training.seconds) > 0
    found = timer.description
    assert found['parameters'] == sum(p.numel() for p in before)
    assert found['memory']['start'] <= found['memory']['inference'] <= found['memory']['training']
    assert {shape[0] for shape in found['input'].values()} == {3}
    for sizes, changes, reason in (
        (Sizes(3, 0.0, False), {}, 'left out'),
        (
            Sizes(3, 0.0, True),
            dict.fromkeys(('optim_wrapper', 'train_dataloader', 'train_cfg')),
            'the config has no training',
        ),
        (
            Sizes(3, 0.0, True),
            {'runtime__cuda_graph': True},
            'runtime.cuda_graph replays steps as one graph, which this bench does not',
        ),
    ):
        (tmp_path / 'c.yaml').write_text(yaml.safe_dump(make_tree(**changes)))
        timer = SystemTimer(load(tmp_path / 'c.yaml'), sizes)
        assert timer.description['untrained'] == reason
        assert timer.take_turn().training is None


def test_a_fault_in_a_systems_code_is_named_and_keeps_its_traceback(monkeypatch):
    def fail(*_):
        raise KeyError('width')

    said = []
    monkeypatch.setattr(worker, 'SystemTimer', fail)
    monkeypatch.setattr(worker.signal, 'signal', lambda *_: None)
    with pytest.raises(KeyError, match='width'):
        worker.serve(SimpleNamespace(send=said.append), None, Sizes(1, 0.0, False))
    assert said == ["KeyError: 'width'"]


@pytest.mark.slow
def test_a_bench_is_written_and_compared(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path('c.yaml').write_text(yaml.safe_dump(make_tree(runtime__precision='fp32')))
    bench = ['bench', 'model', 'c.yaml', '--repeats', '2', '--seconds', '0.05']
    axis = ['--axis', 'runtime.precision=fp32,bf16']
    assert main([*bench, *axis, '--output', 'r.json', '--plot', 'r.svg']) == 0
    found = json.loads(Path('r.json').read_text())
    assert list(found['conditions']) == ['runtime.precision=fp32', 'runtime.precision=bf16']
    assert found['conditions']['runtime.precision=bf16']['runtime']['precision'] == 'bf16'
    assert found['hardware']['cores'] and Path('r.svg').read_text().startswith('<?xml')
    for one in found['conditions'].values():
        one['inference']['by_processor'] /= 10
    Path('r.json').write_text(json.dumps(found))
    capsys.readouterr()
    assert main([*bench, '--axis', 'runtime.precision=fp32', '--against', 'r.json']) == 1
    said = capsys.readouterr().out
    assert 'time of inference: +' in said
    assert 'not compared, since one record alone has them: runtime.precision=bf16' in said
    # What cannot be compared is known before the work.
    monkeypatch.setattr(command, 'measure', None)
    assert main([*bench, '--batch-size', '2', *axis, '--against', 'r.json']) == 2
    assert 'r.json was measured with batch_size 8, and this with 2' in capsys.readouterr().err
