"""The plugins that a study names are known while its test runs, and to no other test."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from toolkit import plugins
from toolkit.registry import kinds


@pytest.fixture(autouse=True)
def plugins_of_this_test() -> Iterator[None]:
    before = set(plugins._roots)
    yield
    added = set(plugins._roots) - before
    for name in added:
        plugins._roots.pop(name)
        sys.modules.pop(name, None)
    plugins._clear()
    for kind in kinds().values():
        for name, part in list(kind._module_dict.items()):
            if part.__module__ in added:
                del kind._module_dict[name]
