"""A running study on the screen: a live table in a terminal, a line per event elsewhere."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from toolkit.engine.hooks.progress import format_duration
from toolkit.errors import ToolkitError
from toolkit.study import progress
from toolkit.study.launchers.job import Status, read_status
from toolkit.study.reconcile import Placed

# Statuses are read from disk, perhaps a shared one.
LOOK_SECONDS = 1.0
MOST_ROWS = 12


class Display:
    """Shows how far a study is.

    Args:
        placed: all of its runs.
    """

    def __init__(self, placed: list[Placed]) -> None:
        self._placed = {entry.run.id: entry for entry in placed}
        self._open = {entry.run.id for entry in placed if entry.todo}
        # Equal runs share a folder, and what becomes of it.
        self._sharing: dict[Path, list[str]] = {}
        for entry in placed:
            self._sharing.setdefault(entry.folder, []).append(entry.run.id)
        self.statuses = {entry.run.id: Status() if entry.todo else entry.status for entry in placed}
        self._begun = time.monotonic()
        self._looked = 0.0
        self._live: Live | None = None

    def __enter__(self) -> Display:
        if sys.stdout.isatty():
            self._live = Live(self._table(), console=Console(), refresh_per_second=2)
            self._live.start()
        else:
            done = sum(status.status == 'finished' for status in self.statuses.values())
            self.say(f'{len(self.statuses)} runs: {len(self._open)} to do, {done} done before')
        return self

    def __exit__(self, *exception: object) -> None:
        self._look()
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
        """Look after the runs, if it is time to."""
        if time.monotonic() - self._looked >= LOOK_SECONDS:
            self._look()
            if self._live is not None:
                self._live.update(self._table())

    def ended(self, statuses: Mapping[str, Status]) -> None:
        """Runs have ended."""
        for name, status in statuses.items():
            if name in self._open:
                self._open.discard(name)
                self._set(name, status)
                if self._live is None:
                    self.say(f'{name}: {_event(status)}')

    def _look(self) -> None:
        self._looked = time.monotonic()
        for name in sorted(self._open):
            try:
                status = read_status(self._placed[name].folder)
            except ToolkitError:
                continue
            if self._live is None and status.status == 'running' != self.statuses[name].status:
                self.say(f'{name}: started')
            self._set(name, status)

    def _set(self, name: str, status: Status) -> None:
        for other in self._sharing[self._placed[name].folder]:
            self.statuses[other] = status

    def _summary(self) -> str:
        counts = Counter(status.status for status in self.statuses.values())
        done = counts['finished']
        parts = [f'{done} of {len(self.statuses)} runs finished']
        parts += [f'{counts[s]} {s}' for s in ('running', 'failed', 'waiting') if counts[s]]
        return ', '.join(parts) + f', {format_duration(time.monotonic() - self._begun)}'

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

    def _row(self, name: str, status: Status) -> list[Text]:
        seconds = Text('' if status.seconds is None else format_duration(status.seconds))
        if status.status == 'failed':
            return [Text(name), Text(f'failed: {status.message}', 'red'), Text(), Text(), seconds]
        entry = self._placed[name]
        training = entry.trained_in
        done = progress.iteration(training) if training is not None else None
        loss = progress.loss(training) if training is not None else None
        whole = _length(entry)
        return [
            Text(name),
            Text('running'),
            Text('' if done is None else f'{done:,}{whole}'),
            Text('' if loss is None else f'{loss:.4g}'),
            seconds,
        ]


def _length(entry: Placed) -> str:
    iterations = (entry.run.config.tree.get('train_cfg') or {}).get('max_iters')
    return '' if iterations is None else f' of {iterations:,}'


def _event(status: Status) -> str:
    if status.status == 'finished':
        return f'finished in {format_duration(status.seconds or 0)}'
    if status.status == 'failed':
        again = f' (attempt {status.attempts})' if status.attempts > 1 else ''
        return f'failed{again}: {status.message}'
    return f'stopped{": " if status.message else ""}{status.message}; it goes on from there'
