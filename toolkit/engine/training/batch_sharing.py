"""Finds losses that depend on how processes share a batch."""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

from toolkit.engine.collation import collate, unwrap
from toolkit.engine.dataloader import SampleRequest
from toolkit.engine.process import precision, seeding

if TYPE_CHECKING:
    from toolkit.engine.runner import Runner

TOLERANCE = 1e-3  # relative; another order of sums in fp32 changes a loss by far less


def find_shared_losses(runner: Runner) -> dict[str, tuple[float, float]]:
    """Finds the loss terms of the next batch that are not the mean of those of its halves.

    Processes average their gradients. So a term that the statistics of BatchNorm, a mask of dropout
    or a sum over samples enters has another gradient where more or fewer processes share a batch.

    Returns:
        By name of a term, its value for the batch and the mean of its values for the halves.
    """
    loader, step = runner.train_loop.dataloader, runner.iter
    requests = loader.batch_sampler.get_requests(step)
    if len(requests) < 2:
        requests += loader.batch_sampler.get_requests(step + 1)
    half = len(requests) // 2
    whole, *halves = (
        _compute_losses(runner, part) for part in (requests, requests[:half], requests[half:])
    )
    shares = half / len(requests), 1 - half / len(requests)
    means = {
        name: sum(s * part.get(name, math.nan) for s, part in zip(shares, halves, strict=True))
        for name in whole
    }
    return {
        name: (value, means[name])
        for name, value in whole.items()
        if not math.isclose(value, means[name], rel_tol=TOLERANCE, abs_tol=1e-9)
    }


def _compute_losses(runner: Runner, requests: list[SampleRequest]) -> dict[str, float]:
    system = copy.deepcopy(runner.system)  # a forward may change averages and counters
    system.train()
    with seeding.isolate(0):
        samples = collate(runner.train_loop.dataloader.dataset.__getitems__(requests))
        batch = precision.move_batch(unwrap(samples), runner.runtime, runner.device)
        return {name: loss.item() for name, loss in system(batch, mode='loss').items()}
