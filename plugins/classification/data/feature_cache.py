"""Features of frozen branches, computed once per image and view and kept on disk.

A frozen backbone gives the same features for the same pixels in every epoch, seed, fold and variant
of a study. They are kept in one file per branch and way of making images, a row for each image of
the whole data set and each of its views, so that all of those share them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from filelock import FileLock
from torch import Tensor, nn

from plugins.classification.interfaces import LabelledImages
from toolkit.engine.process import distributed
from toolkit.errors import RunError, ToolkitError
from toolkit.io import atomic_write
from toolkit.io.file_lock import try_lock
from toolkit.io.json_values import parse_json
from toolkit.io.verification.integrity import compute_checksum

VARIABLE = 'TOOLKIT_CACHE'
# Images that go through a branch together, always the same ones: rounding may differ between
# batches, and what a file holds is not to depend on which run asked first.
BLOCK = 32


@dataclass(frozen=True)
class FeatureCache:
    """Folder and precision of cached features of frozen branches.

    Args:
        folder: None for $TOOLKIT_CACHE, or .cache/ablakit in the home folder.
        dtype: float16 halves the space and rounds to about three digits.
    """

    folder: str | None = None
    dtype: Literal['float32', 'float16'] = 'float32'

    def path(self) -> Path:
        """Returns the folder of the features."""
        chosen = self.folder or os.environ.get(VARIABLE)
        root = Path(chosen).expanduser() if chosen else Path.home() / '.cache' / 'ablakit'
        return root / 'features'


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


def keep(
    branches: nn.ModuleDict,
    dataset: LabelledImages,
    cache: FeatureCache,
    *,
    role: str,
    device: torch.device,
    context: Callable[[], AbstractContextManager[Any]],
    say: Callable[[str], None],
) -> None:
    """Computes features of frozen branches that are not cached yet, and gives them to a dataset.

    Args:
        branches: branches of the system, on the device; those with `frozen` true are cached.
        dataset: dataset whose `features` is set.
        cache: folder and precision.
        role: 'train', 'val' or 'test', for messages.
        device: device of the branches.
        context: makes the context of each computation.
        say: prints the number of images to compute.
    Raises:
        ToolkitError: no branch is frozen, or the number of augmented versions is not limited.
        RunError: features cannot be written.
    """
    frozen = {name: branch for name, branch in branches.items() if getattr(branch, 'frozen', False)}
    if not frozen:
        raise ToolkitError(
            'model.cache keeps the features of frozen branches, and none is frozen: freeze one '
            '(model.branches.NAME.trained=none), or set model.cache to null'
        )
    if dataset.views is None:
        raise ToolkitError(
            f'{role}_dataloader.dataset draws a new view of an image each time, and features are '
            f'kept of a known number of them: set {role}_dataloader.dataset.views to such as 8, or '
            'model.cache to null'
        )
    kept = {}
    for name, branch in frozen.items():
        kept[name] = _store(branch, dataset, cache, context, device)
        _fill(kept[name], branch, name, dataset, role, device, context, say)
    dataset.features = KeptFeatures(kept, complete=len(kept) == len(branches))


def _store(
    branch: Any,
    dataset: LabelledImages,
    cache: FeatureCache,
    context: Callable[[], AbstractContextManager[Any]],
    device: torch.device,
) -> BranchFeatures:
    with context():
        autocast = torch.is_autocast_enabled(device.type)
        precision = str(torch.get_autocast_dtype(device.type)) if autocast else 'float32'
    view = (dataset.image_fingerprint(), dataset.views, dataset.channels, dataset.size)
    told = repr((branch.cache_key(), view, cache.dtype, precision, device.type))
    folder = cache.path() / hashlib.sha256(told.encode()).hexdigest()[:24]
    image = torch.zeros(1, dataset.channels, dataset.size, dataset.size, device=device)
    with torch.no_grad(), context():
        shape = tuple(branch(image).shape[1:])
    views, images = dataset.views or 1, len(dataset.pool)
    return BranchFeatures(folder, views, images, shape, cache.dtype)


def _fill(
    kept: BranchFeatures,
    branch: nn.Module,
    name: str,
    dataset: LabelledImages,
    role: str,
    device: torch.device,
    context: Callable[[], AbstractContextManager[Any]],
    say: Callable[[str], None],
) -> None:
    positions, views = set(dataset.positions), range(dataset.views or 1)
    lock = kept.locked(say) if distributed.is_main() else contextlib.nullcontext()
    with lock:
        missing = distributed.broadcast(kept.missing(positions, views))
        if damaged := [(v, b) for v, b in missing if kept.done[v, b]]:
            say(
                f'{kept.folder / "features.bin"} is damaged in {len(damaged)} blocks, the first of '
                f'version {damaged[0][0]}, block {damaged[0][1]}: they are computed anew'
            )
        if missing:
            count = (
                f'{len(missing) * BLOCK:,} images'
                if len(views) == 1
                else (f'{len(missing) * BLOCK:,} views of images')
            )
            say(f'computing features of {name} for {role}: at most {count}, kept in {kept.folder}')
        own = missing[distributed.get_rank() :: distributed.get_world_size()]
        _compute(kept, own, branch, dataset, device, context)
        distributed.gather(None)
        # A process of another machine does not see what this one wrote, unless they share a disk.
        _compute(kept, kept.missing(positions, views), branch, dataset, device, context)


def _compute(
    kept: BranchFeatures,
    blocks: list[tuple[int, int]],
    branch: nn.Module,
    dataset: LabelledImages,
    device: torch.device,
    context: Callable[[], AbstractContextManager[Any]],
) -> None:
    images = len(dataset.pool)
    for view, block in blocks:
        positions = range(block * BLOCK, min((block + 1) * BLOCK, images))
        batch = torch.stack([dataset.pool_image(p, view) for p in positions])
        with torch.no_grad(), context():
            features = branch(batch.to(device))
        try:
            kept.put(view, block, features)
        except OSError as error:
            raise RunError(
                f'cannot keep features in {kept.folder}: {error.strerror}; set model.cache to null'
            ) from error
