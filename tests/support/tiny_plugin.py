"""The tiny parts as a plugin, only while the engine's tests run, and configs made of them."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from toolkit.config.schema import RunConfig
from toolkit.registry import build, get_kinds, plugin_index

TINY = Path(__file__).with_name('tiny_engine.py')


@pytest.fixture(scope='package', autouse=True)
def tiny_plugin() -> Iterator[None]:
    plugin_index.add(str(TINY))
    yield
    # Others ask the registry for everything there is.
    plugin_index._roots.pop('tiny_engine', None)
    plugin_index._clear()
    for kind in get_kinds().values():
        for name, part in list(kind._module_dict.items()):
            if part.__module__ == 'tiny_engine':
                del kind._module_dict[name]
    sys.modules.pop('tiny_engine', None)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


BASE: dict[str, Any] = {
    'model': {'type': 'TinySystem'},
    'train_dataloader': {'dataset': {'type': 'TinyData'}, 'batch_size': 4},
    'val_dataloader': {'dataset': {'type': 'TinyData', 'length': 7, 'augment': False}},
    'val_evaluator': {'metrics': {'mse': {'type': 'SquaredError'}, 'err': {'type': 'Errors'}}},
    'test_dataloader': {
        'dataset': {'type': 'TinyData', 'length': 7, 'augment': False},
        'batch_size': 3,
    },
    'test_evaluator': {'metrics': {'mse': {'type': 'SquaredError'}, 'err': {'type': 'Errors'}}},
    'optim_wrapper': {'optimizer': {'type': 'Adam', 'lr': 0.01}},
    'train_cfg': {'max_epochs': 2},
    'plugins': [str(TINY)],
}


def make_tree(**changes: Any) -> dict[str, Any]:
    """The base config with dotted keys (dots written as `__`) changed; None removes one."""
    tree = copy.deepcopy(BASE)
    for path, value in changes.items():
        *parents, last = path.split('__')
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        if value is None:
            node.pop(last, None)
        else:
            node[last] = value
    return tree


@pytest.fixture
def tree() -> Callable[..., dict[str, Any]]:
    return make_tree


@pytest.fixture
def config() -> Callable[..., RunConfig]:
    return lambda **changes: build.fill(RunConfig, make_tree(**changes))
