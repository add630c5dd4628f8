"""Hook that averages weights over training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from mmengine.hooks import Hook
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from toolkit.engine.process import distributed
from toolkit.ranges import BelowOne
from toolkit.registry import HOOKS

if TYPE_CHECKING:
    from toolkit.engine.runner import Runner

# Key of a checkpoint that holds the weights in training and the number of updates.
STATE = 'ema'


@HOOKS.register
class EMA(Hook):
    """Averages weights exponentially; validation and checkpoints use the averaged weights.

    The average is updated after each step of the optimizer: `average = decay * average +
    (1 - decay) * weights`. The first update copies the weights. Update n after it uses the decay
    `min(decay, (1 + n) / (10 + n))`, so that a short training does not keep its first weights.

    `state_dict` of `last.pth` and `best.pth` holds the averaged weights, which testing,
    prediction and `load_from` use. `last.pth` also holds the weights in training, for resuming.

    Args:
        decay: decay of the average, at least 0 and below 1; about `1 / (1 - decay)` of the last
            steps count.
        warm_up: raise the decay from 2/11 as above; otherwise it is `decay` from the start.
        buffers: average floating-point buffers too, such as the statistics of BatchNorm;
            otherwise those of the weights in training are used.
    Raises:
        ValueError: `decay` is out of range.
    Source: the warm-up is that of TensorFlow,
        https://www.tensorflow.org/api_docs/python/tf/train/ExponentialMovingAverage
    """

    def __init__(self, decay: BelowOne = 0.999, warm_up: bool = True, buffers: bool = True) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f'decay must be at least 0 and below 1, found {decay}')
        self.decay = decay
        self.warm_up = warm_up
        self.buffers = buffers
        self.updates = 0
        self._averages: dict[str, Tensor] = {}
        self._loaded: dict[str, Tensor] = {}

    def get_decay(self, update: int) -> float:
        """Returns the decay of an update; update 0 copies the weights."""
        if update == 0:
            return 0.0
        if not self.warm_up:
            return self.decay
        return min(self.decay, (1 + update) / (10 + update))

    def before_train(self, runner: Runner) -> None:
        # Not when the checkpoint is loaded: its names and shapes are checked after that.
        if self._loaded:
            self._averages = {
                name: torch.empty_like(tensor).copy_(self._loaded[name])
                for name, tensor in self._select(runner.system).items()
            }
            self._loaded = {}

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        wrapper = runner.optim_wrapper
        is_skipped = runner.train_loop.is_skipped
        if not (wrapper.has_caught_up if is_skipped else wrapper.should_update()):
            return  # the weights are the same: the batch is left out, or gradients are accumulated
        weights = self._select(runner.system)
        if self.updates == 0:
            self._averages = {name: tensor.clone() for name, tensor in weights.items()}
        else:
            # torch's AveragedModel calls this too, and waits for the device at every update.
            average = get_ema_multi_avg_fn(self.get_decay(self.updates))
            average(list(self._averages.values()), list(weights.values()), self.updates)
        self.updates += 1

    def before_val_epoch(self, runner: Runner) -> None:
        self._swap(runner.system)
        if self.buffers:
            distributed.sync_buffers(runner.system)

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self._swap(runner.system)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        if self.updates == 0:
            return
        in_training = checkpoint['state_dict']  # shares the memory of the system
        self._swap(runner.system)
        if self.buffers:
            distributed.sync_buffers(runner.system)
        checkpoint['state_dict'] = {
            name: value.clone() if isinstance(value, Tensor) else value
            for name, value in runner.system.state_dict().items()
        }
        self._swap(runner.system)
        checkpoint[STATE] = {'state_dict': in_training, 'updates': self.updates}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        # Only a resumed training needs both states; the averaged weights serve all others.
        if runner._resume and STATE in checkpoint:
            self._loaded = checkpoint['state_dict']
            checkpoint['state_dict'] = checkpoint[STATE]['state_dict']
            self.updates = checkpoint[STATE]['updates']

    def _select(self, system: nn.Module) -> dict[str, Tensor]:
        """Returns the tensors to average by name; they share the memory of the system."""
        named: dict[str, Tensor] = dict(system.named_parameters())
        if self.buffers:
            saved = system.state_dict().keys()
            named.update((n, b) for n, b in system.named_buffers() if n in saved)
        return {
            name: tensor.detach()
            for name, tensor in named.items()
            if tensor.is_floating_point() or tensor.is_complex()
        }

    def _swap(self, system: nn.Module) -> None:
        """Exchanges weights and averages in place, since graphs and optimizers hold the memory."""
        weights = self._select(system)
        for name, average in self._averages.items():
            kept = weights[name].clone()
            weights[name].copy_(average)
            average.copy_(kept)
