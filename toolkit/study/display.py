"""Shows a running study: a live table in a terminal, a line for each event elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from toolkit.errors import ToolkitError
from toolkit.io.read_metrics_log import last_iteration, last_loss
from toolkit.io.run_records import RunStatus
from toolkit.io.tables.formatting import format_duration
from toolkit.io.tables.shown_console import ShownConsole
from toolkit.study.planning.planned_study import Plan
from toolkit.study.reconcile import ReconciledRun

# Statuses are read from disk, perhaps a shared one.
READ_SECONDS = 1.0
MOST_ROWS = 12


class Display:
    """Shows the progress of a study.

    Args:
        plan: of the study.
        entries: all of its runs.
        slots: number of runs at a time.
    """

    def __init__(self, plan: Plan, entries: list[ReconciledRun], slots: int = 1) -> None:
        self._plan = plan
        self._slots = slots
        self._entries = {entry.run.id: entry for entry in entries}
        self._open = {entry.run.id for entry in entries if entry.pending}
        # Equal runs share a folder and its status.
        self._sharing: dict[Path, list[str]] = {}
        for entry in entries:
            self._sharing.setdefault(entry.folder, []).append(entry.run.id)
        self.statuses = {e.run.id: RunStatus() if e.pending else e.status for e in entries}
        self._begun = time.monotonic()
        self._read_at = 0.0
        self._live: Live | None = None

    def __enter__(self) -> Display:
        if sys.stdout.isatty():
            self._live = Live(self._table(), console=ShownConsole(), refresh_per_second=2)
            self._live.start()
        else:
            done = sum(status.status == 'finished' for status in self.statuses.values())
            self.say(f'{len(self.statuses)} runs: {len(self._open)} to do, {done} done before')
        return self

    def __exit__(self, *exception: object) -> None:
        self._read()
        if self._live is not None:
            self._live.update(self._table())
            self._live.stop()
        else:
            self.say(self._summary())

    def say(self, line: str) -> None:
        """Print a line, above the table where there is one."""
        if self._live is not None and self._live.is_started:
            self._live.console.print(Text(line))
        else:
            print(line, flush=True)

    def tick(self) -> None:
        """Read the statuses again when it is time to."""
        if time.monotonic() - self._read_at >= READ_SECONDS:
            self._read()
            if self._live is not None:
                self._live.update(self._table())

    def end(self, statuses: Mapping[str, RunStatus]) -> None:
        """Show that runs have ended."""
        for name, status in statuses.items():
            if name in self._open:
                self._open.discard(name)
                self._set(name, status)
                if self._live is None:
                    left = self._estimate_rest()
                    rest = '' if left is None else f'; about {format_duration(left)} left'
                    self.say(f'{name}: {_describe_event(status)}{rest}')

    def _read(self) -> None:
        self._read_at = time.monotonic()
        for name in sorted(self._open):
            try:
                status = RunStatus.read(self._entries[name].folder)
            except ToolkitError:
                continue
            if self._live is None and status.status == 'running' != self.statuses[name].status:
                self.say(f'{name}: started')
            self._set(name, status)

    def _set(self, name: str, status: RunStatus) -> None:
        for other in self._sharing[self._entries[name].folder]:
            self.statuses[other] = status

    def _summary(self) -> str:
        counts = Counter(status.status for status in self.statuses.values())
        done = counts['finished']
        parts = [f'{done} of {len(self.statuses)} runs finished']
        parts += [
            f'{counts[s]} {s}' for s in ('pruned', 'running', 'failed', 'waiting') if counts[s]
        ]
        parts.append(format_duration(time.monotonic() - self._begun))
        left = self._estimate_rest()
        return ', '.join(parts) + ('' if left is None else f', about {format_duration(left)} left')

    def _estimate_rest(self) -> float | None:
        """Estimate the seconds until all runs have ended, from those that are done or well on."""
        done = {e.folder: self.statuses[n] for n, e in self._entries.items()}
        whole = [s.seconds for s in done.values() if s.status == 'finished' and s.seconds]
        rests = {}
        for name in self._open:
            status, length = self.statuses[name], self._length(name)
            reached = last_iteration(self._entries[name].run.trained_in or Path())
            if status.seconds and length and reached:
                rests[name] = status.seconds * max(length / reached - 1, 0)
                whole.append(status.seconds + rests[name])
        if not self._open or not whole:
            return None
        mean = sum(whole) / len(whole)
        for name in self._open - set(rests):
            rests[name] = max(mean - (self.statuses[name].seconds or 0), 0)
        return max(sum(rests.values()) / self._slots, *rests.values())

    def _table(self) -> Group:
        table = Table(box=None, pad_edge=False, header_style='bold')
        for title in ('run', 'state', 'iteration', 'loss', 'time'):
            table.add_column(title, justify='left' if title in ('run', 'state') else 'right')
        rows = [(n, s) for n, s in self.statuses.items() if s.status == 'running']
        rows += [(n, s) for n, s in self.statuses.items() if s.status == 'failed']
        for name, status in rows[:MOST_ROWS]:
            table.add_row(*self._row(name, status))
        hidden = len(rows) - MOST_ROWS
        more = [Text(f'and {hidden} more')] if hidden > 0 else []
        return Group(*([table] if rows else []), *more, Text(self._summary()))

    def _row(self, name: str, status: RunStatus) -> list[Text]:
        seconds = Text('' if status.seconds is None else format_duration(status.seconds))
        if status.status == 'failed':
            return [Text(name), Text(f'failed: {status.message}', 'red'), Text(), Text(), seconds]
        entry = self._entries[name]
        training = entry.run.trained_in
        done = last_iteration(training) if training is not None else None
        loss = last_loss(training) if training is not None else None
        length = self._length(name)
        whole = '' if length is None else f' of {length:,}'
        return [
            Text(name),
            Text('running'),
            Text('' if done is None else f'{done:,}{whole}'),
            Text('' if loss is None else f'{loss:.4g}'),
            seconds,
        ]

    def _length(self, name: str) -> int | None:
        return (self._plan.configs[name].tree.get('train_cfg') or {}).get('max_iters')


def _describe_event(status: RunStatus) -> str:
    if status.status == 'finished':
        return f'finished in {format_duration(status.seconds or 0)}'
    if status.status == 'pruned':
        return f'ended early: {status.message}'
    if status.status == 'failed':
        again = f' (attempt {status.attempts})' if status.attempts > 1 else ''
        return f'failed{again}: {status.message}'
    return f'stopped{": " if status.message else ""}{status.message}; it goes on from there'
