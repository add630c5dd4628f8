"""The smallest branches and data that reveal faults of a classifier."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor, nn

from plugins.classification.image_record import Record
from plugins.classification.interfaces import LabelledImages
from plugins.classification.tasks import Task
from toolkit.interfaces import Backbone


class TinyBranch(Backbone):
    """A convolution; counts the images that it saw.

    Shape: (B, C, H, W) -> (B, 8, H / 4, W / 4).
    """

    out_channels = 8
    stride = 4

    def __init__(self, in_channels: int, frozen: bool = False, size: int | None = None) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, 8, 4, stride=4)
        self.frozen = frozen
        self.requires_grad_(not frozen)
        self.seen = 0

    def cache_key(self) -> str:
        return hashlib.sha256(self.conv.weight.detach().numpy().tobytes()).hexdigest()

    def forward(self, image: Tensor) -> Tensor:
        self.seen += len(image)
        return torch.relu(self.conv(image))  # (B, 8, H / 4, W / 4)


class Noise(LabelledImages):
    """Random images; a view adds noise of its own."""

    channels = 3
    size = 16

    def __init__(
        self,
        records: list[Record],
        tasks: dict[str, Task],
        positions: list[int] | None = None,
        views: int | None = 1,
    ) -> None:
        self.pool, self.tasks, self.views = records, tasks, views
        self.positions = list(range(len(records))) if positions is None else positions
        self.records = [records[p] for p in self.positions]

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict:
        record, position = self.records[index], self.positions[index]
        view = None if self.views is None else int(torch.randint(self.views, ()))
        labels = {t: torch.tensor(record.index(t, k.classes)) for t, k in self.tasks.items()}
        meta = {'item': record.id, 'id': record.id, 'patient': record.patient, 'view': view}
        sample = {'labels': labels, 'meta': meta}
        if self.features is not None:
            sample['features'] = self.features(position, view)
        if self.features is None or not self.features.complete:
            sample['image'] = self.pool_image(position, view)
        return sample

    def pool_image(self, position: int, view: int | None = None) -> Tensor:
        generator = torch.Generator().manual_seed(1000 * position + (view or 0))
        return torch.rand(3, self.size, self.size, generator=generator)

    def image_fingerprint(self) -> str:
        return f'noise {len(self.pool)} {self.views}'


TASKS = {'kind': Task(('benign', 'malignant'), 'malignant'), 'shape': Task(('a', 'b', 'c'))}


def records(count: int) -> list[Record]:
    """Two images a patient; every fifth has no label of `shape`."""
    return [
        Record(
            id=f'i{i}',
            patient=f'p{i // 2}',
            labels={'kind': ('benign', 'malignant')[i % 2]}
            | ({'shape': 'abc'[i % 3]} if i % 5 else {}),
        )
        for i in range(count)
    ]
