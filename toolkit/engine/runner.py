"""mmengine's Runner around our loops: hooks, state of a run, resumption."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from mmengine.hooks import Hook, ParamSchedulerHook
from torch import nn

from toolkit.config.schema import RunConfig
from toolkit.engine import checkpoint, mmengine_compat, run_state
from toolkit.engine.components import RunComponents
from toolkit.engine.process import distributed, seeding
from toolkit.engine.tracking.tracker_group import TrackerGroup
from toolkit.engine.training import batch_sharing
from toolkit.engine.training.evaluation_loop import EvalLoop
from toolkit.engine.training.loss_meter import LossMeter, NonFiniteLossError
from toolkit.engine.training.training_loop import TrainLoop
from toolkit.errors import RunError
from toolkit.io.run_layout import TEST_LOG, TRAIN_LOG

FORMAT = 1


class Runner(mmengine_compat.QuietRunner):
    """Runner of components that are already built.

    mmengine's hooks work unchanged. Ours may add `after_step(runner)`, called after an iteration
    and its validation, and `state_dict()` with `load_state_dict()` for the state that a resumed
    run needs.

    Args:
        components: components of the run.
        work_dir: folder of the run.
        interrupt: returns the number of the signal that asks the run to stop, 0 for none.
        config_text: the resolved config, to be stored in checkpoints.
        stop_at: see `TrainLoop`.
        follows_length: a resumed run has another length than before; its schedules stand where they
            would if it had had this length from the start.

    Attributes:
        system: the system; `model` is the same, or its wrapper for several processes.
        losses: scalars of the iterations since the last log line.
        signal: number of the signal that stopped the run, 0 for none.
    """

    def __init__(
        self,
        components: RunComponents,
        work_dir: Path,
        interrupt: Callable[[], int] = lambda: 0,
        config_text: str = '',
        stop_at: int | None = None,
        follows_length: bool = False,
    ) -> None:
        self.components = components
        self.follows_length = follows_length
        self.run_config: RunConfig = components.run
        self.runtime = components.run.runtime
        self.device = components.device
        self.losses = LossMeter()
        self.signal = 0
        self._is_tested = False
        self.last_saved = -1
        self.trackers = TrackerGroup(components.trackers)
        self._interrupt = interrupt
        self._agreement = distributed.Agreement()
        self._config_text = config_text
        self._randomness: dict[str, Any] | None = None
        self.log_name = TRAIN_LOG if components.train is not None else TEST_LOG
        self._rank, self._world_size = distributed.get_rank(), distributed.get_world_size()
        self._stream: tuple[object, ...] = (self._rank,)  # names of the random numbers' stream
        self.hooks_by_name: dict[str, Hook] = dict(components.hooks)
        super().__init__(
            model=components.system,
            work_dir=str(work_dir),
            custom_hooks=list(components.hooks.values()),
            default_scope=None,
            randomness={'seed': components.run.randomness.seed},
            experiment_name=mmengine_compat.make_unique_name(),
        )
        self._distributed = distributed.get_world_size() > 1
        train_cfg, val, test = components.run.train_cfg, components.val, components.test
        if components.train is not None and train_cfg is not None:
            self._train_loop = TrainLoop(self, components.train, train_cfg, stop_at)
            self.optim_wrapper = components.optim_wrapper
            self.param_schedulers = list(components.schedulers.values())
        if val is not None:
            self._val_loop = EvalLoop(self, val.loader, val.evaluator, 'val')
        if test is not None:
            self._test_loop = EvalLoop(self, test.loader, test.evaluator, 'test')

    # -- called by mmengine's constructor ---------------------------------------------------------

    def set_randomness(
        self, seed: int, diff_rank_seed: bool = False, deterministic: bool = False
    ) -> None:
        self._seed = seed
        self._deterministic = self.run_config.randomness.deterministic

    def wrap_model(self, model_wrapper_cfg: dict[str, Any] | None, model: nn.Module) -> nn.Module:
        return (
            model if self.components.train is None else distributed.wrap_system(model, self.device)
        )

    def register_hooks(
        self, default_hooks: Any = None, custom_hooks: list[Hook] | None = None
    ) -> None:
        for hook in [ParamSchedulerHook(), *(custom_hooks or [])]:
            self.register_hook(hook)

    # -- a run -----------------------------------------------------------------------------------

    @property
    def system(self) -> nn.Module:
        return self.components.system

    def say(self, line: str) -> None:
        """Prints a line, once for all processes, and logs it."""
        if self.rank == 0:
            print(line, flush=True)
            self.logger.info(line)

    def close(self) -> None:
        """Releases the terminal and the log file; call it after success and failure."""
        for hook in self.hooks:
            if hasattr(hook, 'close'):
                hook.close()
        loop = self._train_loop if self.components.train is not None else None
        self.trackers.close(self._is_tested if loop is None else loop.finished)
        mmengine_compat.release(self)

    def is_interrupted(self) -> bool:
        """Tells whether any process received a signal to stop; the answer is the same on all."""
        self.signal = self._agreement.find_largest(self.iter, self._interrupt())
        return self.signal != 0

    def train(self, resume_from: Path | None = None, weights_from: Path | None = None) -> nn.Module:
        """Trains from the beginning, or resumes from a checkpoint.

        Raises:
            ToolkitError: the checkpoint does not fit.
            RunError: a loss is not finite, data cannot be read, a checkpoint cannot be written.
        """
        self._resume = resume_from is not None
        self.call_hook('before_run')
        if resume_from is not None:
            self.resume(str(resume_from))
        elif weights_from is not None:
            self.load_checkpoint(str(weights_from))
        loop: TrainLoop = self.train_loop
        self.trackers.open(Path(self.work_dir), self._read_config(), loop.iter)
        # A skipped iteration has no backward pass.
        self.optim_wrapper.initialize_count_status(
            self.system, loop.iter - loop.skipped, loop.max_iters - loop.skipped
        )
        self.message_hub.update_info('max_iters', loop.max_iters)
        self.message_hub.update_info('max_epochs', loop.max_epochs)
        # Training from the beginning was prepared for before anything was written.
        if self._resume or not self.components.is_prepared:
            self.components.prepare(self.say)
        if self._resume and self._randomness is None:
            self._warn_of_sharing()
        self._compile()
        try:
            loop.run()
            if self.last_saved != loop.iter:
                self.save_last()
        except NonFiniteLossError as error:
            raise RunError(self._explain(error)) from error
        self.call_hook('after_run')
        return self.model

    def _warn_of_sharing(self) -> None:
        """Names the losses that make a run on another number of processes another training."""
        found = batch_sharing.find_shared_losses(self)
        if found:
            values = ', '.join(f'{name} ({a:.4g}, {b:.4g})' for name, (a, b) in found.items())
            self.say(
                'warning: on another number of processes than before this goes on as another '
                f'training, since losses depend on how processes share a batch: {values} (of a '
                'batch, and the mean of its halves); BatchNorm, dropout or a sum over samples '
                'cause this'
            )

    def _explain(self, error: NonFiniteLossError) -> str:
        """Names the samples whose loss is not finite, and the checkpoint before them."""
        last = checkpoint.get_folder(Path(self.work_dir)) / checkpoint.LAST
        saved = 'no checkpoint had been written before'
        if self.last_saved >= 0 and last.exists():
            saved = f'the last good checkpoint is {last} (iteration {self.last_saved})'
        return f'{error}; {self.train_loop.describe_batch(error.iteration)}; {saved}'

    def test(self, weights_from: Path | None = None) -> dict[str, float]:
        """Tests, with the weights of a checkpoint if one is given."""
        self._resume = False
        self.call_hook('before_run')
        if weights_from is not None:
            self.load_checkpoint(str(weights_from))
        self.components.prepare(self.say)
        self._compile()
        self.trackers.open(Path(self.work_dir), self._read_config())
        metrics = self.test_loop.run()
        self._is_tested = True
        self.trackers.log_result(metrics)
        self.call_hook('after_run')
        return metrics

    def _read_config(self) -> dict[str, Any]:
        return yaml.safe_load(self._config_text) or {}

    def _compile(self) -> None:
        mode = self.runtime.compile
        if mode:
            for name in self.system.uncompiled:
                setattr(self.system, name, torch.compiler.disable(getattr(self.system, name)))
            # In place, so that names in checkpoints stay the system's own.
            # What an earlier run of this process compiled for other sizes would make the compiler
            # take sizes as symbols here, which it cannot always do.
            torch.compiler.reset()
            self.system.compile(mode=None if mode is True else mode)

    # -- state -----------------------------------------------------------------------------------

    def get_meta(self) -> dict[str, Any]:
        """Returns the metadata of a checkpoint."""
        return {
            'format': FORMAT,
            'iter': self.iter,
            'epoch': self.epoch,
            'seed': self.seed,
            'system': type(self.system).__name__,
            'config': self._config_text,
        }

    def save_last(self) -> Path:
        """Writes the checkpoint for resuming; a collective call of all processes."""
        path = checkpoint.get_folder(Path(self.work_dir)) / checkpoint.LAST
        content = run_state.collect_state(self)
        distributed.run_on_main(lambda: checkpoint.save(content, path))
        self.last_saved = self.iter
        return path

    def load_checkpoint(self, filename: str, *arguments: Any, **keywords: Any) -> dict[str, Any]:
        """Loads weights, all of them or none.

        Raises:
            CheckpointError: the checkpoint is unusable or of another system.
        """
        path = Path(filename)
        content = checkpoint.load(path)
        # With an average of weights, the weights of a checkpoint are the average.
        loaded = {**content, 'state_dict': checkpoint.extract_weights(content, path)}
        checkpoint.copy_weights(self.system, loaded['state_dict'], path)
        self.call_hook('after_load_checkpoint', checkpoint=loaded)
        self._has_loaded = True
        return content

    def resume(self, filename: str, *arguments: Any, **keywords: Any) -> None:
        """Resumes a run from a checkpoint.

        Raises:
            CheckpointError: the checkpoint is unusable, or of another system or optimizer.
        """
        path = Path(filename)
        content = checkpoint.load(path)
        checkpoint.check_resumable(content, path)
        self.call_hook('after_load_checkpoint', checkpoint=content)
        checkpoint.copy_weights(self.system, content['state_dict'], path)
        run_state.restore_training(self, content, path)
        states = content['randomness']
        if len(states) == self.world_size:
            self._randomness = states[self.rank]
        else:  # a stream for each process that no other part of this run has used
            self._stream = ('resumed', self.iter, self.world_size, self.rank)
        self.last_saved = self.iter
        self._has_loaded = True
        self.logger.info(f'resumed at iteration {self.iter} from {path}')

    def restore_randomness(self) -> None:
        """Sets the generators before the first iteration: to the seed, or to their saved state."""
        if self._randomness is None:
            seeding.seed_all(seeding.derive_seed(self.seed, 'train', *self._stream))
        else:
            seeding.restore_state(self._randomness)

    def get_directions(self) -> dict[str, bool]:
        """Returns, by name of each metric of the validation, whether higher is better."""
        return self.components.val.directions if self.components.val is not None else {}
