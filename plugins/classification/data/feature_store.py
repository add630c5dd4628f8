"""Files of kept features: one per branch, written by blocks of images whose content is checked."""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor

from toolkit.errors import RunError
from toolkit.io import atomic_write
from toolkit.io.file_lock import try_lock
from toolkit.io.json_values import parse_json
from toolkit.io.verification.integrity import compute_checksum

VARIABLE = 'TOOLKIT_CACHE'
# Images that go through a branch together, always the same ones: rounding may differ between
# batches, and what a file holds is not to depend on which run asked first.
BLOCK = 32


class BranchFeatures:
    """File of the features of one branch, (V, images of the pool, *shape of the features).

    Args:
        folder: folder of this branch and these transforms.
        views: number of augmented versions V of an image.
        images: number of images in the pool.
        shape: shape of the features of an image.
        dtype: type of the values in the file.
    Raises:
        RunError: the folder cannot be written, or holds something else.
    """

    def __init__(
        self, folder: Path, views: int, images: int, shape: tuple[int, ...], dtype: str
    ) -> None:
        self.folder = folder
        self.shape = (views, images, *shape)
        self._dtype = np.dtype(dtype)
        self._blocks = -(-images // BLOCK)
        self._checked: set[tuple[int, int]] = set()  # blocks that were compared with their sum
        about = {'shape': list(self.shape), 'dtype': dtype, 'block': BLOCK, 'checksum': 'crc32'}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self.locked():
                self._begin(about)
        except OSError as error:
            raise RunError(
                f'cannot keep features in {folder}: {error.strerror}; set model.cache.folder or '
                f'{VARIABLE} to a folder that can be written, or model.cache to null'
            ) from error

    def _begin(self, about: dict[str, Any]) -> None:
        note = self.folder / 'about.json'
        known = None
        with contextlib.suppress(OSError, ValueError):
            known = parse_json(note.read_text(encoding='utf-8'))
        done = (self.shape[0], self._blocks)
        sizes = {
            'done.bin': math.prod(done),
            'checksums.bin': math.prod(done) * 4,
            'features.bin': math.prod(self.shape) * self._dtype.itemsize,
        }
        if known != about or any(_get_size(self.folder / n) != size for n, size in sizes.items()):
            for name, size in sizes.items():
                with open(self.folder / name, 'wb') as file:
                    file.truncate(size)  # takes no room before something is written
            atomic_write.write(note, json.dumps(about))
        self.values = np.memmap(self.folder / 'features.bin', self._dtype, 'r', shape=self.shape)
        self.done = np.memmap(self.folder / 'done.bin', np.uint8, 'r', shape=done)
        self.checksums = np.memmap(self.folder / 'checksums.bin', '<u4', 'r', shape=done)

    @contextlib.contextmanager
    def locked(self, say: Callable[[str], None] | None = None) -> Iterator[None]:
        """Locks the folder against writing by other processes."""
        path = self.folder / '.lock'
        lock = try_lock(path)
        if lock is None:
            if say is not None:
                say(f'waiting for another run that writes features into {self.folder}')
            lock = FileLock(path, thread_local=False)
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def missing(self, positions: set[int], views: range) -> list[tuple[int, int]]:
        """Returns (augmentation index, block) of the features that these images still lack.

        A block whose features are not those that were written counts as missing.
        """
        blocks = sorted({position // BLOCK for position in positions})
        return [(v, b) for v in views for b in blocks if not self.done[v, b] or self.damaged(v, b)]

    def damaged(self, view: int, block: int) -> bool:
        """Tells whether the features of a block differ from those that were written."""
        if (view, block) in self._checked:
            return False
        values = self.values[view, block * BLOCK : (block + 1) * BLOCK]
        if compute_checksum(values.tobytes()) != int(self.checksums[view, block]):
            return True
        self._checked.add((view, block))
        return False

    def put(self, view: int, block: int, features: Tensor) -> None:
        """Writes the features of a block.

        Raises:
            OSError: they cannot be written. (A full disk would kill who writes to a mapped file.)
            RunError: they do not fit into the file's type.
        """
        with np.errstate(over='ignore'):
            values = features.float().cpu().numpy().astype(self._dtype)
        if not np.isfinite(values).all():
            raise RunError(
                f'the features of block {block} are not finite as {self._dtype}: set '
                'model.cache.dtype to float32, or look at the images'
            )
        row = math.prod(self.shape[2:]) * self._dtype.itemsize
        place = (view * self.shape[1] + block * BLOCK) * row
        index = view * self._blocks + block
        self._checked.discard((view, block))
        _write_at(self.folder / 'done.bin', index, b'\x00')  # while it is written anew
        _write_at(self.folder / 'features.bin', place, values.tobytes())
        checksum = compute_checksum(values.tobytes())
        _write_at(self.folder / 'checksums.bin', 4 * index, checksum.to_bytes(4, 'little'))
        _write_at(self.folder / 'done.bin', index, b'\x01')

    def get(self, position: int, view: int) -> Tensor:
        """Reads the features of an image, float32."""
        return torch.from_numpy(self.values[view, position].astype(np.float32))


class KeptFeatures:
    """Cached features by branch, which a dataset returns instead of images.

    Args:
        branches: by name.
        complete: every branch of the system is among them, so that no image is needed.
    """

    def __init__(self, branches: Mapping[str, BranchFeatures], complete: bool) -> None:
        self.branches = dict(branches)
        self.complete = complete

    def __call__(self, position: int, view: int) -> dict[str, Tensor]:
        """Reads the features of the image at a position of the pool, by branch."""
        return {name: kept.get(position, view) for name, kept in self.branches.items()}


def _get_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return -1


def _write_at(path: Path, place: int, content: bytes) -> None:
    with open(path, 'r+b') as file:
        file.seek(place)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
