"""Resumes a run with another length: finds out whether it can equal one of that length."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmengine.hooks import EarlyStoppingHook

from toolkit.config.schema import RunConfig, TrainCfg
from toolkit.engine import checkpoint
from toolkit.engine.components import RunComponents
from toolkit.engine.training import schedule_length
from toolkit.errors import ToolkitError
from toolkit.io.run_layout import CAPSULE, METRICS_FILE
from toolkit.registry import build
from toolkit.run import capsule

# Of `toolkit.run.changes.ALLOWED`.
ALLOWING = 'schedules'


@dataclass(frozen=True)
class LengthChange:
    """Another length with which a run is resumed.

    Attributes:
        before: iterations of the run so far.
        after: iterations that it has now.
        done: iterations of the checkpoint that it goes on from.
        unequal: reasons for which it does not equal a run of this length; empty if it does.
        schedules: names of the schedules among the reasons.
        note: what else the earlier end has left; '' if nothing.
    """

    before: int
    after: int
    done: int
    unequal: tuple[str, ...] = ()
    schedules: tuple[str, ...] = ()
    note: str = ''

    def to_json(self) -> dict[str, Any]:
        """Makes the plain values of the record in the capsule."""
        return asdict(self)

    def __str__(self) -> str:
        equal = 'does not equal' if self.unequal else 'equals'
        text = (
            f'{self.before:,} iterations are now {self.after:,}: from iteration {self.done:,} on, '
            f'the run {equal} one that had this length from the start'
        )
        reasons = f' ({"; ".join(self.unequal)})' if self.unequal else ''
        return f'{text}{reasons}' + (f'; {self.note}' if self.note else '')


def find_length_change(
    work_dir: Path,
    run: RunConfig,
    parts: RunComponents,
    resume_from: Path | None,
    allowed: Collection[str] = (),
) -> LengthChange | None:
    """Finds out whether a resumed run has another length, and what depends on that.

    Args:
        work_dir: folder of the run.
        run: the config with which it is resumed.
        parts: components of it, fresh.
        resume_from: checkpoint to go on from; None for the beginning.
        allowed: changes that are allowed, of `toolkit.run.changes.ALLOWED`.
    Returns:
        The change; None if there is none.
    Raises:
        ToolkitError: the run could not equal one of this length and that is not allowed, or it has
            done more than this length.
    """
    previous = capsule.read(work_dir) if (work_dir / CAPSULE).exists() else {}
    if resume_from is None or (previous.get('config') or {}).get('train_cfg') is None:
        return None
    earlier = build.fill(RunConfig, previous['config'])
    old, new = earlier.train_cfg, run.train_cfg
    assert old is not None and new is not None and parts.optim_wrapper is not None
    if (old.max_epochs, old.max_iters) == (new.max_epochs, new.max_iters):
        return None
    epoch_length = len(parts.train.batch_sampler)  # type: ignore[union-attr, arg-type]
    before, after = (_count_iterations(cfg, epoch_length) for cfg in (old, new))
    done = int((checkpoint.load(resume_from).get('meta') or {}).get('iter', 0))
    if after < done:
        raise ToolkitError(
            f'cannot resume {work_dir} with {after:,} iterations: it has done {done:,}; give it '
            'more, or choose another --work-dir'
        )
    names = schedule_length.find_differing(
        earlier.param_scheduler,
        run.param_scheduler,
        (old, new),
        parts.optim_wrapper.optimizer,
        epoch_length,
        done,
    )
    reasons = [f'the schedule {name} depends on the length' for name in names]
    reasons += [
        f'the schedule {name} counts validations, and the end of a training is one'
        for name, schedule in parts.schedulers.items()
        if schedule_length.follows_metric(schedule)
    ]
    if old.by_epoch is not new.by_epoch:
        units = ['epochs' if cfg.by_epoch else 'iterations' for cfg in (old, new)]
        reasons.append(f'validations and checkpoints were counted in {units[0]}, not {units[1]}')
    window = run.optim_wrapper.accumulative_counts if run.optim_wrapper is not None else 1
    if any(length % window and done > length - length % window for length in (before, after)):
        reasons.append(
            f'its last step was made of {before % window} iterations, not {window} '
            '(optim_wrapper.accumulative_counts)'
        )
    note = ''
    if parts.val is not None and done == before and not _is_validation(new, done, epoch_length):
        note = f'the validation at iteration {done:,}, its earlier end, stays in its log'
        reasons += _list_followers(work_dir, parts, done)
    if reasons and ALLOWING not in allowed:
        raise ToolkitError(
            f'cannot resume {work_dir} with {after:,} iterations in place of {before:,} as if it '
            f'had had them from the start: {"; ".join(reasons)}. Start anew with this length in '
            f'another --work-dir; or --allow-changed lets it go on at iteration {done:,} where the '
            'schedules of the new length then stand, and records that'
        )
    return LengthChange(before, after, done, tuple(reasons), tuple(names), note)


def _list_followers(work_dir: Path, parts: RunComponents, done: int) -> Iterator[str]:
    """Lists what has followed a validation that a longer run does not have."""
    where = f'the validation at iteration {done:,}'
    for name, hook in parts.hooks.items():
        if isinstance(hook, EarlyStoppingHook):
            yield f'early stopping counts {where}'
        elif getattr(hook, 'uses_validation', False):
            yield f'the hook {name} uses {where}'
    best = checkpoint.get_folder(work_dir) / checkpoint.BEST
    if best.exists() and checkpoint.load(best)['meta']['iter'] == done:
        yield f'{best.name} is of {where}'


def put_metrics_aside(work_dir: Path, change: LengthChange) -> str:
    """Renames the metrics of a test of the earlier end, which are none of the longer run.

    Returns:
        What was done; '' if there are none.
    """
    metrics = work_dir / METRICS_FILE
    if change.after == change.done or not metrics.exists():
        return ''
    aside = metrics.with_name(f'{metrics.stem}_of_{change.done}{metrics.suffix}')
    metrics.replace(aside)
    return f'{metrics.name} is of the test at iteration {change.done:,}: it is now {aside.name}'


def _count_iterations(config: TrainCfg, epoch_length: int) -> int:
    return config.max_iters or (config.max_epochs or 0) * epoch_length


def _is_validation(config: TrainCfg, iteration: int, epoch_length: int) -> bool:
    """Tells whether a training has a validation after an iteration, be it not its last one."""
    done = iteration / epoch_length if config.by_epoch else iteration
    return done >= config.val_begin and done % (config.val_interval or 1) == 0
