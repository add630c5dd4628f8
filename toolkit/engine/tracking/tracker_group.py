"""The trackers of a run: an error of one is a warning and ends its tracking alone."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from toolkit.config.schema import RunConfig
from toolkit.engine.process import distributed
from toolkit.engine.tracking.tracker import TrackedRun, Tracker, describe_run
from toolkit.errors import ComponentError, ToolkitError
from toolkit.io import atomic_write
from toolkit.io.run_layout import TRACKERS, read_object
from toolkit.registry.component_errors import describe_with_origin


def build_trackers(run: RunConfig) -> dict[str, Tracker]:
    """Builds the trackers of a config.

    Raises:
        ComponentError: one of them is no tracker, or its package is not installed.
    """
    found = {}
    for name, factory in run.trackers.items():
        tracker = factory()
        if not isinstance(tracker, Tracker):
            message = f'{type(tracker).__name__} is no tracker: it belongs under custom_hooks'
            raise ComponentError(f'trackers.{name}', message)
        try:
            tracker.check_package()
        except ToolkitError as error:
            raise ComponentError(f'trackers.{name}', str(error)) from error
        found[name] = tracker
    return found


class TrackerGroup:
    """Hands the values of a run to its trackers, in the main process alone.

    Args:
        trackers: by name.
    """

    def __init__(self, trackers: Mapping[str, Tracker]) -> None:
        self._trackers = dict(trackers) if distributed.is_main() else {}
        self._is_open = False

    def open(self, folder: Path, config: Mapping[str, Any], iteration: int = 0) -> None:
        """Opens the run of a folder in each store; one that was opened before goes on."""
        if not self._trackers:
            return
        run, known = describe_run(folder, config, iteration), self._read_names(folder)
        names = dict(known)
        for name, tracker in list(self._trackers.items()):
            self._call(name, lambda t=tracker, n=name: names.update({n: t.open(run, known.get(n))}))
        self._is_open = True
        if names != known:
            self._try(lambda: atomic_write.write(folder / TRACKERS, json.dumps(names) + '\n'))

    def log(self, prefix: str, values: Mapping[str, Any], iteration: int) -> None:
        """Logs values of an iteration; those that are not finite are left out."""
        if self._is_open:
            finite = _select_finite(prefix, values)
            for name, tracker in list(self._trackers.items()):
                self._call(name, lambda t=tracker: t.log(finite, iteration))

    def log_result(self, values: Mapping[str, Any]) -> None:
        """Logs the metrics of a test."""
        if self._is_open:
            finite = _select_finite('test', values)
            for name, tracker in list(self._trackers.items()):
                self._call(name, lambda t=tracker: t.log_result(finite))

    def log_table(self, study: TrackedRun, header: list[str], rows: list[list[str]]) -> None:
        """Logs the table of a study."""
        for name, tracker in list(self._trackers.items()):
            self._call(name, lambda t=tracker: t.log_table(study, header, rows))

    def close(self, is_finished: bool) -> None:
        """Closes the run; may be called again."""
        if self._is_open:
            self._is_open = False
            for name, tracker in list(self._trackers.items()):
                self._call(name, lambda t=tracker: t.close(is_finished))

    def _call(self, name: str, call: Callable[[], Any]) -> None:
        if not self._try(call, f'trackers.{name}'):
            del self._trackers[name]

    @staticmethod
    def _try(call: Callable[[], Any], what: str = TRACKERS) -> bool:
        try:
            call()
        except Exception as error:  # a store may raise anything, and no run may end by it
            text = ' '.join(describe_with_origin(error).split())
            warnings.warn(f'{what} tracks no more, the run goes on: {text[:300]}', stacklevel=2)
            return False
        return True

    @staticmethod
    def _read_names(folder: Path) -> dict[str, str]:
        try:
            return dict(read_object(folder / TRACKERS) or {})
        except ToolkitError:
            return {}


def _select_finite(prefix: str, values: Mapping[str, Any]) -> dict[str, float]:
    return {
        f'{prefix}/{name}': float(value)
        for name, value in values.items()
        if isinstance(value, (int, float)) and math.isfinite(value)
    }
