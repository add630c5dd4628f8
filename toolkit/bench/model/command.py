"""`toolkit bench model`: what systems cost in time and memory, measured in turns."""

from __future__ import annotations

import argparse
import contextlib
import datetime
import itertools
import multiprocessing
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import toolkit
from toolkit.analysis.aggregate import analyze_study
from toolkit.analysis.results import load as load_study
from toolkit.bench.model.plot import METADATA, draw_costs
from toolkit.bench.model.record import (
    check_comparable,
    find_regressions,
    format_conditions,
    read_record,
    summarize_turns,
)
from toolkit.bench.model.worker import Ruler, Sizes, Turn, serve
from toolkit.bench.turns import Taken
from toolkit.config import Config, load
from toolkit.config.checks.check import fill_checked
from toolkit.config.dump import dump_inline
from toolkit.config.yaml_file import parse_yaml
from toolkit.engine.process import precision
from toolkit.errors import ToolkitError
from toolkit.io.json_values import write_json
from toolkit.io.output_path import check_outputs
from toolkit.io.run_layout import CONFIG
from toolkit.registry import BENCHES
from toolkit.registry.command import Command
from toolkit.run.capsule import describe_hardware

# A condition is a process that stays until the end, so that all can take turns.
MOST_CONDITIONS = 64


