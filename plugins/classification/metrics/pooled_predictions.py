"""Predictions of several folds as one: each item by the network that did not train on it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace

import numpy as np

from plugins.classification.metrics.functional.patients import Aggregation
from plugins.classification.metrics.functional.selective import rate_confidence
from plugins.classification.metrics.predictions import Predictions
from toolkit.errors import ToolkitError

NAMED = 5  # items that a message names
RULE = ('threshold', 'patient_threshold', 'weights')


@dataclass(frozen=True)
class PooledPredictions(Predictions):
    """Out-of-fold predictions, each decided by the rule of its own fold.

    `threshold`, `patient_threshold` and `weights` are None, since folds have their own.

    Attributes:
        fold: (N,) number of the fold in `rules`.
        rules: by fold, predictions that hold its thresholds and weights.
    """

    fold: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=int))
    rules: tuple[Predictions, ...] = ()

    def subset(self, which: np.ndarray) -> PooledPredictions:
        chosen = super().subset(which)
        assert isinstance(chosen, PooledPredictions)
        return replace(chosen, fold=self.fold[which])

    def confidence(self) -> np.ndarray:
        """Rates how sure each decision is, by the threshold of its fold."""
        found = np.zeros(len(self))
        for number, rule in enumerate(self.rules):
            own = self.fold == number
            found[own] = rate_confidence(
                self.probabilities[own], self.decisions[own], self.positive, rule.threshold
            )
        return found

    def by_patient(self, aggregate: Aggregation = 'mean') -> Predictions:
        """Joins the images of each patient, who is in one fold, by the rule of that fold."""
        known = self.labelled()
        parts = []
        for number, rule in enumerate(self.rules):
            own = known.subset(known.fold == number)
            values = {f.name: getattr(own, f.name) for f in fields(Predictions)}
            values |= {name: getattr(rule, name) for name in RULE}
            if len(own):
                parts.append(Predictions(**values).by_patient(aggregate))
        return _concatenate(parts) if parts else super().by_patient(aggregate)


def pool_folds(parts: Mapping[str, Predictions]) -> PooledPredictions:
    """Pools the predictions of the folds of one variant and seed.

    Args:
        parts: predictions of the test of each fold, by its name.
    Raises:
        ToolkitError: an item is predicted by two folds, or two folds share a patient: one of their
            networks has trained on this patient.
    """
    names = list(parts)
    for kind, values in (
        ('item', {name: part.ids for name, part in parts.items()}),
        ('patient', {name: part.patients for name, part in parts.items()}),
    ):
        first: dict[str, str] = {}
        repeated: list[tuple[str, str, str]] = []
        for fold, found in values.items():
            own, counts = np.unique(found.astype(str), return_counts=True)
            if kind == 'item':
                repeated += [(str(name), fold, fold) for name in own[counts > 1]]
            for name in map(str, own):
                if first.setdefault(name, fold) != fold:
                    repeated.append((str(name), first[name], fold))
        if repeated:
            name, one, other = repeated[0]
            where = f'twice in fold {one}' if one == other else f'in folds {one} and {other}'
            raise ToolkitError(
                f'{len(repeated)} {kind}{"s are" if len(repeated) > 1 else " is"} tested more than '
                f'once, such as {name!r} {where}: each {kind} belongs to the test of one fold; '
                'make the folds by `toolkit split`, or by `split: {by: folds, fold: N}`'
            )
    pooled = _concatenate(list(parts.values()))
    fold = np.concatenate([np.full(len(parts[name]), i) for i, name in enumerate(names)])
    values = {f.name: getattr(pooled, f.name) for f in fields(Predictions)}
    rules = tuple(part.subset(np.zeros(0, dtype=int)) for part in parts.values())
    return PooledPredictions(**values, fold=fold, rules=rules)


def require_items(pooled: Predictions, expected: Collection[str], folds: Sequence[str]) -> None:
    """Checks that each labelled item of the data is predicted.

    Args:
        pooled: predictions of all folds.
        expected: ids of the labelled items of the whole data.
        folds: names of the folds, for the message.
    Raises:
        ToolkitError: an item is predicted by no fold.
    """
    found = set(map(str, pooled.ids))
    missing = [name for name in expected if name not in found]
    if missing:
        few = ', '.join(missing[:NAMED]) + (', ...' if len(missing) > NAMED else '')
        raise ToolkitError(
            f'{len(missing)} of {len(expected)} labelled items are predicted by none of the folds '
            f'{", ".join(folds)}: {few}; a pooled result is one of all items: let the study run '
            'every fold of the split'
        )


def _concatenate(parts: Sequence[Predictions]) -> Predictions:
    """Joins predictions whose rules may differ; the rule of the result is not known."""
    first = parts[0]
    attributes = dict.fromkeys(name for part in parts for name in part.attributes)
    empty = [np.full(len(part), '', dtype=object) for part in parts]
    logits, sets = [part.logits for part in parts], [part.sets for part in parts]
    return Predictions(
        first.task,
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.patients for part in parts]),
        np.concatenate([part.labels for part in parts]),
        None if any(one is None for one in logits) else np.concatenate(logits),
        np.concatenate([part.probabilities for part in parts]),
        np.concatenate([part.decisions for part in parts]),
        None,
        {
            name: np.concatenate(
                [part.attributes.get(name, blank) for part, blank in zip(parts, empty, strict=True)]
            )
            for name in attributes
        },
        conflicts=tuple(name for part in parts for name in part.conflicts),
        sets=None if any(one is None for one in sets) else np.concatenate(sets),
    )
