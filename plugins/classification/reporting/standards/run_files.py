"""Files of a run as read for a reporting standard."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Tree = Mapping[str, Any]
SUBSETS = ('train', 'val', 'test')


@dataclass(frozen=True)
class RunFiles:
    """Contents of the files of a run; None for a file that is missing.

    Attributes:
        folder: of the run.
        config: its config.
        record: its capsule.
        trained: capsule of its training.
        tested: `metrics.json`.
        clinical: `clinical.json`.
        external: `external.json`.
        items: test images by id, with `patient` and `centre`.
    """

    folder: Path
    config: Tree
    record: Tree
    trained: Tree | None
    tested: Tree | None
    clinical: Tree | None
    external: Tree | None
    items: Mapping[str, Tree]

    def datasets(self) -> dict[str, Tree]:
        """Returns the config of the data set of each subset that has one."""
        nodes = {n: (self.config.get(f'{n}_dataloader') or {}).get('dataset') for n in SUBSETS}
        return {name: node for name, node in nodes.items() if node}

    def tasks(self) -> Tree:
        """Returns the tasks of the clinical report; empty without one."""
        return (self.clinical or {}).get('tasks') or {}

    def hooks(self) -> dict[str, Tree]:
        """Returns the config of the hooks by name."""
        named = {**(self.config.get('default_hooks') or {})}
        named |= self.config.get('custom_hooks') or {}
        return {name: node for name, node in named.items() if node}
