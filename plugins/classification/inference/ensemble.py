"""Ensembles of trained classifiers, such as those of all folds of a study, with their spread."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from plugins.classification.calibration import Calibration, Choice
from plugins.classification.inference.input_images import PREPARATION
from plugins.classification.metrics.clinical_metrics import (
    build_clinical_metrics,
    find_aggregations,
)
from plugins.classification.system import Classifier
from toolkit.engine import checkpoint, components
from toolkit.engine.process import precision
from toolkit.errors import ToolkitError
from toolkit.run.load_run import TrainedRun, load_trained

RULE = (
    'probabilities are the means over the members; the threshold is the mean of theirs, and the '
    'weights of classes are the geometric means'
)
UNTESTED = (
    'the ensemble has no test of its own: the pooled result of a study is of single networks, and '
    'most members have trained on each image of the study'
)


@dataclass(frozen=True)
class EnsembleMember:
    """A trained classifier of an ensemble.

    Attributes:
        folder: of its run.
        trained: its config and weights.
        system: with these weights, in evaluation mode.
    """

    folder: Path
    trained: TrainedRun
    system: Classifier


def add_ensemble(parser: argparse.ArgumentParser | argparse._ArgumentGroup, purpose: str) -> None:
    """Declares `--ensemble`; `purpose` says what becomes of the further runs."""
    parser.add_argument(
        '--ensemble',
        nargs='+',
        type=Path,
        default=[],
        metavar='DIR',
        help=f'further runs, such as those of the other folds: {purpose}',
    )


def load_members(
    folders: Sequence[Path],
    system: Classifier,
    dataset: Any,
    own: Path | None,
    device: torch.device | None = None,
) -> Iterator[EnsembleMember]:
    """Loads the further members of an ensemble, one at a time.

    Args:
        folders: of their runs.
        system: the first member.
        dataset: slot of the first member's test data.
        own: folder of the first member's run; None if it is not known.
        device: to compute on; None for the CPU.
    Yields:
        The members, in the order of the folders.
    Raises:
        ToolkitError: a folder is given twice, holds no trained classifier, or one of other tasks or
            another preparation of images.
    """
    seen = set() if own is None else {own.resolve()}
    for folder in folders:
        if folder.resolve() in seen:
            raise ToolkitError(f'--ensemble: {folder} is given twice; name each run once')
        seen.add(folder.resolve())
    expected = _get_preparation(dataset)
    for folder in folders:
        trained = load_trained(None, run_dir=folder)
        if trained.weights is None:
            raise ToolkitError(f'--ensemble: {folder} has no checkpoint; train it first')
        with trained.config.locate_errors():
            member = components.build_system(trained.run)
            if not isinstance(member, Classifier):
                raise ToolkitError(
                    f'--ensemble: {folder} trains a {type(member).__name__}, not a Classifier'
                )
            checkpoint.load_weights(member, trained.weights)
        if member.tasks != system.tasks:
            raise ToolkitError(
                f'--ensemble: {folder} has other tasks, classes or costs than the first run; '
                'members of an ensemble answer the same questions'
            )
        loader = trained.run.test_dataloader
        found = _get_preparation(None if loader is None else loader.dataset)
        differing = [name for name in PREPARATION if found.get(name) != expected.get(name)]
        if differing:
            name = differing[0]
            raise ToolkitError(
                f'--ensemble: {folder} prepares images otherwise than the first run: {name} is '
                f'{found.get(name)!r}, not {expected.get(name)!r}'
            )
        precision.move_system(member, trained.run.runtime, device or torch.device('cpu'))
        yield EnsembleMember(folder, trained, member.eval())


def require_aggregations(member: EnsembleMember, expected: Mapping[str, str]) -> None:
    """Checks that a member joins the images of a patient as the first run does.

    Args:
        member: of an ensemble.
        expected: rule of the first run by task.
    Raises:
        ToolkitError: it does not, so that its threshold of patients is of other probabilities.
    """
    evaluator = member.trained.run.test_evaluator
    found = find_aggregations(
        build_clinical_metrics({} if evaluator is None else evaluator.metrics)
    )
    for task, rule in expected.items():
        if found.get(task, 'mean') != rule:
            raise ToolkitError(
                f'--ensemble: {member.folder} joins the images of a patient by '
                f'{found.get(task, "mean")} in task {task!r}, the first run by {rule}; their '
                'thresholds of patients are not comparable'
            )


def _get_preparation(slot: Any) -> dict[str, Any]:
    arguments = getattr(slot, 'arguments', {})
    return {name: arguments.get(name) for name in PREPARATION}


def join_calibrations(members: Sequence[Calibration], tasks: Any) -> Calibration:
    """Makes the decision rule of an ensemble; its temperature is 1.

    Args:
        members: calibrations of the members.
        tasks: their tasks.
    """
    joined = Calibration(tasks)
    for name in tasks:
        choices = [member.choice(name) for member in members]
        count = len(tasks[name].classes)
        weights = np.array([choice.weights or (1.0,) * count for choice in choices])
        joined.store(
            name,
            Choice(
                1.0,
                _average([choice.threshold for choice in choices]),
                _average([choice.patient_threshold for choice in choices]),
                tuple(np.exp(np.log(weights).mean(0)).tolist()),
            ),
        )
    return joined


def _average(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def compute_spread(probabilities: np.ndarray) -> np.ndarray:
    """Computes the standard deviation (n - 1) over members: (M, N, K) -> (N, K); 0 of one."""
    if len(probabilities) < 2:
        return np.zeros(probabilities.shape[1:])
    return probabilities.std(0, ddof=1)


class EnsembleNetwork(nn.Module):
    """Network of an exported ensemble: image -> probabilities, decisions, spreads of each task.

    Args:
        systems: the members, on the CPU.
    Shape: (B, C, H, W) in [0, 1] -> (B, K), (B,) and (B, K).
    """

    kinds = ('probabilities', 'decision', 'spread')

    def __init__(self, systems: Sequence[Classifier]) -> None:
        super().__init__()
        self.systems = nn.ModuleList(systems)
        self.tasks = systems[0].tasks
        self.calibration = join_calibrations([s.calibration for s in systems], self.tasks)

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        found: Mapping[str, list[Tensor]] = {name: [] for name in self.tasks}
        for system in self.systems:
            for name, logits in system.predicted_logits({'image': image}).items():
                found[name].append(system.calibration.probabilities(name, logits))  # (B, K)
        stacked = {name: torch.stack(values) for name, values in found.items()}  # (M, B, K)
        means = {name: values.mean(0) for name, values in stacked.items()}
        decisions = [self.calibration.decide(name, mean) for name, mean in means.items()]
        spreads = [
            # std of torch has no counterpart in ONNX.
            ((values - means[name]).square().sum(0) / max(len(values) - 1, 1)).sqrt()
            for name, values in stacked.items()
        ]
        return (*means.values(), *decisions, *spreads)
