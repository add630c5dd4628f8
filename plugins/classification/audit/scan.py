"""One pass over all images: hashes, sizes, and small copies that are compared."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image

from plugins.classification.audit.sources import Source, grey, unreadable
from toolkit.errors import DataError

SMALL, FINE = 32, 64  # sides of the copies


@dataclass(frozen=True)
class Look:
    """What is known of an image's file.

    Attributes:
        file: hash of its bytes.
        pixels: hash of its decoded pixels; '' where it cannot be read.
        form: how it holds them, such as 'JPEG, L'.
        size: height and width.
        small: (32, 32) float32, the whole image squashed.
        fine: (64, 64) float32.
        error: why it cannot be read; '' where it can.
    """

    file: str = ''
    pixels: str = ''
    form: str = ''
    size: tuple[int, int] = (0, 0)
    small: np.ndarray | None = None
    fine: np.ndarray | None = None
    error: str = ''


def scan(source: Source) -> list[Look]:
    """Look at every image; one that cannot be read is said to be so."""

    def look(position: int) -> Look:
        try:
            pixels = source.read(position)
            file, form = source.kept_as(position)
        except (DataError, OSError) as error:
            return Look(error=unreadable(error))
        if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
            pixels = pixels[..., 0]  # grey is the same image whichever way it is kept
        told = repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()
        image = Image.fromarray(np.ascontiguousarray(grey(pixels), dtype=np.float32))
        small, fine = (
            # Smoothed as far as it is reduced.
            np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))
            for side in (SMALL, FINE)
        )
        hashed = hashlib.sha256(told).hexdigest()[:16]
        return Look(file, hashed, form, pixels.shape[:2], small, fine)

    # Decoding lets other threads run.
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        return list(threads.map(look, range(len(source.records))))
