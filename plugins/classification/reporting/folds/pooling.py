"""Pools the tests of a study's folds: one set of predictions for each condition and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from plugins.classification.data.image_dataset import ImageSet
from plugins.classification.metrics.pooled_predictions import pool_folds, require_items
from plugins.classification.reporting.comparison import TestedRun, read_tested_run
from toolkit.config.dump import dump_inline
from toolkit.errors import ToolkitError
from toolkit.io.run_results import RunResult
from toolkit.registry.build import ComponentFactory
from toolkit.report.panel import PanelRun
from toolkit.run import capsule
from toolkit.run.load_run import load_trained


@dataclass(frozen=True)
class PooledCondition:
    """The pooled tests of a condition of a study.

    Attributes:
        label: of the condition, as in the tables.
        reference: label of the condition that it is compared with; None for none.
        folds: names of the folds.
        runs: by task, the pooled test of each seed, in the order of the seeds.
        seeds: the seeds.
    """

    label: str
    reference: str | None
    folds: tuple[str, ...]
    runs: Mapping[str, Sequence[TestedRun]]
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class PooledStudy:
    """The pooled conditions of a study.

    Attributes:
        conditions: in the order of the plan.
        left_out: reason by label, for conditions that are not pooled.
        notes: what could not be checked.
    """

    conditions: tuple[PooledCondition, ...]
    left_out: Mapping[str, str]
    notes: tuple[str, ...]


def pool_study(runs: Sequence[PanelRun]) -> PooledStudy | None:
    """Pools the folds of each condition and seed of a study.

    A condition with a fold that has not finished is left out.

    Args:
        runs: all runs of the study.
    Returns:
        None if the study has no folds, or no classifier that `ClinicalMetrics` has measured.
    Raises:
        ToolkitError: an item or a patient is tested by two folds, or an item by none; conditions
            that are compared were tested on other items.
    """
    groups: dict[str, list[PanelRun]] = {}
    for run in runs:
        if run.result.fold is not None:
            groups.setdefault(run.label, []).append(run)
    pooled, left_out, notes = [], {}, []
    expected = _ExpectedItems()
    for label, group in groups.items():
        waiting = [run.result for run in group if run.result.status != 'finished']
        if waiting:
            left_out[label] = f'{len(waiting)} of {len(group)} runs have no result'
            continue
        tasks = _list_tasks(group[0].result.folder)
        if not tasks:
            continue
        seeds = tuple(dict.fromkeys(run.result.seed for run in group))
        tested: dict[str, list[TestedRun]] = {task: [] for task in tasks}
        for seed in seeds:
            own = [run.result for run in group if run.result.seed == seed]
            for task in tasks:
                tested[task].append(_pool_runs(f'{label}, seed {seed}', own, task, expected))
        folds = tuple(_name_fold(run.result) for run in group if run.result.seed == seeds[0])
        reference = _find_reference(group[0], runs)
        pooled.append(PooledCondition(label, reference, folds, tested, seeds))
        notes += [note for note in expected.notes if note not in notes]
        notes += dict.fromkeys(
            f'not held apart in {one.folder}: {one.overlap}'
            for runs_of_task in tested.values()
            for one in runs_of_task
            if one.overlap
        )
    if not pooled and not left_out:
        return None
    return PooledStudy(tuple(pooled), left_out, tuple(notes))


def _pool_runs(
    label: str, runs: Sequence[RunResult], task: str, expected: _ExpectedItems
) -> TestedRun:
    found = {_name_fold(run): read_tested_run(run.folder, task) for run in runs}
    first = next(iter(found.values()))
    for fold, one in found.items():
        if one.metric.task != first.metric.task:
            raise ToolkitError(f'{label}: fold {fold} has other classes of {task} than the others')
    try:
        pooled = pool_folds({fold: one.predictions for fold, one in found.items()})
        items = expected.list_items(runs[0].folder, task)
        if items is not None:
            require_items(pooled, items, list(found))
    except ToolkitError as error:
        raise ToolkitError(f'{label}, task {task}: {error}') from error
    apart = {f'fold {fold}: {one.overlap}': None for fold, one in found.items() if one.overlap}
    return replace(first, folder=Path(label), predictions=pooled, overlap='; '.join(apart))


def _name_fold(run: RunResult) -> str:
    return str(run.fold)


def _list_tasks(folder: Path) -> list[str]:
    """Lists the tasks that a run's `ClinicalMetrics` measure."""
    config = capsule.read(folder).get('config') or {}
    nodes = ((config.get('test_evaluator') or {}).get('metrics') or {}).values()
    return list(dict.fromkeys(n['task'] for n in nodes if n and n.get('type') == 'ClinicalMetrics'))


def _find_reference(run: PanelRun, runs: Sequence[PanelRun]) -> str | None:
    """Finds the label of the reference with the same settings and data; None for itself."""
    if run.reference:
        return None
    own = _write_context(run)
    return next((r.label for r in runs if r.reference and _write_context(r) == own), None)


def _write_context(run: PanelRun) -> str:
    """Writes settings and data of a run as text, in which 1, 1.0 and true differ."""
    return dump_inline([dict(run.result.settings), run.result.data])


class _ExpectedItems:
    """Ids of the labelled items of the data of runs, read once for each data set.

    Attributes:
        notes: data that could not be read, so that items without a prediction are not known.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []
        self._known: dict[str, Any] = {}

    def list_items(self, folder: Path, task: str) -> list[str] | None:
        """Lists the ids of all images of the data that have a label of the task."""
        key = _describe_data(folder)
        if key not in self._known:
            self._known[key] = self._read(folder)
        data = self._known[key]
        if data is None:
            return None
        classes = data.tasks[task].classes
        return [record.id for record in data.pool if record.index(task, classes) >= 0]

    def _read(self, folder: Path) -> ImageSet | None:
        try:
            trained = load_trained(None, run_dir=folder)
            loader = trained.run.test_dataloader
            slot = None if loader is None else loader.dataset
            if isinstance(slot, ComponentFactory) and issubclass(slot.cls, ImageSet):
                with trained.config.locate_errors():
                    return slot()
            reason = 'the data are no list of images'
        except ToolkitError as error:
            reason = str(error).splitlines()[0]
        self.notes.append(f'it is not known whether every item is tested: {reason}')
        return None


def _describe_data(folder: Path) -> str:
    """Describes the data of a run without its fold, so that folds share one entry."""
    config = capsule.read(folder).get('config') or {}
    node = dict((config.get('test_dataloader') or {}).get('dataset') or {})
    node.pop('split', None)
    return repr(node)
