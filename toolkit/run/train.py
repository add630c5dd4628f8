"""Train a run, or go on with one."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import Any, Literal

from toolkit.config.schema import RunConfig
from toolkit.engine import checkpoint, components, mmengine_compat, overlap
from toolkit.engine.hooks import Checkpoint
from toolkit.engine.process import distributed, precision, signals
from toolkit.engine.runner import Runner
from toolkit.errors import ToolkitError
from toolkit.io.shown_output import protect_output
from toolkit.registry.component_errors import format_traceback
from toolkit.run import capsule, resuming, run_length
from toolkit.run import work_dir as work_dirs
from toolkit.run.capsule import CapsuleInput


@dataclass
class TrainResult:
    """Outcome of a training.

    Attributes:
        work_dir: where it is.
        status: 'finished', or 'interrupted' by a signal.
        exit_status: what the process should return: 0, or 130 (SIGINT), 143 (SIGTERM) and
            129 (SIGHUP).
        iterations: done in all, those before a resumption included.
        time_over: `train_cfg.max_minutes` ended it.
        max_iters: to be done.
        checkpoint: from which it can be resumed.
        best: of `save_best`: its `metric`, `value` and `iter`; None where nothing was kept.
        metrics: of the last validation in this process.
    """

    work_dir: Path
    status: Literal['finished', 'interrupted']
    exit_status: int
    iterations: int
    max_iters: int
    checkpoint: Path
    time_over: bool = False
    best: dict[str, Any] | None = None
    metrics: dict[str, float] = field(default_factory=dict)


def train(
    run: RunConfig,
    work_dir: Path | str,
    *,
    resume: bool | Path = False,
    capsule_input: CapsuleInput | None = None,
    stop_at: int | None = None,
    allow_changed: Collection[str] = (),
    is_pruned: Callable[[], bool] | None = None,
) -> TrainResult:
    """Train, writing checkpoints, logs and the run capsule into a folder.

    Under torchrun every process calls this; the main one writes.

    Args:
        run: the config, from `toolkit.registry.build.fill`.
        work_dir: a folder that is new, empty of runs, or, with `resume`, holds this run.
        resume: go on from the folder's `checkpoints/last.pth`, bit for bit as if nothing had been
            in between, or from the newest kept checkpoint where that one is missing or damaged;
            from the beginning where the run did not come to its first checkpoint. A path chooses
            the checkpoint.
        capsule_input: the config as written, kept for `rerun`.
        stop_at: end after this iteration, as a run did whose time was over then.
        allow_changed: what may have changed since the run was started when it is resumed, of
            `toolkit.run.changes.ALLOWED`.
        is_pruned: asked after each validation but the last: True to save and stop, as a signal
            does.

    Raises:
        ToolkitError: something in the config, the folder or the data does not fit; nothing was
            written then.
        RunError: a failure during training; the last checkpoint is intact.
    """
    work_dir = Path(work_dir).absolute()
    mmengine_compat.silence_warnings()
    device = precision.choose_device(run.runtime)
    with protect_output(), distributed.join_processes(device):
        distributed.run_on_main(lambda: resuming.check_folder(work_dir, resume, capsule_input))
        parts = components.build_for_training(run, device)
        if not resume and run.load_from is not None:
            checkpoint.load_weights(parts.system, Path(run.load_from))  # before anything is written
        if not resume:
            parts.prepare(_say)
        with work_dirs.claimed(work_dir):
            distributed.run_on_main(lambda: resuming.check_folder(work_dir, resume, capsule_input))
            return _train(
                run, work_dir, parts, resume, capsule_input, stop_at, allow_changed, is_pruned
            )


def _train(
    run: RunConfig,
    work_dir: Path,
    parts: components.RunComponents,
    resume: bool | Path,
    given: CapsuleInput | None,
    stop_at: int | None,
    allow_changed: Collection[str],
    is_pruned: Callable[[], bool] | None,
) -> TrainResult:
    last = checkpoint.get_folder(work_dir) / checkpoint.LAST
    # A damaged one is said before the capsule is touched.
    resume_from, notes = distributed.run_on_main(
        lambda: resuming.choose_checkpoint(work_dir, resume)
    )
    change = distributed.run_on_main(
        lambda: run_length.find_length_change(work_dir, run, parts, resume_from, allow_changed)
    )
    distributed.run_on_main(
        lambda: capsule.begin(work_dir, given, parts, 'train', allow_changed, change)
    )
    if resume_from is not None:
        # Killed before its next checkpoint, the run would otherwise go on from a later one.
        distributed.run_on_main(lambda: checkpoint.make_last(resume_from, work_dir))
    if change is not None:
        notes.append(str(change))
        aside = distributed.run_on_main(lambda: run_length.put_metrics_aside(work_dir, change))
        notes += [aside] if aside else []
    held = {subset: groups for subset, groups in parts.held.items() if subset != 'test'}
    if any(held.values()):
        distributed.run_on_main(lambda: overlap.save_identities(work_dir, held))
    assert parts.train is not None
    if large := parts.train.batch_sampler.describe_too_large():  # type: ignore[union-attr]
        _say(f'warning: train_dataloader.{large}')
    if parts.overlaps:
        _say(f'note: {overlap.explain(parts.overlaps, run.allow_overlap)}')
    with signals.Interruption(_announce) as interruption:
        text = given.text if given else ''
        pruning = _Pruning(is_pruned)
        runner = Runner(
            parts,
            work_dir,
            lambda: interruption.received or pruning.ask(runner),
            text,
            stop_at,
            change is not None,
        )
        try:
            for note in notes:
                runner.say(note)
            with distributed.explain_lost_process():
                runner.train(resume_from, Path(run.load_from) if run.load_from else None)
            result = _result(runner, work_dir, last)
            # So that a repetition, faster or slower, ends there too.
            ended: dict[str, Any] = {'stopped_at': result.iterations} if result.time_over else {}
            if runner.signal:
                ended['signal'] = Signals(runner.signal).name
            distributed.run_on_main(lambda: capsule.end(work_dir, result.status, **ended))
            if result.time_over:
                runner.say(
                    f'the time was over at iteration {runner.iter:,} of {runner.max_iters:,}'
                )
            elif runner.train_loop.stop_training and runner.iter < runner.max_iters:
                runner.say(f'stopped early at iteration {runner.iter:,} of {runner.max_iters:,}')
            if runner.signal and pruning.signal:
                runner.say(f'ended early by a search at iteration {runner.iter:,}, saved')
            elif runner.signal:
                runner.say(
                    f'stopped by {Signals(runner.signal).name} at iteration {runner.iter:,} of '
                    f'{runner.max_iters:,}, saved; go on with: --resume --work-dir {work_dir}'
                )
            return result
        except Exception as error:
            trace = getattr(error, 'trace', '') or format_traceback(error)
            runner.logger.info(f'failed: {error}\n{trace}')
            if distributed.is_main():
                with contextlib.suppress(ToolkitError):  # a full disk may be what failed
                    capsule.end(work_dir, f'failed: {error}')
            raise
        finally:
            runner.close()


class _Pruning:
    """Asks after each validation whether to stop.

    Attributes:
        signal: number of the signal that stands for the answer; 0 before it is yes.
    """

    def __init__(self, is_pruned: Callable[[], bool] | None) -> None:
        self.signal = 0
        self._is_pruned = is_pruned
        self._seen: Any = None

    def ask(self, runner: Runner) -> int:
        result = None if runner.val_loop is None else runner.val_loop.result
        if self._is_pruned is not None and result is not self._seen:
            self._seen = result
            self.signal = Signals.SIGTERM if self._is_pruned() else 0
        return self.signal


def _say(line: str) -> None:
    if distributed.is_main():
        print(line, flush=True)


def _announce(line: str) -> None:
    if distributed.is_main():
        # Not print: the signal may have come in the middle of one.
        with contextlib.suppress(OSError):
            os.write(1, f'\n{line}\n'.encode())


def _result(runner: Runner, work_dir: Path, last: Path) -> TrainResult:
    validated = runner.val_loop.result if runner.val_loop is not None else None
    best = [h.best for h in runner.hooks if isinstance(h, Checkpoint) and h.best is not None]
    return TrainResult(
        work_dir=work_dir,
        status='interrupted' if runner.signal else 'finished',
        exit_status=signals.get_exit_status(runner.signal) if runner.signal else 0,
        iterations=runner.iter,
        max_iters=runner.max_iters,
        checkpoint=last,
        time_over=runner.train_loop.time_over,
        best=best[0] if best else None,
        metrics=dict(validated.metrics) if validated is not None else {},
    )
