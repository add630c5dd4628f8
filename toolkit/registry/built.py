"""Remembers of each built component its path in the config, its factory and injected arguments."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class BuildRecord:
    """Record of the construction of a component.

    Args:
        path: dotted path in the config.
        factory: that built it.
        injected: arguments that its parent supplied.
    """

    path: str
    factory: Callable[..., Any]
    injected: Mapping[str, Any]


_RECORDS: weakref.WeakKeyDictionary[Any, BuildRecord] = weakref.WeakKeyDictionary()


def remember(component: Any, record: BuildRecord) -> None:
    """Remembers how a component was built, as long as it lives."""
    try:
        _RECORDS[component] = record
    except TypeError:  # a value that has no weak reference or no hash, such as a section
        return


def recall(component: Any) -> BuildRecord | None:
    """Returns how a component was built; None if no config built it."""
    try:
        return _RECORDS.get(component)
    except TypeError:
        return None
