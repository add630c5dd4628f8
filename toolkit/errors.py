"""The errors that a user can cause. Each message says what was found, what was expected, what to do.

The command line prints them as one line and exits with `exit_status`; a traceback is kept for
what is not a user's mistake.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ToolkitError(Exception):
    """A mistake that the message explains. `exit_status` 2: said before any work was done."""

    exit_status = 2


class RunError(ToolkitError):
    """A failure during a run (exit status 1): unreadable data, a full disk, a loss that is NaN."""

    exit_status = 1


class DataError(RunError):
    """Input data that cannot be used as it is: missing, truncated, NaN, wrong bands or ratio."""


class RegistryError(ToolkitError):
    """A name that is not registered, is registered twice, or whose plugin cannot be imported."""


class PartError(ToolkitError):
    """A part that cannot be built from what the config gives it.

    Args:
        path: dotted path of the part in the config, '' where it is not known.
        message: what is wrong.
    """

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f'{path}: {message}' if path else message)
        self.path = path
        self.message = message


def nearest(name: str, candidates: Iterable[str], count: int = 3) -> list[str]:
    """The candidates that `name` may have been meant as, best first, regardless of case."""
    folded: dict[str, str] = {}
    for candidate in candidates:
        folded.setdefault(candidate.lower(), candidate)
    return [folded[m] for m in difflib.get_close_matches(name.lower(), folded, count, 0.6)]


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """`; did you mean 'x'?` (or 'x' or 'y'), or an empty string where nothing is near."""
    matches = nearest(name, candidates)
    if not matches:
        return ''
    return '; did you mean ' + ' or '.join(repr(match) for match in matches) + '?'
