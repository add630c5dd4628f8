"""What datasets of labelled images share: their parts, reading, checking, keeping, and views."""

from __future__ import annotations

import hashlib
import logging
import os
from abc import abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from plugins.classification.data.image_io import to_channels
from plugins.classification.data.split import Part, SplitSpec, positions
from plugins.classification.image_record import Box, Record
from plugins.classification.interfaces import LabelledImages
from plugins.classification.tasks import Task
from plugins.classification.transforms.pipeline import Fit, Views
from toolkit.engine import seeding
from toolkit.errors import DataError
from toolkit.interfaces import Transform

# Images that are named where several cannot be read.
NAMED = 20

log = logging.getLogger(__name__)


class ImageSet(LabelledImages):
    """Labelled images from any source.

    Args:
        tasks: by name.
        part: of the split that this is; 'all' for every image.
        split: how the images are split.
        size: height and width of the images.
        channels: 3, grey repeated; or 1, colour by its luminance.
        fit: 'squash' for the whole image, sides stretched as needed; 'pad' for the whole image with
            black around it; 'crop' for the largest square in its middle.
        transforms: by name; `null` takes one out.
        views: how many different draws of the random transforms an image has, so that features of
            them can be kept; None for a new draw each time.
        unlabelled: what becomes of images without a label for any task: 'drop' or 'keep'.
        on_error: where images cannot be read, 'stop' before anything runs, or 'skip' them, which
            is said, with their number and names.
        verify: 'decode' to read every image of the part at the start; 'header' to see only whether
            each is there and looks like an image, for sets too large for that.
        cache: megabytes of images that are kept decoded and fitted.
    Raises:
        ToolkitError: images that cannot be read, what `positions` refuses.
        ValueError: arguments out of range.
    """

    def __init__(
        self,
        tasks: dict[str, Task],
        part: Part = 'all',
        split: SplitSpec | None = None,
        size: int = 224,
        channels: int = 3,
        fit: Fit = 'squash',
        transforms: dict[str, Transform] | None = None,
        views: int | None = None,
        unlabelled: Literal['drop', 'keep'] = 'drop',
        on_error: Literal['stop', 'skip'] = 'stop',
        verify: Literal['decode', 'header'] = 'decode',
        cache: int = 1024,
    ) -> None:
        if not tasks:
            raise ValueError('tasks is empty; name at least one')
        if channels not in (1, 3):
            raise ValueError(f'channels must be 1 or 3, found {channels}')
        if views is not None and views < 1:
            raise ValueError(f'views must be at least 1, or null for new ones; found {views}')
        if cache < 0:
            raise ValueError(f'cache must be 0 or more megabytes, found {cache}')
        self.tasks, self.part, self.split = dict(tasks), part, split
        self.size, self.channels, self.fit = size, channels, fit
        self.unlabelled, self.on_error, self.verify = unlabelled, on_error, verify
        self.steps = Views(size, fit, transforms or {})
        self.views = views if self.steps.drawn else 1
        self.skipped: dict[str, str] = {}
        self._cache = self._room = cache * 2**20
        self._kept: dict[int, tuple[Tensor, tuple[Box, ...]]] = {}

    # -- what a source gives -------------------------------------------------------------------

    @abstractmethod
    def read(self, position: int) -> tuple[np.ndarray, tuple[Box, ...]]:
        """Pixels (H, W) or (H, W, 3) in [0, 1] of a record of the pool, and its boxes in them.

        Raises:
            DataError: they cannot be read.
        """

    @abstractmethod
    def look(self, position: int) -> None:
        """Raise the DataError of `read` as far as it is known without decoding."""

    @abstractmethod
    def contents(self, position: int) -> str:
        """A hash of what `read` reads."""

    def use(self, pool: Sequence[Record]) -> None:
        """Take in the records of the whole set; called once, at the end of the constructor.

        Raises:
            ToolkitError: see the class.
        """
        self.pool = tuple(pool)
        self.steps.use_counts({task: self._counts(task) for task in self.tasks})
        found = positions(self.pool, self.split, self.part, self.tasks)
        if self.unlabelled == 'drop':
            found = [position for position in found if self.pool[position].labels]
        self.positions = self._readable(found)
        self.records = tuple(self.pool[position] for position in self.positions)

    def _counts(self, task: str) -> Tensor:
        classes = self.tasks[task].classes
        labels = torch.tensor([record.index(task, classes) for record in self.pool])
        return torch.bincount(labels[labels >= 0], minlength=len(classes))

    def _readable(self, found: Sequence[int]) -> tuple[int, ...]:
        """Those that can be read, after saying which cannot."""
        check = self._fixed if self.verify == 'decode' else self.look

        def problem(position: int) -> str | None:
            try:
                check(position)
            except DataError as error:
                return str(error)
            return None

        # Decoding lets other threads run.
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as threads:
            problems = dict(zip(found, threads.map(problem, found), strict=True))
        bad = {self.pool[p].id: text for p, text in problems.items() if text is not None}
        if bad:
            told = [f'  {text}' for text in list(bad.values())[:NAMED]]
            if len(bad) > NAMED:
                told.append(f'  and {len(bad) - NAMED} more')
            counted = f'{len(bad)} of {len(found)} images of {self.part} cannot be read'
            if self.on_error == 'stop':
                advice = 'repair them or leave them out, or skip them with `on_error: skip`'
                raise DataError('\n'.join([f'{counted}; {advice}:', *told]))
            if len(bad) == len(found):
                raise DataError('\n'.join([f'{counted}; none is left:', *told]))
            log.warning('\n'.join([f'{counted} and are skipped:', *told]))
            self.skipped = bad
        return tuple(position for position, text in problems.items() if text is None)

    # -- samples -------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """A sample, see `LabelledImages`.

        Raises:
            DataError: its image cannot be read.
        """
        record = self.records[index]
        view: int | None = 0
        if self.views != 1:
            view = None if self.views is None else int(torch.randint(self.views, ()))
        labels = {task: torch.tensor(label) for task, label in self._labels(record).items()}
        meta = {
            'item': record.id,
            'id': record.id,
            'patient': record.patient,
            'centre': record.centre,
            'view': view,
            'attributes': dict(record.attributes),
        }
        sample: dict[str, Any] = {'labels': labels, 'meta': meta}
        if self.features is not None:
            sample['features'] = self.features(self.positions[index], view)
        if self.features is None or not self.features.complete:
            sample['image'] = self.pool_image(self.positions[index], view)
        return sample

    def pool_image(self, position: int, view: int | None = None) -> Tensor:
        """The image (C, size, size) in [0, 1] at a position of the pool: one of its views, or a new
        draw where `view` is None. One that cannot be read is black where such are skipped: no part
        has it.

        Raises:
            DataError: it cannot be read.
        """
        record = self.pool[position]
        try:
            image, boxes = self._fixed(position)
        except DataError:
            if self.on_error == 'stop':
                raise
            return torch.zeros(self.channels, self.size, self.size)
        if self.steps.drawn:
            if view is None:
                seed = int(torch.randint(2**62, ()))
            else:
                seed = seeding.derive_seed(0, 'view', record.id, view)
            sample = {'image': image, 'boxes': boxes, 'labels': self._labels(record)}
            image = self.steps.draw(sample, seed)
        return image.expand(self.channels, -1, -1)

    def box_mask(self, position: int) -> Tensor | None:
        pixels, boxes = self.read(position)
        if not boxes:
            return None
        mask = torch.zeros(self.channels, *pixels.shape[:2])
        for box in boxes:
            x0, y0, x1, y1 = (max(0, round(edge)) for edge in box)
            mask[:, y0:y1, x0:x1] = 1
        # A mask goes the way of its image, whatever crops and fits that.
        sample = self.steps.start(mask, boxes, self._labels(self.pool[position]))
        return sample['image'].amax(0)

    def _labels(self, record: Record) -> dict[str, int]:
        return {name: record.index(name, task.classes) for name, task in self.tasks.items()}

    def _fixed(self, position: int) -> tuple[Tensor, tuple[Box, ...]]:
        """An image after the steps that are always the same, grey (1, H, W) or colour, and the
        boxes that it still has."""
        kept = self._kept.get(position)
        if kept is not None:
            return kept
        pixels, boxes = self.read(position)
        if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
            pixels = pixels[..., 0]
        # Grey is repeated only after the last transform.
        channels = self.channels if pixels.ndim == 3 else 1
        image = torch.from_numpy(np.array(to_channels(pixels, channels)))  # (C, H, W)
        record = self.pool[position]
        try:
            sample = self.steps.start(image, boxes, self._labels(record))
        except DataError as error:
            raise DataError(f'{record.path or record.id}: {error}') from error
        image, boxes = sample['image'], sample.get('boxes', ())
        self._keep(position, image, boxes)
        return image, boxes

    def _keep(self, position: int, image: Tensor, boxes: tuple[Box, ...]) -> None:
        size = image.numel() * image.element_size()
        if size <= self._room:
            self._room -= size
            self._kept[position] = image, boxes

    def release(self) -> None:
        self._kept.clear()
        self._room = self._cache

    # -- identity ------------------------------------------------------------------------------

    def image_fingerprint(self) -> str:
        """A hash of the pool's images and of all that is done to them."""
        digest = hashlib.sha256(f'{self.channels}/{self.steps.key()}'.encode())
        for position, record in enumerate(self.pool):
            told = (record.id, record.frame, record.boxes, self.contents(position))
            digest.update(repr(told).encode())
        return digest.hexdigest()[:16]

    def fingerprint(self) -> str:
        """A short hash of the images of this part and of their labels."""
        digest = hashlib.sha256()
        for position, record in zip(self.positions, self.records, strict=True):
            told = (record.id, record.patient, record.centre, record.frame, record.boxes)
            labels = sorted(record.labels.items())
            attributes = sorted(record.attributes.items())
            digest.update(repr((told, labels, attributes, self.contents(position))).encode())
        return digest.hexdigest()[:16]
