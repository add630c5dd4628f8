"""Ablakit's engine: registry, configs, training, studies, reports. It knows no task, no paper.

`toolkit.load_run` loads a trained run, `toolkit.load_study` the results of a study,
`toolkit.build` builds the system of a config, `toolkit.kinds` names the kinds, whose components
can be built alone, `toolkit.describe` explains a component, and `toolkit.report_metrics` reports
the metrics of a program to its study. They are imported on first use, since commands such as
`toolkit list` start without torch.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolkit.io.reported_metrics import report_metrics
    from toolkit.registry.description.lookup import describe
    from toolkit.registry.kind import get_kinds as kinds
    from toolkit.run.loaded_run import LoadedRun, build, load_run
    from toolkit.run.loaded_study import LoadedStudy, load_study

__version__ = '0.1.0'
__all__ = [
    'LoadedRun',
    'LoadedStudy',
    'build',
    'describe',
    'kinds',
    'load_run',
    'load_study',
    'report_metrics',
]
# Module of each name, and its name there.
_PLACES = {
    'LoadedRun': ('toolkit.run.loaded_run', 'LoadedRun'),
    'LoadedStudy': ('toolkit.run.loaded_study', 'LoadedStudy'),
    'build': ('toolkit.run.loaded_run', 'build'),
    'describe': ('toolkit.registry.description.lookup', 'describe'),
    'kinds': ('toolkit.registry.kind', 'get_kinds'),
    'load_run': ('toolkit.run.loaded_run', 'load_run'),
    'load_study': ('toolkit.run.loaded_study', 'load_study'),
    'report_metrics': ('toolkit.io.reported_metrics', 'report_metrics'),  # without torch
}


class OwnPlugins:
    """Finder that takes the package `plugins` from beside the toolkit.

    A folder `plugins` beside a user's script comes first on Python's path, and would hide it.
    """

    FOLDER = Path(__file__).resolve().parents[1]

    @classmethod
    def find_spec(
        cls, fullname: str, path: Any = None, target: Any = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != 'plugins':
            return None
        return importlib.machinery.PathFinder.find_spec(fullname, [str(cls.FOLDER)], target)


sys.meta_path.insert(0, OwnPlugins)


if not TYPE_CHECKING:  # for a type checker any name would be one of this module

    def __getattr__(name: str) -> Any:
        if name not in _PLACES:
            raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
        module, attribute = _PLACES[name]
        return getattr(importlib.import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
