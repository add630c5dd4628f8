"""Cache of intermediate results, which the indices of one image share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, ParamSpec, TypeVar

import numpy as np
from torch import Tensor

P = ParamSpec('P')
T = TypeVar('T')
# Function and arguments -> result, and the arguments themselves: while they are kept, no other
# image can have the identity of one of them.
Cache = dict[Hashable, tuple[Any, Any]]

_CACHE: ContextVar[Cache | None] = ContextVar('cache', default=None)


@contextmanager
def use_cache(cache: Cache) -> Iterator[None]:
    """Keeps the results of all `cached` functions that are called inside the `with` block.

    Args:
        cache: filled and read. The images of the calls must not be changed while it is in use.
    """
    token = _CACHE.set(cache)
    try:
        yield
    finally:
        _CACHE.reset(token)


def cached(function: Callable[P, T]) -> Callable[P, T]:
    """Makes a function look its result up in the cache in use; without one nothing changes.

    Images and masks are told apart by identity, other arguments by value.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        cache = _CACHE.get()
        if cache is None:
            return function(*args, **kwargs)
        arguments = signature.bind(*args, **kwargs)
        arguments.apply_defaults()
        key = (function, *map(_identity, arguments.arguments.values()))
        if key not in cache:
            cache[key] = function(*args, **kwargs), arguments
        return cache[key][0]

    return call


def _identity(value: Any) -> Hashable:
    if isinstance(value, Tensor | np.ndarray):
        return ('image', id(value))
    return tuple(value) if isinstance(value, list) else value
