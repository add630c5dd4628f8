"""Hook that writes checkpoints during training."""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from mmengine.hooks import Hook

from toolkit.engine import checkpoint, run_state
from toolkit.engine.process import distributed
from toolkit.errors import RunError
from toolkit.io.tables.formatting import parse_duration
from toolkit.ranges import Ge, PositiveInt
from toolkit.registry import HOOKS

if TYPE_CHECKING:
    from toolkit.engine.runner import Runner


@HOOKS.register
class Checkpoint(Hook):
    """Writes `checkpoints/last.pth` and `checkpoints/best.pth` during training.

    The engine itself writes `last.pth` at the end of a run and after a signal to stop.

    Args:
        interval: epochs or iterations (the unit of `train_cfg`) between two `last.pth`; None to
            write it after every validation, or after every epoch if there is no validation.
        every: time between two `last.pth`, such as `30 s`, `10 min` or `2 h`, beside `interval`; it
            bounds what a kill can cost where iterations take long.
        save_best: name of a metric. The weights at its best value so far are kept as `best.pth`;
            with `EMA` they are the averaged weights. The metric defines which direction is better.
        keep: number of checkpoints that are kept beside `last.pth` as `iter_N.pth`; -1 for all.
    """

    # After every hook that changes the state to be saved.
    priority = 'VERY_LOW'

    def __init__(
        self,
        interval: PositiveInt | None = None,
        save_best: str | None = None,
        keep: Annotated[int, Ge(-1)] = 0,
        every: str | None = None,
    ) -> None:
        if interval is not None and interval < 1:
            raise ValueError(f'interval must be at least 1, found {interval}')
        if keep < -1:
            raise ValueError(f'keep must be -1 or more, found {keep}')
        self.interval = interval
        self.save_best = save_best
        self.keep = keep
        self.seconds = None if every is None else parse_duration(every)
        self._saved_at = 0.0
        self._agreement = distributed.Agreement()
        self.best: dict[str, Any] | None = None
        self._validated: dict[str, float] | None = None
        self._has_warned = False

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        self._validated = metrics or {}

    def after_step(self, runner: Runner) -> None:
        metrics, self._validated = self._validated, None
        if metrics and self.save_best is not None and self._is_improvement(runner, metrics):
            score = metrics[self.save_best]
            self.best = {'metric': self.save_best, 'value': score, 'iter': runner.iter}
            # Before last.pth: a run killed in between validates again and writes this one again.
            self._write_best(runner, metrics)
        is_late = self._is_late(runner)  # all processes ask, whatever else makes one due
        if is_late or self._is_due(runner, metrics is not None):
            path = runner.save_last()
            self._saved_at = time.monotonic()
            if self.keep:
                distributed.run_on_main(lambda: self._keep(path, runner.iter))

    def _is_improvement(self, runner: Runner, metrics: dict[str, float]) -> bool:
        assert self.save_best is not None
        value = metrics.get(self.save_best, math.nan)
        if math.isnan(value):
            if not self._has_warned:
                self._has_warned = True
                runner.say(
                    f'save_best: {self.save_best} is not defined in the validation at iteration '
                    f'{runner.iter:,}; such a one is never the best'
                )
            return False
        if self.best is None:
            return True
        sign = 1 if runner.get_directions()[self.save_best] else -1
        return sign * value > sign * self.best['value']

    def before_train(self, runner: Runner) -> None:
        self._saved_at = time.monotonic()
        if runner.iter and self.save_best is not None:
            folder = checkpoint.get_folder(Path(runner.work_dir))
            aside = distributed.run_on_main(lambda: _put_later_best_aside(folder, runner.iter))
            if aside is not None:
                self.best = None  # its file had been replaced by the later one
                runner.say(
                    f'{folder / checkpoint.BEST} is of a later iteration than this run resumes '
                    f'from: it is now {aside}'
                )

    def _is_late(self, runner: Runner) -> bool:
        """Tells whether `every` has passed; the answer is the same on all processes."""
        if self.seconds is None:
            return False
        late = int(time.monotonic() - self._saved_at >= self.seconds)
        return self._agreement.find_largest(runner.iter, late) == 1

    def _is_due(self, runner: Runner, validated: bool) -> bool:
        loop = runner.train_loop
        epoch_ended = loop.iter % loop.epoch_length == 0
        if self.interval is None:
            return validated if runner.val_loop is not None else epoch_ended
        if runner.run_config.train_cfg.by_epoch:
            return epoch_ended and loop.epoch % self.interval == 0
        return loop.iter % self.interval == 0

    def _write_best(self, runner: Runner, metrics: dict[str, float]) -> None:
        state = run_state.collect_state(runner)
        content = {
            'state_dict': state['state_dict'],
            'meta': {**state['meta'], 'metrics': dict(metrics), 'best': self.best},
        }
        path = checkpoint.get_folder(Path(runner.work_dir)) / checkpoint.BEST
        distributed.run_on_main(lambda: checkpoint.save(content, path))

    def _keep(self, last: Path, iteration: int) -> None:
        try:
            checkpoint.keep_numbered(last, iteration)
            # The new one is safe on the disk before an old one goes.
            if self.keep > 0:
                numbered = checkpoint.list_numbered(last.parents[1])
                # A run resumed from an older one finds later ones, which must not push out its own.
                own = numbered[: numbered.index(last.with_name(f'iter_{iteration}.pth')) + 1]
                for old in own[: -self.keep]:
                    old.unlink()
        except OSError as error:
            raise RunError(
                f'cannot keep a checkpoint in {last.parent}: {error.strerror}'
            ) from error

    def state_dict(self) -> dict[str, Any]:
        return {'best': self.best}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best = state['best']


def _put_later_best_aside(folder: Path, iteration: int) -> str | None:
    """Renames a `best.pth` that a run has not reached yet; returns its new name, if it had to.

    Raises:
        RunError: it cannot be renamed.
    """
    path = folder / checkpoint.BEST
    if not path.exists():
        return None
    try:
        found = checkpoint.load(path).get('meta')
    except checkpoint.CheckpointError:
        return None  # a test of it says so; a better one takes its place
    later = found.get('iter') if isinstance(found, dict) else None
    if not isinstance(later, int) or later <= iteration:
        return None
    name = f'best_of_{later}.pth'
    try:
        path.rename(folder / name)
    except OSError as error:
        raise RunError(f'cannot rename {path}: {error.strerror}') from error
    return name
