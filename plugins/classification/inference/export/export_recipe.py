"""Preparation of images for an exported network, as metadata and as a Python script."""

from __future__ import annotations

import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from plugins.classification.data.image_dataset import ImageSet
from plugins.classification.data.image_files import FileSet
from plugins.classification.data.reading.image_io import WIDE
from plugins.classification.interfaces import NOTE

RESIZE = 'bilinear, antialiased (Pillow: Image.Resampling.BILINEAR of float32)'

TEMPLATE = '''"""Prepares images for {network}. {note}

    session = onnxruntime.InferenceSession({network!r})
    outputs = session.run(None, {{'image': prepare(read('scan.png'))}})

Mean and standard deviation are taken off inside the network.{region}
"""

import numpy as np
from PIL import Image, ImageOps

SIZE, CHANNELS, FIT = {size}, {channels}, {fit!r}


def read(path):
    """Reads a grey or RGB image of 8 bits as (H, W) or (H, W, 3) in [0, 1]."""
    image = ImageOps.exif_transpose(Image.open(path))
    if image.mode not in ('L', 'RGB') or 'transparency' in image.info:
        raise ValueError(f'{{path}} is {{image.mode}}: give its pixels in [0, 1] to prepare()')
    return np.asarray(image, np.float32) / np.float32(255)


def prepare(pixels):
    """Makes the input (1, CHANNELS, SIZE, SIZE) of pixels (H, W) or (H, W, 3) in [0, 1]."""
    pixels = np.asarray(pixels, np.float32)
    if pixels.ndim == 3 and CHANNELS == 1:
        grey = (pixels == pixels[..., :1]).all()
        pixels = pixels[..., 0] if grey else pixels @ np.float32([0.299, 0.587, 0.114])
    planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    height, width = planes.shape[1:]
    if FIT == 'crop':  # the largest square in the middle
        side = min(height, width)
        top, left = round((height - side) / 2), round((width - side) / 2)
        planes = planes[:, top : top + side, left : left + side]
    sides = (SIZE, SIZE)
    if FIT == 'pad':  # keeps the ratio
        sides = [max(1, round(side * SIZE / max(height, width))) for side in (height, width)]
    resized = [
        Image.fromarray(np.ascontiguousarray(plane)).resize(
            (sides[1], sides[0]), Image.Resampling.BILINEAR
        )
        for plane in planes
    ]
    top, left = (SIZE - sides[0]) // 2, (SIZE - sides[1]) // 2
    square = np.zeros((len(resized), SIZE, SIZE), np.float32)
    square[:, top : top + sides[0], left : left + sides[1]] = np.stack(resized)
    return np.broadcast_to(square.clip(0, 1), (CHANNELS, SIZE, SIZE))[None].copy()
'''


def describe_preparation(data: ImageSet) -> dict[str, Any]:
    """Describes how a dataset makes an image of a file's pixels, as plain values."""
    return {
        'values': 'pixels in [0, 1]: 8 bits / 255, 16 bits / '
        f'{getattr(data, "full_scale", None) or WIDE}',
        'size': data.size,
        'channels': data.channels,
        'fit': data.fit,
        'resize': RESIZE,
        'crop': 'largest square in the middle' if data.fit == 'crop' else None,
        'region': getattr(data, 'region', False),
        'transforms': list_transforms(data),
    }


def list_transforms(data: ImageSet) -> list[str]:
    """Lists the names of the transforms beside resizing, which the script does not know."""
    return [name for name in (*data.steps.fixed, *data.steps.random) if name != 'fit']


def write_script(data: ImageSet, network: str) -> str:
    """Writes the script that prepares images as a dataset without further transforms does.

    Args:
        data: the dataset.
        network: name of the network's file.
    """
    region = (
        '\nDICOM images were cropped to the region that the scanner marked: crop them likewise.'
        if getattr(data, 'region', False)
        else ''
    )
    return TEMPLATE.format(
        network=network,
        note=NOTE,
        size=data.size,
        channels=data.channels,
        fit=data.fit,
        region=region,
    )


class ScriptImages:
    """Images that the text of a script prepares.

    Attributes:
        by_product: number of images whose file the script does not read, so that its `prepare` got
            the pixels that the dataset reads.

    Args:
        data: dataset that knows the files.
        script: the text.
    """

    def __init__(self, data: ImageSet, script: str) -> None:
        module = types.ModuleType('prepare')
        exec(compile(script, 'prepare.py', 'exec'), module.__dict__)  # the file that is delivered
        self._data = data
        self._read: Callable[[Path], np.ndarray] = module.__dict__['read']
        self._prepare: Callable[[np.ndarray], np.ndarray] = module.__dict__['prepare']
        self.by_product = 0

    def __call__(self, position: int) -> np.ndarray:
        """Returns the image (C, S, S) at a position of the dataset's pool."""
        record = self._data.pool[position]
        if record.path is not None and not record.frame and isinstance(self._data, FileSet):
            try:
                return self._prepare(self._read(record.path))[0]
            except (OSError, ValueError):  # 16 bits, transparency, DICOM
                pass
        self.by_product += 1
        return self._prepare(self._data.read(position)[0])[0]
