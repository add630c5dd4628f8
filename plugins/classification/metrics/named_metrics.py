"""Metrics of a task by name: the list of them, their values, and why a value is missing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, cached_property

import numpy as np

from plugins.classification.metrics.functional import calibration, ranking
from plugins.classification.metrics.functional import confusion as matrices
from plugins.classification.tasks import Task
from toolkit.errors import did_you_mean

# Metrics of a class against the rest -> whether higher is better.
PER_CLASS = {
    'sensitivity': True,
    'specificity': True,
    'PPV': True,
    'NPV': True,
    'F1': True,
    'AUC': True,
    'AP': True,
}
# Metrics of all classes together -> whether higher is better.
OVERALL = {
    'accuracy': True,
    'balanced_accuracy': True,
    'macro_F1': True,
    'macro_AUC': True,
    'macro_AP': True,
    'MCC': True,
    'kappa': True,
    'kappa_quadratic': True,
    'recall_rarest': True,
    'ECE': False,
    'Brier': False,
    'NLL': False,
}
# Metrics of a task with costs -> whether higher is better.
OF_COSTS = {'mean_cost': False}
# Reported unless names are chosen. The others repeat these for two classes, or fit ordered classes
# only.
POSITIVE_DEFAULT = (
    *('AUC', 'AP', 'sensitivity', 'specificity', 'PPV', 'NPV', 'F1'),
    *('accuracy', 'balanced_accuracy', 'macro_F1', 'MCC', 'kappa', 'ECE', 'Brier', 'NLL'),
)
DEFAULT = (
    *('macro_F1', 'macro_AUC', 'macro_AP', 'accuracy', 'balanced_accuracy', 'MCC', 'kappa'),
    *('recall_rarest', 'ECE', 'Brier', 'NLL'),
    *PER_CLASS,
)
# The few that summarize a task: those of a validation line, of the printed report, of subgroups.
POSITIVE_MAIN = ('AUC', 'sensitivity', 'specificity')
MAIN = ('macro_AUC', 'macro_F1', 'balanced_accuracy')


def expand_names(task: Task, names: Sequence[str] | None = None) -> list[str]:
    """List names of metrics, with those per class written out.

    With a positive class, `sensitivity` is the sensitivity of that class. Without one, it stands
    for `sensitivity/CLASS` of every class.

    Args:
        task: task that is measured.
        names: names as configured; None for the default of the task.
    Raises:
        ValueError: an unknown name or class.
    """
    if names is None:
        names = POSITIVE_DEFAULT if task.positive is not None else DEFAULT
        names = (*names, *OF_COSTS) if task.costs is not None else names
    expanded = []
    for name in names:
        metric, slash, class_name = str(name).partition('/')
        if metric in PER_CLASS and slash and class_name in task.classes:
            expanded.append(name)
        elif slash and metric in PER_CLASS:
            raise ValueError(
                f'{name!r}: there is no class {class_name!r}'
                f'{did_you_mean(class_name, task.classes)}; there are: {", ".join(task.classes)}'
            )
        elif name in OF_COSTS and task.costs is None:
            raise ValueError(f'{name} needs the costs of the task, and it has none')
        elif (
            name in OVERALL or name in OF_COSTS or (name in PER_CLASS and task.positive is not None)
        ):
            expanded.append(name)
        elif name in PER_CLASS:
            expanded += [f'{name}/{class_name}' for class_name in task.classes]
        else:
            known = [*PER_CLASS, *OVERALL, *OF_COSTS]
            raise ValueError(
                f'no value is named {name!r}{did_you_mean(str(name), known)}; there are: '
                f'{", ".join(known)}'
            )
    return list(dict.fromkeys(expanded))


def main_names(task: Task) -> tuple[str, ...]:
    """Names of the few metrics that summarize a task."""
    return POSITIVE_MAIN if task.positive is not None else MAIN


def is_higher_better(name: str) -> bool:
    """Tell whether a higher value of a metric is better."""
    return (PER_CLASS | OVERALL | OF_COSTS)[name.partition('/')[0]]


def find_rarest_class(labels: np.ndarray, classes: int) -> int | None:
    """Find the class with the fewest labels (N,), the first of several.

    Returns:
        Its index; None if a class has no labels.
    """
    counts = np.bincount(labels, minlength=classes)
    return int(counts.argmin()) if len(labels) and counts.min() > 0 else None


class MetricValues:
    """Values of named metrics of labelled predictions, computed on demand.

    Args:
        task: K classes.
        labels: (N,) from 0 to K - 1.
        probabilities: (N, K).
        decisions: (N,) from 0 to K - 1.
        rarest: index of the class of `recall_rarest`; None for the one with the fewest labels.
    """

    def __init__(
        self,
        task: Task,
        labels: np.ndarray,
        probabilities: np.ndarray,
        decisions: np.ndarray,
        rarest: int | None = None,
    ) -> None:
        self.task, self.classes = task, len(task.classes)
        self.labels, self.probabilities, self.decisions = labels, probabilities, decisions
        self._whole: dict[str, np.ndarray] = {}  # values of all samples
        self.rarest = find_rarest_class(labels, self.classes) if rarest is None else rarest

    def compute(
        self, names: Sequence[str], weights: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """Compute metrics by name.

        Args:
            names: names from `expand_names`.
            weights: (..., N), the number of times that each sample counts; None for once.
        Returns:
            (...) each; NaN if a metric is not defined.
        """
        shape = () if weights is None else weights.shape[:-1]
        if not len(self.labels):
            return {name: np.full(shape, np.nan) for name in names}
        counts = cache(lambda: matrices.count(self.labels, self.decisions, self.classes, weights))
        areas: dict[tuple[str, int], np.ndarray] = {}
        of_classes: dict[str, np.ndarray] = {}  # (..., K) by metric, for all of its names
        found = {
            name: self._compute_one(name, counts, weights, areas, of_classes) for name in names
        }
        if weights is None:
            self._whole |= found
        return found

    def value(self, name: str) -> float:
        """Compute one metric of all samples."""
        if name not in self._whole:
            self._whole |= self.compute([name])
        return float(self._whole[name])

    def explain_undefined(self, name: str) -> str:
        """Explain why a metric of all samples is NaN; '' if it is defined."""
        if not np.isnan(self.value(name)):
            return ''
        if not len(self.labels):
            return 'nothing has a label'
        counts = np.bincount(self.labels, minlength=self.classes)
        metric = name.partition('/')[0]
        if metric in PER_CLASS:
            own = self.class_index(name)
            if metric in ('PPV', 'NPV'):
                never = 'never' if metric == 'PPV' else 'always'
                return f'{self.task.classes[own]} is {never} decided'
            if counts[own] == 0 and metric != 'specificity':
                return f'no sample is {self.task.classes[own]}'
            return f'all samples are {self.task.classes[own]}'
        missing = [self.task.classes[i] for i in np.flatnonzero(counts == 0)]
        if missing:
            return f'no sample is {", ".join(missing)}'
        return 'all samples are decided for one class'

    def confidence(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the confidences (N,) that calibration looks at, and whether they are right (N,).

        They are the probability of the positive class, or the highest one if no class is positive.
        """
        positive = self.task.positive_index
        if positive is not None:
            return self.probabilities[:, positive], self.labels == positive
        return self.probabilities.max(1), self.probabilities.argmax(1) == self.labels

    def class_index(self, name: str) -> int:
        """Return the index of the class that a metric per class measures."""
        class_name = name.partition('/')[2]
        if class_name:
            return self.task.classes.index(class_name)
        assert self.task.positive_index is not None
        return self.task.positive_index

    @cached_property
    def _brier(self) -> np.ndarray:
        whole = calibration.brier(self.probabilities, self.labels)
        # With a positive class, the score of that class alone, as is usual.
        return whole / 2 if self.task.positive is not None else whole

    @cached_property
    def _costs(self) -> np.ndarray:
        return np.array(self.task.costs)[self.labels, self.decisions]

    @cached_property
    def _nll(self) -> np.ndarray:
        return calibration.nll(self.probabilities, self.labels)

    def _compute_one(
        self,
        name: str,
        counts: Callable[[], matrices.Counts],
        weights: np.ndarray | None,
        areas: dict[tuple[str, int], np.ndarray],
        of_classes: dict[str, np.ndarray],
    ) -> np.ndarray:
        metric = name.partition('/')[0]
        if metric in _CLASS_METRICS:
            if metric not in of_classes:
                of_classes[metric] = _CLASS_METRICS[metric](counts())
            return of_classes[metric][..., self.class_index(name)].copy()
        if metric in _MATRIX_METRICS:
            return _MATRIX_METRICS[metric](counts())
        if metric in _AREAS:
            return self._area(metric, self.class_index(name), weights, areas)
        if metric in ('macro_AUC', 'macro_AP'):
            each = [
                self._area(metric.removeprefix('macro_'), i, weights, areas)
                for i in range(self.classes)
            ]
            return np.mean(each, axis=0)
        if metric == 'recall_rarest':
            recalls = matrices.sensitivity(counts())
            return (
                np.full(recalls.shape[:-1], np.nan)
                if self.rarest is None
                else recalls[..., self.rarest]
            )
        if metric == 'ECE':
            return calibration.ece(*self.confidence(), weights)
        of_samples = {'Brier': '_brier', 'NLL': '_nll', 'mean_cost': '_costs'}[metric]
        return calibration.mean(getattr(self, of_samples), weights)

    def _area(
        self,
        metric: str,
        own: int,
        weights: np.ndarray | None,
        areas: dict[tuple[str, int], np.ndarray],
    ) -> np.ndarray:
        if (metric, own) not in areas:
            compute = _AREAS[metric]
            areas[metric, own] = compute(self.probabilities[:, own], self.labels == own, weights)
        return areas[metric, own]


_CLASS_METRICS = {
    'sensitivity': matrices.sensitivity,
    'specificity': matrices.specificity,
    'PPV': matrices.ppv,
    'NPV': matrices.npv,
    'F1': matrices.f1,
}
_MATRIX_METRICS = {
    'accuracy': matrices.accuracy,
    'balanced_accuracy': matrices.balanced_accuracy,
    'macro_F1': matrices.macro_f1,
    'MCC': matrices.mcc,
    'kappa': matrices.kappa,
    'kappa_quadratic': lambda counts: matrices.kappa(counts, quadratic=True),
}
_AREAS = {'AUC': ranking.auc, 'AP': ranking.average_precision}
