"""Builds the systems of a study without memory and counts their parameters and MACs."""

from __future__ import annotations

import torch

from toolkit.bench.cost import count_parameters_and_macs
from toolkit.interfaces import System
from toolkit.registry.build import ComponentFactory


class SystemBuilder:
    """Builds systems on the meta device and keeps the last one.

    Costs and the fit of the data are needed in turn, and folds and seeds share a system.
    """

    def __init__(self) -> None:
        self._last: tuple[str, System] | None = None

    def build(self, text: str, model: ComponentFactory) -> System:
        """Build a system.

        Args:
            text: canonical text of the model, equal only for equal models.
            model: factory of the system.
        Raises:
            ToolkitError: a component refuses its arguments.
        """
        if self._last is None or self._last[0] != text:
            with torch.device('meta'):
                self._last = text, model()
        return self._last[1]

    def count(self, text: str, model: ComponentFactory) -> tuple[int, int]:
        """Count parameters and MACs of a system as `toolkit.bench.cost` does."""
        return count_parameters_and_macs(self.build(text, model))
