"""Tries a run: a batch of training, validation, test, prediction, in a folder that is removed."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import tempfile
from collections.abc import Sequence
from pathlib import Path

from toolkit.config.schema import Dataloader, RunConfig
from toolkit.engine.dataloader import DefaultSampler
from toolkit.engine.process import distributed, precision
from toolkit.errors import ToolkitError
from toolkit.interfaces import Dataset, Sampler
from toolkit.registry import PREDICTORS
from toolkit.run.load_run import load_system, make_predict_options
from toolkit.run.test import test
from toolkit.run.train import train


class FirstSamples(Sampler):
    """Sampler that gives the first samples of a dataset alone.

    Args:
        dataset: dataset to sample.
        seed: the run's seed.
        count: number of samples.
    """

    def __init__(self, dataset: Dataset, seed: int, count: int) -> None:
        self._sampler = DefaultSampler(dataset, seed, shuffle=False)
        self._count = count

    def order(self, epoch: int) -> Sequence[int]:
        return self._sampler.order(epoch)[: self._count]


def try_run(run: RunConfig) -> tuple[str, ...]:
    """Trains, validates, tests and predicts on one batch each, and keeps nothing.

    Args:
        run: a config whose training is one iteration long.
    Returns:
        What was tried: 'training', 'validation', 'test', 'prediction'.
    Raises:
        ToolkitError: the run fails, as it would later; or it is on several processes.
    """
    if distributed.is_launched():
        raise ToolkitError('a try is of one process; start it without torchrun')
    short = dataclasses.replace(
        run,
        trackers={},  # of runs that are kept
        val_dataloader=_limit(run.val_dataloader),
        test_dataloader=_limit(run.test_dataloader),
    )
    tried = ['training', *(['validation'] if run.val_dataloader is not None else [])]
    with tempfile.TemporaryDirectory(prefix='toolkit-try-') as folder:
        result = train(short, Path(folder) / 'run')
        if result.status == 'finished' and run.test_dataloader is not None:
            test(short, result.work_dir, result.checkpoint)
            tried.append('test')
        if result.status == 'finished' and _predict(short, result.checkpoint, Path(folder)):
            tried.append('prediction')
    return tuple(tried)


def _predict(run: RunConfig, weights: Path, folder: Path) -> bool:
    """Predicts a part of the test data; False if the task has no way to."""
    device = precision.choose_device(run.runtime)
    system = load_system(run, weights, device)
    if (predictor := PREDICTORS.find_for(type(system))) is None:
        return False
    options = make_predict_options(run, device, argparse.Namespace(), report=lambda line: None)
    return bool(predictor().predict_part(system, folder, options))


def _limit(loader: Dataloader | None) -> Dataloader | None:
    if loader is None:
        return None
    sampler = functools.partial(FirstSamples, count=loader.batch_size)
    return dataclasses.replace(loader, sampler=sampler, num_workers=0, prefetch_factor=None)
