"""All parts of a run, built and checked before anything is written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from mmengine.hooks import Hook
from torch import nn
from torch.utils.data import DataLoader

from toolkit.config.schema import Dataloader, RunConfig
from toolkit.config.schema import Evaluator as EvaluatorConfig
from toolkit.engine import mmengine_compat, precision, seeding
from toolkit.engine.dataloader import Draws, build_loader
from toolkit.engine.evaluator import Evaluator, metric_names
from toolkit.engine.hooks import STANDARD
from toolkit.engine.optim import OptimWrapper, build_optim_wrapper, build_schedulers
from toolkit.errors import ComponentError, ToolkitError, did_you_mean
from toolkit.interfaces import Dataset, System

Role = Literal['train', 'val', 'test']


@dataclass
class Evaluated:
    """A dataset with the metrics that are measured on it."""

    loader: DataLoader[Any]
    evaluator: Evaluator

    @property
    def directions(self) -> dict[str, bool]:
        return metric_names(self.evaluator.metrics)


@dataclass
class Assembly:
    """The parts of a run, each built once."""

    run: RunConfig
    system: System
    device: torch.device
    train: DataLoader[Any] | None = None
    val: Evaluated | None = None
    test: Evaluated | None = None
    optim_wrapper: OptimWrapper | None = None
    schedulers: dict[str, Any] = field(default_factory=dict)
    scheduler_states: dict[str, mmengine_compat.SchedulerState] = field(default_factory=dict)
    hooks: dict[str, Hook] = field(default_factory=dict)
    datasets: dict[str, Dataset] = field(default_factory=dict)
    prepared: bool = False

    def prepare(self, say: Callable[[str], None]) -> None:
        """Let the system learn from the data, with the weights that it has now.

        Raises:
            ToolkitError: what the system finds wrong with them.
        """
        self.system.prepare(
            self.datasets,
            device=self.device,
            context=lambda: precision.autocast(self.run.runtime, self.device),
            say=say,
        )
        self.prepared = True

    def fingerprints(self) -> dict[str, str]:
        """A hash of each dataset's data, '' where it has none."""
        return {role: dataset.fingerprint() for role, dataset in self.datasets.items()}


def build_system(run: RunConfig) -> System:
    """The system alone, its weights drawn from the run's seed; nothing else moves them."""
    seeding.seed_all(seeding.derive(run.randomness.seed, 'system'))
    return run.model()


def for_training(run: RunConfig, device: torch.device) -> Assembly:
    """Everything that training needs.

    Raises:
        ToolkitError: nothing to train, no data, a part that cannot be built or does not fit.
    """
    if run.train_dataloader is None or run.optim_wrapper is None or run.train_cfg is None:
        raise ToolkitError(
            'the config has no training: give train_dataloader, optim_wrapper and train_cfg'
        )
    assembly = _start(run, device)
    assembly.train = _loader(assembly, 'train', run.train_dataloader)
    _check_batch_norm(assembly.system, assembly.train.batch_sampler)  # type: ignore[arg-type]
    if run.val_dataloader is not None and run.val_evaluator is not None:
        assembly.val = _evaluated(assembly, 'val', run.val_dataloader, run.val_evaluator)
    assembly.optim_wrapper = build_optim_wrapper(
        assembly.system, run.optim_wrapper, run.runtime, device
    )
    assembly.schedulers = build_schedulers(
        run.param_scheduler, assembly.optim_wrapper, run.train_cfg, len(assembly.train)
    )
    assembly.scheduler_states = {
        name: mmengine_compat.SchedulerState(s) for name, s in assembly.schedulers.items()
    }
    assembly.hooks = _hooks(run)
    _check_monitors(assembly)
    return assembly


def for_testing(run: RunConfig, device: torch.device) -> Assembly:
    """Everything that a test needs.

    Raises:
        ToolkitError: nothing to test, or a part that cannot be built or does not fit.
    """
    if run.test_dataloader is None or run.test_evaluator is None:
        raise ToolkitError('the config has no test: give test_dataloader and test_evaluator')
    assembly = _start(run, device)
    assembly.test = _evaluated(assembly, 'test', run.test_dataloader, run.test_evaluator)
    hooks = _hooks(run)
    assembly.hooks = {
        n: hook for n, hook in hooks.items() if mmengine_compat.takes_part_in_test(hook)
    }
    return assembly


