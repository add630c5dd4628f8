"""Images named on the command line: files, folders, patterns and manifests."""

from __future__ import annotations

import glob
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plugins.classification.data.image_dataset import ImageSet
from plugins.classification.data.image_files import FileSet
from plugins.classification.data.image_io import SUFFIXES
from plugins.classification.data.manifest import read_manifest
from plugins.classification.image_record import Record
from plugins.classification.system import Classifier
from plugins.classification.tasks import Task
from toolkit.errors import MissingDataError, ToolkitError
from toolkit.registry.build import ComponentFactory

TABLES = ('.csv', '.parquet')
ON_ERROR = ('stop', 'skip')
# Arguments of a dataset that decide how a file becomes an image.
PREPARATION = ('size', 'channels', 'fit', 'transforms', 'region')


class InputImages(FileSet):
    """Images named on the command line, without labels.

    Args:
        records: of the images.
        tasks: by name.
        **options: see `FileSet`.
    Raises:
        DataError: images that cannot be read, or no image that can.
    """

    def __init__(self, records: Sequence[Record], tasks: dict[str, Task], **options: Any) -> None:
        super().__init__(tasks, unlabelled='keep', **options)
        self.use_records(records)


def is_manifest(word: str) -> bool:
    """Tells whether a word of a command line names a manifest."""
    return Path(word).suffix.lower() in TABLES


def find_images(
    words: Sequence[str],
    patient: str | None = None,
    columns: Mapping[str, str | None] | None = None,
) -> list[Record]:
    """Finds the images that the words of a command line name, each file once.

    Args:
        words: image files, folders (with all images below them), patterns with * or ?, and
            manifests (.csv or .parquet, read as `ManifestImages` reads them, without tasks).
        patient: regular expression; its first group, found in the path of a file, is the patient.
            None if patients of files are not known.
        columns: column names of the manifest; see `ManifestImages`.
    Raises:
        ToolkitError: a word that names no image, or an option that does not fit the words.
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
    found: dict[tuple[Path, int], Record] = {}
    for word in words:
        if word in tables:
            path = Path(word).absolute()
            # Nothing is split here, so that spellings of patients leak nothing.
            records = read_manifest(path, {}, columns or {}, patients='as_written').records
        else:
            records = tuple(_make_record(path, pattern) for path in _find_files(word))
        for record in records:
            assert record.path is not None
            found.setdefault((record.path.resolve(), record.frame), record)
    return list(found.values())


def load_images(
    records: Sequence[Record], system: Classifier, dataset: Any, on_error: str = 'stop'
) -> InputImages:
    """Makes a dataset of images, prepared as the images of another dataset.

    Args:
        records: of the images.
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
    images = ComponentFactory(InputImages, same)(
        records=records, tasks=system.tasks, on_error=on_error
    )
    system.check_data(images)
    return images


def _find_files(word: str) -> list[Path]:
    path = Path(word)
    if path.is_dir():
        images = [
            file
            for file in sorted(path.rglob('*'))
            if file.suffix.lower() in SUFFIXES and file.is_file() and file.name[0] != '.'
        ]
        if not images:
            raise ToolkitError(f'{path} holds no image; expected one of {", ".join(SUFFIXES)}')
        return images
    if path.exists():
        return [path]
    matches = [Path(name) for name in sorted(glob.glob(word, recursive=True))]
    images = [match for match in matches if match.is_file()]
    if not images:
        problem = 'no file matches' if glob.has_magic(word) else 'no file or folder'
        raise MissingDataError(f'{problem} {word}')
    return images


def _make_record(path: Path, pattern: re.Pattern[str] | None) -> Record:
    name = path.as_posix()
    patient = name
    if pattern is not None:
        match = pattern.search(name)
        if match is None or not match[1]:
            raise ToolkitError(f'{path}: --patient {pattern.pattern!r} finds nothing in its path')
        patient = match[1]
    return Record(id=name, path=path.absolute(), patient=patient)


def _compile_patient(text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise ToolkitError(f'--patient {text} is no regular expression: {error}') from error
    if not pattern.groups:
        raise ToolkitError(f'--patient {text} has no group ( ) for the patient')
    return pattern
