"""The smallest classifier whose reasons are known: a bright patch at a known place is its class.

Doubles as a plugin file: `toolkit.registry.plugin_index.add` takes its path.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from plugins.classification.calibration import Choice
from plugins.classification.heads import LinearHead
from plugins.classification.image_record import Record
from plugins.classification.interfaces import LabelledImages
from plugins.classification.system import Classifier
from plugins.classification.tasks import Task
from toolkit import cli
from toolkit.engine import checkpoint
from toolkit.interfaces import Attention, Backbone, Batch, Metric
from toolkit.registry import ATTENTIONS, BACKBONES, DATASETS, METRICS

SIDE = 32
CELL = 8
TASKS = {
    'pathology': Task(('benign', 'malignant'), 'malignant'),
    'shape': Task(('round', 'oval', 'irregular')),
}


def patch(kind: int) -> tuple[int, int]:
    """Row and column of the cell that is bright where an image is of this shape."""
    return (kind, 3 - kind)


@DATASETS.register
class PatchImages(LabelledImages):
    """Noise with a bright cell for its shape; malignant ones are brighter, as a rule.

    Args:
        length: how many images; two of each patient, the last of them without a shape.
    """

    def __init__(self, length: int = 24) -> None:
        self.tasks, self.channels, self.size = TASKS, 3, SIDE
        self.records = self.pool = [self._record(i, length) for i in range(length)]
        self.positions = list(range(length))

    def _record(self, index: int, length: int) -> Record:
        labels = {'pathology': TASKS['pathology'].classes[index % 2]}
        if index < length - 2:
            labels['shape'] = TASKS['shape'].classes[index % 3]
        return Record(
            id=f'image{index:02}',
            patient=f'patient{index // 2:02}',
            centre='AB'[index % 4 // 2],
            labels=labels,
        )

    def __len__(self) -> int:
        return len(self.records)

    def pool_image(self, position: int, view: int | None = None) -> Tensor:
        return (
            torch.from_numpy(draw(position % 3, position % 2, position)).expand(3, -1, -1).clone()
        )

    def __getitem__(self, index: int) -> dict[str, Any]:
        record = self.records[index]
        given = {'image': self.pool_image(index)}
        if self.features is not None:
            given = {'features': self.features(index, 0)}
        return {
            **given,
            'labels': {k: torch.tensor(record.index(k, t.classes)) for k, t in self.tasks.items()},
            'meta': {
                'item': record.id,
                'id': record.id,
                'patient': record.patient,
                'centre': record.centre,
                'view': 0,
                'attributes': {},
            },
        }

    def image_fingerprint(self) -> str:
        return 'patches'

    def fingerprint(self) -> str:
        return f'patches-{len(self)}'


def draw(shape: int, malignant: int, seed: int) -> np.ndarray:
    """(SIDE, SIDE) float32 in [0, 1]."""
    generator = np.random.default_rng(seed)
    image = generator.uniform(0, 0.2, (SIDE, SIDE)).astype(np.float32)
    row, column = patch(shape)
    level = np.clip((0.65 if malignant else 0.45) + generator.normal(0, 0.12), 0.35, 0.8)
    image[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL] += level
    return image


def save(folder: Path, count: int = 24) -> Path:
    """The same images as PNG files of twice the size, with a manifest; its path."""
    folder.mkdir(parents=True, exist_ok=True)
    images = PatchImages(count)
    lines = ['image,patient,centre,pathology,shape,boxes']
    for position, record in enumerate(images.records):
        values = (images.pool_image(position)[0].numpy() * 255).round().astype(np.uint8)
        Image.fromarray(values.repeat(2, 0).repeat(2, 1)).save(folder / f'{record.id}.png')
        row, column = (2 * CELL * place for place in patch(position % 3))
        box = f'"{column},{row},{column + 2 * CELL},{row + 2 * CELL}"'
        labels = ','.join(record.labels.get(task, '') for task in TASKS)
        lines.append(f'{record.id}.png,{record.patient},{record.centre},{labels},{box}')
    path = folder / 'manifest.csv'
    path.write_text('\n'.join(lines) + '\n')
    return path


def manifest_data(manifest: Path, **more: Any) -> dict[str, Any]:
    """Returns the config of the data set that `save` has written."""
    return {
        'type': 'ManifestImages',
        'manifest': str(manifest),
        'tasks': '${model.tasks}',
        'size': SIDE,
        **more,
    }


@BACKBONES.register
class CellMeans(Backbone):
    """The image's cells, and how bright they are, and which of them: (B, 17, 4, 4).

    Channel 0 is the brightness of a cell, channel 1 + n that of cell n at its own place.
    """

    def __init__(self, in_channels: int, size: int) -> None:
        super().__init__()
        self.out_channels, self.stride = 17, CELL
        self.register_buffer('place', torch.eye(16).view(16, 4, 4))

    def forward(self, image: Tensor) -> Tensor:
        cells = nn.functional.avg_pool2d(image.mean(1, keepdim=True), CELL)  # (B, 1, 4, 4)
        return torch.cat([cells.square(), torch.relu(cells - 0.3) * self.place], 1)


@ATTENTIONS.register
class Brightness(Attention):
    """Weights of places by their own brightness, and of channels, both shown."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.channels = nn.Parameter(torch.linspace(0.5, 1, in_channels))

    def maps(self, features: Tensor) -> dict[str, Tensor]:
        return {
            'spatial': torch.sigmoid(8 * features[:, :1] - 2),
            'channel': self.channels.expand(features.shape[0], -1),
        }

    def forward(self, features: Tensor) -> Tensor:
        weights = self.maps(features)
        return features * weights['spatial'] * weights['channel'][..., None, None]