def _start(run: RunConfig, device: torch.device) -> Assembly:
    seeding.set_determinism(run.randomness.deterministic)
    system = build_system(run)
    precision.place(system, run.runtime, device)
    return Assembly(run, system, device)


def _loader(assembly: Assembly, role: Role, config: Dataloader) -> DataLoader[Any]:
    seed = assembly.run.randomness.seed
    # What a dataset draws while it is made is its own too.
    seeding.seed_all(seeding.derive(seed, 'dataset', role))
    dataset = config.dataset()
    assembly.system.check_data(dataset)
    assembly.datasets[role] = dataset
    return build_loader(
        config, dataset, training=role == 'train', seed=seed, device=assembly.device
    )


def _evaluated(
    assembly: Assembly, role: Role, config: Dataloader, evaluator: EvaluatorConfig
) -> Evaluated:
    loader = _loader(assembly, role, config)
    metrics = {key: factory() for key, factory in evaluator.metrics.items()}
    return Evaluated(loader, Evaluator(metrics, loader.batch_sampler.samples))  # type: ignore[union-attr]


def _check_batch_norm(system: System, draws: Draws) -> None:
    """A BatchNorm1d in training has more than one sample in every batch; of one it has no variance.

    Raises:
        ToolkitError: the smallest batch of an epoch is one sample.
    """
    if draws.smallest > 1:
        return
    system.train()  # where something frozen says that it stays as it is
    for name, module in system.named_modules():
        if isinstance(module, nn.BatchNorm1d) and module.training:
            last = f'{draws.samples} samples in batches of {draws.batch_size}'
            if draws.world > 1:
                last += f' on {draws.world} processes'
            raise ToolkitError(
                f'{last} leave a batch of one sample, by which {name} (BatchNorm1d) cannot be '
                'trained: set train_dataloader.drop_last: true'
                if draws.batch_size > 1
                else f'with batch_size 1, {name} (BatchNorm1d) cannot be trained: set '
                'train_dataloader.batch_size to 2 or more'
            )


def _hooks(run: RunConfig) -> dict[str, Hook]:
    """The configured hooks by name; progress, log and checkpoints where none is configured."""
    factories: Mapping[str, Callable[..., Hook]] = run.default_hooks or STANDARD
    hooks = {}
    for section, group in (('default_hooks', factories), ('custom_hooks', run.custom_hooks)):
        for name, factory in group.items():
            if name in hooks:
                raise ComponentError(
                    f'custom_hooks.{name}', 'default_hooks has a hook of that name too'
                )
            hook = factory()
            for cls, instead in mmengine_compat.REPLACED_HOOKS.items():
                if isinstance(hook, cls):
                    raise ComponentError(
                        f'{section}.{name}',
                        f"mmengine's {cls.__name__} is not used here: {instead}",
                    )
            hooks[name] = hook
    return hooks


def _check_monitors(assembly: Assembly) -> None:
    """Hooks and schedules that follow a metric follow one that is measured."""
    known = assembly.val.directions if assembly.val is not None else {}
    custom = assembly.run.custom_hooks
    hooks = {
        f'{"custom_hooks" if name in custom else "default_hooks"}.{name}': hook
        for name, hook in assembly.hooks.items()
    }
    schedulers = {f'param_scheduler.{name}': s for name, s in assembly.schedulers.items()}
    followed = [
        (path, attribute, part)
        for path, part in (hooks | schedulers).items()
        for attribute in ('save_best', 'monitor')
    ]
    for path, attribute, part in followed:
        name = getattr(part, attribute, None)
        if isinstance(name, str) and name not in known:
            there = ', '.join(known) if known else 'none, as there is no val_evaluator'
            raise ComponentError(
                f'{path}.{attribute}',
                f'no metric is named {name!r}{did_you_mean(name, known)}; '
                f'validation measures: {there}',
            )
