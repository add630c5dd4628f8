"""The engine's tiny parts are a plugin of these studies, and of no other tests."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from toolkit import plugins
from toolkit.registry import kinds


@pytest.fixture(scope='package', autouse=True)
def tiny_plugin() -> Iterator[None]:
    yield
    plugins._roots.pop('tiny', None)
    plugins._clear()
    for kind in kinds().values():
        for name, part in list(kind._module_dict.items()):
            if part.__module__ == 'tiny':
                del kind._module_dict[name]
    sys.modules.pop('tiny', None)
