"""Study folders with pictures, as `toolkit test` leaves them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from tests.support.study_folders import finish, planned, write, write_plan

SIZE = (120, 90)  # width, height


def picture(seed, size=SIZE, noise=1.0):
    """Smooth, with some noise: neither trivial nor impossible to compress."""
    width, height = size
    y, x = np.mgrid[:height, :width] / 20
    waves = 60 * np.sin(x + seed)[..., None] + 40 * np.cos(y[..., None] * np.arange(1, 4))
    image = 120 + waves  # (height, width, 3)
    image = image + np.random.default_rng(seed).normal(0, 20 * noise, (height, width, 3))
    return Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))


def draw(
    run,
    item='scene',
    seed=0,
    size=SIZE,
    names=('PAN', 'upsampled MS', 'sharpened', 'error'),
    noise=1.0,
):
    """Writes the files of `toolkit test`; PAN and MS are the same for every seed."""
    folder = run / 'pictures'
    folder.mkdir(parents=True, exist_ok=True)
    layers = []
    for place, name in enumerate(names):
        file = f'{item}-{place}.png'
        own = seed if name in ('sharpened', 'error') else 0
        picture(1000 * len(item) + 10 * place + own, size, noise).save(folder / file)
        layers.append({'name': name, 'file': file})
    write(folder / f'{item}.json', {'item': item, 'layers': layers, 'pixel': 'PAN'})


def two_variants(path: Path) -> Path:
    """Two variants of two seeds with pictures, and one without."""
    runs = [planned(v, s) for v in ('full', 'other', 'dead') for s in (0, 1)]
    folder = write_plan(path, runs)
    for run in runs[:4]:
        finish(folder / run['folder'], {'score': 0.5 + 0.1 * run['seed']})
        draw(folder / run['folder'], seed=1 + (run['variant'] == 'other') + 5 * run['seed'])
    return folder
