"""Builds and checks all components of a run before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from mmengine.hooks import Hook
from torch import nn
from torch.utils.data import DataLoader

from toolkit.config.schema import Dataloader, EvaluatorConfig, RunConfig
from toolkit.engine import mmengine_compat, overlap
from toolkit.engine.dataloader import BatchSampler, build_loader
from toolkit.engine.evaluator import Evaluator, collect_directions
from toolkit.engine.hook_building import build_hooks, check_hook, check_monitors, name_hooks
from toolkit.engine.process import precision, seeding
from toolkit.engine.tracking.tracker import Tracker
from toolkit.engine.tracking.tracker_group import build_trackers
from toolkit.engine.training.optim import OptimWrapper, build_optim_wrapper, build_schedulers
from toolkit.errors import ToolkitError
from toolkit.interfaces import Dataset, Metric, System
from toolkit.registry.build import ComponentFactory
from toolkit.testing.network_size import limit_size

Subset = Literal['train', 'val', 'test']


@dataclass
class EvaluationSet:
    """A dataset with the metrics that are measured on it."""

    loader: DataLoader[Any]
    evaluator: Evaluator

    @property
    def directions(self) -> dict[str, bool]:
        return collect_directions(self.evaluator.metrics)


@dataclass
class RunComponents:
    """Components of a run, each built once.

    Attributes:
        held: what each subset holds.
        overlaps: what two subsets hold, which the config allows.
        metrics: of 'val' and 'test', by key.
    """

    run: RunConfig
    system: System
    device: torch.device
    train: DataLoader[Any] | None = None
    val: EvaluationSet | None = None
    test: EvaluationSet | None = None
    optim_wrapper: OptimWrapper | None = None
    schedulers: dict[str, Any] = field(default_factory=dict)
    scheduler_states: dict[str, mmengine_compat.SchedulerState] = field(default_factory=dict)
    hooks: dict[str, Hook] = field(default_factory=dict)
    trackers: dict[str, Tracker] = field(default_factory=dict)
    datasets: dict[str, Dataset] = field(default_factory=dict)
    held: dict[str, overlap.Groups] = field(default_factory=dict)
    overlaps: list[overlap.Overlap] = field(default_factory=list)
    metrics: dict[str, dict[str, Metric]] = field(default_factory=dict)
    is_prepared: bool = False

    def prepare(self, say: Callable[[str], None]) -> None:
        """Lets the system prepare for its data, with its present weights.

        Raises:
            ToolkitError: the data does not fit the system.
        """
        self.system.prepare(
            self.datasets,
            device=self.device,
            context=lambda: precision.autocast(self.run.runtime, self.device),
            say=say,
        )
        self.is_prepared = True

    def fingerprints(self) -> dict[str, str]:
        """Returns a hash of the data of each dataset by subset, '' if the dataset has none."""
        return {subset: dataset.fingerprint() for subset, dataset in self.datasets.items()}


def build_system(run: RunConfig) -> System:
    """Builds the system alone, with weights drawn from the run's seed.

    Raises:
        ToolkitError: a component cannot be built, or the network is too large for this machine.
    """
    seeding.seed_all(seeding.derive_seed(run.randomness.seed, 'system'))
    with limit_size():
        return run.model()


def build_for_training(run: RunConfig, device: torch.device) -> RunComponents:
    """Builds all components of a training.

    Raises:
        ToolkitError: the config has no training, there is no data, or a component
            cannot be built or does not fit.
    """
    if run.train_dataloader is None or run.optim_wrapper is None or run.train_cfg is None:
        raise ToolkitError(
            'the config has no training: give train_dataloader, optim_wrapper and train_cfg'
        )
    components = _build_system_on_device(run, device)
    components.system.check_training()
    components.train = _make_loader(components, 'train', run.train_dataloader)
    check_batch_norm(components.system, components.train.batch_sampler)  # type: ignore[arg-type]
    if run.val_dataloader is not None and run.val_evaluator is not None:
        components.val = _build_evaluation_set(
            components, 'val', run.val_dataloader, run.val_evaluator
        )
    build_optimization(components, len(components.train))
    components.hooks, components.trackers = build_hooks(run), build_trackers(run)
    check_monitors(components)
    if run.test_dataloader is not None:
        # Opened for the comparison alone, before a training that it might make worthless.
        test = build_dataset(run, 'test', run.test_dataloader.dataset)
        components.system.check_data(test)
        components.held['test'] = overlap.collect_identities(test)
        test.release()
    if run.test_evaluator is not None:
        components.metrics['test'] = _build_metrics(run.test_evaluator)
    for path, hook in name_hooks(components).items():
        check_hook(components, path, hook)
    check_overlaps(components)
    return components


def build_optimization(components: RunComponents, epoch_length: int) -> None:
    """Builds the optimizer and the schedules of a training.

    Raises:
        ToolkitError: one of them cannot be built, or does not fit the system.
    """
    run = components.run
    assert run.optim_wrapper is not None and run.train_cfg is not None
    components.optim_wrapper = build_optim_wrapper(
        components.system, run.optim_wrapper, run.runtime, components.device
    )
    components.schedulers = build_schedulers(
        run.param_scheduler, components.optim_wrapper, run.train_cfg, epoch_length
    )
    components.scheduler_states = {
        name: mmengine_compat.SchedulerState(s) for name, s in components.schedulers.items()
    }


def build_for_testing(
    run: RunConfig,
    device: torch.device,
    trained_on: Mapping[str, overlap.Groups] | None = None,
) -> RunComponents:
    """Builds all components of a test.

    Args:
        run: the config.
        device: for the system.
        trained_on: what training and validation of the weights held, by subset.
    Raises:
        ToolkitError: the config has no test, a component cannot be built or does not fit, or the
            test holds what the training held.
    """
    if run.test_dataloader is None or run.test_evaluator is None:
        raise ToolkitError('the config has no test: give test_dataloader and test_evaluator')
    components = _build_system_on_device(run, device)
    components.test = _build_evaluation_set(
        components, 'test', run.test_dataloader, run.test_evaluator
    )
    components.hooks, components.trackers = build_hooks(run), build_trackers(run)
    components.held.update({k: v for k, v in (trained_on or {}).items() if k != 'test'})
    check_overlaps(components)
    components.hooks = {
        name: hook for name, hook in components.hooks.items() if mmengine_compat.is_test_hook(hook)
    }
    return components


def _build_system_on_device(run: RunConfig, device: torch.device) -> RunComponents:
    seeding.set_determinism(run.randomness.deterministic)
    system = build_system(run)
    precision.move_system(system, run.runtime, device)
    return RunComponents(run, system, device)


def build_dataset(
    run: RunConfig, subset: Subset, factory: Callable[..., Dataset], quick: bool = False
) -> Dataset:
    """Builds the dataset of a subset.

    Args:
        run: the config.
        subset: its name.
        factory: of the dataset.
        quick: give it the arguments with which its class opens fast (`Dataset.quick`).
    """
    # Random numbers of a dataset's constructor must not depend on other components.
    seeding.seed_all(seeding.derive_seed(run.randomness.seed, 'dataset', subset))
    if quick and isinstance(factory, ComponentFactory):
        fast = getattr(factory.cls, 'quick', {})
        factory = ComponentFactory(factory.cls, {**factory.arguments, **fast}, factory.path)
    return factory()


def _make_loader(components: RunComponents, subset: Subset, config: Dataloader) -> DataLoader[Any]:
    dataset = build_dataset(components.run, subset, config.dataset)
    components.system.check_data(dataset)
    components.datasets[subset] = dataset
    components.held[subset] = overlap.collect_identities(dataset)
    return build_loader(
        config,
        dataset,
        training=subset == 'train',
        seed=components.run.randomness.seed,
        device=components.device,
    )


def check_overlaps(components: RunComponents) -> None:
    """Checks that no two subsets hold the same, unless the config allows it.

    The training of the weights that a training starts from (`load_from`) counts as a part of it.

    Raises:
        OverlapError: they do.
    """
    weights, earlier = components.run.load_from, {}
    if weights is not None and 'train' in components.held:
        earlier = overlap.load_identities(find_run_folder(Path(weights))).get('train', {})
        merged = overlap.merge_groups(components.held['train'], earlier)
        components.held = {**components.held, 'train': merged}
    follows = overlap.follows_validation(components.run, components.hooks.values())
    found = overlap.find_overlaps(components.held, components.system, follows)
    if found and not components.run.allow_overlap:
        raise overlap.OverlapError(found, weights if earlier else None)
    components.overlaps = found


def find_run_folder(weights: Path) -> Path:
    """Returns the folder of the run that a checkpoint would be of."""
    return weights.absolute().parent.parent


def _build_evaluation_set(
    components: RunComponents, subset: Subset, config: Dataloader, evaluator: EvaluatorConfig
) -> EvaluationSet:
    loader = _make_loader(components, subset, config)
    metrics = components.metrics[subset] = _build_metrics(evaluator)
    return EvaluationSet(
        loader,
        Evaluator(metrics, loader.batch_sampler.samples, loader.dataset.dataset),  # type: ignore[union-attr]
    )


def _build_metrics(evaluator: EvaluatorConfig) -> dict[str, Metric]:
    return {key: factory() for key, factory in evaluator.metrics.items()}


def check_batch_norm(system: System, sampler: BatchSampler) -> None:
    """Checks that no BatchNorm1d is trained on a batch of one sample, which has no variance.

    Raises:
        ToolkitError: the smallest batch of an epoch is one sample.
    """
    if sampler.smallest > 1:
        return
    system.train()  # frozen modules keep themselves in evaluation mode
    for name, module in system.named_modules():
        if isinstance(module, nn.BatchNorm1d) and module.training:
            last = f'{sampler.samples} samples in batches of {sampler.batch_size}'
            if sampler.world > 1:
                last += f' on {sampler.world} processes'
            raise ToolkitError(
                f'{last} leave a batch of one sample, by which {name} (BatchNorm1d) cannot be '
                'trained: set train_dataloader.drop_last: true'
                if sampler.batch_size > 1
                else f'with batch_size 1, {name} (BatchNorm1d) cannot be trained: set '
                'train_dataloader.batch_size to 2 or more'
            )
