"""Finds segmentation masks among the images of a folder."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from plugins.classification.data.reading.image_io import read_image
from toolkit.errors import DataError

# Files examined among those that go by the same pattern of names, as `*_mask.png`.
EXAMINED = 16

# A mask has at least this share of its pixels near its lowest or its highest value. JPEG blurs its
# edges, so a few pixels may lie between them.
BINARY_SHARE = 0.98
TOLERANCE = 0.05

# An image's name goes on after one of these in the name of its mask.
SEPARATOR = re.compile(r'[_\-. ]')


def find_masks(paths: Iterable[Path]) -> list[tuple[Path, Path]]:
    """Finds files that are nearly binary and named after an image that is not.

    `x_mask.png`, `x_mask_1.png`, `x-seg.png` and `x.mask.png` are named after `x.jpg` of the same
    folder; `masks/x.png` is named after `images/x.png`.

    Args:
        paths: image files of one class.
    Returns:
        (image, mask) of each file, in the order of the masks' paths. Of files whose names follow
        one pattern, the first few decide for all.
    """
    pairs = _named_after(sorted(paths))
    by_pattern: dict[str, list[tuple[Path, Path]]] = {}
    for image, other in pairs:
        by_pattern.setdefault(_pattern(image, other), []).append((image, other))
    found: list[tuple[Path, Path]] = []
    for group in by_pattern.values():
        if any(_is_mask_of(other, image) for image, other in group[:EXAMINED]):
            found += group
    return sorted(found, key=lambda pair: pair[1])


def exclude_pattern(image: Path, mask: Path) -> str:
    """Returns the pattern for `exclude` that leaves out a mask and those that are named like it."""
    if mask.parent != image.parent:
        return f'*/{mask.parent.name}/*'
    suffix = mask.stem[len(image.stem) :]
    word = re.match(r'[_\-. ]+[^\W\d_]+', suffix)
    return f'*{word[0]}*' if word else f'*{suffix}{mask.suffix}'


def is_nearly_binary(pixels: np.ndarray) -> bool:
    """Tells whether an image has two values, or one, but for the blur of a compression.

    Args:
        pixels: (H, W) or (H, W, 3).
    """
    low, high = pixels.min(), pixels.max()
    near = TOLERANCE * (high - low)
    extreme = (pixels <= low + near) | (pixels >= high - near)
    return bool(extreme.mean() >= BINARY_SHARE)


def _named_after(paths: Sequence[Path]) -> list[tuple[Path, Path]]:
    """Returns (image, other) for each file that is named after another one."""
    stems = {(path.parent, path.stem): path for path in reversed(paths)}
    by_stem: dict[str, list[Path]] = {}
    for path in paths:
        by_stem.setdefault(path.stem, []).append(path)
    pairs = []
    for path in paths:
        # The shortest such name is the image's: `x_mask_1` is named after `x`, not `x_mask`.
        starts = (path.stem[: found.start()] for found in SEPARATOR.finditer(path.stem))
        images = [stems[path.parent, start] for start in starts if (path.parent, start) in stems]
        elsewhere = [other for other in by_stem[path.stem] if other.parent != path.parent]
        pairs += [(image, path) for image in (*images[:1], *elsewhere[:1])]
    return pairs


def _pattern(image: Path, other: Path) -> str:
    if image.parent != other.parent:
        return re.sub(r'\d+', '#', f'{other.parent}/*')
    return re.sub(r'\d+', '#', f'*{other.stem[len(image.stem) :]}{other.suffix}')


def _is_mask_of(path: Path, image: Path) -> bool:
    try:
        return is_nearly_binary(read_image(path)) and not is_nearly_binary(read_image(image))
    except DataError:  # the dataset names files that cannot be read
        return False
