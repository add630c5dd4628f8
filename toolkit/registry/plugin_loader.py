"""Import of plugins that are named by a path: always from source, never from a bytecode cache."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from typing import Any


class SourceLoader(SourceFileLoader):
    """Loader that compiles the source of a module and neither reads nor writes bytecode.

    A cache beside the source may hold other code: one that was sent along with a run, or one of a
    source that was edited twice within a second.
    """

    def path_stats(self, path: str) -> Mapping[str, Any]:
        # Python then has nothing to compare a cache with, and leaves caches alone.
        raise OSError('bytecode of plugins is not used')


class SourceFinder(MetaPathFinder):
    """Finder of the modules inside plugin packages, for `SourceLoader`.

    Args:
        find_root: returns the folder of a package by its name; None for other packages.
    """

    def __init__(self, find_root: Callable[[str], Path | None]) -> None:
        self._find_root = find_root

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: Any = None
    ) -> ModuleSpec | None:
        name, *parts = fullname.split('.')
        root = self._find_root(name) if parts else None
        if root is None:
            return None
        place = root.joinpath(*parts)
        for file, locations in (
            (place / '__init__.py', [str(place)]),
            (place.with_name(f'{place.name}.py'), None),
        ):
            if file.is_file():
                loader = SourceLoader(fullname, str(file))
                return importlib.util.spec_from_file_location(
                    fullname, file, loader=loader, submodule_search_locations=locations
                )
        return None
