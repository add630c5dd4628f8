"""Small sets of images in a folder."""

from __future__ import annotations

import numpy as np
from PIL import Image

from plugins.classification.tasks import Task

KINDS = ('benign', 'malignant')
TASKS = {'kind': Task(KINDS, 'malignant')}


def write_image(path, seed, size=(12, 16)):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)
    Image.fromarray(values).save(path)
    return values


def write_set(folder, count=12, boxes=False):
    """A manifest of grey images, two a patient, a third of them malignant."""
    lines = ['image,id,patient,centre,kind,age' + (',boxes' if boxes else '')]
    for i in range(count):
        write_image(folder / f'images/{i}.png', i)
        kind = KINDS[i // 2 % 3 == 2]
        row = f'images/{i}.png,i{i},p{i // 2},c{i // 2 % 2},{kind},{40 + i}'
        lines.append(row + (f',"2,{2 + i % 3},9,8"' if boxes else ''))
    path = folder / 'manifest.csv'
    path.write_text('\n'.join(lines) + '\n')
    return str(path)


def break_images(folder):
    """A manifest of 12 images, of which 3 is empty and 7 is cut."""
    path = write_set(folder)
    (folder / 'images/3.png').write_bytes(b'')
    content = (folder / 'images/7.png').read_bytes()
    (folder / 'images/7.png').write_bytes(content[: len(content) // 2])
    return path
