"""Writes tables of the predictions of a trained classifier, by image and by patient."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

from plugins.classification.image_record import list_files
from plugins.classification.inference.ensemble import (
    RULE,
    UNTESTED,
    join_calibrations,
    load_members,
    require_aggregations,
)
from plugins.classification.inference.in_memory import predict_all
from plugins.classification.inference.input_images import find_images, is_manifest, load_images
from plugins.classification.inference.prediction_tables import (
    describe_omissions,
    describe_predictions,
    format_rows,
    join_votes,
    make_patient_rows,
    make_rows,
)
from plugins.classification.interfaces import NOTE
from plugins.classification.metrics.clinical_metrics import (
    build_clinical_metrics,
    find_aggregations,
)
from plugins.classification.system import Classifier
from toolkit.errors import ToolkitError
from toolkit.interfaces import Metric
from toolkit.io import atomic_write
from toolkit.io.output_path import check_outputs, write_all_or_none

BATCH_SIZE = 32


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
    metrics: Mapping[str, Callable[[], Metric]] | None = None,
    device: torch.device | str = 'cpu',
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    overwrite: bool = False,
    report: Callable[[str], None] = lambda line: None,
    ensemble: Sequence[Path] = (),
    run: Path | None = None,
) -> list[Path]:
    """Writes the predictions of a system for images, and for patients if they are known.

    OUTPUT has a row for each image (see `make_rows`). OUTPUT-patients.csv has the same for each
    patient: it joins the images by the rule of the run's test (`find_aggregations`), the mean if
    the test has none. An image whose patient is not known counts as a patient of its own, as in a
    test; if no patient is known, the file is not written. OUTPUT.json describes both and lists
    images that were skipped, and files that were left out.

    Args:
        system: in evaluation mode.
        inputs: see `find_images`, as `patient` and `columns`; empty for the images of `dataset`.
        output: the CSV file.
        on_error: 'stop', or 'skip' to leave out images that cannot be read.
        batch_size: images that go through the network together.
        dataset: slot of the run's test data. The images are prepared as these data are; it is
            built only if there are no inputs.
        metrics: slots of the run's test metrics, by key.
        device: of the system.
        autocast: makes a context for each computation.
        overwrite: replace files that exist; inputs are never replaced.
        report: takes a line for the user.
        ensemble: folders of runs whose probabilities are averaged with those of the system.
        run: folder of the system's own run, if it is known.
    Returns:
        The files written.
    Raises:
        ToolkitError: inputs, options or an output that cannot be used, or no data that say how
            images are prepared.
        DataError: images that cannot be read, or probabilities that are not finite.
        RunError: a file cannot be written.
    """
    if batch_size < 1:
        raise ToolkitError(f'--batch-size must be at least 1, found {batch_size}')
    if output.suffix.lower() != '.csv':
        raise ToolkitError(
            f'the output {output} is a table and needs a name such as {output.with_suffix(".csv")}'
        )
    dataset = require_dataset(dataset)
    by_patient = output.with_name(f'{output.stem}-patients.csv')
    outputs = [output, by_patient, output.with_suffix('.json')]
    left_out: Mapping[str, str] = {}
    report(NOTE)
    if inputs:
        images = find_images(inputs, patient, columns)
        left_out = images.left_out
        files_read = [*filter(is_manifest, inputs), *list_files(images.records)]
        check_outputs(outputs, files_read, overwrite=overwrite)
        data = load_images(images, system, dataset, on_error)
    elif patient is not None or columns:
        option = '--patient' if patient is not None else '--columns'
        raise ToolkitError(f'{option} is an option for --input, which is not given')
    else:
        data = dataset()
        check_outputs(outputs, list_files(data.pool), overwrite=overwrite)
        system.check_data(data)
    device = torch.device(device)
    # All members are known to fit before the work begins.
    members = list(load_members(ensemble, system, dataset, run, device))
    aggregations = dict.fromkeys(system.tasks, 'mean') | find_aggregations(
        build_clinical_metrics(metrics or {})
    )
    for member in members:
        require_aggregations(member, aggregations)
    systems = [system, *(member.system for member in members)]
    calibrations = [one.calibration for one in systems]
    folders = [str(run), *(str(member.folder) for member in members)]
    votes = [predict_all(one, data, batch_size, device, autocast) for one in systems]
    calibration = system.calibration
    if members:
        calibration = join_calibrations(calibrations, system.tasks)
    by_image = join_votes(votes, calibration, system.tasks)
    rows = make_rows(system.tasks, calibration, data.records, by_image)
    patients = make_patient_rows(
        system.tasks, calibration, data.records, votes, calibrations, aggregations
    )
    files = {output: format_rows(rows)}
    if patients:
        files[by_patient] = format_rows(patients)
    else:
        by_patient.unlink(missing_ok=True)  # one that `overwrite` allows to replace
    skipped = getattr(data, 'skipped', {})
    joined = {'members': folders, 'rule': RULE, 'test': UNTESTED} if members else None
    files[output.with_suffix('.json')] = describe_predictions(
        calibration, len(rows), len(patients), aggregations, skipped, left_out, joined
    )
    if members:
        report(f'an ensemble of {len(votes)} networks: {UNTESTED}')
    with write_all_or_none(files):
        for path, content in files.items():
            atomic_write.write(path, content)
    for line in describe_omissions(skipped, left_out, output.with_suffix('.json')):
        report(line)
    summary = f'classified {len(rows)} images'
    summary += f' of {len(patients)} patients' if patients else ''
    summary += f', skipped {len(skipped)}' if skipped else ''
    report(summary + (f', left out {len(left_out)}' if left_out else ''))
    return list(files)


def require_dataset(dataset: Any) -> Any:
    """Returns the slot of the test data.

    Raises:
        ToolkitError: there is none.
    """
    if dataset is None:
        raise ToolkitError(
            'it is not known how to prepare images: the config has no test_dataloader; add one'
        )
    return dataset
