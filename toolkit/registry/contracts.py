"""Finds the contract of a component, and holds its attributes to that when it is built."""

from __future__ import annotations

import importlib
from typing import Any

from toolkit import registry
from toolkit.errors import ComponentError

# Contracts of interfaces of other packages, by the path of the class.
OF_LIBRARIES = {
    'mmengine.hooks.hook.Hook': 'toolkit.testing.engine_kinds.HookContract',
    'mmengine.optim.scheduler.param_scheduler._ParamScheduler': (
        'toolkit.testing.engine_kinds.SchedulerContract'
    ),
    'torch.optim.optimizer.Optimizer': 'toolkit.testing.engine_kinds.OptimizerContract',
}


def find_contract(cls: type) -> Any:
    """Finds the contract that the nearest interface of a class names.

    Returns:
        A `toolkit.testing.contract.Contract`; None if the interface has none.
    """
    path = getattr(cls, 'contract', None)
    if not isinstance(path, str):
        bases = (f'{base.__module__}.{base.__name__}' for base in cls.__mro__)
        path = next((OF_LIBRARIES[base] for base in bases if base in OF_LIBRARIES), None)
    if path is None:
        return None
    module, _, name = path.rpartition('.')
    return getattr(importlib.import_module(module), name)()


def check_instance(component: Any, cls: type, path: str) -> None:
    """Checks that a class made an object that its parent can use and keep.

    Raises:
        ComponentError: it made something else, or a module without a hash.
    """
    if not isinstance(component, cls):
        message = (
            f'makes a {type(component).__name__} when it is called; let its __new__, metaclass or '
            'decorator give an object of the class, or leave it out'
        )
    elif hasattr(component, 'forward') and type(component).__hash__ is None:
        message = (
            'has an equality and no hash, by which torch keeps modules; write '
            '@dataclass(eq=False) or a constructor, or leave out __eq__'
        )
    elif hasattr(component, 'forward') and not _find_caller(cls).__module__.startswith('torch.'):
        message = 'has a __call__ of its own, which hooks and checks miss; write a forward alone'
    else:
        return
    raise ComponentError(path, f'{cls.__name__} ({registry.locate_source(cls)}) {message}')


def _find_caller(cls: type) -> type:
    """Finds the class whose `__call__` a class has."""
    return next((base for base in cls.__mro__ if '__call__' in vars(base)), cls)


def check_attributes(component: Any, path: str) -> None:
    """Checks the attributes of a component that its parent relies on.

    Raises:
        ComponentError: one is missing or wrong.
    """
    cls = type(component)
    contract = find_contract(cls)
    for message in contract.find_attribute_faults(component) if contract is not None else ():
        raise ComponentError(path, f'{cls.__name__} ({registry.locate_source(cls)}) {message}')
