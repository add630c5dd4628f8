"""Tables of what a trained classifier says of images and of patients."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from plugins.classification.inference.input_images import (
    batch_size,
    given_images,
    records_of,
    words_and_options,
)
from plugins.classification.interfaces import LabelledImages
from plugins.classification.reporting.clinical_report_hook import NOTE
from toolkit.errors import ToolkitError
from toolkit.io import atomic_write

if TYPE_CHECKING:
    from plugins.classification.system import Classifier


Rows = list[dict[str, Any]]


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
        inputs: see `plugins.classification.inference.input_images`; empty for the images of
            `dataset`.
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
    words, named = words_and_options(inputs)
    size = batch_size(named.get('batch_size', '32'))
    say(NOTE)
    if words:
        records = records_of(words, named)
        data = given_images(records, system, dataset, named.get('on_error', 'stop'))
    else:
        data = dataset()
        system.check_data(data)
    rows = list(_rows(system, data, size, torch.device(device), context))
    patients = _patients(system, rows)
    written = {output: _table(rows)}
    if patients:
        written[output.with_name(f'{output.stem}-patients.csv')] = _table(patients)
    skipped = getattr(data, 'skipped', {})
    written[output.with_suffix('.json')] = _about(system, rows, patients, skipped)
    for path, content in written.items():
        atomic_write.write(path, content)
    for name, why in skipped.items():
        say(f'skipped {name}: {why}')
    told = f' of {len(patients)} patients' if patients else ''
    say(f'classified {len(rows)} images{told}' + (f', skipped {len(skipped)}' if skipped else ''))
    return list(written)


# -- what is said of it ----------------------------------------------------------------------------


def _rows(
    system: Classifier,
    data: LabelledImages,
    size: int,
    device: torch.device,
    context: Callable[[], AbstractContextManager[Any]],
) -> Iterator[dict[str, Any]]:
    for start in range(0, len(data.positions), size):
        stop = min(start + size, len(data.positions))
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
        _, threshold = system.calibration.numbers(name)
        decided = int(system.calibration.decide(name, values)[0])
        cells[name] = task.classes[decided]
        if threshold is not None:
            cells[f'{name}_threshold'] = f'{threshold:.6g}'
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
    record = {
        'note': NOTE,
        'tasks': system.calibration.record(),
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
