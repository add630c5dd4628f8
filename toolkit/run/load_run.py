"""Loads a trained run, or a config with a checkpoint, to test it or to predict with it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from toolkit.config import Config, load
from toolkit.config.checks.check import fill_checked, load_whole
from toolkit.config.schema import RunConfig
from toolkit.engine import checkpoint
from toolkit.engine.components import build_system
from toolkit.engine.process import distributed, precision
from toolkit.errors import ToolkitError
from toolkit.interfaces import PredictOptions, System
from toolkit.run import capsule


@dataclass(frozen=True)
class TrainedRun:
    """A checked config with trained weights.

    Args:
        config: resolved, with its origins.
        run: the same, checked.
        weights: checkpoint, or None if no weights are given.
    """

    config: Config
    run: RunConfig
    weights: Path | None


def load_trained(
    name: str | None,
    overrides: Sequence[str] = (),
    run_dir: Path | None = None,
    checkpoint_name: str | None = None,
    plugins: Sequence[str] = (),
) -> TrainedRun:
    """Loads and checks the config of a run's folder, or of a path, and finds its weights.

    Args:
        name: of a config; None if `run_dir` is given.
        overrides: changes of the config.
        run_dir: folder of a run; None if `name` is given.
        checkpoint_name: 'best' or 'last' of a run, or a path; None for the best checkpoint of a
            run, or its last one, and for no weights beside a config.
        plugins: modules or paths beside those of the config.
    Raises:
        ToolkitError: both or none of `name` and `run_dir`, no run in the folder, a config that
            does not pass its check, or no such checkpoint.
    """
    config = load_whole(lambda given: load_config(name, given, run_dir), overrides, plugins)
    config.use_plugins(plugins)
    if distributed.is_main():
        for note in config.plugin_notes:
            print(note, file=sys.stderr)
    run = fill_checked(config)
    return TrainedRun(config, run, _find_weights(run_dir, checkpoint_name))


def make_predict_options(
    run: RunConfig, device: torch.device, arguments: argparse.Namespace, **options: Any
) -> PredictOptions:
    """Makes the options of a prediction, with the test data, metrics and precision of a run.

    Args:
        run: config of the run.
        device: to compute on.
        arguments: of the predictor.
        **options: further ones of `PredictOptions`.
    """
    loader, evaluator = run.test_dataloader, run.test_evaluator
    return PredictOptions(
        arguments,
        dataset=None if loader is None else loader.dataset,
        metrics={} if evaluator is None else evaluator.metrics,
        device=device,
        autocast=lambda: precision.autocast(run.runtime, device),
        **options,
    )


def load_system(run: RunConfig, weights: Path | None, device: torch.device) -> System:
    """Loads a system with its weights, in evaluation mode, on a device.

    Raises:
        ToolkitError: a component cannot be built, or the checkpoint is damaged or of another
            system.
    """
    system = build_system(run)
    if weights is not None:
        checkpoint.load_weights(system, weights)
    precision.move_system(system, run.runtime, device)
    return system.eval()


def load_config(
    name: str | None, overrides: Sequence[str] = (), run_dir: Path | None = None
) -> Config:
    """Loads a config by name, or the one that a run left in its folder, with its origins.

    Raises:
        ToolkitError: both or none of `name` and `run_dir`, or no run in the folder.
    """
    if (name is None) == (run_dir is None):
        raise ToolkitError('give either --run DIR, or a CONFIG (with --checkpoint PATH)')
    if run_dir is None:
        return load(str(name), overrides)
    capsule.read(run_dir)  # its message names the folder if there is no run
    return load(run_dir / 'config.yaml', overrides)


def _find_weights(run_dir: Path | None, name: str | None) -> Path | None:
    named = {'best': checkpoint.BEST, 'last': checkpoint.LAST}
    if run_dir is None:
        if name in named:
            raise ToolkitError(f'--checkpoint {name} needs --run DIR; with a CONFIG give a path')
        return Path(name) if name is not None else None
    if name is None:
        return checkpoint.find_best_or_last(run_dir)
    return checkpoint.get_folder(run_dir) / named[name] if name in named else Path(name)
