"""Stops the building of a network that no machine could hold, before its memory is taken."""

from __future__ import annotations

import os
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn.modules import module as hooks
from torch.nn.parameter import is_lazy

from toolkit.errors import ToolkitError

# The largest networks have some ten thousand modules; `blocks: 1000000000` would make them all.
MOST_MODULES = 50_000
# Bytes of weights in a check, whose machine need not be that of the training.
LARGEST = 64 << 30


@contextmanager
def limit_size() -> Iterator[None]:
    """Limits the weights and modules of the networks that are built inside the context.

    On the meta device weights take no memory, and the limit is 64 GB or this machine's memory,
    whichever is more; elsewhere it is this machine's memory. What is shared counts once, and what
    was replaced does not count.

    Raises:
        ToolkitError: a network has more; names the kind of module that is one too many.
    """
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
    weights, modules = _Living(), _Living()

    def add_parameter(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        if parameter is None or is_lazy(parameter):
            return
        weights.add(parameter, parameter.nbytes)
        limit = memory if parameter.device != torch.device('meta') else max(memory, LARGEST)
        if weights.exceeds(limit):
            shape = ' x '.join(map(str, parameter.shape))
            raise ToolkitError(
                f'the network is too large: with the {name} of a {type(module).__name__}, '
                f'{shape}, it has {weights.total / 1e9:,.0f} GB of weights, and at most '
                f'{limit / 1e9:,.0f} GB can be held'
            )

    def add_module(parent: nn.Module, name: str, module: nn.Module | None) -> None:
        if module is not None:
            modules.add(module, 1)
        if modules.exceeds(MOST_MODULES):
            raise ToolkitError(
                f'the network is too large: it has more than {MOST_MODULES:,} modules (the last '
                f'is {name!r} of a {type(parent).__name__})'
            )

    handles = [
        hooks.register_module_parameter_registration_hook(add_parameter),
        hooks.register_module_module_registration_hook(add_module),
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class _Living:
    """Objects with their sizes, as long as they are in use.

    Attributes:
        total: sum of the sizes; until `exceeds` has to know better, with those that are gone.
    """

    def __init__(self) -> None:
        self.total = 0
        self._held: dict[int, tuple[weakref.ref[Any], int]] = {}

    def add(self, value: Any, size: int) -> None:
        """Adds an object, once."""
        known = self._held.get(id(value))
        if known is None or known[0]() is not value:
            self._held[id(value)] = (weakref.ref(value), size)
            self.total += size

    def exceeds(self, limit: int) -> bool:
        """Tells whether the sizes of those in use are above a limit together."""
        if self.total > limit:
            self._held = {key: held for key, held in self._held.items() if held[0]() is not None}
            self.total = sum(size for _, size in self._held.values())
        return self.total > limit
