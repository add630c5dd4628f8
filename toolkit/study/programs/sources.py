"""Finds the sources of a Python program, and the folders of configs that they name."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import toolkit
from toolkit.study.source_code import list_imported

# Folders of installed packages, which count by their versions.
_INSTALLED = ('site-packages', 'dist-packages')


def list_roots(folder: Path, environment: Mapping[str, str]) -> tuple[Path, ...]:
    """List the folders in which a program finds modules of its own.

    Args:
        folder: in which it runs.
        environment: variables of the study, over those of this process.
    """
    paths = environment.get('PYTHONPATH', os.environ.get('PYTHONPATH', '')).split(os.pathsep)
    found = [folder.resolve(), *((folder / path).resolve() for path in paths if path)]
    own = Path(toolkit.__file__).resolve().parents[1]
    kept = [p for p in found if p != own and not set(_INSTALLED) & set(p.parts)]
    return tuple(dict.fromkeys([found[0], *kept]))


def find_module(roots: Sequence[Path], name: str) -> tuple[Path, ...]:
    """Find the files that `python -m NAME` runs; empty if it is none of the program's own."""
    parts = name.split('.')
    for root in roots:
        path = root.joinpath(*parts)
        for file in (path.with_name(f'{path.name}.py'), path / '__main__.py'):
            if file.is_file():
                return tuple(dict.fromkeys([*_find_parts(root, parts), file]))
    return ()


def list_sources(scripts: Sequence[Path], roots: Sequence[Path]) -> tuple[Path, ...]:
    """List Python files and the modules below some folders that they import, directly or not."""
    seen: dict[Path, None] = {}
    waiting = list(scripts)
    while waiting:
        file = waiting.pop().resolve()
        if file in seen:
            continue
        seen[file] = None
        tree = _parse(file)
        if tree is None:
            continue
        # A file below two folders has a package in each; the import of one of them is found.
        packages = ['.'.join(file.parent.relative_to(r).parts) for r in roots if r in file.parents]
        for name in (n for package in packages or [''] for n in list_imported(tree, package)):
            for root in roots:
                waiting += _find_parts(root, name.split('.'))
    return tuple(sorted(seen))


def list_config_folders(sources: Sequence[Path]) -> tuple[Path, ...]:
    """List the folders beside sources that they name as `config_path`, as Hydra's programs do."""
    found: dict[Path, None] = {}
    for file in sources:
        for node in ast.walk(_parse(file) or ast.Module([], [])):
            if isinstance(node, ast.keyword) and node.arg == 'config_path':
                value = node.value.value if isinstance(node.value, ast.Constant) else None
                if isinstance(value, str) and (file.parent / value).is_dir():
                    found[(file.parent / value).resolve()] = None
    return tuple(found)


def _parse(file: Path) -> ast.Module | None:
    try:
        return ast.parse(file.read_bytes())
    except (SyntaxError, OSError, ValueError):
        return None


def _find_parts(root: Path, parts: Sequence[str]) -> Iterator[Path]:
    """Find the files of a module and of the packages above it below a folder."""
    for length in range(1, len(parts) + 1):
        path = root.joinpath(*parts[:length])
        for file in (path.with_name(f'{path.name}.py'), path / '__init__.py'):
            if file.is_file():
                yield file
