"""The systems of a study's runs, built without memory, and what they cost."""

from __future__ import annotations

import torch

from toolkit.bench.cost import count
from toolkit.interfaces import System
from toolkit.registry.build import ComponentFactory


class Systems:
    """Builds systems on the meta device.

    The last one is kept: a run's costs and the fit of its data are asked for one after the other,
    and its folds and seeds share it.
    """

    def __init__(self) -> None:
        self._last: tuple[str, System] | None = None

    def of(self, text: str, model: ComponentFactory) -> System:
        """A system.

        Args:
            text: equal for equal models alone.
            model: the config's.
        Raises:
            ToolkitError: a part refuses its arguments.
        """
        if self._last is None or self._last[0] != text:
            with torch.device('meta'):
                self._last = text, model()
        return self._last[1]

    def cost(self, text: str, model: ComponentFactory) -> tuple[int, int]:
        """Parameters and MACs of a system, as `toolkit.bench.cost` counts them."""
        return count(self.of(text, model))
