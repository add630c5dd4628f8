"""A labelled data set of given labels, and the smallest branch."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from plugins.classification.image_record import Record
from plugins.classification.interfaces import LabelledImages
from plugins.classification.tasks import Task
from toolkit.interfaces import Backbone

TASKS = {
    'kind': Task(('benign', 'malignant'), 'malignant'),
    'shape': Task(('oval', 'round', 'irregular')),
}


class Labelled(LabelledImages):
    """Images of noise with the labels of one task or of several, None for a missing one.

    Args:
        **labels: class numbers by task, equally many for each.
    """

    def __init__(self, channels: int = 3, size: int = 16, **labels: list[int | None]) -> None:
        self.tasks = {name: TASKS[name] for name in labels}
        self.channels, self.size = channels, size
        self.records = self.pool = [
            Record(
                id=f'i{i}',
                labels={
                    name: TASKS[name].classes[own]
                    for name, own in zip(labels, row)
                    if own is not None
                },
            )
            for i, row in enumerate(zip(*labels.values()))
        ]
        self.positions = range(len(self.records))

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        record = self.records[index]
        labels = {n: torch.tensor(record.index(n, t.classes)) for n, t in self.tasks.items()}
        meta = {'item': record.id, 'id': record.id, 'patient': record.id}
        return {'image': self.pool_image(index), 'labels': labels, 'meta': meta}

    def pool_image(self, position: int, view: int | None = None) -> Tensor:
        generator = torch.Generator().manual_seed(position)
        return torch.rand(self.channels, self.size, self.size, generator=generator)

    def image_fingerprint(self) -> str:
        return 'noise'


class Branch(Backbone):
    """One convolution and a ReLU.

    Shape: (B, C, H, W) -> (B, D, H / 4, W / 4), or their mean (B, D).
    """

    def __init__(
        self, in_channels: int, size: int | None = None, width: int = 8, vector: bool = False
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, width, 4, stride=4)
        self.out_channels, self.stride = width, None if vector else 4

    def forward(self, image: Tensor) -> Tensor:
        places = torch.relu(self.conv(image))  # (B, D, H / 4, W / 4)
        return places if self.stride else places.mean((2, 3))
