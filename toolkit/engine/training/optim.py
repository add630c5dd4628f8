"""Optimizer, gradient accumulation and clipping, mixed precision and schedules."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.optim import OptimWrapper as MMOptimWrapper
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_, clip_grad_value_
from torch.optim import Optimizer

from toolkit.config import schema
from toolkit.engine.process import distributed, precision
from toolkit.engine.training.parameter_groups import (
    COMPUTED,
    build_param_groups,
    find_argument,
    get_class,
)
from toolkit.errors import ComponentError, ToolkitError


class OptimWrapper(MMOptimWrapper):
    """mmengine's wrapper with mixed precision on CPUs too and without logging per iteration.

    Args:
        optimizer: torch's optimizer.
        config: accumulation and clipping.
        runtime: precision; with fp16 the loss is scaled so that small gradients do not vanish.
        device: device of the system.

    Attributes:
        grad_norm: norm of the gradients at the last step before clipping; None without clipping
            by norm.
        has_caught_up: `leave_out` has made a step.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        config: schema.OptimWrapperConfig,
        runtime: schema.Runtime,
        device: torch.device,
    ) -> None:
        super().__init__(optimizer, accumulative_counts=config.accumulative_counts)
        self._clip = config.clip_grad
        self._runtime = runtime
        self._device = device
        self.scaler = torch.amp.GradScaler(device.type, enabled=runtime.precision == 'fp16')
        self.grad_norm: Tensor | None = None
        self.has_caught_up = False

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        with precision.autocast(self._runtime, self._device), super().optim_context(model):
            yield

    def initialize_count_status(
        self, model: nn.Module | None, init_counts: int, max_counts: int
    ) -> None:
        # mmengine's also warns that accumulated gradients are lost; here they are resumed.
        self._inner_count = init_counts
        self._max_counts = max_counts
        self._remainder_counts = max_counts % self._accumulative_counts

    def backward(self, loss: Tensor, **kwargs: Any) -> None:
        self.scaler.scale(loss).backward(**kwargs)
        self._inner_count += 1

    @property
    def count(self) -> int:
        """Number of backward passes so far."""
        return self._inner_count

    @count.setter
    def count(self, count: int) -> None:
        self._inner_count = count

    def count_replay(self) -> None:
        """Counts a step that a CUDA graph has computed."""
        self._inner_count += 1

    def leave_out(self) -> None:
        """Counts an iteration of the training that has no backward pass.

        Later windows of accumulated gradients end an iteration later. The last one is shorter by
        it, and a step follows here if no iteration of it is to come.
        """
        pending = self._inner_count % self._accumulative_counts
        begin = self._inner_count - pending
        length = min(self._accumulative_counts, self._max_counts - begin)
        self.initialize_count_status(None, self._inner_count, self._max_counts - 1)
        shorter = min(self._accumulative_counts, self._max_counts - begin)
        self.has_caught_up = bool(pending) and self._inner_count == self._max_counts
        if not pending or shorter == length:
            return
        parameters = [p for group in self.optimizer.param_groups for p in group['params']]
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.mul_(length / shorter)
        if self.has_caught_up:
            distributed.average_gradients(parameters)  # else done by the last backward pass
            self.step()
            self.zero_grad()

    def step(self, **kwargs: Any) -> None:
        if self._clip is not None:
            self.scaler.unscale_(self.optimizer)
            self._clip_gradients(self._clip)
        self.scaler.step(self.optimizer, **kwargs)
        self.scaler.update()

    def _clip_gradients(self, clip: schema.ClipGrad) -> None:
        parameters = [p for group in self.optimizer.param_groups for p in group['params']]
        if clip.max_norm is not None:
            self.grad_norm = clip_grad_norm_(parameters, clip.max_norm, clip.norm_type).detach()
        elif clip.clip_value is not None:
            clip_grad_value_(parameters, clip.clip_value)

    @property
    def learning_rate(self) -> float:
        """Learning rate of the parameters that `paramwise_cfg` does not change."""
        return float(self.param_groups[-1 if self.base_param_settings else 0]['lr'])

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), 'scaler': self.scaler.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        rest = dict(state_dict)
        scaler = rest.pop('scaler', None)
        if scaler and self.scaler.is_enabled():
            self.scaler.load_state_dict(scaler)
        # The device decides how a step is computed, and not the checkpoint.
        saved, groups = rest.get('param_groups'), self.optimizer.param_groups
        if isinstance(saved, list) and len(saved) == len(groups):
            own = [{k: group[k] for k in COMPUTED if k in group} for group in groups]
            rest['param_groups'] = [{**old, **new} for old, new in zip(saved, own)]
        super().load_state_dict(rest)


