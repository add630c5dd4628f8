"""Tables of the predictions of a trained classifier, by image and by patient."""

from __future__ import annotations

import argparse
import csv
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch

from plugins.classification.data.manifest_options import add_columns_option, parse_columns
from plugins.classification.image_record import list_files
from plugins.classification.inference.input_images import (
    ON_ERROR,
    find_images,
    is_manifest,
    load_images,
)
from plugins.classification.interfaces import NOTE, LabelledImages
from plugins.classification.system import Classifier
from toolkit.errors import ToolkitError
from toolkit.interfaces import PredictOptions, Predictor, System
from toolkit.io import atomic_write
from toolkit.io.output_path import check_outputs
from toolkit.registry import PREDICTORS

BATCH_SIZE = 32

Rows = list[dict[str, Any]]


@PREDICTORS.register
class ImagePredictor(Predictor):
    """Classifies images and writes a table of them, and one of their patients.

    --input takes image files, folders, patterns such as 'scans/*.png', and manifests (.csv,
    .parquet). --output is a CSV file.
    """

    system = Classifier

    @classmethod
    def add_arguments(cls, parser: argparse._ArgumentGroup) -> None:
        """Declares `--patient`, `--columns`, `--on-error` and `--batch-size`."""
        parser.add_argument(
            '--patient',
            metavar='REGEX',
            help='the first group, found in the path of an image file, is the patient',
        )
        add_columns_option(parser)
        parser.add_argument(
            '--on-error',
            choices=ON_ERROR,
            default='stop',
            help='skip images that cannot be read, and name them, or write nothing (default: stop)',
        )
        parser.add_argument(
            '--batch-size',
            type=int,
            default=BATCH_SIZE,
            metavar='N',
            help='images that go through the network together (default: %(default)s)',
        )

    def predict(
        self, system: System, inputs: Sequence[str], output: Path, options: PredictOptions
    ) -> list[Path]:
        """Classifies images; see `predict_images`."""
        assert isinstance(system, Classifier)
        arguments = options.arguments
        return predict_images(
            system,
            inputs,
            output,
            patient=arguments.patient,
            columns=parse_columns(arguments.columns),
            on_error=arguments.on_error,
            batch_size=arguments.batch_size,
            dataset=options.dataset,
            device=options.device,
            autocast=options.autocast,
            overwrite=options.overwrite,
            report=options.report,
        )


