"""Study folders of classifiers, as `toolkit test` leaves them; pixels and numbers are made up."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from plugins.classification.inference.examples import rank_mistakes
from plugins.classification.inference.item_images import encode_png, overlay, to_picture
from plugins.classification.metrics.clinical_metrics import ClinicalMetrics
from plugins.classification.metrics.functional.bootstrap import BootstrapSettings
from plugins.classification.metrics.predictions import Predictions
from plugins.classification.reporting.curves import FigureSettings, compute_task_numbers
from plugins.classification.tasks import Task
from tests.support.study_folders import finish, planned, write, write_plan

TASKS = {
    'pathology': Task(('benign', 'malignant'), 'malignant'),
    'shape': Task(('round', 'oval', '<b>irregular</b>')),
}


def figures(run: Path, seed: int = 0, skill: float = 1.5, failures: int = 3) -> None:
    """`figures/`, of a network that is as good as `skill` says."""
    generator = np.random.default_rng(seed)
    record = {'tasks': {}, 'resamples': 50}
    for name, task in TASKS.items():
        n, k = 120, len(task.classes)
        labels = generator.integers(0, k, n)
        logits = generator.normal(0, 1, (n, k)) + skill * np.eye(k)[labels]
        chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        decided = chances.argmax(1) if k > 2 else (chances[:, 1] >= 0.4).astype(int)
        ids = np.array([f'image{i}' for i in range(n)], dtype=object)
        patients = np.array([f'p{i // 2}' for i in range(n)], dtype=object)
        threshold = 0.4 if task.positive else None
        images = Predictions(
            task, ids, patients, labels, 2 * logits, chances, decided, threshold, {}
        )
        metric = ClinicalMetrics(name, TASKS)
        settings = FigureSettings(BootstrapSettings(record['resamples']), record['resamples'])
        found = compute_task_numbers(metric, images, 2.0, settings)
        found['failures'] = []
        for place, row in enumerate(rank_mistakes(labels, decided, chances)[:failures]):
            file = f'{name}-failure-{place + 1:02}.png'
            (run / 'figures').mkdir(parents=True, exist_ok=True)
            (run / 'figures' / file).write_bytes(encode_png(picture(seed + place, 160)))
            found['failures'].append(
                {
                    'id': ids[row],
                    'patient': patients[row],
                    'file': file,
                    'label': task.classes[labels[row]],
                    'prediction': task.classes[decided[row]],
                    'probability': float(chances[row, decided[row]]),
                    'label_probability': float(chances[row, labels[row]]),
                }
            )
        record['tasks'][name] = found
    write(run / 'figures/figures.json', record)


def picture(seed: int, side: int = 320):
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(1, 1, side // 8, side // 8, generator=generator) * 0.6
    smooth = torch.nn.functional.interpolate(noise, (side, side), mode='bicubic')
    return to_picture(smooth[0])


def looks(run: Path, items: int = 3, seed: int = 0) -> None:
    """`pictures/`: the images are the same for every seed, the maps are not."""
    folder = run / 'pictures'
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(seed)
    for item in range(items):
        layers = []
        for name in ('image', 'Grad-CAM pathology', 'attention joint spatial'):
            image = picture(1000 + item)
            if name != 'image':
                image = overlay(image, torch.rand(4, 4, generator=generator) ** 3)
            file = f'item{item}-{name.replace(" ", "-")}.png'
            (folder / file).write_bytes(encode_png(image))
            layers.append({'name': name, 'file': file})
        said = {
            'label': 'benign' if item != 1 else None,
            'prediction': 'malignant' if item == 0 else 'benign',
            'probabilities': {'benign': 0.4, 'malignant': 0.6},
            'threshold': 0.4,
            'shown': 1,
            'class': 'malignant',
        }
        record = {
            'item': f'item{item}',
            'kind': 'classification',
            'id': f'item{item}',
            'tasks': {'pathology': said},
            'layers': layers,
        }
        write(folder / f'item{item}.json', record)


def study(path: Path) -> Path:
    """Two variants of two seeds with figures and pictures, and one that failed."""
    runs = [planned(v, s) for v in ('full', 'no_attention', 'dead') for s in (0, 1)]
    folder = write_plan(path, runs)
    for place, run in enumerate(runs[:4]):
        finish(folder / run['folder'], {'score': 0.5 + 0.1 * run['seed']})
        figures(folder / run['folder'], place, 1.8 if run['variant'] == 'full' else 1.0)
        looks(folder / run['folder'], seed=place)
    return folder