def build_optim_wrapper(
    system: nn.Module,
    config: schema.OptimWrapperConfig,
    runtime: schema.Runtime,
    device: torch.device,
) -> OptimWrapper:
    """Builds the optimizer of a system's trainable parameters.

    Raises:
        ToolkitError: the system has no trainable parameters.
        ComponentError: `paramwise_cfg` does not fit the system.
    """
    if not any(p.requires_grad for p in system.parameters()):
        raise ToolkitError(
            f'{type(system).__name__} has no trainable parameters; test it instead of training it'
        )
    if config.paramwise_cfg:
        lr, decay = (
            find_argument(config.optimizer, 'lr'),
            find_argument(config.optimizer, 'weight_decay'),
        )
        groups: Any = build_param_groups(system, config.paramwise_cfg, lr, decay)
    else:
        groups = [p for p in system.parameters() if p.requires_grad]
    options = _choose_device_options(config.optimizer, runtime, device)
    optimizer = config.optimizer(params=groups, **options)
    # The steps before a capture run uncaptured on purpose.
    optimizer._warned_capturable_if_run_uncaptured = True
    return OptimWrapper(optimizer, config, runtime, device)


def _choose_device_options(
    factory: Callable[..., Any], runtime: schema.Runtime, device: torch.device
) -> dict[str, bool]:
    """Chooses options for few kernels per step on a GPU, and for capture in a CUDA graph.

    Raises:
        ComponentError: `runtime.cuda_graph` is set and the optimizer cannot be captured.
    """
    if device.type != 'cuda':
        return {}
    accepted = inspect.signature(get_class(factory)).parameters
    given = getattr(factory, 'arguments', None) or getattr(factory, 'keywords', {})
    options = {}
    if 'fused' in accepted and not set(COMPUTED) & set(given):
        options['fused'] = True
    if runtime.cuda_graph:
        if 'capturable' not in accepted:
            raise ComponentError(
                'runtime.cuda_graph',
                f'{get_class(factory).__name__} cannot be captured in a CUDA graph; set it to '
                'false, or choose an optimizer with `capturable`, such as Adam or AdamW',
            )
        options['capturable'] = True
    return options


def build_schedulers(
    factories: Mapping[str, Callable[..., Any]],
    wrapper: OptimWrapper,
    train_cfg: schema.TrainCfg,
    epoch_length: int,
) -> dict[str, Any]:
    """Builds schedules by name.

    A schedule counts in the unit of `train_cfg` unless it has `by_epoch`, and ends with the
    training unless it has `end`.
    """
    epochs = train_cfg.max_epochs or -(-(train_cfg.max_iters or 0) // epoch_length)
    iterations = train_cfg.max_iters or (train_cfg.max_epochs or 0) * epoch_length
    schedulers = {}
    for name, factory in factories.items():
        given = getattr(factory, 'arguments', None) or getattr(factory, 'keywords', {})
        cls = getattr(factory, 'cls', None) or getattr(factory, 'func', factory)
        # A schedule that follows a metric counts validations, whatever the training counts.
        by_epoch = given.get('by_epoch', train_cfg.by_epoch or hasattr(cls, 'need_val_args'))
        injected = {'optimizer': wrapper, 'by_epoch': by_epoch}
        if 'end' not in given:
            injected['end'] = max(epochs if by_epoch else iterations, given.get('begin', 0) + 1)
        schedulers[name] = factory(**injected)
    return schedulers
