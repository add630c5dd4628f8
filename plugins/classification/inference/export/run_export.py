"""`toolkit export` for classifiers: the comparison with the run's test, and the messages."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from plugins.classification.data.image_dataset import ImageSet
from plugins.classification.inference.ensemble import (
    RULE,
    UNTESTED,
    EnsembleMember,
    add_ensemble,
    load_members,
)
from plugins.classification.inference.export.export_check import (
    compare_decisions,
    match_positions,
    read_test,
    refuse_flips,
)
from plugins.classification.inference.export.export_recipe import (
    ScriptImages,
    describe_preparation,
    list_transforms,
    write_script,
)
from plugins.classification.inference.export.onnx_export import export
from plugins.classification.interfaces import NOTE, LabelledImages
from plugins.classification.metrics.predictions import Predictions
from plugins.classification.system import Classifier
from toolkit.engine import checkpoint
from toolkit.errors import ToolkitError
from toolkit.interfaces import PredictOptions
from toolkit.io.output_path import check_outputs
from toolkit.io.run_layout import list_run_files

IMAGES = 8  # of the test data whose outputs are compared with those of torch


def add_export_arguments(parser: argparse._ArgumentGroup) -> None:
    """Declares `--allow-flips`, `--untested` and `--ensemble`."""
    unequal = parser.add_mutually_exclusive_group()
    unequal.add_argument(
        '--allow-flips',
        type=int,
        default=0,
        metavar='N',
        help='decisions that may differ from those of the test (default: %(default)s)',
    )
    unequal.add_argument(
        '--untested',
        action='store_true',
        help='do not compare decisions with a test of the run, such as where it has none',
    )
    add_ensemble(
        parser,
        'the file holds all networks, and gives the mean and the spread of their probabilities',
    )


def export_run(system: Classifier, output: Path, options: PredictOptions) -> None:
    """Writes a trained classifier as ONNX, after comparing it with the run's test.

    The output is put in place only if it decides as the run's test did, on all images of the test,
    and so does OUTPUT_prepare.py, a script of a few lines that prepares an image for it.

    Args:
        system: trained.
        output: file to write.
        options: whose arguments are those of `toolkit export`.
    Raises:
        ToolkitError: a part that cannot be exported, or data that cannot be read.
        RunError: the file decides otherwise than torch.
    """
    arguments, weights = options.arguments, options.weights
    if arguments.allow_flips < 0:
        raise ToolkitError(f'--allow-flips must be 0 or more, found {arguments.allow_flips}')
    script = output.with_name(f'{output.stem}_prepare.py')
    folder: Path = arguments.run_dir
    check_outputs([script], list_run_files(folder), overwrite=options.overwrite)
    assert weights is not None
    slot = options.dataset
    members = list(load_members(arguments.ensemble, system, slot, folder))
    check_outputs(
        [output, script],
        [path for member in members for path in list_run_files(member.folder)],
        overwrite=options.overwrite,
    )
    tested: Mapping[str, Predictions] = {}
    if not arguments.untested:
        tested = _read_own_test(folder, options.metrics, system, weights)
    data = _build_data(slot, arguments.untested)
    # The members decide as their own tests did; the ensemble itself has none.
    for member in members:
        _check_member(member, arguments)
    companions: dict[Path, str] = {}
    metadata: dict[str, Any] = {
        'checkpoint': weights.name,
        'preparation': 'the test data could not be read: see the config of the run',
    }
    if isinstance(data, ImageSet):
        metadata['preparation'] = describe_preparation(data)
        if not list_transforms(data):
            companions[script] = write_script(data, output.name)
    check = None
    if members:
        metadata['ensemble'] = {
            'members': [str(folder), *(str(m.folder) for m in members)],
            'checkpoints': [str(weights), *(str(m.trained.weights) for m in members)],
            'rule': RULE,
            'test': UNTESTED,
        }
    if tested:
        check = _make_check(
            data, tested, companions.get(script), arguments.allow_flips, options.precision
        )
    if members and check is not None:
        _export_aside(system, _read_images(data), check, folder)
    difference, compared = export(
        system,
        output,
        _read_images(data),
        metadata,
        None if members else check,
        companions,
        [member.system for member in members],
    )
    size = output.stat().st_size / 1e6
    print(NOTE)
    print(
        f'wrote {output} ({size:.1f} MB): onnxruntime differs from torch by '
        f'{difference:.1e} at most, on {compared}'
    )
    if companions:
        print(f'wrote {script}: it prepares an image for the network')
    elif isinstance(data, ImageSet):
        print(
            'no script for the preparation is written, which has transforms that it cannot '
            f'hold: {", ".join(list_transforms(data))}; prepare images by this toolkit'
        )
    if members:
        print(f'an ensemble of {len(members) + 1} networks: {UNTESTED}')
    if not tested:
        print('the decisions were not compared with a test of the run')


def _read_own_test(
    folder: Path, metrics: Mapping[str, Any], system: Classifier, weights: Path
) -> Mapping[str, Predictions]:
    """Reads the test of a run, of a checkpoint."""
    content = checkpoint.load(weights)
    return read_test(folder, metrics, system.tasks, (content.get('meta') or {}).get('iter'))


def _check_member(member: EnsembleMember, arguments: argparse.Namespace) -> None:
    """Compares a member of an ensemble with the test of its own run, as for its own export."""
    if arguments.untested:
        return
    run, weights = member.trained.run, member.trained.weights
    assert weights is not None
    with member.trained.config.locate_errors():
        metrics = {} if run.test_evaluator is None else run.test_evaluator.metrics
        tested = _read_own_test(member.folder, metrics, member.system, weights)
        loader = run.test_dataloader
        data = _build_data(None if loader is None else loader.dataset, untested=False)
    check = _make_check(data, tested, None, arguments.allow_flips, run.runtime.precision)
    _export_aside(member.system, _read_images(data), check, member.folder)


def _export_aside(system: Classifier, images: list[Tensor], check: Any, folder: Path) -> None:
    """Exports a member to a folder that is removed, for the comparison with its test."""
    print(f'{folder}:')
    with tempfile.TemporaryDirectory() as aside:
        export(system, Path(aside) / 'member.onnx', images, {}, check)


def _make_check(
    data: Any,
    tested: Mapping[str, Predictions],
    script: str | None,
    allowed: int,
    precision: str,
) -> Any:
    """Makes the comparison with the test: of the network, then of network and script."""

    def check(predict: Callable[[np.ndarray], Sequence[np.ndarray]]) -> dict[str, Any]:
        positions = match_positions(data, tested)
        own = (data.pool_image(position, 0).numpy() for position in positions)
        found = compare_decisions(predict, own, tested)
        refuse_flips(found, allowed, 'the exported network', precision)
        record: dict[str, Any] = {
            'precision_of_the_run': precision,
            'test': {name: task.to_json() for name, task in found.items()},
        }
        for name, task in found.items():
            print(
                f'{name}: {len(task.flipped)} of {task.images} decisions differ from those of the '
                f'test, probabilities by {task.probability:.1e} at most'
            )
        if script is not None:
            images = ScriptImages(data, script)
            found = compare_decisions(predict, map(images, positions), tested)
            refuse_flips(found, allowed, 'the exported network with its script', precision)
            record['test_with_script'] = {name: task.to_json() for name, task in found.items()}
            flips = sum(len(task.flipped) for task in found.values())
            line = f'with the script for the preparation, {flips} decisions differ'
            if images.by_product:
                record['images_that_the_script_cannot_read'] = images.by_product
                line += f'; it got the pixels of {images.by_product} images that it cannot read'
            print(line)
        return {'comparison': record}

    return check


def _build_data(dataset: Any, untested: bool) -> LabelledImages | None:
    """Builds the run's test data.

    Returns:
        The data; None if they are not there, and the export need not be compared with a test.
    Raises:
        ToolkitError: they are not there, and are needed.
    """
    try:
        data = dataset() if dataset is not None else None
    except ToolkitError as error:
        if not untested:
            raise ToolkitError(
                f'{error}\nthe export is compared with the test on its images, which cannot be '
                'read; make them readable, or export without the comparison by --untested'
            ) from error
        print(f'the test data cannot be read, so only random images are compared: {error}')
        return None
    if data is None and not untested:
        raise ToolkitError(
            'the run has no test_dataloader, so that the export cannot be compared with a test; '
            'add one, or export without the comparison by --untested'
        )
    return data


def _read_images(data: LabelledImages | None) -> list[Tensor]:
    """Reads some images of the data."""
    if data is None:
        return []
    step = max(1, len(data.positions) // IMAGES)
    return [data.pool_image(position, 0) for position in data.positions[::step][:IMAGES]]
