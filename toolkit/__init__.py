"""Ablakit's engine: registry, configs, training, studies, reports. It knows no task, no paper.

`toolkit.load_run` loads a trained run, `toolkit.build` builds the system of a config,
`toolkit.kinds` names the kinds, whose components can be built alone, and `toolkit.report_metrics`
reports the metrics of a program to its study. They are imported on first use, since commands such
as `toolkit list` start without torch.
"""

from __future__ import annotations

import importlib.machinery
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolkit.io.reported_metrics import report_metrics
    from toolkit.registry.kind import get_kinds as kinds
    from toolkit.run.loaded_run import LoadedRun, build, load_run

__version__ = '0.1.0'
__all__ = ['LoadedRun', 'build', 'kinds', 'load_run', 'report_metrics']


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
        if name not in __all__:
            raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
        if name == 'report_metrics':  # without torch
            from toolkit.io.reported_metrics import report_metrics

            return report_metrics
        if name == 'kinds':
            from toolkit.registry.kind import get_kinds

            return get_kinds
        from toolkit.run import loaded_run

        return getattr(loaded_run, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
