"""The plugins that a study names are known while its test runs, and to no other test."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from toolkit.registry import get_kinds, plugin_index


@pytest.fixture(autouse=True)
def plugins_of_this_test() -> Iterator[None]:
    before = set(plugin_index._roots)
    yield
    added = set(plugin_index._roots) - before
    for name in added:
        plugin_index._roots.pop(name)
        plugin_index._path_roots.discard(name)
    for module in [module for module in sys.modules if module.split('.')[0] in added]:
        del sys.modules[module]
    for module in [name for name in plugin_index._failures if name.split('.')[0] in added]:
        del plugin_index._failures[module]
    plugin_index._clear()
    for kind in get_kinds().values():
        for name, part in list(kind._module_dict.items()):
            if part.__module__.split('.')[0] in added:
                del kind._module_dict[name]
