"""Features of frozen branches, computed once per image and view and kept on disk.

A frozen backbone gives the same features for the same pixels in every epoch, seed, fold and variant
of a study. They are kept in one file per branch and way of making images, a row for each image of
the whole data set and each of its views, so that all of those share them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from plugins.classification.data.feature_store import BLOCK, VARIABLE, BranchFeatures, KeptFeatures
from plugins.classification.interfaces import LabelledImages
from toolkit.engine.process import distributed
from toolkit.errors import RunError, ToolkitError


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
