"""Effect of duplicates between training and test on the score of frozen features."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import kendalltau
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from plugins.classification.data.split import SplitSpec, check_classes, split_records
from plugins.classification.image_record import Record
from plugins.classification.metrics.functional import bootstrap
from plugins.classification.metrics.functional.bootstrap import BootstrapSettings
from plugins.classification.metrics.intervals import explain_few_patients, summarize_resamples
from plugins.classification.metrics.named_metrics import MetricValues
from plugins.classification.tasks import Task
from toolkit.errors import ToolkitError

# Training images: all of the split; as many as without duplicates, of the same classes, but with
# the duplicates; and those without duplicates of test images.
DESIGNS = ('all', 'with', 'without')
STRENGTH = 0.01  # C of the logistic regression; its features are standardized


@dataclass(frozen=True)
class LeakFold:
    """A split whose images are held apart, but not what is nearly the same as them.

    Attributes:
        train: positions of the training images by design.
        test: positions of the test images.
        known: number of test images with a duplicate in the training.
    """

    train: Mapping[str, tuple[int, ...]]
    test: tuple[int, ...]
    known: int


def split_with_leaks(
    records: Sequence[Record],
    groups: Sequence[str],
    name: str,
    task: Task,
    spec: SplitSpec,
    seed: int,
) -> list[LeakFold]:
    """Splits images as if each showed another patient, and finds what leaks.

    Args:
        records: labelled images.
        groups: group of each image; images of a group are duplicates of each other.
        name: name of the task.
        task: the task.
        spec: options of the split: by 'folds', each of which is tested, or by 'column'.
        seed: seed of the folds, and of the images that leave the training in place of duplicates.
    Raises:
        ToolkitError: the split is another one; nothing leaks; or a class has too few images.
    """
    if spec.by not in ('folds', 'column'):
        raise ToolkitError(f'split.by must be folds or column to measure leaks, found {spec.by}')
    generator = np.random.default_rng(seed)
    alone = [dataclasses.replace(record, patient=record.id) for record in records]
    labels = [record.labels[name] for record in records]
    folds = []
    for fold in range(spec.folds if spec.by == 'folds' else 1):
        own = dataclasses.replace(spec, fold=fold, seed=seed, val=0.0)
        found = split_records(alone, own, {name: task})
        tested, trained = ({groups[i] for i in part} for part in (found.test, found.train))
        without = tuple(i for i in found.train if groups[i] not in tested)
        check_classes(
            [records[i] for i in without], {name: task}, 'the training without duplicates'
        )
        leaving: set[int] = set()
        for label in task.classes:
            clean = [i for i in without if labels[i] == label]
            count = sum(labels[i] == label for i in found.train) - len(clean)
            if count >= len(clean):
                raise ToolkitError(
                    f'{count} training images of class {label!r} are nearly the same as test '
                    f'images, and {len(clean)} are not: too few to take out as many of these'
                )
            leaving.update(generator.choice(clean, count, replace=False).tolist())
        train = {
            'all': found.train,
            'with': tuple(i for i in found.train if i not in leaving),
            'without': without,
        }
        folds.append(LeakFold(train, found.test, sum(groups[i] in trained for i in found.test)))
    if not any(fold.known for fold in folds):
        raise ToolkitError('no test image has a duplicate in the training: nothing leaks')
    return folds


class LeakEffect:
    """Scores of backbones with and without duplicates, in the same resamples of groups.

    Args:
        labels: (N,) of the images, from 0.
        groups: (N,) group of each image, which a resample draws whole.
        task: the task.
        splits: folds by seed; each seed tests the same images.
        value: name of the metric.
        resamples: number of resamples.
    """

    def __init__(
        self,
        labels: np.ndarray,
        groups: np.ndarray,
        task: Task,
        splits: Sequence[Sequence[LeakFold]],
        value: str,
        resamples: int = bootstrap.RESAMPLES,
    ) -> None:
        self._labels, self._task, self._splits, self._value = labels, task, splits, value
        self._tested = np.sort([i for fold in splits[0] for i in fold.test])
        self._groups = groups[self._tested]
        weights = BootstrapSettings(resamples).weights(self._groups, labels[self._tested])
        self._weights = np.concatenate(list(weights))
        self._rows: list[dict[str, tuple[float, np.ndarray]]] = []
        self._few = ''

    def add(self, features: np.ndarray) -> dict[str, Any]:
        """Measures a backbone by its features (N, D) of all images.

        Returns:
            The value with its interval by design, and `difference`, of 'with' less 'without'.
        Raises:
            ValueError: features are not finite, or the metric has no value.
        """
        if bad := int((~np.isfinite(features).all(1)).sum()):
            raise ValueError(f'features of {bad} of {len(features)} images are not finite')
        row = {design: self._score(features, design) for design in DESIGNS}
        self._rows.append(row)
        return self._summarize(row)

    def summarize_mean(self) -> dict[str, Any]:
        """Summarizes the mean over all backbones, as `add` does for one."""
        mean = {
            design: (
                float(np.mean([row[design][0] for row in self._rows])),
                np.mean([row[design][1] for row in self._rows], axis=0),
            )
            for design in DESIGNS
        }
        return self._summarize(mean)

    def compare_orders(self) -> float:
        """Computes Kendall's tau of the orders of the backbones with and without duplicates."""
        by_design = ([row[design][0] for row in self._rows] for design in ('with', 'without'))
        return float(kendalltau(*by_design).statistic)

    def _score(self, features: np.ndarray, design: str) -> tuple[float, np.ndarray]:
        found, resampled = [], []
        for folds in self._splits:
            probabilities = np.empty((len(self._labels), len(self._task.classes)))
            for fold in folds:
                train, test = list(fold.train[design]), list(fold.test)
                model = make_pipeline(
                    StandardScaler(), LogisticRegression(C=STRENGTH, max_iter=5000)
                )
                model.fit(features[train], self._labels[train])
                probabilities[test] = model.predict_proba(features[test])
            shown = probabilities[self._tested]
            values = MetricValues(self._task, self._labels[self._tested], shown, shown.argmax(1))
            self._few = explain_few_patients(values, self._groups, self._value)
            if not math.isfinite(value := values.value(self._value)):
                raise ValueError(
                    f'{self._value} has no value: {values.explain_undefined(self._value)}'
                )
            found.append(value)
            resampled.append(values.compute([self._value], self._weights)[self._value])
        return float(np.mean(found)), np.mean(resampled, axis=0)

    def _summarize(self, row: Mapping[str, tuple[float, np.ndarray]]) -> dict[str, Any]:
        leak = tuple(a - b for a, b in zip(row['with'], row['without'], strict=True))
        return {
            name: summarize_resamples(*pair, self._few)
            for name, pair in {**row, 'difference': leak}.items()
        }
