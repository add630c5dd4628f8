"""Patients with a few images each, a system that needs no backbone of others, and runs of both.

Doubles as a plugin file: `toolkit.registry.plugin_index.add` takes its path.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from torch import Tensor, nn

from plugins.classification.image_record import Record
from plugins.classification.interfaces import ClassLoss, LabelledImages
from plugins.classification.tasks import Task
from toolkit.config.schema import RunConfig
from toolkit.interfaces import Backbone
from toolkit.registry import BACKBONES, DATASETS, LOSSES, build, get_kinds, plugin_index
from toolkit.run.capsule import CapsuleInput


@BACKBONES.register
class Brightness(Backbone):
    """Mean brightness of each channel and a little more, as a vector (B, 4)."""

    def __init__(self, in_channels: int = 3, size: int = 8) -> None:
        super().__init__()
        self.out_channels, self.stride = 4, None
        self.linear = nn.Linear(in_channels, 4)

    def forward(self, image: Tensor) -> Tensor:
        return self.linear(image.mean((2, 3)))


@LOSSES.register
class PlainEntropy(ClassLoss):
    """Cross-entropy."""

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        if not len(labels):
            return logits.sum() * 0
        return nn.functional.cross_entropy(logits, labels)


@DATASETS.register
class BrightPatients(LabelledImages):
    """Images whose brightness follows their class, two of each patient.

    Args:
        tasks: by name.
        length: how many images.
        seed: of what is drawn.
        missing: every so many images have no label, 0 for none.
        only: a class that all samples are of.
        noise: how much a patient's brightness strays.
    """

    channels, size = 3, 8

    def __init__(
        self,
        tasks: dict[str, Task],
        length: int = 40,
        seed: int = 0,
        missing: int = 0,
        only: str | None = None,
        noise: float = 0.15,
    ) -> None:
        generator = np.random.default_rng(seed)
        self.tasks = tasks
        self.records, values = [], []
        for i in range(length):
            patient = i // 2
            if i % 2 == 0:
                classes = {
                    name: only or str(generator.choice(task.classes))
                    for name, task in tasks.items()
                }
                shift = noise * generator.normal()
            has_label = not missing or i % missing
            self.records.append(
                Record(
                    id=f'image{i}',
                    patient=f'p{patient}',
                    centre='north' if patient % 3 else 'south',
                    labels=classes if has_label else {},
                    attributes={'sex': 'mf'[patient % 2], 'age': str(20 + patient * 7 % 60)},
                )
            )
            own = [0.3 + 0.15 * tasks[name].classes.index(label) for name, label in classes.items()]
            channel = (own * 3)[:3]
            values.append(np.clip(np.array(channel) + shift + 0.03 * generator.normal(), 0, 1))
        self._values = torch.tensor(np.array(values), dtype=torch.float32)
        self.pool, self.positions = self.records, range(length)

    def __len__(self) -> int:
        return len(self.records)

    def pool_image(self, position: int, view: int | None = None) -> Tensor:
        return self._values[position][:, None, None].expand(3, 8, 8).contiguous()

    def image_fingerprint(self) -> str:
        return 'bright'

    def __getitem__(self, index: int) -> dict[str, Any]:
        record = self.records[index]
        return {
            'image': self.pool_image(index),
            'labels': {
                name: torch.tensor(record.index(name, task.classes))
                for name, task in self.tasks.items()
            },
            'meta': {
                'item': record.id,
                'id': record.id,
                'patient': record.patient,
                'centre': record.centre,
                'view': 0,
                'attributes': record.attributes,
            },
        }


TASKS = {
    'pathology': {'classes': ['benign', 'malignant'], 'positive': 'malignant'},
    'kind': {'classes': ['solid', 'mixed', 'cystic']},
}


def data(**changes: Any) -> dict[str, Any]:
    """A dataset of both tasks."""
    return {'type': 'BrightPatients', 'tasks': TASKS, **changes}


def tree(**changes: Any) -> dict[str, Any]:
    """A config of a training of two epochs and a test, sections replaced by name."""
    metrics = {name: {'type': 'ClinicalMetrics', 'task': name, 'tasks': TASKS} for name in TASKS}
    base = {
        'model': {
            'type': 'Classifier',
            'tasks': TASKS,
            'branches': {'cnn': {'type': 'Brightness'}},
            'head': {'type': 'LinearHead'},
            'losses': {'ce': {'type': 'PlainEntropy'}},
            'size': 8,
        },
        'train_dataloader': {'dataset': data(), 'batch_size': 8},
        'val_dataloader': {'dataset': data(seed=1, missing=7), 'batch_size': 16},
        'val_evaluator': {'metrics': metrics},
        'test_dataloader': {'dataset': data(seed=2, length=60, missing=7), 'batch_size': 16},
        'test_evaluator': {'metrics': metrics},
        'optim_wrapper': {'optimizer': {'type': 'Adam', 'lr': 0.3}},
        'train_cfg': {'max_epochs': 2},
        'default_hooks': {
            'checkpoint': {'type': 'Checkpoint', 'save_best': 'pathology.AUC'},
            'log': {'type': 'MetricsLog'},
            'progress': {'type': 'Progress'},
        },
        'custom_hooks': {'calibrate': {'type': 'Calibrate'}},
        'plugins': [str(Path(__file__))],
    }
    return {key: value for key, value in {**base, **changes}.items() if value is not None}


def run(**changes: Any) -> RunConfig:
    """The same, ready for the engine."""
    return build.fill(RunConfig, tree(**changes))


def capsule(**changes: Any) -> CapsuleInput:
    """The same, as a run's folder keeps it."""
    given = tree(**changes)
    return CapsuleInput(given, yaml.safe_dump(given))


@contextmanager
def parts() -> Iterator[None]:
    """These parts are known to the registry inside, and afterwards no more."""
    plugin_index.add(__file__)
    yield
    plugin_index._roots.pop('clinical', None)
    plugin_index._clear()
    for kind in get_kinds().values():
        for name, part in list(kind._module_dict.items()):
            if part.__module__ in ('clinical', __name__):
                del kind._module_dict[name]
    sys.modules.pop('clinical', None)
