"""Classifying images that no data set names: files, folders, patterns, manifests."""

from __future__ import annotations

import csv
import glob
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from plugins.classification.clinicalreport import NOTE
from plugins.classification.imagefiles import FileSet
from plugins.classification.images import SUFFIXES
from plugins.classification.imageset import ImageSet
from plugins.classification.interfaces import LabelledImages
from plugins.classification.manifest import read_manifest
from plugins.classification.records import Record
from plugins.classification.tasks import Task
from toolkit import files
from toolkit.build import Part
from toolkit.errors import MissingDataError, ToolkitError, did_you_mean

if TYPE_CHECKING:
    from plugins.classification.system import Classifier

TABLES = ('.csv', '.parquet')
# What may be named among the inputs.
NAMED = ('patient', 'on_error', 'batch_size')
COLUMN = 'columns.'
ON_ERROR = ('stop', 'skip')
# What of a data set's arguments decides how a file becomes an image.
PREPARED = ('size', 'channels', 'fit', 'transforms', 'region')

Rows = list[dict[str, Any]]


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


def predict_images(
    system: Classifier,
    inputs: Sequence[str],
    output: Path,
    *,
    dataset: Any = None,
    device: torch.device | str = 'cpu',
    context: Callable[[], AbstractContextManager[Any]] = nullcontext,
    say: Callable[[str], None] = lambda line: None,
    **options: Any,
) -> list[Path]:
    """Write what a system says of images, and of patients where these are known.

    OUTPUT has a row for each image: `id`, `file`, `frame`, `patient`, and for each task the class
    decided for (`TASK`), the threshold by which (`TASK_threshold`, where one class is the positive
    one), and the probability of each class (`TASK_probability_CLASS`). OUTPUT-patients.csv has the
    same of each patient by the mean of the images' probabilities. OUTPUT.json says what both are,
    and what was skipped.

    Args:
        system: in evaluation mode.
        inputs: see `records_of`; empty for the images of `dataset`.
        output: the CSV file.
        dataset: a slot of the run's test data, as whose images those given are prepared; it is
            built only where there are no inputs.
        device: that the system is on.
        context: made around each computation.
        say: is told what was done.
        **options: of the command line; none has a meaning for images.
    Returns:
        The files written.
    Raises:
        ToolkitError: inputs or options that mean nothing here, no data to prepare images by.
        DataError: images that cannot be read.
        RunError: a file cannot be written.
    """
    if meaningless := sorted(name for name, value in options.items() if value is not None):
        raise ToolkitError(f'--{meaningless[0]} has no meaning for the classification of images')
    if output.suffix.lower() != '.csv':
        raise ToolkitError(
            f'the output {output} is a table and needs a name such as {output.with_suffix(".csv")}'
        )
    if output.is_dir():
        raise ToolkitError(f'the output {output} is a folder; give the name of a CSV file in it')
    if dataset is None:
        raise ToolkitError(
            'it is not known how images are prepared: the config has no test_dataloader'
        )
    words, named = _split(inputs)
    batch_size = _batch_size(named.get('batch_size', '32'))
    say(NOTE)
    if words:
        records = records_of(words, named)
        data = _given(records, system, dataset, named.get('on_error', 'stop'))
    else:
        data = dataset()
        system.check_data(data)
    rows = list(_rows(system, data, batch_size, torch.device(device), context))
    patients = _patients(system, rows)
    written = {output: _table(rows)}
    if patients:
        written[output.with_name(f'{output.stem}-patients.csv')] = _table(patients)
    skipped = getattr(data, 'skipped', {})
    written[output.with_suffix('.json')] = _about(system, rows, patients, skipped)
    for path, content in written.items():
        files.write(path, content)
    for name, why in skipped.items():
        say(f'skipped {name}: {why}')
    told = f' of {len(patients)} patients' if patients else ''
    say(f'classified {len(rows)} images{told}' + (f', skipped {len(skipped)}' if skipped else ''))
    return list(written)


# -- what was given --------------------------------------------------------------------------------


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


def _split(inputs: Sequence[str]) -> tuple[list[str], dict[str, str]]:
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


def _given(
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


def _batch_size(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise ToolkitError(f'batch_size is a whole number from 1, found {text!r}')
    return int(text)


# -- what is said of it ----------------------------------------------------------------------------


def _rows(
    system: Classifier,
    data: LabelledImages,
    batch_size: int,
    device: torch.device,
    context: Callable[[], AbstractContextManager[Any]],
) -> Iterator[dict[str, Any]]:
    for start in range(0, len(data.positions), batch_size):
        stop = min(start + batch_size, len(data.positions))
        images = [data.pool_image(data.positions[i], 0) for i in range(start, stop)]
        with torch.inference_mode(), context():
            outputs = system.predict({'image': torch.stack(images).to(device)})
        said = {name: x.float().cpu().numpy() for name, x in outputs['probabilities'].items()}
        for place, record in enumerate(data.records[start:stop]):
            yield {
                'id': record.id,
                'file': '' if record.path is None else str(record.path),
                'frame': record.frame,
                'patient': '' if record.patient == record.id else record.patient,
                **_said(system, {name: values[place] for name, values in said.items()}),
            }


def _said(system: Classifier, probabilities: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The cells of an image or a patient: by task the class, the threshold, the probabilities."""
    cells: dict[str, Any] = {}
    for name, task in system.tasks.items():
        values = torch.from_numpy(probabilities[name])[None]
        values = values.to(system.calibration.temperature(name).device)
        threshold = system.calibration.threshold(name)
        decided = int(system.calibration.decide(name, values)[0])
        cells[name] = task.classes[decided]
        if threshold is not None:
            cells[f'{name}_threshold'] = f'{float(threshold):.6g}'
        for label, value in zip(task.classes, probabilities[name]):
            cells[f'{name}_probability_{label}'] = float(f'{value:.6g}')
    return cells


def _patients(system: Classifier, rows: Rows) -> Rows:
    """A row for each patient by the mean over images; none where no patient is known."""
    by_patient: dict[str, Rows] = {}
    for row in rows:
        if row['patient']:
            by_patient.setdefault(row['patient'], []).append(row)
    found = []
    for patient, own in by_patient.items():
        means = {
            name: np.mean(
                [[row[f'{name}_probability_{c}'] for c in task.classes] for row in own], axis=0
            ).astype(np.float32)
            for name, task in system.tasks.items()
        }
        found.append({'patient': patient, 'images': len(own), **_said(system, means)})
    return found


def _about(system: Classifier, rows: Rows, patients: Rows, skipped: Mapping[str, str]) -> str:
    tasks = {
        name: {
            'classes': list(task.classes),
            'positive': task.positive,
            'threshold': None
            if (threshold := system.calibration.threshold(name)) is None
            else float(threshold),
            'temperature': float(system.calibration.temperature(name)),
        }
        for name, task in system.tasks.items()
    }
    record = {
        'note': NOTE,
        'tasks': tasks,
        'patients_by': 'mean of the probabilities of their images',
        'images': len(rows),
        'patients': len(patients),
        'skipped': dict(skipped),
    }
    return json.dumps(record, indent=1, ensure_ascii=False) + '\n'


def _table(rows: Rows) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
