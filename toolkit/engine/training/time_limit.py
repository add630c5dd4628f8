"""Time limit of a training, over all processes that resume it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any


class TimeLimit:
    """Clock of `train_cfg.max_minutes`, which a checkpoint keeps.

    Args:
        minutes: the limit; None for none.
    Attributes:
        seconds: the limit; None for none.
    """

    def __init__(self, minutes: float | None) -> None:
        self.seconds = None if minutes is None else 60 * minutes
        self._spent = 0.0  # seconds, in earlier processes of this run
        self._began = 0.0

    def start(self) -> None:
        """Starts the clock."""
        self._began = time.perf_counter()

    def is_over(self) -> bool:
        """Tells whether there is a limit that is reached."""
        return self.seconds is not None and self._elapsed() >= self.seconds

    def state_dict(self) -> dict[str, float]:
        """Returns the time spent; nothing without a limit: equal runs have equal checkpoints."""
        return {} if self.seconds is None else {'spent': self._elapsed()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Adds the time of the run that is resumed."""
        self._spent = state.get('spent', 0.0)

    def _elapsed(self) -> float:
        return self._spent + (time.perf_counter() - self._began if self._began else 0.0)
