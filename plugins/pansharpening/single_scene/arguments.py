"""Validates the arguments of `toolkit pansharpen` before minutes of work."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import NamedTuple

from plugins.pansharpening.inference.scene_prediction import check_output
from plugins.pansharpening.single_scene.adapt_config import check_trainable
from toolkit.config.composition.override import override
from toolkit.config.find import find_config
from toolkit.config.load import Draft, load_draft
from toolkit.engine import checkpoint
from toolkit.errors import BusyError, ToolkitError
from toolkit.run import capsule
from toolkit.run import work_dir as work_dirs

CONFIG = 'ldpnet/ldpnet_plus'


class ChosenConfig(NamedTuple):
    """The config to train with the overrides, its name, and the checkpoint to start from."""

    draft: Draft
    name: str
    start: str | None


def check_numbers(arguments: argparse.Namespace) -> None:
    """Refuses numbers out of range.

    Raises:
        ToolkitError: names the option.
    """
    for name, least in (('minutes', 0), ('iterations', 0), ('tile', 0), ('workers', 0)):
        value = getattr(arguments, name)
        if value is not None and not value > least:
            raise ToolkitError(f'--{name} must be above {least}, found {value:g}')
    if arguments.ratio is not None and arguments.ratio < 2:
        raise ToolkitError(f'--ratio must be at least 2, found {arguments.ratio}')


def check_places(output: Path, work_dir: Path, cog: bool, overwrite: bool) -> None:
    """Checks that the output and the folder of the run can be written.

    Raises:
        ToolkitError: a result or a run exists, or the name of the output cannot be used.
        RunError: a folder cannot be written to.
    """
    check_output(output, cog)
    found = [path for path in files(output) if path.exists()]
    if found and not overwrite:
        raise ToolkitError(
            f'{found[0]} is there already; give --overwrite to replace it, or choose another '
            '--output'
        )
    existing = next(p for p in output.absolute().parents if p.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise ToolkitError(f'cannot write {output}: {existing} is no folder that can be written to')
    holds = work_dirs.holds_run(work_dir)
    if holds and not overwrite:
        raise ToolkitError(
            f'{work_dir} already holds a run; give --overwrite to replace it, choose another '
            f'--work-dir, or sharpen with it: toolkit predict --run {work_dir}'
        )
    if holds and work_dirs.is_busy(work_dir):
        raise BusyError(f'another run is working in {work_dir}; wait for it')
    work_dirs.check(work_dir, resume=holds)


def files(output: Path) -> list[Path]:
    """Lists the files to write: the result, its images, its scores."""
    stem = output.with_suffix('')
    endings = ('.png', '-errors.png', '-histograms.png', '.json')
    return [output, *(stem.with_name(stem.name + ending) for ending in endings)]


def choose_config(arguments: argparse.Namespace, work_dir: Path) -> ChosenConfig:
    """Chooses the config: the named one, that of the run to start from, or the default.

    Raises:
        ToolkitError: no such config or run, or one that cannot be trained on a scene alone.
    """
    start, name = arguments.start, arguments.base
    if start is not None and start.is_dir():
        if name is None:
            capsule.read(start)  # raises an error if it holds no run
            name = str(start / 'config.yaml')
        found = checkpoint.find_best_or_last(start)
        if found is None:
            raise ToolkitError(f'{start} holds no checkpoint to start from')
        start = found
    elif start is not None and not start.is_file():
        raise ToolkitError(f'no run {start} to start from; give its folder or its checkpoint')
    name = name or CONFIG
    changed = load_draft(find_config(name))
    for text in arguments.overrides:
        override(changed.tree, changed.origins, text)
    config = changed.resolve()
    config.use_plugins(arguments.plugin)
    if arguments.plugin:
        changed.tree['plugins'] = config.tree['plugins']
    check_trainable(changed, name)
    if start is not None and work_dir.absolute() in start.absolute().parents:
        raise ToolkitError(
            f'{start} lies in the folder that the run is to have; choose another --work-dir'
        )
    return ChosenConfig(changed, name, None if start is None else str(start.absolute()))
