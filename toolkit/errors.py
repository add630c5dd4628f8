"""The errors that a user can cause: what was found, what was expected, what to do.

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


class BusyError(ToolkitError):
    """A folder in which another process is working."""


class DataError(RunError):
    """Input data that cannot be used as it is: missing, truncated, NaN, wrong bands or ratio."""


class MissingDataError(DataError):
    """A file that is not there, which is known before anything runs."""

    exit_status = 2


class RegistryError(ToolkitError):
    """A name that is not registered, is registered twice, or whose plugin cannot be imported."""


class ComponentError(ToolkitError):
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
    """The candidates that `name` may have been meant as, best first, regardless of case.

    Only those that are about as near as the best are given.
    """
    matcher = difflib.SequenceMatcher(b=name.lower())
    scored = []
    for candidate in dict.fromkeys(candidates):
        matcher.set_seq1(candidate.lower())
        if matcher.real_quick_ratio() >= 0.6 and (ratio := matcher.ratio()) >= 0.6:
            scored.append((ratio, candidate))
    scored.sort(key=lambda pair: -pair[0])
    return [candidate for ratio, candidate in scored[:count] if ratio > scored[0][0] - 0.1]


def did_you_mean(name: str, candidates: Iterable[str]) -> str:
    """`; did you mean 'x'?` (or 'x' or 'y'), or an empty string where nothing is near."""
    matches = nearest(name, candidates)
    if not matches:
        return ''
    return '; did you mean ' + ' or '.join(repr(match) for match in matches) + '?'
