"""Process of a job, started by `supervise`.

It reads the job from the first line of its input. The input stays open as long as the process that
started it lives; when it closes, this process ends too. Its output goes to the log of the run, but
for the last line, which tells the outcome as JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.config.yaml_file import ConfigError
from toolkit.errors import BusyError, ToolkitError
from toolkit.io.atomic_write import is_disk_full
from toolkit.io.run_layout import CAPSULE
from toolkit.io.run_records import Fingerprint, PlannedRun, RunStatus
from toolkit.study.launchers.job import Job
from toolkit.study.launchers.process_groups import kill_session
from toolkit.study.launchers.status_record import StatusRecord
from toolkit.study.launchers.trained_weights import holds_training, remove_checkpoints_of
from toolkit.study.processes.torchrun import train_together
from toolkit.study.processes.training import explain_error, load_run_config, train_folder
from toolkit.study.search import validations

_WORDS = {'config': 'its config', 'code': 'code or packages', 'data': 'data or weights'}
# Time to save once the parent process is gone.
ORPHAN_SECONDS = 20.0
# Time for a process of a killed study to save and leave the folder.
BUSY_SECONDS = 60.0


class Interrupted(Exception):
    """Training was stopped and has saved."""


@dataclass
class Outcome:
    """The outcome of a job.

    Attributes:
        statuses: of its runs, by name.
        full: whether the disk is full.
        mistake: whether a run failed by a mistake of the user, which no retry mends.
    """

    statuses: dict[str, RunStatus]
    full: bool = False
    mistake: bool = False


def work(job: Job) -> Outcome:
    """Do a job: train if there is something to train, then test each run."""
    if job.program is None:
        with contextlib.suppress(Exception):  # what is wrong is said where it is used
            load_run_config(
                job.runs[0].folder
            )  # imports everything, which is no part of what a run takes
    changed: Exception | None = None
    try:  # nor is this
        _check_unchanged(
            [r for r in job.runs if RunStatus.read(r.folder).status != 'finished'], job
        )
    except Exception as error:
        changed = error
    record = StatusRecord(job)
    outcome = Outcome(record.statuses)
    todo = [run for run in job.runs if run.id in record.open]
    try:
        if changed is not None:
            raise changed
        weights = None
        if job.trained_in is not None and todo:
            _train(job.trained_in, job, record)
            weights = job.trained_in
        for run in todo:
            _test_run(run, weights, record, outcome, job.program)
        finished = all(status.status == 'finished' for status in record.statuses.values())
        if weights is not None and finished:
            remove_checkpoints_of(job)
    except Interrupted:
        for name in record.open:
            record.end(name, status='waiting')
    except validations.PrunedError as cut:
        for name in record.open:
            record.end(name, status='pruned', message=str(cut))
    except BusyError as error:
        record.leave(str(error))
    except Exception as error:
        for name in record.open:
            _fail(name, error, record, outcome)
    return outcome


def _check_unchanged(runs: list[PlannedRun], job: Job) -> None:
    """Check that code, packages and data are those that the study planned.

    Hours may lie between plan and start, and the machine may be another one. A result made with
    something else would bear the fingerprint of the plan.

    Raises:
        ToolkitError: they are not.
    """
    for run, found in zip(runs, _compute_fingerprints(runs, job)):
        if changed := found.differences(run.fingerprint):
            raise ToolkitError(
                f'{" and ".join(_WORDS[part] for part in changed)} changed after the study was '
                'planned: start it again with --rerun failed'
            )


def _compute_fingerprints(runs: list[PlannedRun], job: Job) -> Iterator[Fingerprint]:
    if job.program is not None:
        from toolkit.study.programs.identity import ProgramFingerprinter

        yield from (ProgramFingerprinter().fingerprint(job.program) for _ in runs)
        return
    from toolkit.study.fingerprint import Fingerprinter, hash_code
    from toolkit.study.model_costs import SystemBuilder

    fingerprinter = Fingerprinter(SystemBuilder(), open_data=True, processes=job.processes)
    for run in runs:
        config, typed, _ = load_run_config(run.folder)
        found = fingerprinter.fingerprint(config, typed, hash_code(config))
        if fingerprinter.problems:
            raise ConfigError(*fingerprinter.problems.values())
        yield found


def _test_run(
    run: PlannedRun,
    trained_in: Path | None,
    record: StatusRecord,
    outcome: Outcome,
    program: dict[str, Any] | None,
) -> None:
    record.restart_clock(keep=False)  # the test before this one was another run's
    try:
        if program is not None:
            _run_program(run, program)
        elif run.trial is not None:
            _read_validation(run, trained_in)
        else:
            _test(run, trained_in)
    except (Interrupted, validations.PrunedError):
        raise
    except Exception as error:
        _fail(run.id, error, record, outcome)
    else:
        record.end(run.id, status='finished')


def _fail(name: str, error: Exception, record: StatusRecord, outcome: Outcome) -> None:
    """End a run with an error. A full disk is not its fault: it continues when there is room."""
    full = is_disk_full(error)
    outcome.full = outcome.full or full
    mistake = isinstance(error, ToolkitError) and error.exit_status == 2
    outcome.mistake = outcome.mistake or mistake
    record.end(name, status='waiting' if full else 'failed', message=explain_error(error))


def _train(folder: Path, job: Job, record: StatusRecord) -> None:
    """Train in a folder, resume its training, or find it finished."""
    own = next((run for run in record.open if record._folders[run] == folder), None)
    trial = next((run for run in job.runs if run.trial is not None and run.id in record.open), None)
    if holds_training(folder):
        paid = RunStatus.read(folder).train_seconds or 0.0
        for name in record.open:
            if name != own:
                record.add(name, paid)
        return
    run = load_run_config(folder)[1]
    assert run.train_cfg is not None
    validations.end_if_pruned(trial, folder, run.train_cfg)
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            if job.processes > 1:
                exit_status = train_together(folder, job.processes, trial)
            else:
                exit_status = train_folder(folder, trial)
            break
        except BusyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
    record.restart_clock(keep=True)
    if exit_status:
        validations.end_if_pruned(trial, folder, run.train_cfg)
        raise Interrupted
    if own is not None:
        record.note_training(own, record.seconds(own))


def _read_validation(run: PlannedRun, trained_in: Path | None) -> None:
    """Let the result of a trial be that of its validation."""
    from toolkit.engine.evaluator import collect_directions

    config, parts, _ = load_run_config(run.folder)
    assert trained_in is not None
    with config.locate_errors():
        metrics = {key: factory() for key, factory in parts.val_evaluator.metrics.items()}
    validations.write_validation(run, trained_in, collect_directions(metrics))


def _test(run: PlannedRun, trained_in: Path | None) -> None:
    from toolkit.engine import checkpoint
    from toolkit.run.test import test

    config, parts, given = load_run_config(run.folder)
    if trained_in is not None:
        weights = checkpoint.find_best_or_last(trained_in)
    else:
        weights = Path(parts.load_from) if parts.load_from is not None else None
    if run.folder != trained_in:
        # Of a test that was killed; it would be taken for a run to be tested.
        (run.folder / CAPSULE).unlink(missing_ok=True)
    with config.locate_errors():
        test(parts, run.folder, weights, capsule_input=given)


def _run_program(run: PlannedRun, program: dict[str, Any]) -> None:
    from toolkit.study.programs.execution import ProgramStopped, run_program

    try:
        cut = run_program(run.folder, program, run.trial)
    except ProgramStopped:
        raise Interrupted from None
    if cut is not None:
        raise validations.PrunedError(cut)


def _read_line() -> str:
    line = b''
    while not line.endswith(b'\n'):
        more = os.read(0, 1 << 16)
        if not more:
            sys.exit('the job is expected on the standard input; `toolkit study` sends it')
        line += more
    return line.decode()


def _leave_with_parent() -> None:
    while os.read(0, 4096):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(ORPHAN_SECONDS)
    if os.getsid(0) == os.getpid():
        kill_session(os.getpid())
    os._exit(143)


def main() -> int:
    """Read the job, run it, and write its outcome."""
    job = Job.from_json(_read_line())
    answer = os.dup(1)
    os.dup2(2, 1)
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    outcome = work(job)
    answer_text = {
        'full': outcome.full,
        'mistake': outcome.mistake,
        'statuses': {name: status.to_json() for name, status in outcome.statuses.items()},
    }
    text = json.dumps(answer_text)
    os.write(answer, text.encode() + b'\n')
    return 0


if __name__ == '__main__':
    sys.exit(main())
