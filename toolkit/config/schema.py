"""Sections of a config: keys, types and defaults. The keys are mmengine's Runner keys.

Every collection of components is a mapping by name. `runtime`, `plugins` and `extra` are ours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from mmengine.hooks import Hook
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler
from torch.optim import Optimizer

from toolkit.config.checks.check_optimization import check_paramwise, check_schedules
from toolkit.interfaces import Dataset, Metric, Sampler, System
from toolkit.ranges import (
    Ge,
    Gt,
    Infinite,
    Le,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
)
from toolkit.registry import Slot

# More threads than any machine has cores; torch would start them all.
MAX_THREADS = 4096


@dataclass
class Dataloader:
    """Data loader. The default `sampler` shuffles for training and keeps the order otherwise.

    `pin_memory` defaults to true on a GPU, so that copies to the GPU overlap with computing.
    """

    dataset: Slot[Dataset]
    batch_size: PositiveInt = 1
    num_workers: Annotated[int, Ge(0), Le(MAX_THREADS)] = 0
    sampler: Slot[Sampler] | None = None
    drop_last: bool = False
    pin_memory: bool | None = None
    persistent_workers: bool = False
    prefetch_factor: Annotated[int, Ge(1), Le(MAX_THREADS)] | None = None


@dataclass
class ClipGrad:
    """Gradient clipping: by norm (`max_norm`) or by value (`clip_value`)."""

    max_norm: PositiveFloat | None = None
    norm_type: Annotated[float, Gt(0), Infinite()] = 2.0
    clip_value: PositiveFloat | None = None

    def __post_init__(self) -> None:
        if (self.max_norm is None) == (self.clip_value is None):
            raise ValueError('give either max_norm or clip_value')


@dataclass
class OptimWrapperConfig:
    """Optimizer, gradient accumulation and clipping.

    `paramwise_cfg` is mmengine's, with `layer_decay` (see
    `toolkit.engine.training.parameter_groups.build_param_groups`).
    """

    optimizer: Slot[Optimizer]
    accumulative_counts: PositiveInt = 1
    clip_grad: ClipGrad | None = None
    paramwise_cfg: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        check_paramwise(self.optimizer, self.paramwise_cfg or {})


@dataclass
class TrainCfg:
    """Length of training (`max_epochs` or `max_iters`) and interval of validation, in that unit.

    `val_interval` defaults to 1 with `max_epochs`; with `max_iters` it defaults to a single
    validation at the end. `max_minutes` limits the time of a run, validations included. The run is
    then validated and saved as at its end; the learning rate stays at its current value.

    `on_nonfinite` says what a loss that is NaN or infinite does: `stop` ends the run; `skip` leaves
    the iteration out, at most `max_skips` times in a run. To see it in time, the CPU then waits for
    the GPU at each iteration.
    """

    max_epochs: PositiveInt | None = None
    max_iters: PositiveInt | None = None
    val_interval: PositiveInt | None = None
    val_begin: NonNegativeInt = 1
    max_minutes: PositiveFloat | None = None
    on_nonfinite: Literal['stop', 'skip'] = 'stop'
    max_skips: PositiveInt = 10

    def __post_init__(self) -> None:
        if (self.max_epochs is None) == (self.max_iters is None):
            raise ValueError('give either max_epochs or max_iters')
        if self.val_interval is None:
            self.val_interval = 1 if self.max_iters is None else self.max_iters
        length = self.max_epochs or self.max_iters or 0
        if self.val_begin > length:
            raise ValueError(
                f'val_begin must be at most {length}, the end of the training, '
                f'found {self.val_begin}'
            )

    @property
    def by_epoch(self) -> bool:
        return self.max_epochs is not None


@dataclass
class EvaluatorConfig:
    """Metrics by name.

    A metric with one value has the name of its key; the key `SAM/upsampled` opens a column.
    """

    metrics: dict[str, Slot[Metric]]


@dataclass
class Runtime:
    """Switches of device, precision and speed; they do not change the method.

    Args:
        device: 'auto' is a GPU if there is one.
        precision: precision of forward and backward; weights and optimizer stay fp32.
            'tf32' is float32 whose products a GPU rounds to ten bits; a CPU computes it as 'fp32'.
        channels_last: memory format of weights and images.
        compile: torch.compile of the system; true is 'default'. 'reduce-overhead' and
            'max-autotune' record CUDA graphs of forward and backward on GPUs.
        cuda_graph: replay each training step, the optimizer's part included, as one CUDA graph.
            It needs no compiler. On a CPU it changes nothing.
        threads: CPU threads; None leaves torch's choice.
    """

    device: Literal['auto', 'cpu', 'cuda'] = 'auto'
    precision: Literal['fp32', 'tf32', 'bf16', 'fp16'] = 'fp32'
    channels_last: bool = False
    compile: bool | Literal['default', 'reduce-overhead', 'max-autotune'] = False
    cuda_graph: bool = False
    threads: Annotated[int, Ge(1), Le(MAX_THREADS)] | None = None


@dataclass
class Randomness:
    """Random seed of a run; `deterministic` asks torch for deterministic algorithms on GPUs."""

    seed: NonNegativeInt = 0
    deterministic: bool = False


@dataclass
class RunConfig:
    """Sections of a run. A run without `train_cfg` does not train.

    `allow_overlap` gives the reasons for which training, validation and test may hold the same
    images, patients or references; all results then state what they hold in common.
    """

    model: Slot[System]
    train_dataloader: Dataloader | None = None
    val_dataloader: Dataloader | None = None
    test_dataloader: Dataloader | None = None
    optim_wrapper: OptimWrapperConfig | None = None
    param_scheduler: dict[str, Slot[_ParamScheduler]] = field(default_factory=dict)
    train_cfg: TrainCfg | None = None
    val_evaluator: EvaluatorConfig | None = None
    test_evaluator: EvaluatorConfig | None = None
    default_hooks: dict[str, Slot[Hook]] = field(default_factory=dict)
    custom_hooks: dict[str, Slot[Hook]] = field(default_factory=dict)
    trackers: dict[str, Slot[Hook]] = field(default_factory=dict)
    runtime: Runtime = field(default_factory=Runtime)
    randomness: Randomness = field(default_factory=Randomness)
    load_from: str | None = None
    allow_overlap: list[str] = field(default_factory=list)
    plugins: list[str] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        training = {
            'train_dataloader': self.train_dataloader,
            'optim_wrapper': self.optim_wrapper,
            'train_cfg': self.train_cfg,
        }
        missing = [name for name, value in training.items() if value is None]
        if missing and len(missing) < len(training):
            given = next(name for name, value in training.items() if value is not None)
            raise ValueError(f'{given} needs {" and ".join(missing)} too')
        for subset in ('val', 'test'):
            loader, evaluator = f'{subset}_dataloader', f'{subset}_evaluator'
            if (getattr(self, loader) is None) != (getattr(self, evaluator) is None):
                raise ValueError(f'{loader} and {evaluator} are given together or not at all')
        if not all(reason.strip() for reason in self.allow_overlap):
            raise ValueError('allow_overlap is a list of reasons, and one of them is empty')
        if self.optim_wrapper is not None and self.train_cfg is not None:
            length = self.train_cfg.max_epochs or self.train_cfg.max_iters or 0
            by_epoch = self.train_cfg.by_epoch
            check_schedules(self.param_scheduler, self.optim_wrapper.optimizer, length, by_epoch)
