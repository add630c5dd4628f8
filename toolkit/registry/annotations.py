"""Resolves the annotations of a callable one by one, also names imported under `TYPE_CHECKING`."""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.util
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class UnresolvedAnnotation:
    """An annotation that names something that cannot be found; such an argument is not checked.

    Args:
        text: the annotation as written.
        reason: the error, for messages.
    """

    text: str
    reason: str


def resolve_annotations(target: Callable[..., Any]) -> dict[str, Any]:
    """Resolves the annotations of a callable.

    Returns:
        By name, the annotation with its ranges, or an `UnresolvedAnnotation`; one that cannot be
        resolved does not touch the others.
    """
    try:
        return typing.get_type_hints(target, include_extras=True)
    except Exception:  # evaluating an annotation may raise any error
        pass
    written = dict(getattr(target, '__annotations__', {}))
    namespace = dict(getattr(target, '__globals__', {}))
    module = sys.modules.get(namespace.get('__name__', ''))
    guarded = _list_guarded_imports(module) if module is not None else {}
    return {name: _resolve(name, value, namespace, guarded) for name, value in written.items()}


def _resolve(
    name: str, value: Any, namespace: dict[str, Any], guarded: Mapping[str, tuple[str, str]]
) -> Any:
    if isinstance(value, str):
        names = {node.id for node in ast.walk(_parse(value)) if isinstance(node, ast.Name)}
        for missing in sorted((names & guarded.keys()) - namespace.keys()):
            module, attribute = guarded[missing]
            try:
                namespace[missing] = _import_name(module, attribute)
            except Exception as error:  # importing runs the code of another module
                return UnresolvedAnnotation(value, f'{type(error).__name__}: {error}')
    holder = types.SimpleNamespace(__annotations__={name: value})
    try:
        return typing.get_type_hints(holder, namespace, include_extras=True)[name]
    except Exception as error:  # evaluating an annotation may raise any error
        return UnresolvedAnnotation(str(value), f'{type(error).__name__}: {error}')


def _import_name(module: str, attribute: str) -> Any:
    imported = importlib.import_module(module)
    if not attribute:
        return imported
    try:
        return getattr(imported, attribute)
    except AttributeError:
        return importlib.import_module(f'{module}.{attribute}')


@functools.cache
def _list_guarded_imports(module: types.ModuleType) -> dict[str, tuple[str, str]]:
    """Lists the names that `if TYPE_CHECKING:` imports: module and attribute ('' for a module)."""
    try:
        tree = ast.parse(inspect.getsource(module))
    except (OSError, TypeError, SyntaxError):
        return {}
    found: dict[str, tuple[str, str]] = {}
    for block in ast.walk(tree):
        if not (isinstance(block, ast.If) and ast.unparse(block.test).endswith('TYPE_CHECKING')):
            continue
        for statement in block.body:
            if isinstance(statement, ast.Import):
                for alias in statement.names:
                    top = alias.name if alias.asname else alias.name.split('.')[0]
                    found[alias.asname or top] = (top, '')
            elif isinstance(statement, ast.ImportFrom):
                source = '.' * statement.level + (statement.module or '')
                if statement.level:
                    source = importlib.util.resolve_name(source, module.__package__)
                for alias in statement.names:
                    found[alias.asname or alias.name] = (source, alias.name)
    return found


def _parse(text: str) -> ast.AST:
    try:
        return ast.parse(text, mode='eval')
    except SyntaxError:
        return ast.Module([], [])
