"""The smallest components that reveal faults of an engine: dropout, BatchNorm, random data.

Doubles as a plugin file: `toolkit.registry.plugin_index.add` takes its path.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from torch import Tensor, nn

from toolkit.errors import DataError
from toolkit.interfaces import Batch, Dataset, Metric, System, Visualizer
from toolkit.registry import DATASETS, HOOKS, METRICS, SYSTEMS, VISUALIZERS


@SYSTEMS.register
class TinySystem(System):
    """A small convnet; `norm` and `dropout` may be left out, `vector_norm` put in.

    Shape: image (B, 3, 8, 8) -> score (B, 1).
    """

    def __init__(
        self,
        width: int = 8,
        norm: bool = True,
        dropout: float = 0.2,
        explode_at: int = 0,
        vector_norm: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width) if norm else nn.Identity()
        self.drop = nn.Dropout(dropout)
        self.vector_norm = nn.BatchNorm1d(width) if vector_norm else nn.Identity()
        self.head = nn.Linear(width, 1)
        self.unused = nn.Linear(2, 2)
        self.explode_at = explode_at
        self.calls = 0

    def tensor(self, batch: Batch) -> Tensor:
        x = torch.relu(self.norm(self.conv(batch['image'])))  # (B, width, 8, 8)
        return self.head(self.vector_norm(self.drop(x.mean((2, 3)))))  # (B, 1)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        self.calls += 1
        score = self.tensor(batch)
        fit = nn.functional.mse_loss(score, batch['target'])
        if self.calls == self.explode_at:
            fit = fit * float('nan')
        return {'fit': fit, 'size': 1e-3 * score.square().mean()}

    def predict(self, batch: Batch) -> dict[str, Any]:
        return {'score': self.tensor(batch)}

    def example(self, batch_size: int = 1, size: int | None = None) -> Batch:
        size = size or 8
        return {
            'image': torch.zeros(batch_size, 3, size, size),
            'target': torch.zeros(batch_size, 1),
            'meta': [{'id': i} for i in range(batch_size)],
        }


@SYSTEMS.register
class Constant(System):
    """A system without parameters.

    Args:
        pictures: write a file for each picture, with the item's score.
    """

    def __init__(self, pictures: bool = False) -> None:
        super().__init__()
        self.drawing = pictures

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        raise NotImplementedError

    def tensor(self, batch: Batch) -> Tensor:
        return batch['image'].mean((1, 2, 3))[:, None]  # (B, 1)

    def predict(self, batch: Batch) -> dict[str, Any]:
        return {'score': self.tensor(batch)}

    def example(self, batch_size: int = 1, size: int | None = None) -> Batch:
        return {'image': torch.zeros(batch_size, 3, size or 8, size or 8)}


@VISUALIZERS.register
class ScoreVisualizer(Visualizer):
    """Writes a file with the item's score in place of an image."""

    system = Constant

    def write_images(
        self,
        system: System,
        outputs: Mapping[str, Any],
        batch: Batch,
        index: int,
        folder: Path,
        stem: str,
    ) -> None:
        if system.drawing:
            folder.mkdir(exist_ok=True)
            record = {'item': batch['meta'][index]['id'], 'score': float(outputs['score'][index])}
            (folder / f'{stem}.json').write_text(json.dumps(record))


@DATASETS.register
class TinyData(Dataset):
    """Images with a target, augmented from all three global generators.

    Args:
        length: number of images.
        augment: add random noise, flip and shift to every sample.
        broken: index whose reading fails, -1 for none.
        slow: seconds that each sample takes.
        people: names of who is shown, for comparisons; None says nothing of them.
    """

    def __init__(
        self,
        length: int = 20,
        augment: bool = True,
        broken: int = -1,
        slow: float = 0.0,
        people: list[str] | None = None,
    ) -> None:
        generator = torch.Generator().manual_seed(5)
        self.images = torch.rand(length, 3, 8, 8, generator=generator)
        self.augment = augment
        self.broken = broken
        self.slow = slow
        self.people = people

    def identities(self, content: bool = True) -> dict[str, list[str]]:
        return {} if self.people is None else {'person': self.people}

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index == self.broken:
            raise DataError(f'sample {index} is cut off')
        if self.slow:
            time.sleep(self.slow)
        image = self.images[index]
        target = image.mean(dim=(1, 2))[:1] * 2
        if self.augment:
            image = image + 0.05 * torch.randn(3, 8, 8)
            if random.random() < 0.5:
                image = image.flip(-1)
            image = image + float(np.random.normal(0, 0.02))
        return {
            'image': image,
            'target': target,
            'meta': {'id': f'item{index}', 'pid': os.getpid()},
        }

    def fingerprint(self) -> str:
        return f'tiny-{len(self.images)}'


@METRICS.register
class SquaredError(Metric):
    """One value."""

    directions = {'value': False}

    def measure(self, outputs: Mapping[str, Any], batch: Batch) -> list[dict[str, Any]]:
        errors = (outputs['score'] - batch['target']).square().mean(1)
        return [
            {'id': m['id'], 'value': float(e)} for m, e in zip(batch['meta'], errors, strict=True)
        ]


@METRICS.register
class Errors(Metric):
    """Several values, of both directions."""

    directions = {'worst': False, 'close': True}

    def measure(self, outputs: Mapping[str, Any], batch: Batch) -> list[dict[str, Any]]:
        errors = (outputs['score'] - batch['target']).abs().amax(1)
        return [{'worst': float(e), 'close': float(e < 0.5)} for e in errors]

    def summarize(self, rows: Any) -> dict[str, float]:
        return {
            'worst': max(row['worst'] for row in rows),
            'close': sum(row['close'] for row in rows) / len(rows),
        }


@HOOKS.register
class FollowsValidation(Hook):
    """Says that it follows the validation, and does nothing."""

    uses_validation = True


@HOOKS.register
class Watch(Hook):
    """Appends what the process holds to a file, every so many iterations.

    Args:
        file: path of the file, JSON by lines.
        interval: iterations between two lines.
    """

    priority = 'LOWEST'

    def __init__(self, file: str, interval: int = 1000) -> None:
        self.file, self.interval = file, interval

    def after_step(self, runner: Any) -> None:
        if runner.iter % self.interval:
            return
        pages = int(Path('/proc/self/statm').read_text().split()[1])
        line = {
            'iter': runner.iter,
            'memory': pages * os.sysconf('SC_PAGE_SIZE'),
            'handles': len(os.listdir('/proc/self/fd')),
            'threads': len(os.listdir('/proc/self/task')),
            'files': sorted(
                str(path.relative_to(runner.work_dir)) for path in Path(runner.work_dir).rglob('*')
            ),
            'seconds': time.process_time(),
        }
        with open(self.file, 'a', encoding='utf-8') as file:
            file.write(json.dumps(line) + '\n')
