"""Panels: sections that plugins add to a report about the runs of their task."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from toolkit.analysis.results import StudyResults
from toolkit.config import Config, run_plugins
from toolkit.errors import ToolkitError
from toolkit.io.run_layout import CONFIG
from toolkit.io.run_results import RunResult
from toolkit.registry import PANELS, plugin_index
from toolkit.run import capsule


@dataclass(frozen=True)
class PanelRun:
    """A run for a panel.

    Attributes:
        label: of its condition, as in the tables.
        reference: True if the others are compared with it.
        result: its folder, seed, fold, status and metrics.
    """

    label: str
    reference: bool
    result: RunResult


@dataclass(frozen=True)
class Rendered:
    """The content of a panel.

    Attributes:
        html: one or more elements; text from files and configs must be escaped in it.
        notes: sentences about parts that were left out.
    """

    html: str
    notes: tuple[str, ...] = ()


class Panel(ABC):
    """A section of the report that is made from the folders of runs.

    Registered with `@PANELS.register`, it is offered the runs of every study and the single runs.
    The page makes no request: images are data URIs, code is in `script` and `style`.

    Attributes:
        title: heading of the section.
        style: CSS, put into the page once. The page's colours are variables: --ink, --paper,
            --muted, --rule, --accent.
        script: JavaScript, run once when the page is complete. It finds the panel's own elements;
            several studies of a page may have a panel each. A chart is a
            `<figure class="chart" data-chart="NAME">` with its data in a
            `<script type="application/json">` and a `<div class="plot">`: the script sets
            `charts.NAME = (data, role, plot, tools) => redraw`, which draws it with plotly and the
            page's tools and returns what draws it again in another theme.
    """

    contract: ClassVar[str] = 'toolkit.testing.task_kinds.PanelContract'
    title: ClassVar[str]
    style: ClassVar[str] = ''
    script: ClassVar[str] = ''

    @abstractmethod
    def render(self, runs: Sequence[PanelRun], budget: int) -> Rendered | None:
        """Renders the panel for these runs; None if they have nothing for it.

        Args:
            runs: of a study, in the plan's order, of any status.
            budget: bytes that the HTML may take. Choose qualities and crops to stay below, and list
                in `notes` the parts left out: a panel that takes more is dropped.
        """

    def write_files(self, runs: Sequence[PanelRun], folder: Path) -> list[Path]:
        """Writes results of a whole study beside its tables; by default nothing.

        Args:
            runs: of the study, in the plan's order, of any status.
            folder: of the study.
        Returns:
            The files to tell the user of.
        Raises:
            ToolkitError: the runs contradict each other, or a file cannot be written.
        """
        return []


def find_panels(studies: Sequence[StudyResults]) -> tuple[list[tuple[str, type[Panel]]], list[str]]:
    """Finds all registered panels, with those of the plugins that configs of the runs name.

    Returns:
        The panels by name, and notes on panels that cannot be used.
    """
    notes = []
    known = {
        module.split('.')[0].removeprefix('plugin_') for module in plugin_index.get_index().modules
    }
    for folder in (run.trained_in for study in studies for run in study.runs):
        for plugin in _list_plugins(folder):
            # Each run keeps a copy of the same plugin.
            if Path(plugin).stem not in known:
                known.add(Path(plugin).stem)
                try:
                    Config(folder / CONFIG, {'plugins': [plugin]}).use_plugins()
                except run_plugins.UntrustedPluginError as error:
                    notes.append(
                        f'panels of {error.paths[0]} are not shown: it is code that this user has '
                        'not run or trusted before; --trust runs it'
                    )
                except ToolkitError as error:
                    notes.append(f'{error} (of {folder.name}): panels of it are not shown')
    found = []
    for name in PANELS.names():
        try:
            found.append((name, PANELS.get(name)))
        except ToolkitError as error:
            notes.append(f'the panel {name} cannot be used: {error}')
    return found, notes


def _list_plugins(folder: Path) -> list[str]:
    try:
        config = capsule.read(folder).get('config')
        return [str(plugin) for plugin in (config or {}).get('plugins') or []]
    except (ToolkitError, AttributeError, TypeError):
        return []  # no capsule yet, or a damaged one, of which the report tells elsewhere
