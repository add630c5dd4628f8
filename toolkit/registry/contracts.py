"""Finds the contract of a component, and holds its attributes to that when it is built."""

from __future__ import annotations

import importlib
from typing import Any

from toolkit import registry
from toolkit.errors import ComponentError


def find_contract(cls: type) -> Any:
    """Finds the contract that the nearest interface of a class names.

    Returns:
        A `toolkit.testing.contract.Contract`; None if the interface has none.
    """
    path = getattr(cls, 'contract', None)
    if not isinstance(path, str):
        return None
    module, _, name = path.rpartition('.')
    return getattr(importlib.import_module(module), name)()


def check_attributes(component: Any, path: str) -> None:
    """Checks the attributes of a component that its parent relies on.

    Raises:
        ComponentError: one is missing or wrong.
    """
    cls = type(component)
    contract = find_contract(cls)
    for message in contract.find_attribute_faults(component) if contract is not None else ():
        raise ComponentError(path, f'{cls.__name__} ({registry.locate_source(cls)}) {message}')
