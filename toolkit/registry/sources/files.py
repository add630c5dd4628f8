"""Files of plugins: their modules, and what their modules import from beside them."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from toolkit.registry.sources.parsing import parse_imports


class Sibling(NamedTuple):
    """A file or folder that lies beside a plugin, and that one of its modules imports.

    Attributes:
        name: that is imported.
        path: the file, or the folder, which Python imports without `__init__.py` too.
        line: of the import.
    """

    name: str
    path: Path
    line: int


def list_modules(name: str, root: Path | None) -> Iterator[tuple[str, Path]]:
    """Lists the modules of a plugin with their files."""
    if root is None:
        return
    if root.is_file():
        yield name, root
        return
    for file in sorted(root.rglob('*.py')):
        parts = file.relative_to(root).with_suffix('').parts
        if parts[-1] == '__init__':
            parts = parts[:-1]
        yield '.'.join((name, *parts)), file


def list_imports(file: Path) -> tuple[tuple[str, int], ...]:
    """Lists what a module imports; see `parse_imports`.

    Raises:
        OSError, SyntaxError, ValueError: the file is no Python source.
    """
    state = file.stat()
    return parse_imports(file, state.st_mtime_ns, state.st_size)


def list_siblings(file: Path, root: Path) -> Iterator[Sibling]:
    """Lists what lies beside a plugin under a name that one of its modules imports.

    Args:
        file: the module.
        root: file or folder of the plugin.
    """
    for name, line in list_imports(file):
        if name == '.':
            continue
        path, folder = root.with_name(f'{name}.py'), root.with_name(name)
        if path.is_file() and path != root:
            yield Sibling(name, path, line)
        if folder != root and next(folder.rglob('*.py'), None) is not None:
            yield Sibling(name, folder, line)


def is_taken(name: str, path: Path) -> bool:
    """Tells whether an imported or installed module other than the plugin's own has its name.

    Python may find the plugin itself too, in a folder that it searches, or, for a run's copy, the
    original in the working folder. The name must not depend on that, or the plugin would be
    imported twice.
    """
    loaded = sys.modules.get(name)
    spec = getattr(loaded, '__spec__', None) or importlib.util.find_spec(name)
    if spec is None:
        return loaded is not None
    # A folder without `__init__.py` has no origin, and may be one of several of that name.
    places = [spec.origin] if spec.origin else list(spec.submodule_search_locations or ())
    own = [path / '__init__.py', path]
    if loaded is None:
        folder = Path.cwd()
        own += [folder / f'{name}.py', folder / name / '__init__.py', folder / name]
    return not places or any(Path(place).resolve() not in own for place in places)
