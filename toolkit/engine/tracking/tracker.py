"""Interface of the trackers, and the run that they are told of."""

from __future__ import annotations

import importlib.util
from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from mmengine.hooks import Hook

from toolkit.errors import ToolkitError
from toolkit.io.run_layout import PLAN, RUNS, read_object


@dataclass(frozen=True)
class TrackedRun:
    """A run as trackers show it.

    Attributes:
        folder: of the run.
        name: of the run; in a study, its ID.
        group: name of the study; None for a single run.
        home: folder of the study, or of a single run: where a store without a server lies.
        tags: variant, seed, data set, fold and settings of a study's run, as text.
        config: values of the config by dotted path.
        iteration: from which the run goes on.
    """

    folder: Path
    name: str
    group: str | None
    home: Path
    tags: Mapping[str, str] = field(default_factory=dict)
    config: Mapping[str, Any] = field(default_factory=dict)
    iteration: int = 0


class Tracker(Hook):
    """Base of the trackers, which stand under `trackers` in a config and change no result.

    An error of a tracker is a warning, and ends the tracking alone.

    Attributes:
        package: module that it needs.
        extra: of `ablakit`, which brings the package.
    """

    package: ClassVar[str]
    extra: ClassVar[str]

    def check_package(self) -> None:
        """Checks that the package of the tracker is installed.

        Raises:
            ToolkitError: it is not.
        """
        try:
            found = importlib.util.find_spec(self.package)
        except (ImportError, ValueError):
            found = None
        if found is None:
            raise ToolkitError(
                f"{type(self).__name__} needs {self.package}: pip install 'ablakit[{self.extra}]'"
            )

    @abstractmethod
    def open(self, run: TrackedRun, known: str | None) -> str:
        """Opens a run in the store.

        Args:
            run: the run.
            known: what an earlier call has returned, if the run goes on or is tested.
        Returns:
            The name of the run in the store.
        """

    @abstractmethod
    def log(self, values: Mapping[str, float], iteration: int) -> None:
        """Logs the values of an iteration, such as `train/loss` and `val/mse`."""

    @abstractmethod
    def log_result(self, values: Mapping[str, float]) -> None:
        """Logs the values of a test, such as `test/mse`."""

    @abstractmethod
    def close(self, is_finished: bool) -> None:
        """Closes the run that is open."""

    @abstractmethod
    def log_table(self, study: TrackedRun, header: list[str], rows: list[list[str]]) -> None:
        """Logs the table of a study's results, which is no run of its own that is open."""


def describe_run(folder: Path, config: Mapping[str, Any], iteration: int = 0) -> TrackedRun:
    """Describes a run by its folder; that of a study's run lies in STUDY/runs."""
    study = folder.parent.parent
    flat = _flatten(config)
    try:
        plan = read_object(study / PLAN) if folder.parent.name == RUNS else None
        planned = next((r for r in (plan or {}).get('runs', []) if r['id'] == folder.name), None)
        if plan is None or planned is None:
            return TrackedRun(folder, folder.name, None, folder, {}, flat, iteration)
        tags = {
            'variant': planned['variant'],
            'seed': planned['seed'],
            'data': planned.get('data'),
            'fold': planned.get('fold'),
            **(planned.get('settings') or {}),
        }
        texts = {key: str(value) for key, value in tags.items() if value is not None}
        return TrackedRun(folder, folder.name, str(plan['study']), study, texts, flat, iteration)
    except (ToolkitError, KeyError, TypeError, AttributeError):
        return TrackedRun(folder, folder.name, None, folder, {}, flat, iteration)


def _flatten(node: Any, path: str = '') -> dict[str, Any]:
    if isinstance(node, Mapping) and node:
        found: dict[str, Any] = {}
        for key, value in node.items():
            found |= _flatten(value, f'{path}.{key}' if path else str(key))
        return found
    return {path: node} if path else {}