@BENCHES.register(name='model')
class ModelBench(Command):
    """Measures latency, throughput, peak memory, parameters and MACs of systems, in turns.

    Each condition is a process of its own, on random samples of the system's `example` (inference,
    mode predict) and `training_example` (a step: forward, losses, backward, optimizer). Kept
    features are not used. Times are given in samples a second and, as `x`, relative to a fixed
    network of torch that is timed before each turn, so that other load cancels out.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add('config', nargs='?', metavar='CONFIG', help='of any system; left out with --study')
        add('overrides', nargs='*', metavar='key.path=value', help='changes of the config')
        add(
            '--axis',
            action='append',
            default=[],
            metavar='PATH=A,B,...',
            help='values of a path, such as runtime.precision=fp32,bf16; several axes are crossed',
        )
        add('--study', type=Path, metavar='DIR', help='measure the conditions of a study instead')
        add('--metric', help='of the study, to stand beside the costs (its first one)')
        add('--batch-size', type=int, default=8, help='of throughput and training (8)')
        add('--repeats', type=int, default=9, help='turns of each condition (9)')
        add('--seconds', type=float, default=0.3, help='of each measurement in a turn (0.3)')
        add('--inference-only', action='store_true', help='measure no training')
        add('--output', type=Path, metavar='JSON', help='write the record, with the hardware')
        add('--plot', type=Path, metavar='SVG|PNG', help='draw time against metric or memory')
        add('--overwrite', action='store_true', help='replace existing files')
        add('--against', type=Path, metavar='JSON', help='compare with an earlier record')
        add('--tolerance', type=float, default=0.1, help='growth that is no regression (0.1)')

    def run(self, arguments: argparse.Namespace) -> int:
        _check_arguments(arguments)
        before = read_record(arguments.against) if arguments.against else None
        metric, values = None, {}
        if arguments.study is not None:
            metric, configs, values = _load_study(arguments.study, arguments.metric)
        else:
            configs = _load_axes(arguments.config, arguments.overrides, arguments.axis)
        sizes = Sizes(arguments.batch_size, arguments.seconds, not arguments.inference_only)
        record = {
            'bench': 'model',
            'config': arguments.config,
            'changes': list(arguments.overrides),
            'metric': metric,
            **_describe_measurement(configs, sizes, arguments.repeats),
        }
        if before is not None:  # before the work
            check_comparable(before, {**record, 'conditions': configs}, arguments.against)
        record['conditions'] = measure(configs, sizes, arguments.repeats, record['device'])
        for label, value in values.items():
            record['conditions'][label]['metric'] = value
        print(format_conditions(record['conditions'], metric))
        for label, one in record['conditions'].items():
            if sizes.trains and 'untrained' in one:
                print(f'{label}: training is not measured: {one["untrained"]}')
        print(
            f'batch {sizes.batch_size}, medians of {arguments.repeats} turns, the ruler on '
            f'{record["threads"]} threads, torch {torch.__version__}, {record["hardware"]["cpu"]}'
        )
        if arguments.output is not None:
            write_json(arguments.output, record)
            print(f'wrote {arguments.output}')
        if arguments.plot is not None:
            draw_costs(record['conditions'], metric, arguments.plot)
            print(f'wrote {arguments.plot}')
        if before is None:
            return 0
        if alone := before['conditions'].keys() ^ configs.keys():
            print(f'not compared, since one record alone has them: {"; ".join(sorted(alone))}')
        worse = list(find_regressions(before, record, arguments.tolerance))
        print('\n'.join(worse) if worse else f'no regression against {arguments.against}')
        return 1 if worse else 0


def measure(
    configs: Mapping[str, Config], sizes: Sizes, repeats: int, device: str
) -> dict[str, dict[str, Any]]:
    """Measures systems in turns, each in a process of its own.

    Args:
        configs: checked configs by label.
        sizes: of the measurement.
        repeats: turns of each.
        device: of all systems and of the ruler.
    Returns:
        The costs by label.
    Raises:
        ToolkitError: a system cannot be built or run.
    """
    ruler = Ruler(torch.device(device))
    turns: dict[str, list[Turn]] = {label: [] for label in configs}
    rulers: dict[str, list[Taken]] = {label: [] for label in configs}
    with contextlib.ExitStack() as stack:
        workers = {
            label: stack.enter_context(_start(label, config, sizes))
            for label, config in configs.items()
        }
        conditions = {label: _receive(label, pipe) for label, pipe in workers.items()}
        for number in range(repeats):
            # Every other round backwards, so that a steady drift meets all alike.
            for label in list(workers)[:: -1 if number % 2 else 1]:
                rulers[label].append(ruler.measure(sizes.seconds / 3))
                with contextlib.suppress(BrokenPipeError):  # its last word says why
                    workers[label].send(True)
                turns[label].append(_receive(label, workers[label]))
    for label in configs:
        conditions[label] |= {
            'largest_batch': None,  # not measured: this needs a GPU that may run out of memory
            **summarize_turns(turns[label], rulers[label], sizes.batch_size),
        }
    return conditions


def _describe_measurement(
    configs: Mapping[str, Config], sizes: Sizes, repeats: int
) -> dict[str, Any]:
    """Describes the machine and the options of a measurement.

    Raises:
        ToolkitError: systems run on different devices, which no ruler compares.
    """
    devices = {
        label: precision.choose_device(fill_checked(config).runtime).type
        for label, config in configs.items()
    }
    if len(set(devices.values())) > 1:
        found = '; '.join(f'{label}: {device}' for label, device in devices.items())
        raise ToolkitError(f'all conditions must run on one device, found {found}')
    return {
        'toolkit': toolkit.__version__,
        'date': datetime.datetime.now(datetime.timezone.utc).isoformat(timespec='seconds'),
        'hardware': describe_hardware(),
        'packages': {'torch': torch.__version__},
        'device': next(iter(devices.values())),
        'threads': torch.get_num_threads(),
        'batch_size': sizes.batch_size,
        'repeats': repeats,
        'seconds': sizes.seconds,
    }


@contextlib.contextmanager
def _start(label: str, config: Config, sizes: Sizes) -> Iterator[Any]:
    context = multiprocessing.get_context('spawn')
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, config, sizes), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()  # ends the process
        process.join(10)
        process.kill()


def _receive(label: str, pipe: Any) -> Any:
    try:
        found = pipe.recv()
    except EOFError:
        found = 'its process ended without a word; it may have run out of memory'
    if isinstance(found, str):
        raise ToolkitError(f'{label}: {found}')
    return found


def _check_arguments(arguments: argparse.Namespace) -> None:
    given = arguments.config is not None
    if given == (arguments.study is not None):
        raise ToolkitError('give a config, or the folder of a study by --study')
    if arguments.study is not None and arguments.axis:
        raise ToolkitError('--axis changes a config, and a study has its own conditions: leave out')
    if arguments.metric is not None and arguments.study is None:
        raise ToolkitError('--metric names a metric of a study: give --study')
    for name in ('batch_size', 'repeats'):
        if getattr(arguments, name) < 1:
            option = f'--{name.replace("_", "-")}'
            raise ToolkitError(f'{option} must be at least 1, found {getattr(arguments, name)}')
    for name in ('seconds', 'tolerance'):
        if not 0 <= getattr(arguments, name) < 3600:
            raise ToolkitError(f'--{name} must be 0 or more, found {getattr(arguments, name)}')
    if arguments.plot is not None and arguments.plot.suffix.lower() not in METADATA:
        raise ToolkitError(f'--plot ends in .svg or .png, found {arguments.plot}')
    outputs = [path for path in (arguments.output, arguments.plot) if path is not None]
    inputs = [arguments.against] if arguments.against is not None else []
    check_outputs(outputs, inputs, overwrite=arguments.overwrite)


def _load_axes(name: str, overrides: Sequence[str], axes: Sequence[str]) -> dict[str, Config]:
    """Loads a config at each point of the grid of axes, by its changes."""
    points = list(itertools.product(*(_read_axis(text) for text in axes)))
    _check_count(len(points))
    configs = {}
    for point in points:
        config = load(name, [*overrides, *point])
        config.use_plugins()
        fill_checked(config)
        configs[', '.join(point) or name] = config
    return configs


def _read_axis(text: str) -> list[str]:
    path, equals, values = text.partition('=')
    found, _ = parse_yaml(f'[{values}]', '--axis') if equals else (None, {})
    if not path or not found:
        raise ToolkitError(f'--axis is PATH=A,B,..., found {text!r}')
    changes = [f'{path}={dump_inline(value)}' for value in found]
    if len(set(changes)) < len(changes):
        raise ToolkitError(f'--axis {text}: a value stands here twice')
    return changes


def _load_study(
    folder: Path, metric: str | None
) -> tuple[str, dict[str, Config], dict[str, float | None]]:
    """Loads the config of each condition of a study and its mean of a metric.

    Returns:
        Name of the metric, and by label the config of the first finished run and the mean.
    """
    analysis = analyze_study(load_study(folder))
    metric = metric or next(iter(analysis.metrics), None)
    if metric is None or metric not in analysis.metrics:
        known = ', '.join(analysis.metrics) or 'none'
        raise ToolkitError(f'{folder} has no metric {metric!r}; there are: {known}')
    configs, values = {}, {}
    for condition in analysis.conditions:
        finished = condition.select_runs('finished')
        if not finished:
            print(f'{condition.label} is left out: no run of it is finished', file=sys.stderr)
            continue
        if not (path := finished[0].folder / CONFIG).exists():
            raise ToolkitError(f'{finished[0].folder} has no {CONFIG}: programs are not measured')
        config = load(path)
        config.use_plugins()
        configs[condition.label] = config
        values[condition.label] = analysis.summarize(condition, metric).mean
    if not configs or all(value is None for value in values.values()):
        raise ToolkitError(f'{folder} has no finished run with {metric}: run the study first')
    _check_count(len(configs))
    return metric, configs, values


def _check_count(count: int) -> None:
    if count > MOST_CONDITIONS:
        raise ToolkitError(
            f'{count} conditions, a process each, and at most {MOST_CONDITIONS}: take fewer values'
        )
