"""The commands that run something: from what the command line says to the engine and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toolkit.config import Config, load
from toolkit.config.check import checked
from toolkit.config.dump import dump
from toolkit.config.schema import RunConfig
from toolkit.engine import checkpoint, distributed, precision
from toolkit.engine.components import build_system
from toolkit.errors import ToolkitError
from toolkit.run import capsule
from toolkit.run import rerun as repeat
from toolkit.run.capsule import CapsuleInput
from toolkit.run.test import NAME as METRICS
from toolkit.run.test import test as run_test
from toolkit.run.train import train as run_train


def train(
    name: str,
    overrides: Sequence[str],
    work_dir: Path,
    *,
    resume: bool = False,
    plugins: Sequence[str] = (),
) -> int:
    """`toolkit train`; returns the exit status."""
    config = load(name, overrides)
    config.use_plugins(plugins)
    run = checked(config)
    with config.placing():
        result = run_train(run, work_dir, resume=resume, capsule_input=capsule_input(config))
    if distributed.is_main() and result.status == 'finished':
        print(f'run in {work_dir}; test it with: toolkit test --run {work_dir}')
    return result.exit_status


def test(
    name: str | None,
    overrides: Sequence[str],
    *,
    run_dir: Path | None,
    checkpoint_name: str | None,
    work_dir: Path | None,
    plugins: Sequence[str] = (),
) -> int:
    """`toolkit test`; prints a table and returns the exit status."""
    config, run, weights = trained(name, overrides, run_dir, checkpoint_name, plugins)
    folder = work_dir or run_dir
    if folder is None:
        raise ToolkitError('say where metrics.json goes: --work-dir D')
    with config.placing():
        run_test(run, folder, weights, capsule_input=capsule_input(config))
    if distributed.is_main():
        record = json.loads((folder / METRICS).read_text(encoding='utf-8'))
        print(table(record['metrics'], record['directions']))
        print(f'written to {folder / METRICS}')
    return 0


def predict(
    name: str | None,
    overrides: Sequence[str],
    *,
    run_dir: Path | None,
    checkpoint_name: str | None,
    inputs: Sequence[str],
    output: Path,
    plugins: Sequence[str] = (),
    sensor: str | None = None,
    **options: Any,
) -> int:
    """`toolkit predict`; returns the exit status. `options` go to the system as they are, those
    that were not given left out."""
    config, run, weights = trained(name, overrides, run_dir, checkpoint_name, plugins)
    with config.placing():
        system = build_system(run)
        if weights is not None:
            checkpoint.load_weights(system, weights)
        device = precision.choose_device(run.runtime)
        precision.place(system, run.runtime, device)
        system.eval()
        loader = run.test_dataloader
        written = system.predict_files(
            inputs,
            output,
            # Built by who needs it: for files given, the run's own data may be elsewhere.
            dataset=None if loader is None else loader.dataset,
            sensor=sensor,
            device=device,
            # A thread's own, so that each that computes makes one.
            context=lambda: precision.autocast(run.runtime, device),
            say=print,
            **{name: value for name, value in options.items() if value is not None},
        )
    for path in written:
        print(f'wrote {path}')
    return 0


def rerun(folder: Path, work_dir: Path | None) -> int:
    """`toolkit rerun`; returns 0 where the repetition is equal to the last bit."""
    new = work_dir or folder.with_name(folder.name + '-rerun')
    report = repeat.rerun(folder, new)
    for warning in report.warnings:
        print(f'since then: {warning}')
    if report.equal:
        print(f'{new} equals {folder}: weights and metrics are the same to the last bit')
    else:
        print(f'{new} differs from {folder}: {report.difference}')
    return report.exit_status


def table(metrics: dict[str, float | None], directions: dict[str, bool]) -> str:
    """Metrics as aligned text; `SAM/upsampled` stands beside `SAM` in a column of its own.

    Metrics of several values (`key.value`) that have other columns have tables of their own.
    """
    groups: dict[str, dict[str, float | None]] = {}
    for name, value in metrics.items():
        key, dot, _ = name.partition('/')[0].partition('.')
        groups.setdefault(key if dot else '', {})[name] = value
    columns = [{name.partition('/')[2] for name in group} for group in groups.values()]
    if all(found == columns[0] for found in columns):
        return _table(metrics, directions)
    return '\n\n'.join(_table(group, directions) for group in groups.values())


def _table(metrics: dict[str, float | None], directions: dict[str, bool]) -> str:
    columns = list(dict.fromkeys(name.partition('/')[2] for name in metrics))
    rows: dict[str, dict[str, str]] = {}
    for name, value in metrics.items():
        metric, _, column = name.partition('/')
        rows.setdefault(metric, {})[column] = 'not finite' if value is None else f'{value:.6g}'
    cells = [['metric', 'better', *(column or 'value' for column in columns)]]
    for metric, values in rows.items():
        known = [d for name, d in directions.items() if name.partition('/')[0] == metric]
        better = {True: 'higher', False: 'lower'}[known[0]] if known else ''
        cells.append([metric, better, *(values.get(column, '') for column in columns)])
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    return '\n'.join(
        '  '.join(c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths)))
        for row in cells
    )


# -- from a run's folder or a config to what is run ---------------------------------------------


def trained(
    name: str | None,
    overrides: Sequence[str],
    run_dir: Path | None,
    checkpoint_name: str | None,
    plugins: Sequence[str],
) -> tuple[Config, RunConfig, Path | None]:
    """The config, the run and the weights that `--run`, or a config with `--checkpoint`, means."""
    if (name is None) == (run_dir is None):
        raise ToolkitError('give either --run D, or a CONFIG (with --checkpoint PATH)')
    config = _of_run(run_dir, overrides) if run_dir is not None else load(str(name), overrides)
    config.use_plugins(plugins)
    run = checked(config)
    return config, run, _weights(run_dir, checkpoint_name)


def _of_run(run_dir: Path, overrides: Sequence[str]) -> Config:
    """The config that a run left in its folder, with its origins."""
    capsule.read(run_dir)  # says it where there is no run
    return load(run_dir / 'config.yaml', overrides)


def _weights(run_dir: Path | None, name: str | None) -> Path | None:
    named = {'best': checkpoint.BEST, 'last': checkpoint.LAST}
    if run_dir is None:
        if name in named:
            raise ToolkitError(f'--checkpoint {name} needs --run D; with a CONFIG give a path')
        return Path(name) if name is not None else None
    if name is None:
        return checkpoint.best_or_last(run_dir)
    return checkpoint.folder(run_dir) / named[name] if name in named else Path(name)


def capsule_input(config: Config) -> CapsuleInput:
    """The config as a run's capsule keeps it."""
    origins = {'.'.join(path): str(origin) for path, origin in config.origins.items()}
    return CapsuleInput(config.tree, dump(config.tree), origins)
