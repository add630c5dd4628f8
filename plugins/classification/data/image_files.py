"""Datasets of image files: by a manifest, or by folders named after the classes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from plugins.classification.data.image_dataset import ImageSet
from plugins.classification.data.manifests.manifest import read_manifest
from plugins.classification.data.manifests.patient_ids import PatientIds
from plugins.classification.data.reading.image_io import (
    read_image,
    read_image_region,
    read_image_size,
)
from plugins.classification.data.reading.value_range import judge_range
from plugins.classification.image_record import Box, Record
from plugins.classification.tasks import Task
from toolkit.errors import DataError
from toolkit.io.verification.hashing import hash_files
from toolkit.ranges import PositiveInt
from toolkit.registry import DATASETS

JUDGED = 16  # images that are read to judge the range where none is decoded


class FileSet(ImageSet):
    """Dataset of image files, or of frames of files.

    Args:
        tasks: by name.
        region: crop DICOM ultrasound to the region that the scanner has marked as the image.
        full_scale: value that becomes 1 in files of whole numbers of more than 8 bits (not DICOM),
            such as 4095 of 12 bits; None for 65535, unless all such images are that dark.
        **options: see `ImageSet`.
    """

    def __init__(
        self,
        tasks: dict[str, Task],
        region: bool = False,
        full_scale: PositiveInt | None = None,
        **options: Any,
    ) -> None:
        super().__init__(tasks, **options)
        self.region, self.full_scale = region, full_scale
        self._peaks: dict[int, float] = {}

    def use_records(self, pool: Sequence[Record]) -> None:
        super().use_records(pool)
        if self.full_scale is None:
            if self.verify == 'header':  # some images are read for this alone
                step = max(1, len(self.positions) // JUDGED)
                for position in self.positions[::step][:JUDGED]:
                    with contextlib.suppress(DataError):  # said where the image is used
                        self.read(position)
            judge_range(self.pool, self._peaks, self.subset)

    def read(self, position: int) -> tuple[np.ndarray, tuple[Box, ...]]:
        record = self.pool[position]
        assert record.path is not None
        pixels = read_image(record.path, record.frame, self.full_scale)
        self._peaks[position] = float(pixels.max(initial=0))
        if self.region and (box := read_image_region(record.path)):
            x0, y0, x1, y1 = (int(edge) for edge in box)
            shown = [(a - x0, b - y0, c - x0, d - y0) for a, b, c, d in record.boxes]
            return pixels[y0:y1, x0:x1], tuple(shown)
        return pixels, record.boxes

    def check_header(self, position: int) -> None:
        record = self.pool[position]
        assert record.path is not None
        read_image_size(record.path, record.frame)

    def hash_image(self, position: int) -> str:
        path = self.pool[position].path
        assert path is not None
        scale = '' if self.full_scale is None else f'/{self.full_scale}'
        return f'{hash_files(path)}{"/region" if self.region else ""}{scale}'

    def image_identity(self, position: int, content: bool) -> str:
        # All frames of a file show one patient, so that the file stands for them.
        path = self.pool[position].path
        assert path is not None
        return hash_files(path) if content else os.path.realpath(path)


@DATASETS.register
class ManifestImages(FileSet):
    """Dataset of the images of a manifest, a table with one row per image (`read_manifest`).

    Args:
        manifest: CSV or Parquet file: absolute, or below $TOOLKIT_DATA or the current folder.
        tasks: tasks by name; each has a column of that name.
        columns: names of columns in the file: `{patient: case_id, malignancy: tirads}`.
        values: classes by task and value in the file: `{malignancy: {2: benign}}`; null for values
            that count as missing.
        outside: allow paths that leave the folder of the manifest.
        patients: 'check' refuses patients that differ only in case, leading zeros, a trailing `.0`
            or spaces, and several rows of a patient such as `NA`; 'as_written' allows both.
        **options: see `FileSet`.
    Raises:
        ToolkitError: the manifest has mistakes, images cannot be read, or a patient is in two
            subsets.
        ValueError: an argument is out of range.
    """

    def __init__(
        self,
        manifest: str,
        tasks: dict[str, Task],
        columns: dict[str, str | None] | None = None,
        values: dict[str, dict[str, str | None]] | None = None,
        outside: bool = False,
        patients: PatientIds = 'check',
        **options: Any,
    ) -> None:
        super().__init__(tasks, **options)
        self.manifest = read_manifest(manifest, tasks, columns, values, outside, patients)
        self.use_records(self.manifest.records)
