"""Launchers start the runs of a study: on this machine, on a Ray cluster, by SLURM.

A launcher's module is imported only if a study names it.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from toolkit.study.launchers.base import Launcher

__all__ = ['LAUNCHERS', 'Launcher', 'launcher_class']

LAUNCHERS = {
    'local': 'toolkit.study.launchers.local.LocalLauncher',
    'ray': 'toolkit.study.launchers.ray.RayLauncher',
    'slurm': 'toolkit.study.launchers.slurm.SlurmLauncher',
}


def launcher_class(node: Mapping[str, Any]) -> type[Launcher]:
    """Get the class of a launcher by its `type`; the local launcher by default."""
    module, _, name = LAUNCHERS[node.get('type', 'local')].rpartition('.')
    return getattr(importlib.import_module(module), name)
