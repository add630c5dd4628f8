"""The top of a config: its keys, their types and defaults. The keys are mmengine's Runner keys.

Every collection of parts is a mapping by name. `runtime`, `plugins` and `extra` are ours.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from mmengine.hooks import Hook
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler
from torch.optim import Optimizer

from toolkit.interfaces import Dataset, Metric, Sampler, System
from toolkit.registry import Slot


@dataclass
class Dataloader:
    """One data loader. `sampler` defaults to a shuffled one for training, in order otherwise.

    `pin_memory` defaults to true where the run is on a GPU: copies to it then overlap with
    computing.
    """

    dataset: Slot[Dataset]
    batch_size: int = 1
    num_workers: int = 0
    sampler: Slot[Sampler] | None = None
    drop_last: bool = False
    pin_memory: bool | None = None
    persistent_workers: bool = False
    prefetch_factor: int | None = None

    def __post_init__(self) -> None:
        _at_least('batch_size', self.batch_size, 1)
        _at_least('num_workers', self.num_workers, 0)


@dataclass
class ClipGrad:
    """Gradient clipping: by norm (`max_norm`) or by value (`clip_value`)."""

    max_norm: float | None = None
    norm_type: float = 2.0
    clip_value: float | None = None

    def __post_init__(self) -> None:
        if (self.max_norm is None) == (self.clip_value is None):
            raise ValueError('give either max_norm or clip_value')


@dataclass
class OptimWrapper:
    """The optimizer, gradient accumulation and clipping; `paramwise_cfg` as in mmengine, and
    `layer_decay` (see `toolkit.engine.optim.build_param_groups`)."""

    optimizer: Slot[Optimizer]
    accumulative_counts: int = 1
    clip_grad: ClipGrad | None = None
    paramwise_cfg: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        _at_least('accumulative_counts', self.accumulative_counts, 1)


@dataclass
class TrainCfg:
    """How long to train (`max_epochs` or `max_iters`) and how often to validate, in that unit.

    `val_interval` is 1 with `max_epochs`; with `max_iters`, where it is left out, the validation
    comes at the end alone. After `max_minutes`, validations among them, a run ends before that: it
    is validated and saved as at its end, with the learning rate wherever the schedule has it.
    """

    max_epochs: int | None = None
    max_iters: int | None = None
    val_interval: int | None = None
    val_begin: int = 1
    max_minutes: float | None = None

    def __post_init__(self) -> None:
        if (self.max_epochs is None) == (self.max_iters is None):
            raise ValueError('give either max_epochs or max_iters')
        _at_least('max_epochs or max_iters', self.max_epochs or self.max_iters or 0, 1)
        if self.val_interval is None:
            self.val_interval = 1 if self.max_iters is None else self.max_iters
        _at_least('val_interval', self.val_interval, 1)
        if self.max_minutes is not None and not self.max_minutes > 0:
            raise ValueError(f'max_minutes must be above 0, found {self.max_minutes:g}')

    @property
    def by_epoch(self) -> bool:
        return self.max_epochs is not None


@dataclass
class Evaluator:
    """Metrics by name. A metric of one value goes by its key; `SAM/upsampled` opens a column."""

    metrics: dict[str, Slot[Metric]]


@dataclass
class Runtime:
    """Switches that change how a run is computed, not what is computed.

    Args:
        device: 'auto' takes a GPU where there is one.
        precision: of forward and backward; weights and optimizer stay fp32.
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
    threads: int | None = None


@dataclass
class Randomness:
    """Seed of everything; `deterministic` asks torch for deterministic algorithms on GPUs."""

    seed: int = 0
    deterministic: bool = False


@dataclass
class RunConfig:
    """A whole run. What is not given is not done: no `train_cfg`, no training."""

    model: Slot[System]
    train_dataloader: Dataloader | None = None
    val_dataloader: Dataloader | None = None
    test_dataloader: Dataloader | None = None
    optim_wrapper: OptimWrapper | None = None
    param_scheduler: dict[str, Slot[_ParamScheduler]] = field(default_factory=dict)
    train_cfg: TrainCfg | None = None
    val_evaluator: Evaluator | None = None
    test_evaluator: Evaluator | None = None
    default_hooks: dict[str, Slot[Hook]] = field(default_factory=dict)
    custom_hooks: dict[str, Slot[Hook]] = field(default_factory=dict)
    runtime: Runtime = field(default_factory=Runtime)
    randomness: Randomness = field(default_factory=Randomness)
    load_from: str | None = None
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
        for role in ('val', 'test'):
            loader, evaluator = f'{role}_dataloader', f'{role}_evaluator'
            if (getattr(self, loader) is None) != (getattr(self, evaluator) is None):
                raise ValueError(f'{loader} and {evaluator} are given together or not at all')


def _at_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f'{name} must be at least {least}, found {value}')
