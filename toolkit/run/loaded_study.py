"""Studies for use in Python: the runs and the tables that a study left in its folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from toolkit.analysis import results, table_files
from toolkit.analysis.results import StudyResults
from toolkit.analysis.table_files import Style
from toolkit.errors import ToolkitError
from toolkit.io.run_results import RunResult


def load_study(folder: str | Path) -> LoadedStudy:
    """Loads the results of a study from its folder, while it runs or later.

    Raises:
        ToolkitError: no study in the folder, or a damaged plan.
    """
    return LoadedStudy(results.load(folder))


class LoadedStudy:
    """The results of a study as they were when it was loaded.

    Attributes:
        results: all runs with their options, as the tables take them.
    """

    def __init__(self, results: StudyResults) -> None:
        self.results = results

    def __repr__(self) -> str:
        done = sum(run.status == 'finished' for run in self.runs)
        return (
            f'<study {self.name} in {self.results.folder}: {done} of {len(self.runs)} runs '
            'finished>'
        )

    def _repr_markdown_(self) -> str:
        return self.table('markdown')

    @property
    def name(self) -> str:
        """The name of the study."""
        return self.results.name

    @property
    def runs(self) -> Sequence[RunResult]:
        """All planned runs, with `variant`, `seed`, `status` and `metrics`."""
        return self.results.runs

    def table(self, style: Style = 'text') -> str:
        """Formats the tables of the study, with differences and their tests.

        Args:
            style: 'text', 'markdown', 'csv', 'latex' or 'json'.
        Raises:
            ToolkitError: no such style, or the rows of a run are damaged.
        """
        if style not in (styles := get_args(Style)):
            raise ToolkitError(f'no style is named {style!r}; there are: {", ".join(styles)}')
        return table_files.study_table(self.results, style)
