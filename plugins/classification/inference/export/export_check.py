"""Comparison of an exported network with the test of its run, on all images of the test."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from plugins.classification.interfaces import LabelledImages
from plugins.classification.metrics.clinical_metrics import (
    build_clinical_metrics,
    find_clinical_metrics,
)
from plugins.classification.metrics.predictions import Predictions, read_rows
from plugins.classification.tasks import Tasks
from toolkit.errors import RunError, ToolkitError
from toolkit.interfaces import Metric
from toolkit.io.run_layout import METRICS_FILE, read_object

BATCH = 8
NAMED = 5  # images that a message names


@dataclass(frozen=True)
class Disagreement:
    """Difference of one task's decisions from those of the test.

    Attributes:
        images: number of images compared.
        flipped: ids of the images that are decided otherwise, or have no finite probability.
        probability: largest difference of a finite probability.
    """

    images: int
    flipped: tuple[str, ...]
    probability: float

    def to_json(self) -> dict[str, Any]:
        return {
            'images': self.images,
            'flipped': len(self.flipped),
            'largest_difference_of_probability': self.probability,
        }


def read_test(
    run: Path, metrics: Mapping[str, Callable[[], Metric]], tasks: Tasks, iteration: int | None
) -> dict[str, Predictions]:
    """Reads the predictions of a run's test, images with and without labels, by task.

    Args:
        run: folder of the run.
        metrics: slots of its test metrics, by key.
        tasks: tasks of the system.
        iteration: of the checkpoint that is exported; None if it is not known.
    Raises:
        ToolkitError: the run has no such rows, or they are of another checkpoint.
    """
    path = run / METRICS_FILE
    record = read_object(path) or {}
    found = find_clinical_metrics(build_clinical_metrics(metrics))
    rows = record.get('rows') or {}
    missing = [name for name in tasks if name not in found or found[name][0] not in rows]
    if missing:
        raise ToolkitError(
            f'{run} has no test of the task {missing[0]!r} to compare the export with: give '
            'test_evaluator a ClinicalMetrics of each task and run `toolkit test --run '
            f'{run}`, or export without the comparison by --untested'
        )
    tested = record.get('iter')
    if None not in (tested, iteration) and tested != iteration:
        raise ToolkitError(
            f'{path} is the test of iteration {tested}, and the checkpoint to be exported is of '
            f'iteration {iteration}: test it first (`toolkit test --run {run} --checkpoint ...`), '
            'or name the tested one by --checkpoint'
        )
    return {name: read_rows(rows[found[name][0]], tasks[name], str(path)) for name in tasks}


def match_positions(data: LabelledImages, tested: Mapping[str, Predictions]) -> list[int]:
    """Returns the position in `data.pool` of each tested image.

    Raises:
        ToolkitError: the test has other images than the data.
    """
    positions = {record.id: p for record, p in zip(data.records, data.positions, strict=True)}
    ids = [str(name) for name in next(iter(tested.values())).ids]
    differing = sorted(set(ids) ^ set(positions))
    if differing or len(ids) != len(positions):
        raise ToolkitError(
            f'the test was made on {len(ids)} images and the test data have {len(positions)} now; '
            f'{differing[0] if differing else "an id"!r} is in one of them alone: test again'
        )
    return [positions[name] for name in ids]


def compare_decisions(
    predict: Callable[[np.ndarray], Sequence[np.ndarray]],
    images: Iterable[np.ndarray],
    tested: Mapping[str, Predictions],
) -> dict[str, Disagreement]:
    """Compares decisions of a network with those of a test.

    Args:
        predict: images (B, C, S, S) -> probabilities (B, K) of each task, then decisions (B,) of
            each task, in the order of `tested`.
        images: (C, S, S) each, in the order of the test's rows.
        tested: predictions of the test by task.
    """
    outputs = [predict(batch) for batch in _make_batches(images)]
    joined = [np.concatenate(parts) for parts in zip(*outputs, strict=True)]
    found = {}
    for place, (name, predictions) in enumerate(tested.items()):
        probabilities, decisions = joined[place], joined[len(tested) + place]
        finite = np.isfinite(probabilities).all(1)
        # Without a probability there is no decision, though NaN looks like one for some class.
        other = (decisions != predictions.decisions) | ~finite
        difference = np.abs(probabilities - predictions.probabilities)[finite].max(initial=0)
        found[name] = Disagreement(
            len(decisions), tuple(map(str, predictions.ids[other])), float(difference)
        )
    return found


def refuse_flips(
    found: Mapping[str, Disagreement], allowed: int, network: str, precision: str
) -> None:
    """Refuses decisions that differ from the test's.

    Raises:
        RunError: more decisions differ than are allowed.
    """
    flips = sum(len(task.flipped) for task in found.values())
    if flips <= allowed:
        return
    told = [
        f'{len(task.flipped)} of {task.images} of {name} ({", ".join(task.flipped[:NAMED])}'
        f'{", ..." if len(task.flipped) > NAMED else ""}), probabilities by up to '
        f'{task.probability:.2g}'
        for name, task in found.items()
        if task.flipped
    ]
    cause = (
        f'the run computes in {precision}, the file in fp32: test in fp32 (`toolkit test --run D '
        '--work-dir NEW runtime.precision=fp32`) and export that test (`toolkit export --run NEW '
        '--checkpoint D/checkpoints/best.pth`), or'
        if precision != 'fp32'
        else 'test the run again, or'
    )
    raise RunError(
        f'{network} decides otherwise than the test of the run: {"; ".join(told)}. {cause} allow '
        f'the difference by --allow-flips {flips}; nothing was written'
    )


def _make_batches(images: Iterable[np.ndarray]) -> Iterable[np.ndarray]:
    batch: list[np.ndarray] = []
    for image in images:
        batch.append(image)
        if len(batch) == BATCH:
            yield np.stack(batch)
            batch = []
    if batch:
        yield np.stack(batch)
