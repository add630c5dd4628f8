"""Parses sources of plugins: kinds that they declare, components that they register, imports."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

# Arguments of `toolkit.registry.Kind` in their order.
KIND_ARGUMENTS = ('name', 'interface', 'injected', 'library')


# Variable, name, interface, injected arguments and library.
Declaration = tuple[str, str, str, tuple[str, ...], str | None]


class PluginSource(NamedTuple):
    """A module as its text shows it.

    Attributes:
        kinds: arguments of the declarations of kinds, all but the module.
        registered: variable of the kind, name, line, summary and system of each component.
    """

    kinds: tuple[Declaration, ...] = ()
    registered: tuple[tuple[Any, ...], ...] = ()


@functools.cache
def parse_source(file: Path, modified: int, size: int) -> PluginSource:
    """Parses a module once for each state of its file."""
    # Each plugin that is added makes a new index, and parsing all sources takes a second;
    # `modified` and `size` only key the cache.
    text = file.read_text(encoding='utf-8')
    if '.register' not in text and 'Kind(' not in text:
        return PluginSource()
    tree = ast.parse(text, filename=str(file))
    return PluginSource(tuple(_find_kinds(tree)), tuple(_find_registered(tree)))


@functools.cache
def parse_imports(file: Path, modified: int, size: int) -> tuple[tuple[str, int], ...]:
    """Parses a module for what it imports: first name, '.' for a relative import, and line.

    Calls of `import_module` and `__import__` count, where they write the name out.
    """
    found = []
    for node in ast.walk(ast.parse(file.read_text(encoding='utf-8'), filename=str(file))):
        if isinstance(node, ast.Import):
            found += [(alias.name.partition('.')[0], node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            top = '.' if node.level else str(node.module).partition('.')[0]
            found.append((top, node.lineno))
        elif isinstance(node, ast.Call) and (name := find_called_import(node)):
            found.append((name.partition('.')[0] or '.', node.lineno))
    return tuple(found)


def find_called_import(node: ast.AST) -> str:
    """Finds the name in `importlib.import_module('NAME')` or `__import__('NAME')`; '' elsewhere."""
    if not isinstance(node, ast.Call) or not node.args:
        return ''
    called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func
    called = called.id if isinstance(called, ast.Name) else called
    name = _literal(node.args[0]) if called in ('import_module', '__import__') else None
    return name if isinstance(name, str) else ''


def _find_kinds(tree: ast.Module) -> Iterator[Declaration]:
    """Kinds that are declared at the top of a module, as `KindDeclaration` lists them."""
    for node in tree.body:
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.value, ast.Call)
            and isinstance(node.value.func, ast.Name)
            and node.value.func.id == 'Kind'
        ):
            written = {k.arg: _literal(k.value) for k in node.value.keywords if k.arg}
            written.update(zip(KIND_ARGUMENTS, map(_literal, node.value.args)))
            name, interface = written.get('name'), written.get('interface') or ''
            injected = tuple(written.get('injected') or ())
            for target in node.targets:
                if isinstance(target, ast.Name) and isinstance(name, str):
                    yield target.id, name, interface, injected, written.get('library')


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None  # computed: not to be known without importing


def _find_registered(tree: ast.Module) -> Iterator[tuple[Any, ...]]:
    """Classes decorated with `@HEADS.register` or `@HEADS.register(name='x')`."""
    for node in tree.body:
        if not isinstance(node, ast.ClassDef):
            continue
        for decorator in node.decorator_list:
            call = decorator if isinstance(decorator, ast.Call) else None
            target = call.func if call else decorator
            if not (
                isinstance(target, ast.Attribute)
                and target.attr == 'register'
                and isinstance(target.value, ast.Name)
            ):
                continue
            given = [k.value for k in call.keywords if k.arg == 'name'] if call else []
            name = given[0].value if given and isinstance(given[0], ast.Constant) else node.name
            summary = (ast.get_docstring(node) or '').split('\n')[0]
            yield target.value.id, str(name), node.lineno, summary, _find_served_system(node)


def _find_served_system(node: ast.ClassDef) -> str:
    """The name in `system = NAME` of a class's body."""
    for statement in node.body:
        if (
            isinstance(statement, ast.Assign)
            and isinstance(statement.value, ast.Name)
            and any(isinstance(t, ast.Name) and t.id == 'system' for t in statement.targets)
        ):
            return statement.value.id
    return ''