def predict_images(
    system: Classifier,
    inputs: Sequence[str],
    output: Path,
    *,
    patient: str | None = None,
    columns: Mapping[str, str | None] | None = None,
    on_error: str = 'stop',
    batch_size: int = BATCH_SIZE,
    dataset: Any = None,
    device: torch.device | str = 'cpu',
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    overwrite: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> list[Path]:
    """Writes the predictions of a system for images, and for patients if they are known.

    OUTPUT has a row for each image: `id`, `file`, `frame`, `patient`, and for each task the
    decision (`TASK`), the threshold of the positive class if the task has one (`TASK_threshold`),
    and the probability of each class (`TASK_probability_CLASS`). OUTPUT-patients.csv has the same
    for each patient, by the mean probability over the images. OUTPUT.json describes both and lists
    skipped images.

    Args:
        system: in evaluation mode.
        inputs: see `find_images`; empty for the images of `dataset`.
        output: the CSV file.
        patient: see `find_images`.
        columns: see `find_images`.
        on_error: 'stop', or 'skip' to leave out images that cannot be read.
        batch_size: images that go through the network together.
        dataset: slot of the run's test data. The images are prepared as these data are; it is
            built only if there are no inputs.
        device: of the system.
        autocast: makes a context for each computation.
        overwrite: replace files that exist; inputs are never replaced.
        report: takes a line for the user.
    Returns:
        The files written.
    Raises:
        ToolkitError: inputs, options or an output that cannot be used, or no data that say how
            images are prepared.
        DataError: images that cannot be read.
        RunError: a file cannot be written.
    """
    if batch_size < 1:
        raise ToolkitError(f'--batch-size must be at least 1, found {batch_size}')
    if output.suffix.lower() != '.csv':
        raise ToolkitError(
            f'the output {output} is a table and needs a name such as {output.with_suffix(".csv")}'
        )
    if dataset is None:
        raise ToolkitError(
            'it is not known how to prepare images: the config has no test_dataloader; add one'
        )
    by_patient = output.with_name(f'{output.stem}-patients.csv')
    outputs = [output, by_patient, output.with_suffix('.json')]
    report(NOTE)
    if inputs:
        images = find_images(inputs, patient, columns)
        files_read = [*filter(is_manifest, inputs), *list_files(images)]
        check_outputs(outputs, files_read, overwrite=overwrite)
        data = load_images(images, system, dataset, on_error)
    elif patient is not None or columns:
        option = '--patient' if patient is not None else '--columns'
        raise ToolkitError(f'{option} is an option for --input, which is not given')
    else:
        data = dataset()
        check_outputs(outputs, list_files(data.pool), overwrite=overwrite)
        system.check_data(data)
    rows = list(_predict_rows(system, data, batch_size, torch.device(device), autocast))
    patients = _average_by_patient(system, rows)
    files = {output: _to_csv(rows)}
    if patients:
        files[by_patient] = _to_csv(patients)
    skipped = getattr(data, 'skipped', {})
    files[output.with_suffix('.json')] = _describe(system, rows, patients, skipped)
    for path, content in files.items():
        atomic_write.write(path, content)
    for name, reason in skipped.items():
        report(f'skipped {name}: {reason}')
    summary = f'classified {len(rows)} images'
    summary += f' of {len(patients)} patients' if patients else ''
    report(summary + (f', skipped {len(skipped)}' if skipped else ''))
    return list(files)


# -- rows ------------------------------------------------------------------------------------------


def _predict_rows(
    system: Classifier,
    data: LabelledImages,
    batch_size: int,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[Any]],
) -> Iterator[dict[str, Any]]:
    for start in range(0, len(data.positions), batch_size):
        stop = min(start + batch_size, len(data.positions))
        images = [data.pool_image(data.positions[i], 0) for i in range(start, stop)]
        with torch.inference_mode(), autocast():
            outputs = system.predict({'image': torch.stack(images).to(device)})
        predicted = {k: x.float().cpu().numpy() for k, x in outputs['probabilities'].items()}
        for index, record in enumerate(data.records[start:stop]):
            yield {
                'id': record.id,
                'file': '' if record.path is None else str(record.path),
                'frame': record.frame,
                'patient': '' if record.patient == record.id else record.patient,
                **_make_cells(system, {name: values[index] for name, values in predicted.items()}),
            }


def _make_cells(system: Classifier, probabilities: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The cells of an image or a patient: decision, threshold and probabilities by task."""
    cells: dict[str, Any] = {}
    for name, task in system.tasks.items():
        values = torch.from_numpy(probabilities[name])[None]
        values = values.to(system.calibration.temperature(name).device)
        _, threshold = system.calibration.numbers(name)
        decision = int(system.calibration.decide(name, values)[0])
        cells[name] = task.classes[decision]
        if threshold is not None:
            cells[f'{name}_threshold'] = f'{threshold:.6g}'
        for label, value in zip(task.classes, probabilities[name]):
            cells[f'{name}_probability_{label}'] = float(f'{value:.6g}')
    return cells


def _average_by_patient(system: Classifier, rows: Rows) -> Rows:
    """A row for each patient by the mean over images; no row if no patient is known."""
    by_patient: dict[str, Rows] = {}
    for row in rows:
        if row['patient']:
            by_patient.setdefault(row['patient'], []).append(row)
    averaged = []
    for patient, own in by_patient.items():
        means = {
            name: np.mean(
                [[row[f'{name}_probability_{c}'] for c in task.classes] for row in own], axis=0
            ).astype(np.float32)
            for name, task in system.tasks.items()
        }
        averaged.append({'patient': patient, 'images': len(own), **_make_cells(system, means)})
    return averaged


def _describe(system: Classifier, rows: Rows, patients: Rows, skipped: Mapping[str, str]) -> str:
    record = {
        'note': NOTE,
        'tasks': system.calibration.record(),
        'patients_by': 'mean of the probabilities of their images',
        'images': len(rows),
        'patients': len(patients),
        'skipped': dict(skipped),
    }
    return json.dumps(record, indent=1, ensure_ascii=False) + '\n'


def _to_csv(rows: Rows) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator='\n')
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
