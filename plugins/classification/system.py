"""The classification system: branches, their fusion, attention, a trunk, and a head per task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from plugins.classification.batch_checks import check_batch, check_dataset
from plugins.classification.calibration import Calibration
from plugins.classification.data.feature_cache import FeatureCache, keep
from plugins.classification.interfaces import (
    NOTE,
    BatchMixing,
    ClassLoss,
    LabelledImages,
    PredictionViews,
    TaskWeighting,
)
from plugins.classification.network import ImageNetwork, Pool
from plugins.classification.tasks import Task
from toolkit.errors import ComponentError, ToolkitError
from toolkit.interfaces import Attention, Backbone, Batch, Dataset, Head, Loss, Neck
from toolkit.ranges import PositiveInt
from toolkit.registry import SYSTEMS, Slot
from toolkit.registry.component_errors import refuse_component


@SYSTEMS.register
class Classifier(ImageNetwork):
    """Classifies images for one or several tasks at once.

    image (B, C, H, W) -> branches -> [attention per branch] -> neck -> [attention] -> pool ->
    [trunk] -> a head per task. A label that is missing is left out of its task's loss.

    Args:
        tasks: classes by task.
        branches: backbones by name; `null` takes one out.
        head: built once for each task.
        branch_attention: by branch, on its features before they are joined.
        neck: joins branches; required if there are several.
        attention: on the joint features.
        pool: pooling of a map to a vector.
        trunk: refines the vector before the heads.
        losses: built once for each task; without any the system cannot be trained.
        task_weighting: combines the losses of the tasks; None adds them.
        in_channels: C.
        size: H and W of `example`, and of the position embeddings of a ViT.
        cache: keeps the features of frozen branches, which are computed once.
        mixing: mixes the images of training batches with each other, and the losses of their
            labels; each loss must take mixed labels.
        views: averages the logits of a prediction over views of the image (test-time
            augmentation), in validation and test, in `toolkit predict` and in exported files.
    Raises:
        ValueError: no task or branch, several branches without a neck, mixing or views beside a
            cache.
        ComponentError: a loss of another task, or one that takes no mixed labels.
    """

    pipeline_tag = 'image-classification'
    note = NOTE

    def __init__(
        self,
        tasks: dict[str, Task],
        branches: dict[str, Slot[Backbone]],
        head: Slot[Head],
        branch_attention: dict[str, Slot[Attention]] | None = None,
        neck: Slot[Neck] | None = None,
        attention: Slot[Attention] | None = None,
        pool: Pool = 'avg',
        trunk: Slot[Neck] | None = None,
        losses: dict[str, Slot[Loss]] | None = None,
        task_weighting: Slot[TaskWeighting] | None = None,
        in_channels: PositiveInt = 3,
        size: PositiveInt = 224,
        cache: FeatureCache | None = None,
        mixing: Slot[BatchMixing] | None = None,
        views: Slot[PredictionViews] | None = None,
    ) -> None:
        super().__init__()
        for option, given in {'mixing': mixing, 'views': views}.items():
            if given is not None and cache is not None:
                raise ValueError(
                    f'{option} needs images, and cache keeps features of images that are not '
                    f'changed; set cache: null, or {option}: null'
                )
        self.cache = cache
        self.in_channels, self.size, self.pooling = in_channels, size, pool
        self.build_network(tasks, branches, head, branch_attention or {}, neck, attention, trunk)
        self.losses = nn.ModuleDict(
            {
                name: nn.ModuleDict(_losses(losses or {}, len(task.classes)))
                for name, task in self.tasks.items()
            }
        )
        self.task_weighting = task_weighting(tasks=tuple(tasks)) if task_weighting else None
        self.mixing = mixing() if mixing else None
        if self.mixing is not None:
            _require_mixed_labels(self.losses, self.mixing)
        self.views = views() if views else None
        self.calibration = Calibration(self.tasks)
        self.tested: LabelledImages | None = None  # images of the visualizer

    # -- the engine's modes --------------------------------------------------------------------

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Computes one term for each task, by its name, and the terms of the weighting."""
        partner, share = None, None
        if self.mixing is not None and self.training and not batch['image'].is_meta:
            mixed, partner, share = self.mixing(batch['image'])
            batch = {**batch, 'image': mixed}
        logits = self.tensor(batch)
        terms, counts = {}, {}
        for name, task_logits in logits.items():
            labels = batch['labels'][name]  # (B,)
            terms[name], counts[name] = self._compute_term(name, task_logits, labels)
            if partner is not None:
                other, _ = self._compute_term(name, task_logits, labels[partner])
                terms[name] = share * terms[name] + (1 - share) * other
        return self.task_weighting(terms, counts) if self.task_weighting is not None else terms

    def _compute_term(self, task: str, logits: Tensor, labels: Tensor) -> tuple[Tensor, int]:
        """Computes the loss of a task over its known labels, and counts them."""
        # Without values (on the meta device, for shapes) all labels count as known.
        known = slice(None) if labels.is_meta else labels >= 0
        given, wanted = logits[known].float(), labels[known]  # (N, K), (N,)
        losses = [loss.weight * loss(given, wanted) for loss in self.losses[task].values()]
        return torch.stack(losses).sum(), len(wanted)

    def predict(self, batch: Batch) -> dict[str, Any]:
        """Predicts classes.

        Returns:
            By task, `logits` and calibrated `probabilities` (B, K), the `decision` (B,), the stored
            `threshold` and `patient_threshold` (B,) of tasks with a positive class, and the
            `weights` (B, K) of other tasks, the `set` (B, K), bool, of tasks with `coverage`;
            `joint` (B, D), the joint feature.
        """
        joint = self.pool(self.joint_map(self.branch_features(batch)))  # (B, D)
        logits = self._average_views(batch, self.classify(joint))  # (B, K)
        probabilities = {k: self.calibration.probabilities(k, v) for k, v in logits.items()}
        return {
            'logits': logits,
            'probabilities': probabilities,
            'decision': {k: self.calibration.decide(k, v) for k, v in probabilities.items()},
            'set': {
                name: found
                for name, value in probabilities.items()
                if (found := self.calibration.sets(name, value)) is not None
            },
            **{
                key: {
                    name: value.expand(len(joint), *value.shape)
                    for name in self.tasks
                    if (value := stored(name)) is not None
                }
                for key, stored in (
                    ('threshold', self.calibration.threshold),
                    ('patient_threshold', self.calibration.patient_threshold),
                    ('weights', self.calibration.weights),
                )
            },
            'joint': joint,
        }

    def tensor(self, batch: Batch) -> dict[str, Tensor]:
        """Computes the logits (B, K) by task."""
        return self.classify(self.pool(self.joint_map(self.branch_features(batch))))

    def example(self, batch_size: int = 1, size: int | None = None) -> Batch:
        """Makes a batch of zeros with the first class as label.

        Args:
            batch_size: B.
            size: height and width; the system's own where None.
        """
        size = size or self.size
        return {
            'image': torch.zeros(batch_size, self.in_channels, size, size),
            'labels': {k: torch.zeros(batch_size, dtype=torch.long) for k in self.tasks},
            'meta': [{'id': str(i), 'item': str(i), 'patient': str(i)} for i in range(batch_size)],
        }

    def predicted_logits(self, batch: Batch) -> dict[str, Tensor]:
        """Computes the logits (B, K) by task that a prediction is made of: the means over the
        views, if the system has views."""
        return self._average_views(batch, self.tensor(batch))

    def describe_prediction(self) -> dict[str, Any]:
        if self.views is None:
            return {}
        return {'views': type(self.views).__name__, 'averaged': 'logits'}

    def _average_views(self, batch: Batch, own: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Averages logits over the views of the images; `own` are those of the first view."""
        logits = {name: value.float() for name, value in own.items()}
        if self.views is None:
            return logits
        others = self.views(batch['image'])[1:]
        for view in others:
            for name, value in self.tensor({**batch, 'image': view}).items():
                logits[name] = logits[name] + value.float()
        return {name: value / (len(others) + 1) for name, value in logits.items()}

    # -- calls of the engine -------------------------------------------------------------------

    def check_training(self) -> None:
        """Checks that a loss is left, with a weight.

        Raises:
            ComponentError: there is none.
        """
        losses = [loss for group in self.losses.values() for loss in group.values()]
        if not any(loss.weight for loss in losses):
            found = 'all losses have the weight 0' if losses else 'no loss is left'
            raise ComponentError('model.losses', f'{found}: nothing would be learned; give one')

    def prepare(self, datasets: Mapping[str, Dataset], **options: Any) -> None:
        """Sets the class counts of the losses, and the cached features of the datasets.

        Raises:
            ToolkitError: a class without training samples, no loss, or features that cannot be
                cached.
        """
        if self.cache is not None:
            for role, dataset in datasets.items():
                keep(self.branches, dataset, self.cache, role=role, **options)
        self.tested = datasets.get('test')
        train = datasets.get('train')
        if train is None:
            return
        if not any(len(losses) for losses in self.losses.values()):
            raise ToolkitError('there is nothing to train by: fill model.losses')
        for name, losses in self.losses.items():
            counts = dict(zip(self.tasks[name].classes, train.class_counts(name).tolist()))
            for key, loss in losses.items():
                try:
                    loss.use_counts(counts)
                except ToolkitError as error:
                    raise ToolkitError(f'losses.{key}, task {name}: {error}') from error

    def start_epoch(self, epoch: int) -> None:
        for losses in self.losses.values():
            for loss in losses.values():
                loss.start_epoch(epoch)
        if self.task_weighting is not None:
            self.task_weighting.start_epoch(epoch)

    def check_data(self, dataset: Any) -> None:
        """Compares the tasks and channels of a dataset with those of the system.

        Raises:
            ToolkitError: they differ, or the dataset has no labelled images.
        """
        check_dataset(dataset, self.tasks, self.in_channels)

    def check_batch(self, batch: Batch) -> None:
        """Looks for images or features, their range, and the labels of each task.

        Raises:
            DataError: one is missing, or values are far from what is expected.
        """
        check_batch(batch, self.tasks)


def _losses(slots: Mapping[str, Slot[Loss]], num_classes: int) -> dict[str, Loss]:
    made = {}
    for key, slot in slots.items():
        loss = slot(num_classes=num_classes)
        if not isinstance(loss, ClassLoss):
            raise refuse_component(
                loss,
                f'losses.{key}',
                'compares no logits with labels: a loss of a Classifier is a '
                'plugins.classification.interfaces.ClassLoss (docs/guides/component_kinds.md)',
            )
        made[key] = loss
    return made


def _require_mixed_labels(losses: nn.ModuleDict, mixing: BatchMixing) -> None:
    """Checks that all losses take mixed labels.

    Raises:
        ComponentError: one does not.
    """
    for group in losses.values():
        for key, loss in group.items():
            if not loss.takes_mixed_labels:
                name = type(loss).__name__
                raise ComponentError(
                    f'model.losses.{key}',
                    f'{name} counts each label whole, and {type(mixing).__name__} mixes two: take '
                    'CrossEntropy, Focal or LogitAdjustment (which have class_weights too), or set '
                    'model.mixing: null',
                )
