"""Errors that a user can cause.

A message says which value was found, which one was expected, and how to correct it.

The command line prints it as one line and exits with `exit_status`. Other exceptions keep their
traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ToolkitError(Exception):
    """A mistake that the message explains; exit status 2: found before any work."""

    exit_status = 2


class RunError(ToolkitError):
    """A failure during a run, exit status 1: unreadable data, a full disk, a loss that is NaN."""

    exit_status = 1


class BusyError(ToolkitError):
    """A folder in which another process is working."""


class DataError(RunError):
    """Input data that cannot be used: missing, truncated, NaN, wrong bands or ratio."""


class MissingDataError(DataError):
    """A missing file, found before anything runs."""

    exit_status = 2


class RegistryError(ToolkitError):
    """A name that is not registered, is registered twice, or whose plugin cannot be imported."""


class ComponentError(ToolkitError):
    """A component that cannot be built from its config.

    Args:
        path: dotted path of the component in the config, '' if it is not known.
        message: the mistake.
        other_path: dotted path of another component that takes part in it, '' for none.
    """

    def __init__(self, path: str, message: str, other_path: str = '') -> None:
        super().__init__(f'{path}: {message}' if path else message)
        self.path = path
        self.message = message
        self.other_path = other_path


class ComponentRunError(ComponentError, RunError):
    """A component that failed while it ran; exit status 1.

    Args:
        path: dotted path of the component in the config.
        message: the component, the line of its author's code, and the error.
        trace: the whole traceback, for the log and `--traceback`.
    """

    exit_status = 1

    def __init__(self, path: str, message: str, trace: str = '') -> None:
        super().__init__(path, message)
        self.trace = trace


def explain_exhaustion(error: BaseException) -> str:
    """Explains an error of a machine that has no memory left; '' for other errors."""
    text = str(error).strip()
    first = text.splitlines()[0][:200] if text else type(error).__name__
    if 'DataLoader worker' in text and ('killed' in text or 'exited unexpectedly' in text):
        return (
            f'a process that loads data ended: {first.rstrip(".")}; if memory was short, choose '
            'fewer num_workers, or a smaller cache of the dataset'
        )
    if (
        isinstance(error, MemoryError)
        or type(error).__name__ == 'OutOfMemoryError'  # torch's, which is not imported here
        or "can't allocate memory" in text
        or 'not enough memory' in text
    ):
        return f'out of memory: {first}; choose a smaller batch_size or smaller images'
    return ''


def find_nearest(name: str, candidates: Iterable[str], count: int = 3) -> list[str]:
    """Finds the candidates that are similar to a name, best first, regardless of case.

    Only candidates that are about as similar as the best are returned.
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
    """Formats `; did you mean 'x'?` (or 'x' or 'y'), or an empty string if nothing is similar."""
    matches = find_nearest(name, candidates)
    if not matches:
        return ''
    return '; did you mean ' + ' or '.join(repr(match) for match in matches) + '?'


def list_names(names: Iterable[str], most: int = 20) -> str:
    """Formats names for a message, the first ones if there are many: `a, b, ... (98 more)`."""
    every = list(names)
    rest = len(every) - most
    return ', '.join(every[:most]) + (f', ... ({rest} more)' if rest > 0 else '')


def list_few(names: Iterable[str], most: int = 3, separator: str = ', ') -> str:
    """Formats the first of many names for a sentence: `a, b, c and 2 more`."""
    every = list(names)
    rest = len(every) - most
    return separator.join(every[:most]) + (f' and {rest} more' if rest > 0 else '')


def list_integers(values: Iterable[int], most: int = 10) -> str:
    """Formats whole numbers for a message, neighbours as ranges: `0 to 499, 1000`."""
    ranges: list[list[int]] = []
    for value in values:
        if ranges and value == ranges[-1][1] + 1:
            ranges[-1][1] = value
        else:
            ranges.append([value, value])
    texts: list[str] = []
    for low, high in ranges:
        texts += [f'{low} to {high}'] if high - low > 2 else map(str, range(low, high + 1))
    return list_names(texts, most)
