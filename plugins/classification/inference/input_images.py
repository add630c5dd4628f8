"""Images that are given on the command line: files, folders, patterns, manifests."""

from __future__ import annotations

import glob
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plugins.classification.data.image_dataset import ImageSet
from plugins.classification.data.image_files import FileSet
from plugins.classification.data.image_io import SUFFIXES
from plugins.classification.data.manifest import read_manifest
from plugins.classification.image_record import Record
from plugins.classification.tasks import Task
from toolkit.errors import MissingDataError, ToolkitError, did_you_mean
from toolkit.registry.build import Part

if TYPE_CHECKING:
    from plugins.classification.system import Classifier

TABLES = ('.csv', '.parquet')
# What may be named among the inputs.
NAMED = ('patient', 'on_error', 'batch_size')
COLUMN = 'columns.'
ON_ERROR = ('stop', 'skip')
# What of a data set's arguments decides how a file becomes an image.
PREPARED = ('size', 'channels', 'fit', 'transforms', 'region')


class GivenImages(FileSet):
    """Images that were given by hand.

    Args:
        records: of the images.
        tasks: by name; their labels are not looked for.
        **options: see `FileSet`.
    Raises:
        DataError: images that cannot be read, or none that can.
    """

    def __init__(self, records: Sequence[Record], tasks: dict[str, Task], **options: Any) -> None:
        super().__init__(tasks, unlabelled='keep', **options)
        self.use(records)


def records_of(words: Sequence[str], named: Mapping[str, str]) -> list[Record]:
    """The images that words on the command line mean, each file once.

    Args:
        words: image files, folders (with all images below them), patterns with * or ?, and
            manifests (.csv or .parquet, read as by `ManifestImages` without its tasks).
        named: `patient`, a regular expression whose first group, found in a file's path, is the
            patient; `columns.NAME`, a manifest's own name for a column.
    Raises:
        ToolkitError: nothing of that kind, or no image in it.
    """
    columns = {k.removeprefix(COLUMN): v for k, v in named.items() if k.startswith(COLUMN)}
    tables = [word for word in words if Path(word).suffix.lower() in TABLES]
    if columns and not tables:
        raise ToolkitError(f'{COLUMN}{next(iter(columns))} is of a manifest, and none is given')
    pattern = _pattern(named['patient']) if 'patient' in named else None
    if pattern is not None and len(tables) == len(words):
        raise ToolkitError(
            f'patient= is of files; for a manifest name its column: {COLUMN}patient=COLUMN'
        )
    found: dict[tuple[Path, int], Record] = {}
    for word in words:
        if word in tables:
            records = read_manifest(Path(word).absolute(), {}, columns).records
        else:
            records = tuple(_record(path, pattern) for path in _files(word))
        for record in records:
            assert record.path is not None
            found.setdefault((record.path.resolve(), record.frame), record)
    return list(found.values())


def words_and_options(inputs: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Words and `name=value` pairs; a file whose name has an = stays a file."""
    words, named = [], {}
    for word in inputs:
        name, equals, value = word.partition('=')
        if equals and (name in NAMED or name.startswith(COLUMN)):
            named[name] = value
        elif equals and not Path(word).exists() and name.isidentifier():
            known = ', '.join((*NAMED, f'{COLUMN}NAME'))
            raise ToolkitError(f'found {word}{did_you_mean(name, NAMED)}; expected {known}')
        else:
            words.append(word)
    if named.get('on_error', 'stop') not in ON_ERROR:
        raise ToolkitError(f'on_error is stop or skip, found {named["on_error"]!r}')
    if inputs and not words:
        raise ToolkitError(
            f'found {" ".join(inputs)} and no image; give files, folders, a manifest'
        )
    return words, named


def given_images(
    records: Sequence[Record], system: Classifier, dataset: Any, on_error: str
) -> GivenImages:
    """Records as a data set that prepares images as the run's test data do."""
    if not (isinstance(dataset, Part) and issubclass(dataset.cls, ImageSet)):
        raise ToolkitError(
            f'files cannot be prepared as the images of {dataset} are; leave --input out for the '
            "run's own test data"
        )
    same = {name: dataset.arguments[name] for name in PREPARED if name in dataset.arguments}
    given = Part(GivenImages, same)(records=records, tasks=system.tasks, on_error=on_error)
    system.check_data(given)
    return given


def _files(word: str) -> list[Path]:
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
        what = 'no file matches' if glob.has_magic(word) else 'no file or folder'
        raise MissingDataError(f'{what} {word}')
    return images


def _record(path: Path, pattern: re.Pattern[str] | None) -> Record:
    name = path.as_posix()
    patient = name
    if pattern is not None:
        found = pattern.search(name)
        if found is None or not found[1]:
            raise ToolkitError(f'{path}: its path has no patient by {pattern.pattern!r}')
        patient = found[1]
    return Record(id=name, path=path.absolute(), patient=patient)


def _pattern(text: str) -> re.Pattern[str]:
    try:
        pattern = re.compile(text)
    except re.error as error:
        raise ToolkitError(f'patient={text} is no regular expression: {error}') from error
    if not pattern.groups:
        raise ToolkitError(f'patient={text} has no group ( ) that is the patient')
    return pattern


def batch_size(text: str) -> int:
    """How many images go through the network together, as written."""
    if not text.isdecimal() or not int(text):
        raise ToolkitError(f'batch_size is a whole number from 1, found {text!r}')
    return int(text)
