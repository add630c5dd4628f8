"""Measures the overhead of the engine per iteration, beside a bare loop with the same model.

toolkit bench overhead [--iterations 50000] [--repeats 3]
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import statistics
import tempfile
import time
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.hooks import Hook
from torch import Tensor, nn
from torch.utils.data import DataLoader

from toolkit.config import schema
from toolkit.engine.hooks import Checkpoint, MetricsLog, Progress
from toolkit.errors import ToolkitError
from toolkit.interfaces import Batch, Dataset, System
from toolkit.registry import BENCHES
from toolkit.registry.command import Command
from toolkit.run.train import train

BATCH = 4
SIDE = 8
SAMPLES = 512
WINDOW = 1000


@dataclass
class Overhead:
    """Median milliseconds an iteration at the start and at the end of a run, one per repeat."""

    bare: list[tuple[float, float]]
    run: list[tuple[float, float]]

    def table(self) -> str:
        rows = ['iterations       bare loop      run     difference (ms an iteration, medians)']
        for place, name in enumerate(('first', 'last')):
            bare = statistics.median(times[place] for times in self.bare)
            run = statistics.median(times[place] for times in self.run)
            rows.append(f'{name:5} {WINDOW:7,} {bare:12.3f} {run:8.3f} {run - bare:12.3f}')
        return '\n'.join(rows)


def measure(iterations: int = 50_000, repeats: int = 1) -> Overhead:
    """Time both, in turns; the run with progress, a log line every 10 iterations and a checkpoint
    every 5,000.

    Args:
        iterations: of each; at least 2,000.
        repeats: of the whole.
    """
    if iterations < 2 * WINDOW:
        raise ValueError(f'iterations must be at least {2 * WINDOW}, found {iterations}')
    result = Overhead([], [])
    for _ in range(repeats):
        result.bare.append(_windows(_bare(iterations)))
        result.run.append(_windows(_run(iterations)))
    return result


class SmallSystem(System):
    """Image (B, 3, 8, 8) -> score (B, 1)."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(8, 8, 3, padding=1),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(8 * SIDE * SIDE, 1),
        )

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        score = self.tensor(batch)
        return {'fit': (score - batch['target']).square().mean(), 'size': score.abs().mean() * 0.01}

    def predict(self, batch: Batch) -> dict[str, Any]:
        return {'score': self.tensor(batch)}

    def tensor(self, batch: Batch) -> Tensor:
        return self.layers(batch['image'])

    def example(self, batch_size: int = 1, size: int | None = None) -> Batch:
        side = size or SIDE
        return {'image': torch.zeros(batch_size, 3, side, side)}


class SmallData(Dataset):
    """Random images (3, 8, 8) with their mean as target (1,)."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.images = torch.rand(SAMPLES, 3, SIDE, SIDE, generator=generator)

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = self.images[index]
        return {'image': image, 'target': image.mean()[None]}


class Clock(Hook):
    """Notes when every iteration begins."""

    priority = 'VERY_HIGH'

    def __init__(self) -> None:
        self.times: list[float] = []

    def before_train_iter(self, *arguments: Any, **keywords: Any) -> None:
        self.times.append(time.perf_counter())


def _bare(iterations: int) -> list[float]:
    torch.manual_seed(0)
    system, data = SmallSystem(), SmallData()
    optimizer = torch.optim.Adam(system.parameters(), lr=1e-3)
    loader: DataLoader[Any] = DataLoader(data, batch_size=BATCH, shuffle=True)
    times: list[float] = []
    while len(times) < iterations:
        for batch in loader:
            times.append(time.perf_counter())
            loss = sum(system(batch, mode='loss').values())
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            if len(times) == iterations:
                break
    return times


def _run(iterations: int) -> list[float]:
    clock = Clock()
    standard: dict[str, Any] = {
        'progress': Progress,
        'logger': MetricsLog,
        'checkpoint': functools.partial(Checkpoint, interval=5000),
    }
    config = schema.RunConfig(
        model=SmallSystem,
        train_dataloader=schema.Dataloader(SmallData, batch_size=BATCH),
        optim_wrapper=schema.OptimWrapperConfig(functools.partial(_adam, lr=1e-3)),
        train_cfg=schema.TrainCfg(max_iters=iterations),
        default_hooks=standard,
        custom_hooks={'clock': lambda: clock},
    )
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        train(config, folder)
    return clock.times


def _adam(params: Any, lr: float) -> torch.optim.Optimizer:
    return torch.optim.Adam(params, lr=lr)


def _windows(times: list[float]) -> tuple[float, float]:
    """Medians of the first and of the last thousand iterations, in ms; the very first are left out
    (torch is still warming up)."""
    steps = [1000 * (b - a) for a, b in zip(times, times[1:])]
    return statistics.median(steps[50:WINDOW]), statistics.median(steps[-WINDOW:])


@BENCHES.register(name='overhead')
class OverheadBench(Command):
    """Measure the overhead of the engine per iteration, beside a bare loop."""

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument('--iterations', type=int, default=50_000, help='of each (50,000)')
        parser.add_argument('--repeats', type=int, default=1, help='of the whole (1)')

    def run(self, arguments: argparse.Namespace) -> int:
        try:
            print(measure(arguments.iterations, arguments.repeats).table())
        except ValueError as error:
            raise ToolkitError(str(error)) from error
        return 0
