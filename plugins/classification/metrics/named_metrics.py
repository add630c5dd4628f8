"""The values that a task reports, by name: which there are, what they are, why one is missing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from plugins.classification.metrics.functional import calibration, ranking
from plugins.classification.metrics.functional import confusion as matrices
from plugins.classification.tasks import Task
from toolkit.errors import did_you_mean

# Of a class against the rest -> whether higher is better.
PER_CLASS = {
    'sensitivity': True,
    'specificity': True,
    'PPV': True,
    'NPV': True,
    'F1': True,
    'AUC': True,
    'AP': True,
}
# Of all classes together.
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
# What is reported where nothing is chosen: the rest either says the same of two classes, or fits
# ordered classes only.
POSITIVE_DEFAULT = (
    *('AUC', 'AP', 'sensitivity', 'specificity', 'PPV', 'NPV', 'F1'),
    *('accuracy', 'balanced_accuracy', 'macro_F1', 'MCC', 'kappa', 'ECE', 'Brier', 'NLL'),
)
DEFAULT = (
    *('macro_F1', 'macro_AUC', 'macro_AP', 'accuracy', 'balanced_accuracy', 'MCC', 'kappa'),
    *('recall_rarest', 'ECE', 'Brier', 'NLL'),
    *PER_CLASS,
)


def names(task: Task, chosen: Sequence[str] | None = None) -> list[str]:
    """The names of values, those per class written out.

    With a positive class, `sensitivity` is that class's; without one, it stands for
    `sensitivity/CLASS` of every class.

    Args:
        task: whose.
        chosen: some of them; None for those that fit the task.
    Raises:
        ValueError: a name that there is not.
    """
    if chosen is None:
        chosen = POSITIVE_DEFAULT if task.positive is not None else DEFAULT
    found = []
    for name in chosen:
        kind, slash, of = str(name).partition('/')
        if kind in PER_CLASS and slash and of in task.classes:
            found.append(name)
        elif slash and kind in PER_CLASS:
            raise ValueError(
                f'{name!r}: {of!r} is no class{did_you_mean(of, task.classes)}; there are: '
                f'{", ".join(task.classes)}'
            )
        elif name in OVERALL or (name in PER_CLASS and task.positive is not None):
            found.append(name)
        elif name in PER_CLASS:
            found += [f'{name}/{of}' for of in task.classes]
        else:
            known = [*PER_CLASS, *OVERALL]
            raise ValueError(
                f'no value is named {name!r}{did_you_mean(str(name), known)}; there are: '
                f'{", ".join(known)}'
            )
    return list(dict.fromkeys(found))


def higher_is_better(name: str) -> bool:
    """Whether a higher value is better."""
    return (PER_CLASS | OVERALL)[name.partition('/')[0]]


def rarest_class(labels: np.ndarray, classes: int) -> int | None:
    """The class with the fewest labels (N,), the first of several; None where a class has none."""
    counts = np.bincount(labels, minlength=classes)
    return int(counts.argmin()) if len(labels) and counts.min() > 0 else None


class Scored:
    """The values of labelled predictions, each computed when it is asked for.

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
        self.rarest = rarest_class(labels, self.classes) if rarest is None else rarest

    def values(
        self, wanted: Sequence[str], weights: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """Values by name.

        Args:
            wanted: of `names`.
            weights: (..., N), how often each sample counts; None for once.
        Returns:
            (...) each; NaN where it is not defined.
        """
        shape = () if weights is None else weights.shape[:-1]
        if not len(self.labels):
            return {name: np.full(shape, np.nan) for name in wanted}
        matrix = matrices.confusion(self.labels, self.decisions, self.classes, weights)
        ranked: dict[tuple[str, int], np.ndarray] = {}
        return {name: self._value(name, matrix, weights, ranked) for name in wanted}

    def value(self, name: str) -> float:
        """One value of all samples."""
        return float(self.values([name])[name])

    def why_undefined(self, name: str) -> str:
        """Why a value of all samples is NaN; '' where it is defined."""
        if not np.isnan(self.value(name)):
            return ''
        if not len(self.labels):
            return 'nothing has a label'
        counts = np.bincount(self.labels, minlength=self.classes)
        kind, _, of = name.partition('/')
        if kind in PER_CLASS:
            own = self._class(of)
            if kind in ('PPV', 'NPV'):
                never = 'never' if kind == 'PPV' else 'always'
                return f'{self.task.classes[own]} is {never} decided'
            if counts[own] == 0 and kind != 'specificity':
                return f'no sample is {self.task.classes[own]}'
            return f'all samples are {self.task.classes[own]}'
        missing = [self.task.classes[i] for i in np.flatnonzero(counts == 0)]
        if missing:
            return f'no sample is {", ".join(missing)}'
        return 'all samples are decided for one class'

    @cached_property
    def _brier(self) -> np.ndarray:
        whole = calibration.brier(self.probabilities, self.labels)
        # Of two classes with a positive one, that one's alone, as is usual.
        return whole / 2 if self.task.positive is not None else whole

    @cached_property
    def _nll(self) -> np.ndarray:
        return calibration.nll(self.probabilities, self.labels)

    def confidence(self) -> tuple[np.ndarray, np.ndarray]:
        """What calibration compares: (N,) the positive class's probability and whether it is that
        class, or the highest probability and whether its class is right."""
        positive = self.task.positive_index
        if positive is not None:
            return self.probabilities[:, positive], self.labels == positive
        return self.probabilities.max(1), self.probabilities.argmax(1) == self.labels

    def _class(self, name: str) -> int:
        if name:
            return self.task.classes.index(name)
        assert self.task.positive_index is not None
        return self.task.positive_index

    def _value(
        self,
        name: str,
        matrix: np.ndarray,
        weights: np.ndarray | None,
        ranked: dict[tuple[str, int], np.ndarray],
    ) -> np.ndarray:
        kind, _, of = name.partition('/')
        if kind in _OF_CLASS:
            return _OF_CLASS[kind](matrix)[..., self._class(of)]
        if kind in _OF_MATRIX:
            return _OF_MATRIX[kind](matrix)
        if kind in _OF_SCORES:
            return self._ranked(kind, self._class(of), weights, ranked)
        if kind in ('macro_AUC', 'macro_AP'):
            of_classes = [
                self._ranked(kind.removeprefix('macro_'), i, weights, ranked)
                for i in range(self.classes)
            ]
            return np.mean(of_classes, axis=0)
        if kind == 'recall_rarest':
            found = matrices.sensitivity(matrix)
            return (
                np.full(found.shape[:-1], np.nan)
                if self.rarest is None
                else found[..., self.rarest]
            )
        if kind == 'ECE':
            return calibration.ece(*self.confidence(), weights)
        return calibration.mean(self._brier if kind == 'Brier' else self._nll, weights)

    def _ranked(
        self,
        kind: str,
        of: int,
        weights: np.ndarray | None,
        ranked: dict[tuple[str, int], np.ndarray],
    ) -> np.ndarray:
        if (kind, of) not in ranked:
            score = _OF_SCORES[kind]
            ranked[kind, of] = score(self.probabilities[:, of], self.labels == of, weights)
        return ranked[kind, of]


_OF_CLASS = {
    'sensitivity': matrices.sensitivity,
    'specificity': matrices.specificity,
    'PPV': matrices.ppv,
    'NPV': matrices.npv,
    'F1': matrices.f1,
}
_OF_MATRIX = {
    'accuracy': matrices.accuracy,
    'balanced_accuracy': matrices.balanced_accuracy,
    'macro_F1': matrices.macro_f1,
    'MCC': matrices.mcc,
    'kappa': matrices.kappa,
    'kappa_quadratic': lambda matrix: matrices.kappa(matrix, quadratic=True),
}
_OF_SCORES = {'AUC': ranking.auc, 'AP': ranking.average_precision}
