"""Finds scenes that are given twice: equal images, and images that are nearly the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from plugins.pansharpening.audit.scan import SceneScan

# Correlation of the small copies of both the MS and the PAN from which two scenes are one; other
# noise, brightness or rounding leaves it above, a neighbouring patch does not reach it.
NEARLY = 0.998
_ROWS = 1024  # compared with all others at a time


def find_equal(scans: Sequence[SceneScan]) -> Iterator[tuple[str, list[int]]]:
    """Yields the images ('MS', 'PAN' or 'reference') and the scenes that have equal ones."""
    for image in ('MS', 'PAN', 'reference'):
        groups: dict[str, list[int]] = {}
        for place, scan in enumerate(scans):
            if image in scan.hashes and not _is_constant(scan, image):
                groups.setdefault(scan.hashes[image], []).append(place)
        for places in groups.values():
            if len(places) > 1:
                yield image, places


def find_similar(scans: Sequence[SceneScan]) -> Iterator[tuple[int, int, float]]:
    """Yields pairs of scenes that are nearly the same, with the correlation of their copies."""
    if len(scans) < 2:
        return
    ms, pan = (
        np.stack([getattr(scan, name) for scan in scans]).astype(np.float32)
        for name in ('ms_copy', 'pan_copy')
    )
    for start in range(0, len(scans), _ROWS):
        rows = slice(start, start + _ROWS)
        likeness = np.minimum(ms[rows] @ ms.T, pan[rows] @ pan.T)
        for row, col in np.argwhere(likeness > NEARLY):
            if start + row < col:
                yield int(start + row), int(col), float(likeness[row, col])


def find_own_ms(scans: Sequence[SceneScan], place: int) -> tuple[int, float]:
    """Finds the scene whose MS resembles the PAN of a scene most, with their correlation."""
    likeness = np.stack([scan.ms_copy for scan in scans]) @ scans[place].pan_copy
    best = int(likeness.argmax())
    return best, float(likeness[best])


def _is_constant(scan: SceneScan, image: str) -> bool:
    """Tells whether an image says nothing: all constant ones are equal."""
    words = {'MS': 'of the MS', 'PAN': 'the PAN', 'reference': 'of the reference'}
    return all(band.constant for band in scan.images if band.name.endswith(words[image]))