def classifier(attention: bool = True) -> Classifier:
    """A system that knows the patches, without training."""
    system = Classifier(
        tasks=TASKS,
        branches={'cells': CellMeans},
        head=partial(LinearHead),
        attention=Brightness if attention else None,
        size=SIDE,
    )
    teach(system)
    return system.eval()


def teach(system: Classifier) -> None:
    """Set the heads so that each shape's cell decides on it."""
    with torch.no_grad():
        for head in system.heads.values():
            head.linear.weight.zero_()
            head.linear.bias.zero_()
        for shape in range(3):
            row, column = patch(shape)
            system.heads['shape'].linear.weight[shape, 1 + 4 * row + column] = 200
        system.heads['pathology'].linear.weight[1, 0] = 400
        system.heads['pathology'].linear.bias[1] = -4
    system.calibration.store('pathology', Choice(2.0, 0.4))
    system.calibration.store('shape', Choice(0.5))


@METRICS.register
class Right(Metric):
    """The share of shapes that are right."""

    directions = {'value': True}

    def measure(self, outputs: Mapping[str, Any], batch: Batch) -> list[dict[str, Any]]:
        right = outputs['decision']['shape'] == batch['labels']['shape']
        return [{'value': float(value)} for value in right]


def config(folder: Path, data: dict[str, Any] | None = None, **more: Any) -> Path:
    """A config of the taught classifier; JSON is YAML."""
    tree = {
        'plugins': [__file__],
        'model': {
            'type': 'Classifier',
            'tasks': {
                name: {'classes': list(task.classes), 'positive': task.positive}
                for name, task in TASKS.items()
            },
            'branches': {'cells': {'type': 'CellMeans'}},
            'head': {'type': 'LinearHead'},
            'attention': {'type': 'Brightness'},
            'size': SIDE,
        },
        'test_dataloader': {
            'dataset': data or {'type': 'PatchImages'},
            'batch_size': 5,
        },
        'test_evaluator': {'metrics': {'right': {'type': 'Right'}}},
        'runtime': {'device': 'cpu'},
        **more,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / 'config.yaml'
    path.write_text(json.dumps(tree))
    return path


def clinical_metrics() -> dict[str, dict[str, Any]]:
    """Metrics of a test, `ClinicalMetrics` of each task."""
    return {
        name: {'type': 'ClinicalMetrics', 'task': name, 'tasks': '${model.tasks}'} for name in TASKS
    }


def run_of(folder: Path, *overrides: str, **more: Any) -> Path:
    """The folder of a run of the taught classifier, after `toolkit test`."""
    written, weights = config(folder / 'config', **more), folder / 'weights.pth'
    checkpoint.save({'state_dict': classifier().state_dict()}, weights)
    run = folder / 'run'
    given = ['--checkpoint', str(weights), '--work-dir', str(run), *overrides]
    assert cli.main(['test', str(written), *given]) == 0
    checkpoint.save(checkpoint.load(weights), checkpoint.get_folder(run) / checkpoint.LAST)
    return run
