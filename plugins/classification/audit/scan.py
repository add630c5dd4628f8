"""Scans all images: hashes, sizes, and small copies for the comparison."""

from __future__ import annotations

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from PIL import Image

from plugins.classification.audit.sources import AuditSource, average_colours, shorten_error
from toolkit.errors import DataError

SMALL, FINE = 32, 64  # sides of the copies


@dataclass(frozen=True)
class ScanResult:
    """Result of scanning one image file.

    Attributes:
        file: hash of the file.
        pixels: hash of the decoded pixels; '' if it cannot be read.
        format: format and mode, such as 'JPEG, L'.
        size: height and width.
        small: the whole image, resized to (32, 32), float32.
        fine: the whole image, resized to (64, 64), float32.
        error: reason why it cannot be read; '' if it can.
    """

    file: str = ''
    pixels: str = ''
    format: str = ''
    size: tuple[int, int] = (0, 0)
    small: np.ndarray | None = None
    fine: np.ndarray | None = None
    error: str = ''


def scan(source: AuditSource) -> list[ScanResult]:
    """Reads every image; returns one result for each, with the error if it cannot be read."""

    def scan_image(position: int) -> ScanResult:
        try:
            pixels = source.read(position)
            file, form = source.describe_file(position)
        except (DataError, OSError) as error:
            return ScanResult(error=shorten_error(error))
        if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
            pixels = pixels[..., 0]  # grey images are equal with one channel or three
        content = repr(pixels.shape).encode() + np.ascontiguousarray(pixels).tobytes()
        image = Image.fromarray(np.ascontiguousarray(average_colours(pixels), dtype=np.float32))
        small, fine = (
            # Bilinear resizing in Pillow is antialiased.
            np.asarray(image.resize((side, side), Image.Resampling.BILINEAR))
            for side in (SMALL, FINE)
        )
        hashed = hashlib.sha256(content).hexdigest()[:16]
        return ScanResult(file, hashed, form, pixels.shape[:2], small, fine)

    # Decoders release the interpreter lock.
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
        return list(threads.map(scan_image, range(len(source.records))))
