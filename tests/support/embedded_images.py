"""Small made-up images under the tasks of any config, in place of its data and weights."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from toolkit.config.dump import dump_inline

EACH = {'train': 8, 'val': 6, 'test': 6}


def write_images(folder: Path, tasks: Mapping[str, Any]) -> Path:
    """A manifest of noise. Every subset has every class; of several tasks one label is missing."""
    random = np.random.default_rng(0)
    rows = []
    for subset, count in EACH.items():
        for i in range(count):
            name = f'{subset}{i}'
            pixels = random.integers(0, 256, (48, 40), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f'{name}.png')
            labels = {t: spec['classes'][i % len(spec['classes'])] for t, spec in tasks.items()}
            rows.append({'image': f'{name}.png', 'patient': name, 'subset': subset, **labels})
    if len(tasks) > 1:
        rows[EACH['train'] - 1][next(iter(tasks))] = ''
    with (folder / 'images.csv').open('w', newline='') as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder / 'images.csv'


def embedded_images(tree: Mapping[str, Any], folder: Path) -> list[str]:
    """Overrides that put such images, at 64 pixels, and random weights under a config."""
    model = tree['model']
    dataset = {
        'type': 'ManifestImages',
        'manifest': str(write_images(folder, model['tasks'])),
        'tasks': '${model.tasks}',
        'size': '${model.size}',
        'split': {'by': 'column', 'column': 'subset'},
    }
    overrides = ['model.size=64']
    for name, branch in model['branches'].items():
        if branch is None:
            continue
        if 'resize' in branch:
            size = 56 if 'patch14' in branch['model'] else 64
            overrides += [f'model.branches.{name}.{k}' for k in (f'resize={size}', 'grid=null')]
        overrides.append(f'model.branches.{name}.weights=null')
    for subset in EACH:
        views = {'views': 2, 'transforms': {'flip': {'type': 'RandomFlip'}}}
        given = dataset | {'subset': subset} | (views if subset == 'train' else {})
        overrides.append(f'{subset}_dataloader.dataset={dump_inline(given)}')
    return overrides
