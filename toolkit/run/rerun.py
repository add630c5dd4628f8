"""Repeat a run from what it left behind, and say whether the result is the same to the last bit."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import torch

from toolkit.config import Config
from toolkit.config.schema import RunConfig
from toolkit.engine import checkpoint
from toolkit.errors import ToolkitError
from toolkit.io.json_values import parse_json
from toolkit.io.read_metrics_log import read_metrics_log
from toolkit.io.run_layout import CONFIG, METRICS_FILE, METRICS_LOG, ORIGINS
from toolkit.registry import build
from toolkit.run import capsule, changes
from toolkit.run import test as run_test
from toolkit.run.capsule import CapsuleInput
from toolkit.run.train import train


@dataclass
class RerunReport:
    """Result of repeating a run.

    Attributes:
        equal: weights and metrics are the same, bit for bit.
        difference: the first difference, None where there is none.
        warnings: what changed since the first run: code, packages, data, hardware.
        work_dir: the repetition's folder.
        exit_status: 0, 1 for a different result, 130 or 143 where it was stopped.
    """

    equal: bool
    difference: str | None
    work_dir: Path
    warnings: list[str] = field(default_factory=list)
    exit_status: int = 0


def rerun(work_dir: Path | str, new_dir: Path | str) -> RerunReport:
    """Repeat the run in `work_dir` into `new_dir` and compare.

    Raises:
        ToolkitError: no run there, one that did not finish, or one whose config was not kept.
        RunError: the repetition failed.
    """
    old, new = Path(work_dir).absolute(), Path(new_dir).absolute()
    record = capsule.read(old)
    tree = record.get('config')
    if tree is None:
        raise ToolkitError(f'{old} does not hold its config, so it cannot be repeated')
    if record['status'] != 'finished':
        raise ToolkitError(
            f'the run in {old} did not finish ({record["status"]}); finish it with --resume first'
        )
    config = Config(old / CONFIG, dict(tree))
    config.use_plugins()
    tree = config.tree
    run = build.fill(RunConfig, tree)
    text = (old / CONFIG).read_text(encoding='utf-8')
    origins = parse_json((old / ORIGINS).read_text(encoding='utf-8'))
    given = CapsuleInput(tree, text, origins)
    if record['kind'] == 'test':
        path = record.get('checkpoint')
        run_test.test(run, new, path, capsule_input=given)
        difference = _compare_tests(old, new)
    else:
        # Where the first one ended by the time, and not by the time that this one takes.
        stop_at = record.get('stopped_at', sys.maxsize)
        result = train(run, new, capsule_input=given, stop_at=stop_at)
        if result.exit_status:
            return RerunReport(False, 'stopped before its end', new, [], result.exit_status)
        difference = _compare_training(old, new)
    warnings = changes.list_changes(record, capsule.read(new))
    return RerunReport(difference is None, difference, new, warnings, int(difference is not None))


def _compare_training(old: Path, new: Path) -> str | None:
    paths = [checkpoint.get_folder(folder) / checkpoint.LAST for folder in (old, new)]
    a, b = (checkpoint.extract_weights(checkpoint.load(path), path) for path in paths)
    for name in dict.fromkeys([*a, *b]):
        if name not in a or name not in b:
            return f'the weights {name} are in one run only'
        if a[name].shape != b[name].shape or not torch.equal(a[name], b[name]):
            gap = ''
            if a[name].shape == b[name].shape:
                gap = f' (by up to {(a[name].double() - b[name].double()).abs().max():.3g})'
            return f'the weights {name} differ{gap}'
    return _compare_lines(old, new)


def _compare_lines(old: Path, new: Path) -> str | None:
    a, b = (read_metrics_log(folder) for folder in (old, new))
    for first, second in zip(a, b, strict=False):
        for key in dict.fromkeys([*first, *second]):
            if key not in ('time', 'data_time') and first.get(key) != second.get(key):
                return (
                    f'{METRICS_LOG}: {key} at iteration {first["iter"]} was '
                    f'{first.get(key)} and is {second.get(key)}'
                )
    if len(a) != len(b):
        return f'{METRICS_LOG} had {len(a)} lines and has {len(b)}'
    return None


def _compare_tests(old: Path, new: Path) -> str | None:
    a, b = (parse_json((p / METRICS_FILE).read_text(encoding='utf-8')) for p in (old, new))
    for part in ('metrics', 'rows'):
        found = changes.find_differences(a[part], b[part])
        if found:
            return f'{METRICS_FILE}: {part}.{found[0]} differs'
    return None
