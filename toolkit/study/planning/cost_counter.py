"""Counts parameters and MACs of the systems of a study's configs."""

from __future__ import annotations

from toolkit.config import Config
from toolkit.config.schema import RunConfig
from toolkit.errors import ToolkitError
from toolkit.io.verification.hashing import canonical_text
from toolkit.registry.build import fill
from toolkit.study.model_costs import SystemBuilder


class CostCounter:
    """Counts the costs of systems; equal ones are built once, without memory.

    Attributes:
        unknown: warnings of systems whose costs cannot be counted.
    """

    def __init__(self, systems: SystemBuilder) -> None:
        self.unknown: list[str] = []
        self._systems = systems
        self._costs: dict[str, tuple[int | None, int | None]] = {}

    def count(self, config: Config) -> tuple[int | None, int | None]:
        """Count parameters and MACs of the system of a config; None where they are not known.

        Raises:
            ToolkitError: a component refuses its arguments.
        """
        text = canonical_text(config.tree['model'])
        if text not in self._costs:
            model = fill(RunConfig, config.tree).model
            try:
                with config.locate_errors():
                    self._costs[text] = self._systems.count(text, model)
            except ToolkitError:
                raise
            except Exception as error:  # a component may need values, which the meta device has not
                self._costs[text] = None, None
                reason = f'{type(error).__name__}: {error}'.split('\n')[0]
                self.unknown.append(
                    f'{config.place("model")}: model: parameters and MACs are not known ({reason})'
                )
        return self._costs[text]
