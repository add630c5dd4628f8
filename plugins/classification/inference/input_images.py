"""Images to predict: files, folders, patterns and manifests, and images in memory."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from plugins.classification.data.image_dataset import ImageSet
from plugins.classification.data.image_files import FileSet
from plugins.classification.data.manifests.manifest import read_manifest
from plugins.classification.data.reading.image_io import SUFFIXES, count_frames
from plugins.classification.data.reading.mask_files import find_masks
from plugins.classification.image_record import Box, Record
from plugins.classification.system import Classifier
from plugins.classification.tasks import Task
from toolkit.errors import DataError, MissingDataError, ToolkitError
from toolkit.io.tables.csv_text import SPREADSHEETS
from toolkit.registry.build import ComponentFactory

TABLES = ('.csv', '.csv.gz', '.tsv', '.tsv.gz', '.parquet', '.pq', *SPREADSHEETS)
NAMED = 20  # files that are named in a message
ON_ERROR = ('stop', 'skip')
# Arguments of a dataset that decide how a file becomes an image.
PREPARATION = ('size', 'channels', 'fit', 'transforms', 'region', 'full_scale')


@dataclass
class FoundImages:
    """The images to predict.

    Attributes:
        records: images, each frame of a file as one; those in memory have no path.
        pixels: images in memory by their id, (H, W) or (H, W, 3) in [0, 1].
        left_out: reason for each file that is not predicted, by its name.
        unreadable: reason for each image file whose frames cannot be counted.
    """

    records: list[Record] = field(default_factory=list)
    pixels: dict[str, np.ndarray] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    unreadable: dict[Path, str] = field(default_factory=dict)


class InputImages(FileSet):
    """Images to predict, without labels.

    Args:
        found: the images.
        tasks: by name.
        **options: see `FileSet`.
    Raises:
        DataError: images that cannot be read, or no image that can.
    """

    def __init__(self, found: FoundImages, tasks: dict[str, Task], **options: Any) -> None:
        super().__init__(tasks, unlabelled='keep', **options)
        self.unreadable, self.pixels = found.unreadable, found.pixels
        self.use_records(found.records)

    def read(self, position: int) -> tuple[np.ndarray, tuple[Box, ...]]:
        record = self.pool[position]
        if record.path is None:
            return self.pixels[record.id], ()
        if record.path in self.unreadable:
            raise DataError(self.unreadable[record.path])
        return super().read(position)

    def check_header(self, position: int) -> None:
        if self.pool[position].path is not None:
            super().check_header(position)

    def hash_image(self, position: int) -> str:
        record = self.pool[position]
        if record.path is not None:
            return super().hash_image(position)
        return hashlib.sha256(np.ascontiguousarray(self.pixels[record.id])).hexdigest()[:16]


def is_manifest(word: str) -> bool:
    """Tells whether a word of a command line names a manifest."""
    return word.lower().endswith(TABLES)


def find_images(
    words: Sequence[str],
    patient: str | None = None,
    columns: Mapping[str, str | None] | None = None,
) -> FoundImages:
    """Finds the images that the words of a command line name, each file once.

    Each frame of a file is an image of its own, named FILE#FRAME. Without `patient`, the frames of
    a file are those of one patient, who is named like the file. Of a manifest, each row is an
    image, as in a dataset; frames that have no row are left out. Segmentation masks among the
    images of folders and patterns are left out too (`find_masks`); a mask that is named itself is
    an image.

    Args:
        words: image files, folders (with all images below them, known by their names or their
            contents), patterns with * or ?, and manifests (`TABLES`, read as `ManifestImages` reads
            them, without tasks).
        patient: regular expression; its first group, found in the path of a file, is the patient.
            None if patients of files are not known.
        columns: column names of the manifest; see `ManifestImages`.
    Raises:
        ToolkitError: a word that names no image, an option that does not fit the words, or two
            images with one id.
    """
    tables = [word for word in words if is_manifest(word)]
    if columns and not tables:
        raise ToolkitError('--columns is an option for a manifest, and --input names none')
    pattern = _compile_patient(patient) if patient is not None else None
    if pattern is not None and len(tables) == len(words):
        raise ToolkitError(
            '--patient is an option for image files; name the column of a manifest by --columns '
            'patient=COLUMN'
        )
    found = FoundImages()
    records: dict[tuple[Path, int], Record] = {}
    for word in words:
        if word in tables:
            path = Path(word).absolute()
            # Nothing is split here, so that spellings of patients leak nothing.
            named = read_manifest(path, {}, columns or {}, patients='as_written').records
            found.left_out |= _find_unnamed_frames(named)
        else:
            files = _find_files(word, found.left_out)
            named = tuple(r for path in files for r in _make_records(path, pattern, found))
        for record in named:
            assert record.path is not None
            first = records.setdefault((record.path.resolve(), record.frame), record)
            if first.path != record.path:
                found.left_out[record.id] = f'the same file as {first.path}'
    found.records = list(records.values())
    _check_ids(found.records)
    return found


def load_images(
    found: FoundImages, system: Classifier, dataset: Any, on_error: str = 'stop'
) -> InputImages:
    """Makes a dataset of images, prepared as the images of another dataset.

    Args:
        found: the images.
        system: to predict with.
        dataset: slot of the other dataset, the run's test data.
        on_error: 'stop', or 'skip' to leave out images that cannot be read.
    Raises:
        ToolkitError: the other dataset reads no image files, or does not fit the system.
        DataError: images that cannot be read.
    """
    if not (isinstance(dataset, ComponentFactory) and issubclass(dataset.cls, ImageSet)):
        raise ToolkitError(
            f'files cannot be prepared as the images of {dataset} are; leave --input out for the '
            "run's own test data"
        )
    same = {name: dataset.arguments[name] for name in PREPARATION if name in dataset.arguments}
    images = ComponentFactory(InputImages, same)(found=found, tasks=system.tasks, on_error=on_error)
    system.check_data(images)
    return images


def _find_files(word: str, left_out: dict[str, str]) -> list[Path]:
    """Find the image files that a word names; `left_out` gets the other files, with the reason."""
    path = Path(word)
    if path.exists() and not path.is_dir():
        return [path]
    paths = [path] if path.is_dir() else map(Path, sorted(glob.glob(word, recursive=True)))
    images, other = [], {}
    for match in paths:
        if match.is_file():
            images.append(match)
        elif match.is_dir():
            for file, reason in _walk_folder(match):
                if reason:
                    other[file.as_posix()] = reason
                else:
                    images.append(file)
    masks = {mask: image for image, mask in find_masks(images)}
    other |= {file.as_posix(): f'a mask of {image}' for file, image in masks.items()}
    left_out |= other
    images = [file for file in images if file not in masks]
    if images:
        return images
    if path.is_dir():
        reasons = ''.join(f'\n  {name}: {reason}' for name, reason in list(other.items())[:NAMED])
        raise ToolkitError(
            f'{path} holds no image; expected one of {", ".join(SUFFIXES)}, or a file of another '
            f'name with such contents{reasons}'
        )
    problem = 'no file matches' if glob.has_magic(word) else 'no file or folder'
    raise MissingDataError(f'{problem} {word}')


def _find_unnamed_frames(records: Sequence[Record]) -> dict[str, str]:
    """Find files with frames that no record names; the reason by file."""
    named: dict[Path, set[int]] = {}
    for record in records:
        assert record.path is not None
        named.setdefault(record.path, set()).add(record.frame)
    reasons = {}
    for path, frames in named.items():
        try:
            count = count_frames(path)
        except DataError:  # said when the image is read
            continue
        if missing := sorted(set(range(count)) - frames):
            text = ', '.join(map(str, missing[:NAMED])) + (', ...' if len(missing) > NAMED else '')
            reasons[path.as_posix()] = (
                f'{len(missing)} of {count} frames have no row (column frame) in the manifest: '
                f'{text}'
            )
    return reasons


def _walk_folder(folder: Path) -> Iterator[tuple[Path, str]]:
    """Walk over all files below a folder; yield each with '', or why it is no image."""

    def stop(error: OSError) -> None:
        raise ToolkitError(f'the folder {error.filename} cannot be read: {error.strerror}')

    for parent, folders, names in os.walk(folder, onerror=stop):
        folders.sort()
        for name in folders:
            if (path := Path(parent, name)).is_symlink():
                yield path, 'a link to a folder; give it as an input of its own'
        for name in sorted(names):
            path = Path(parent, name)
            if name.startswith('.'):
                yield path, 'a hidden file'
            elif path.suffix.lower() in SUFFIXES:
                yield path, ''
            else:
                try:
                    count_frames(path)
                except DataError as error:
                    yield path, str(error).removeprefix(f'{path} ')
                else:
                    yield path, ''


def _make_records(
    path: Path, pattern: re.Pattern[str] | None, found: FoundImages
) -> Iterator[Record]:
    name = patient = path.as_posix()
    if pattern is not None:
        match = pattern.search(name)
        if match is None or not match[1]:
            raise ToolkitError(f'{path}: --patient {pattern.pattern!r} finds nothing in its path')
        patient = match[1]
    try:
        frames = count_frames(path)
    except DataError as error:
        # Raised again when the image is read, which may skip it.
        found.unreadable[path.absolute()] = str(error)
        frames = 1
    for frame in range(frames):
        own = f'{name}#{frame}' if frames > 1 else name
        yield Record(id=own, path=path.absolute(), patient=patient, frame=frame)


def _check_ids(records: Sequence[Record]) -> None:
    first: dict[str, Record] = {}
    for record in records:
        other = first.setdefault(record.id, record)
        if other is not record:
            raise ToolkitError(
                f'{other.path} and {record.path} both have the id {record.id!r}; predict their '
                'manifests one after the other, or give the images ids of their own'
            )


def _compile_patient(text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise ToolkitError(f'--patient {text} is no regular expression: {error}') from error
    if not pattern.groups:
        raise ToolkitError(f'--patient {text} has no group ( ) for the patient')
    return pattern
