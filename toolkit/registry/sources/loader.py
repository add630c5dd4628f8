"""Import of plugins that are named by a path: always from source, never from a bytecode cache."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any


class SourceLoader(SourceFileLoader):
    """Loader that compiles the source of a module and neither reads nor writes bytecode.

    A cache beside the source may hold other code: one that was sent along with a run, or one of a
    source that was edited twice within a second.

    Args:
        name: of the module.
        file: its source.
        check: checks the module before its code runs.
    """

    def __init__(self, name: str, file: Path, check: Callable[[str, Path], None]) -> None:
        super().__init__(name, str(file))
        self._check = check

    def exec_module(self, module: ModuleType) -> None:
        self._check(module.__name__, Path(self.path))
        super().exec_module(module)

    def path_stats(self, path: str) -> Mapping[str, Any]:
        # Python then has nothing to compare a cache with, and leaves caches alone.
        raise OSError('bytecode of plugins is not used')


class SourceFinder(MetaPathFinder):
    """Finder of plugins that are files or folders, and of the modules inside folders.

    Args:
        find_root: returns the file or folder of a plugin by its name; None for other modules.
        check: checks a module before its code runs.
    """

    def __init__(
        self, find_root: Callable[[str], Path | None], check: Callable[[str, Path], None]
    ) -> None:
        self._find_root, self._check = find_root, check

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: Any = None
    ) -> ModuleSpec | None:
        name, *parts = fullname.split('.')
        root = self._find_root(name)
        if root is None:
            return None
        place = root.joinpath(*parts)
        for file, locations in (
            (place / '__init__.py', [str(place)]),
            (place.with_name(f'{place.name}.py') if parts else place, None),
        ):
            if file.is_file():
                return importlib.util.spec_from_file_location(
                    fullname,
                    file,
                    loader=SourceLoader(fullname, file, self._check),
                    submodule_search_locations=locations,
                )
        return None
