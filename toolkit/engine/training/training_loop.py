"""The training loop, by epochs or by iterations."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mmengine.runner import BaseLoop
from torch.utils.data import DataLoader

from toolkit.config.schema import TrainCfg
from toolkit.engine.collation import BatchCheck, unwrap
from toolkit.engine.dataloader import BatchSampler
from toolkit.engine.process import distributed, precision
from toolkit.engine.training.cuda_graph_step import GraphedStep
from toolkit.engine.training.loss_meter import NonFiniteLossError
from toolkit.engine.training.time_limit import TimeLimit
from toolkit.engine.training.training_step import SkippingStep, TrainingStep
from toolkit.errors import ToolkitError, list_few
from toolkit.testing import guards

if TYPE_CHECKING:
    from toolkit.engine.runner import Runner


RECENT = 64  # iterations whose samples are remembered: a loss is read at most 40 later
SHOWN_SAMPLES = 8


class TrainLoop(BaseLoop):
    """Trains for `max_iters` iterations, or `max_epochs` epochs, or until the time is over.

    Each iteration is followed, in this order, by the end of the epoch, the validation if it is
    due, the hooks' `after_step` (checkpoints), and a stop if a signal asks for it. A checkpoint
    therefore includes the validation of its iteration.

    Hooks see epochs of the data in both modes: `before_train_epoch` and `after_train_epoch` are
    called at the start and end of each pass over the data. `before_train_epoch` is also called
    when a resumed run continues an epoch.

    Args:
        runner: the run.
        dataloader: loader of the training data.
        config: length of the training.
        stop_at: iteration after which the training ends as if the time were over; None for the
            time limit of `config`.

    Attributes:
        waited: seconds in which this process waited for data.
        time_over: the time limit ended the training.
        skipped: number of iterations whose loss was not finite and that were left out.
        is_skipped: the current iteration, or the last one, is left out.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader[Any],
        config: TrainCfg,
        stop_at: int | None = None,
    ) -> None:
        super().__init__(runner, dataloader)
        self._sampler: BatchSampler = dataloader.batch_sampler  # type: ignore[assignment]
        self._config = config
        self.epoch_length = len(self._sampler)
        self._max_iters = config.max_iters or (config.max_epochs or 0) * self.epoch_length
        self._iter = 0
        self._epoch = 0
        self.stop_training = False
        self.finished = False
        self.waited = 0.0
        self.time_over = False
        self._stop_at = stop_at
        self._time_limit = TimeLimit(config.max_minutes)
        self._training_step: TrainingStep | None = None
        self._batch_check = BatchCheck(runner.system, dataloader.dataset.dataset)
        self._agreement = distributed.Agreement()
        self.skipped = 0
        self.is_skipped = False
        # Of each iteration and what its samples say of themselves; a loss is read some later.
        self._recent: deque[tuple[int, Any]] = deque(maxlen=RECENT)

    @property
    def iter(self) -> int:
        """Number of finished iterations; the hooks of an iteration do not count it yet."""
        return self._iter

    @property
    def epoch(self) -> int:
        """Number of finished epochs."""
        return self._epoch

    @property
    def max_iters(self) -> int:
        return self._max_iters

    @property
    def max_epochs(self) -> int:
        """Number of epochs, the last of which may be incomplete."""
        return -(-self._max_iters // self.epoch_length)

    @property
    def val_interval(self) -> int:
        return self._config.val_interval

    @property
    def val_begin(self) -> int:
        return self._config.val_begin

    def state_dict(self) -> dict[str, Any]:
        state = {
            'iter': self._iter,
            'epoch_length': self.epoch_length,
            'stop_training': self.stop_training,
        }
        if self._config.on_nonfinite == 'skip':
            state['skipped'] = self.skipped
        return {**state, **self._time_limit.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the state of an interrupted run.

        Raises:
            ToolkitError: the data has another length than when the run was stopped.
        """
        if state['epoch_length'] != self.epoch_length:
            raise ToolkitError(
                f'cannot resume: an epoch had {state["epoch_length"]} iterations and now has '
                f'{self.epoch_length}; the data or the number of processes has changed'
            )
        self._iter = state['iter']
        self._epoch = self._iter // self.epoch_length
        self.stop_training = state['stop_training']
        self._time_limit.load_state_dict(state)
        self.skipped = state.get('skipped', 0)

    def run(self) -> None:
        runner = self.runner
        runner.call_hook('before_train')
        runner.model.train()
        self._time_limit.start()
        if self._iter < self._max_iters and not self.stop_training and not self._is_out_of_time():
            self._run()
        self.finished = self.stop_training or self.time_over or self._iter >= self._max_iters
        if self.finished:
            runner.signal = 0  # it came after the last iteration
        distributed.sync_buffers(runner.system)
        runner.call_hook('after_train')

    def _run(self) -> None:
        runner = self.runner
        self._sampler.start, self._sampler.stop = self._iter, self._max_iters
        self._training_step = build_step(runner)
        batches = iter(self.dataloader)
        try:
            self._start_epoch()
            runner.restore_randomness()
            while not self._step(self._load(batches)):
                pass
        finally:
            # A traceback holds the iterator, and the iterator holds its worker processes.
            if (shutdown := getattr(batches, '_shutdown_workers', None)) is not None:
                shutdown()

    def _load(self, batches: Iterator[Any]) -> dict[str, Any]:
        start = time.perf_counter()
        batch = unwrap(next(batches))
        self.waited += time.perf_counter() - start
        return batch

    def _step(self, batch: dict[str, Any]) -> bool:
        """Does one iteration with its validation and hooks; returns whether training ends."""
        runner = self.runner
        self._train_iter(self._iter % self.epoch_length, batch)
        self._iter += 1
        self._is_out_of_time()
        epoch_ended = self._iter % self.epoch_length == 0
        if epoch_ended:
            runner.call_hook('after_train_epoch')
            self._epoch += 1
        if self._is_validation_due(epoch_ended):
            runner.val_loop.run()
            runner.model.train()
        runner.call_hook('after_step')
        if runner.is_interrupted() or self.stop_training or self._iter >= self._max_iters:
            return True
        if self.time_over:
            return True
        if epoch_ended:
            self._start_epoch()
        return False

    def _start_epoch(self) -> None:
        self.runner.message_hub.update_info('epoch', self._epoch)
        self.runner.system.start_epoch(self._epoch)
        self.runner.call_hook('before_train_epoch')

    def _train_iter(self, index: int, batch: dict[str, Any]) -> None:
        runner = self.runner
        runner.message_hub.update_info('iter', self._iter)
        runner.call_hook('before_train_iter', batch_idx=index, data_batch=batch)
        self._batch_check.check(batch)
        batch = precision.move_batch(batch, runner.runtime, runner.device)
        assert self._training_step is not None
        self._recent.append((self._iter + 1, batch.get('meta')))
        with guards.keep_unchanged(batch, runner.system):
            losses, others, self.is_skipped = self._training_step(batch)
        if self.is_skipped:
            self._skip(losses)
        else:
            runner.losses.add(self._iter + 1, losses, others)
        runner.call_hook(
            'after_train_iter', batch_idx=index, data_batch=batch, outputs={**losses, **others}
        )

    def _skip(self, losses: dict[str, Any]) -> None:
        """Notes an iteration that is left out.

        Raises:
            NonFiniteLossError: too many have been.
        """
        self.skipped += 1
        number = self._iter + 1
        values = {name: float(loss) for name, loss in losses.items()}
        # The terms come before their sum, which is finite where only another process has a bad one.
        name = next((name for name, v in values.items() if not math.isfinite(v)), 'loss')
        if self.skipped > self._config.max_skips:
            raise NonFiniteLossError(name, values[name], number)
        self.runner.say(
            f'iteration {number:,} is skipped ({self.skipped} of at most '
            f'{self._config.max_skips}): the loss {name!r} is {values[name]}; '
            f'{self.describe_batch(number)}'
        )

    def describe_batch(self, number: int) -> str:
        """Describes the samples of this process in a recent iteration, counted from 1."""
        metas = dict(self._recent).get(number) or ()
        requests = self._sampler.get_requests(number - 1)
        texts = [
            f'{request.index}{_describe_meta(metas[place] if place < len(metas) else None)}'
            for place, request in enumerate(requests)
        ]
        return f'its samples: {list_few(texts, SHOWN_SAMPLES)}'

    def _is_validation_due(self, epoch_ended: bool) -> bool:
        if self.runner.val_loop is None:
            return False
        if self.time_over:
            return True
        if self._config.by_epoch:
            done, last = self._epoch, self.max_epochs
            if not epoch_ended:
                return False
        else:
            done, last = self._iter, self._max_iters
        return done >= self.val_begin and (done % self.val_interval == 0 or done == last)

    def _is_out_of_time(self) -> bool:
        """Tells whether the time is over; the answer is the same on all processes."""
        if self._stop_at is not None:
            self.time_over = self._iter >= self._stop_at
        elif self._time_limit.seconds is not None:
            over = int(self._time_limit.is_over())
            self.time_over = self._agreement.find_largest(self._iter, over) == 1
        return self.time_over


def _describe_meta(meta: Any) -> str:
    """Describes a sample by the plain values of its `meta`, in brackets; '' if it has none."""
    if not isinstance(meta, Mapping):
        return ''
    plain = {k: v for k, v in meta.items() if isinstance(v, (str, int, float, tuple, list))}
    text = ', '.join(f'{key} {value}' for key, value in plain.items())
    return f' ({text[:120]})' if text else ''


def build_step(runner: Runner) -> TrainingStep:
    """Builds the step for a run's `runtime`.

    Raises:
        ToolkitError: `cuda_graph` is set and the run cannot be captured.
    """
    if runner.runtime.cuda_graph and runner.device.type == 'cuda':
        return GraphedStep(runner)
    if runner.run_config.train_cfg.on_nonfinite == 'skip':
        return SkippingStep(runner)
    return TrainingStep(runner)
