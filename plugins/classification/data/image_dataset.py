"""Base class of datasets of labelled images: subsets, checks, cache and augmentation."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from plugins.classification.data.manifests.patient_ids import find_ambiguous_ids, normalize_id
from plugins.classification.data.reading.image_io import to_channels
from plugins.classification.data.reading.unreadable import find_unreadable
from plugins.classification.data.split import SplitSpec, Subset, find_positions
from plugins.classification.image_record import Box, Record, list_known_patients
from plugins.classification.interfaces import LabelledImages
from plugins.classification.tasks import Task
from plugins.classification.transforms.pipeline import Fit, TransformPipeline
from toolkit.engine.process import seeding
from toolkit.errors import DataError
from toolkit.interfaces import Identities, Transform
from toolkit.ranges import NonNegativeInt, PositiveInt


class ImageSet(LabelledImages):
    """Dataset of labelled images, whatever their source.

    Args:
        tasks: by name.
        subset: subset of the split that the dataset holds; 'all' for every image.
        split: assignment of images to subsets.
        size: height and width of the images.
        channels: 3, grey repeated; or 1, colour by its luminance.
        fit: 'squash' stretches the whole image to a square; 'pad' keeps its shape and adds black;
            'crop' takes the largest square in its middle.
        transforms: by name; `null` removes one.
        views: number of augmented versions of an image, whose features can be cached; None for a
            new version each time.
        unlabelled: 'drop' leaves out images without a label for any task, 'keep' keeps them.
        on_error: 'stop' raises an error before the run if images cannot be read; 'skip' leaves
            them out and logs their number and names.
        verify: 'decode' reads every image of the subset at the start; 'header' only checks that
            each file exists and looks like an image, for large datasets.
        cache: megabytes of decoded and resized images that are kept in memory.
    Raises:
        ToolkitError: images cannot be read, or the split has a mistake (see `find_positions`).
        ValueError: an argument is out of range.

    Attributes:
        patient_scope: names of patients are compared with those of other datasets of this scope.
    """

    quick = {'verify': 'header'}
    patient_scope = ''

    def __init__(
        self,
        tasks: dict[str, Task],
        subset: Subset = 'all',
        split: SplitSpec | None = None,
        size: PositiveInt = 224,
        channels: Literal[1, 3] = 3,
        fit: Fit = 'squash',
        transforms: dict[str, Transform] | None = None,
        views: PositiveInt | None = None,
        unlabelled: Literal['drop', 'keep'] = 'drop',
        on_error: Literal['stop', 'skip'] = 'stop',
        verify: Literal['decode', 'header'] = 'decode',
        cache: NonNegativeInt = 1024,
    ) -> None:
        if not tasks:
            raise ValueError('tasks is empty; name at least one')
        if channels not in (1, 3):
            raise ValueError(f'channels must be 1 or 3, found {channels}')
        if views is not None and views < 1:
            raise ValueError(f'views must be at least 1, or null for new ones; found {views}')
        if cache < 0:
            raise ValueError(f'cache must be 0 or more megabytes, found {cache}')
        self.tasks, self.subset, self.split = dict(tasks), subset, split
        self.size, self.channels, self.fit = size, channels, fit
        self.unlabelled, self.on_error, self.verify = unlabelled, on_error, verify
        self.steps = TransformPipeline(size, fit, transforms or {})
        self.views = views if self.steps.random else 1
        self.skipped: dict[str, str] = {}
        self._cache = self._room = cache * 2**20
        self._kept: dict[int, tuple[Tensor, tuple[Box, ...]]] = {}

    # -- a source of images --------------------------------------------------------------------

    @abstractmethod
    def read(self, position: int) -> tuple[np.ndarray, tuple[Box, ...]]:
        """Reads the pixels of a record of the pool, and its boxes in pixels.

        Returns:
            (H, W) or (H, W, 3) in [0, 1], and the boxes.
        Raises:
            DataError: the image cannot be read.
        """

    @abstractmethod
    def check_header(self, position: int) -> None:
        """Checks an image without decoding it.

        Raises:
            DataError: the image cannot be read, as far as its header tells.
        """

    @abstractmethod
    def hash_image(self, position: int) -> str:
        """Computes a hash of the image that `read` returns."""

    def use_records(self, pool: Sequence[Record]) -> None:
        """Stores all records and selects the subset; called once, at the end of the constructor.

        Args:
            pool: records of all images.
        Raises:
            ToolkitError: see the class.
        """
        self.pool = tuple(pool)
        found = find_positions(self.pool, self.split, self.subset, self.tasks)
        if self.unlabelled == 'drop':
            found = [position for position in found if self.pool[position].labels]
        # Of this subset alone: labels of the test must not shape the training's images.
        members = [self.pool[position] for position in found]
        self.steps.use_counts({task: self._counts(task, members) for task in self.tasks})
        check = self._prepare if self.verify == 'decode' else self.check_header
        self.skipped = find_unreadable(self.pool, found, check, self.on_error, self.subset)
        self.positions = tuple(i for i in found if self.pool[i].id not in self.skipped)
        self.records = tuple(self.pool[position] for position in self.positions)

    def _counts(self, task: str, records: Sequence[Record]) -> Tensor:
        classes = self.tasks[task].classes
        labels = torch.tensor([record.index(task, classes) for record in records], dtype=torch.long)
        return torch.bincount(labels[labels >= 0], minlength=len(classes))

    # -- samples -------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns a sample, see `LabelledImages`.

        Raises:
            DataError: the image cannot be read.
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
        """Returns the augmented image at a position of the pool.

        With `on_error: skip`, an image that cannot be read is black; no subset holds it.

        Args:
            position: position in the pool.
            view: augmentation index; None for new random transforms.
        Returns:
            (C, size, size) in [0, 1].
        Raises:
            DataError: the image cannot be read.
        """
        record = self.pool[position]
        try:
            image, boxes = self._prepare(position)
        except DataError:
            if self.on_error == 'stop':
                raise
            return torch.zeros(self.channels, self.size, self.size)
        if self.steps.random:
            if view is None:
                seed = int(torch.randint(2**62, ()))
            else:
                seed = seeding.derive_seed(0, 'view', record.id, view)
            sample = {'image': image, 'boxes': boxes, 'labels': self._labels(record)}
            image = self.steps.apply_random(sample, seed)
        return image.expand(self.channels, -1, -1)

    def box_mask(self, position: int) -> Tensor | None:
        pixels, boxes = self.read(position)
        if not boxes:
            return None
        mask = torch.zeros(self.channels, *pixels.shape[:2])
        for box in boxes:
            x0, y0, x1, y1 = (max(0, round(edge)) for edge in box)
            mask[:, y0:y1, x0:x1] = 1
        # The same crops and resizing as of the image.
        sample = self.steps.apply_fixed(mask, boxes, self._labels(self.pool[position]))
        return sample['image'].amax(0)

    def _labels(self, record: Record) -> dict[str, int]:
        return {name: record.index(name, task.classes) for name, task in self.tasks.items()}

    def _prepare(self, position: int) -> tuple[Tensor, tuple[Box, ...]]:
        """Reads an image and applies the fixed transforms.

        Returns:
            (1, size, size) if the image is grey, else (C, size, size); and the boxes in it.
        """
        kept = self._kept.get(position)
        if kept is not None:
            return kept
        pixels, boxes = self.read(position)
        if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
            pixels = pixels[..., 0]
        # Grey is repeated after the last transform, which saves memory and time.
        channels = self.channels if pixels.ndim == 3 else 1
        image = torch.from_numpy(np.array(to_channels(pixels, channels)))  # (C, H, W)
        record = self.pool[position]
        try:
            sample = self.steps.apply_fixed(image, boxes, self._labels(record))
        except DataError as error:
            raise DataError(f'{record.path or record.id}: {error}') from error
        image, boxes = sample['image'], sample.get('boxes', ())
        self._store(position, image, boxes)
        return image, boxes

    def _store(self, position: int, image: Tensor, boxes: tuple[Box, ...]) -> None:
        size = image.numel() * image.element_size()
        if size <= self._room:
            self._room -= size
            self._kept[position] = image, boxes

    def release(self) -> None:
        self._kept.clear()
        self._room = self._cache

    # -- identities and fingerprints -----------------------------------------------------------

    def identities(self, content: bool = True) -> dict[str, Identities]:
        """Names the images and the known patients of this subset; see `Dataset.identities`."""
        images = {
            self.image_identity(position, content): record.id
            for position, record in zip(self.positions, self.records, strict=True)
        }
        # One patient in two manifests may be spelled in two ways.
        known = list_known_patients(self.pool)
        distinct = {name for group in find_ambiguous_ids(known) for name in group}
        shown = {record.patient for record in self.records} & known
        patients = {normalize_id(name): name for name in shown - distinct}
        # As written too: another manifest may hold spellings that it tells apart.
        patients.update((name, name) for name in shown)
        return {
            'image': Identities(images),
            'patient': Identities({f'{self.patient_scope}{k}': v for k, v in patients.items()}),
        }

    def image_identity(self, position: int, content: bool) -> str:
        """Returns a text that is equal for equal images of the pool; see `identities`."""
        return self.hash_image(position)

    def image_fingerprint(self) -> str:
        """Computes a hash of the images of the pool and of their transforms."""
        digest = hashlib.sha256(f'{self.channels}/{self.steps.key()}'.encode())
        for position, record in enumerate(self.pool):
            told: tuple[Any, ...] = (
                record.id,
                record.frame,
                record.boxes,
                self.hash_image(position),
            )
            if self.steps.uses_labels:
                told += (sorted(record.labels.items()),)
            digest.update(repr(told).encode())
        return digest.hexdigest()[:16]

    def fingerprint(self) -> str:
        """Computes a short hash of the images of this subset and of their labels."""
        digest = hashlib.sha256()
        for position, record in zip(self.positions, self.records, strict=True):
            told = (record.id, record.patient, record.centre, record.frame, record.boxes)
            labels = sorted(record.labels.items())
            attributes = sorted(record.attributes.items())
            digest.update(repr((told, labels, attributes, self.hash_image(position))).encode())
        return digest.hexdigest()[:16]
