"""Runs a study: hands its jobs to a launcher and watches them until they have ended."""

from __future__ import annotations

import contextlib
import signal
import time
from collections import Counter
from pathlib import Path
from types import FrameType

from toolkit.config.yaml_file import ConfigError
from toolkit.engine.process.signals import get_exit_status, list_handled
from toolkit.errors import BusyError, ToolkitError, list_few
from toolkit.run import work_dir as work_dirs
from toolkit.study.display import Display
from toolkit.study.folder import check_claims, check_folder, prepare_jobs, write_plan
from toolkit.study.launchers import Launcher
from toolkit.study.launchers.claim import claim
from toolkit.study.launchers.job import EndedJob, Job
from toolkit.study.planning.estimate import estimate_needs
from toolkit.study.planning.planned_study import Plan
from toolkit.study.reconcile import ReconciledRun, RunFilter, explain_blocked, list_users, reconcile

TICK_SECONDS = 0.1
# Time for another process to plan the same study.
PLANNING_SECONDS = 10.0
# Interval at which the jobs of other processes are looked at.
LOOK_SECONDS = 1.0
# Number of times that a job is started elsewhere after its machine is gone.
LOSSES = 10
# Number of jobs in a row that fail with the same message before a study stops.
EQUAL_FAILURES = 3


def run_study(
    plan: Plan, folder: Path, launcher: Launcher, choice: RunFilter, keep_going: bool = False
) -> int:
    """Run the pending runs of a study.

    Args:
        plan: from `make_plan`.
        folder: folder of the study; a study that is there is continued.
        launcher: starts the runs.
        choice: the runs that are to be run.
        keep_going: continue where runs fail one after the other with the same message.
    Returns:
        The exit status: 0, 1 where runs have failed or were left out, 130 or 143 after a signal.
    Raises:
        ToolkitError: the folder is another study's, another process is planning in it or starts its
            runs on other machines, a run in it is of another config, data cannot be used, or
            GPUs are missing; nothing was started then.
        RunError: the folder cannot be written.
    """
    folder = folder.absolute()
    check_folder(folder, plan.study)
    if problems := plan.find_data_problems(filter(choice.selects, plan.runs)):
        raise ConfigError(*problems)
    with contextlib.ExitStack() as planning:
        _wait_for(planning, folder)
        check_folder(folder, plan.study)  # again, now that no other process changes it
        entries = reconcile(plan, folder, choice)
        blocked = explain_blocked(plan, entries)
        if blocked and not any(entry.pending for entry in entries):
            raise ToolkitError(blocked)
        for path, names in list_users(entries, folder).items():
            print(
                f'{path} is emptied, whose result the study {", ".join(names)} uses too: '
                'that study runs it again when it is started'
            )
        check_claims(entries)
        if any(entry.pending for entry in entries):
            launcher.check_devices()
        write_plan(plan, entries, folder)
        jobs = prepare_jobs(plan, entries)
        _report_kept(entries)
        if blocked:
            print(f'left out: {blocked}')
        if jobs:
            print(estimate_needs(entries, folder, launcher.count_slots(len(jobs))))
        if launcher.can_join:
            planning.close()  # another process may add runs and take some, each by its claim
        return _Watcher(plan, entries, launcher, keep_going).run(jobs)


def _wait_for(planning: contextlib.ExitStack, folder: Path) -> None:
    """Wait until no other process plans in a folder, which takes seconds.

    Raises:
        BusyError: it takes longer, as where it starts runs on other machines.
    """
    deadline = time.monotonic() + PLANNING_SECONDS
    while True:
        try:
            planning.enter_context(work_dirs.claimed(folder, 'study'))
            return
        except BusyError:
            if time.monotonic() > deadline:
                raise BusyError(
                    f'another process works on the study in {folder} and keeps it for itself, as '
                    'with Ray and SLURM; for more runs at a time, or runs that were added, stop it '
                    '(Ctrl-C saves the runs) and start it again'
                ) from None
            time.sleep(TICK_SECONDS)


def _report_kept(entries: list[ReconciledRun]) -> None:
    changed = [entry.run.id for entry in entries if entry.run.other_code]
    if changed:
        print(
            'kept, though made with other code or packages than there are now: '
            f'{list_few(changed)}; run them anew by --rerun changed'
        )
    failed = [e.run.id for e in entries if e.status.status == 'failed' and not e.pending]
    if failed:
        print(f'{len(failed)} failed before; run them again by --rerun failed')


class _Watcher:
    """Watches the jobs of a study until all have ended, or a signal has stopped them."""

    def __init__(
        self, plan: Plan, entries: list[ReconciledRun], launcher: Launcher, keep_going: bool
    ) -> None:
        self.plan = plan
        self.entries = entries
        self.launcher = launcher
        self.signals: list[int] = []
        self.full = False
        self.stopped = False
        self.failed = any(
            e.blocked or (e.status.status == 'failed' and not e.pending) for e in entries
        )
        self.losses: Counter[str] = Counter()
        self.keep_going = keep_going
        # Messages of the jobs that failed since the last one that did not.
        self.failures: list[str] = []
        # Jobs that other processes work on.
        self.elsewhere: list[Job] = []
        self.told: set[str] = set()
        self.looked = 0.0

    def run(self, jobs: list[Job]) -> int:
        previous = {number: signal.signal(number, self._receive) for number in list_handled()}
        try:
            slots = self.launcher.count_slots(len(jobs))
            with Display(self.plan, self.entries, slots) as display:
                if jobs:
                    self._watch(jobs, display)
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
        if self.full:
            print('the disk is full: make room, then start the study again; nothing is lost')
        if self.signals:
            return get_exit_status(self.signals[0])
        return 1 if self.failed or self.full else 0

    def _watch(self, jobs: list[Job], display: Display) -> None:
        handled = 0
        try:
            self.launcher.start(jobs)
            while True:
                over = self.launcher.done()
                for ended in self.launcher.poll():
                    self._end(ended, display)
                if over and self.launcher.done() and (self.stopped or not self.elsewhere):
                    break
                if len(self.signals) > handled:
                    handled = len(self.signals)
                    display.say(
                        'stopping: the runs are saved; once more to quit now'
                        if handled == 1
                        else 'quitting'
                    )
                    self.launcher.stop(now=handled > 1)
                    self.stopped = True
                self._look_elsewhere()
                display.tick()
                time.sleep(TICK_SECONDS)
        finally:
            self.launcher.close()

    def _look_elsewhere(self) -> None:
        """Take over the jobs that other processes have ended, or left."""
        if self.elsewhere and not self.stopped and time.monotonic() - self.looked > LOOK_SECONDS:
            self.looked = time.monotonic()
            free = []
            for job in self.elsewhere:
                with claim(job.folder) as is_free:
                    free += [job] if is_free else []
            self.elsewhere = [job for job in self.elsewhere if job not in free]
            if free:
                self.launcher.start(free)

    def _end(self, ended: EndedJob, display: Display) -> None:
        statuses = ended.statuses
        if ended.elsewhere:
            self.elsewhere.append(ended.job)
            if ended.job.name not in self.told:
                self.told.add(ended.job.name)
                display.say(f'{ended.job.name}: another process works on it')
            return
        if ended.lost and not self.signals:
            self.losses[ended.job.name] += 1
            if self.losses[ended.job.name] <= LOSSES:
                display.say(f'{ended.job.name}: its machine is gone; it is started on another')
                self.launcher.start([ended.job])
                return
        if ended.full and not self.full:
            self.full = self.stopped = True
            self.launcher.stop()
        self.failed = self.failed or any(s.status == 'failed' for s in statuses.values())
        display.end(statuses)
        self._count_failures(ended, display)

    def _count_failures(self, ended: EndedJob, display: Display) -> None:
        """Stop the study where one job after the other fails alike: the others would too."""
        messages = {s.message for s in ended.statuses.values() if s.status == 'failed'}
        finished = any(s.status == 'finished' for s in ended.statuses.values())
        self.failures = [] if finished else [*self.failures, *sorted(messages)[:1]]
        last = self.failures[-EQUAL_FAILURES:]
        if len(last) < EQUAL_FAILURES or len(set(last)) > 1 or self.keep_going or self.stopped:
            return
        self.stopped = True
        display.say(
            f'{EQUAL_FAILURES} runs in a row failed alike ({last[0]}): the study stops here; '
            'mend it, then use --rerun failed, or run the others with --keep-going'
        )
        self.launcher.stop()

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.signals.append(number)
