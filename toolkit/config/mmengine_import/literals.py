"""Reads a Python config of mmengine by its syntax tree; none of its code runs."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from toolkit.errors import ToolkitError

BASE, DELETE = '_base_', '_delete_'
# A config that doubles itself line by line would otherwise fill the memory.
MOST_VALUES = 100_000
DEEPEST = 20
LARGEST = 1 << 64  # of integers; products of products would otherwise never end
# mmengine replaces these in texts: {{ _base_.x }}, {{ fileDirname }}, {{ $NAME:default }}.
_REPLACED = re.compile(r'\{\{.*?\}\}', re.DOTALL)
_NUMBERS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
}


@dataclass
class PythonConfig:
    """Values that a config assigns.

    Attributes:
        values: by name; the bases merged in.
        places: `FILE:LINE` of each name.
    """

    values: dict[str, Any] = field(default_factory=dict)
    places: dict[str, str] = field(default_factory=dict)


def read_python_config(path: Path, depth: int = 0) -> PythonConfig:
    """Reads a config and its bases: literals, `dict(...)`, names assigned before, sums of numbers.

    Raises:
        ToolkitError: a file cannot be read, or says something that only running it would tell.
    """
    if path.suffix != '.py':
        raise ToolkitError(f'{path} is no Python config; a YAML config is used as it is')
    if depth > DEEPEST:
        raise ToolkitError(f'{path}: more than {DEEPEST} bases of bases; is one its own base?')
    try:
        module = ast.parse(path.read_bytes())
        return _Reader(path, depth).read(module)
    except OSError as error:
        raise ToolkitError(f'cannot read {path}: {error.strerror}') from error
    except SyntaxError as error:
        raise ToolkitError(f'{path}:{error.lineno or 1}: no Python: {error.msg}') from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise ToolkitError(f'{path} cannot be read: {str(error) or "nested too deep"}') from error


def merge(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Merges a mapping into its base, as mmengine does: deep, lists as a whole, `_delete_`."""
    merged = dict(base)
    for key, value in own.items():
        old = merged.get(key)
        if isinstance(value, Mapping):
            replaces = value.get(DELETE, False) or not isinstance(old, Mapping)
            value = {k: v for k, v in value.items() if k != DELETE}
            merged[key] = merge({} if replaces else old, value)
        else:
            merged[key] = value
    return merged


class _Reader:
    def __init__(self, path: Path, depth: int) -> None:
        self.path, self.depth = path, depth
        self.own = PythonConfig()

    def read(self, module: ast.Module) -> PythonConfig:
        for statement in module.body:
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                continue  # a docstring
            if not isinstance(statement, ast.Assign):
                self._refuse(statement)
            value = self._evaluate(statement.value)
            if _count(value) > MOST_VALUES:
                raise ValueError(f'line {statement.lineno} makes more than {MOST_VALUES:,} values')
            for target in statement.targets:
                if not isinstance(target, ast.Name):
                    self._refuse(target)
                self.own.values[target.id] = value
                self.own.places[target.id] = f'{self.path}:{statement.lineno}'
        return self._add_bases()

    def _add_bases(self) -> PythonConfig:
        bases = self.own.values.pop(BASE, [])
        whole = PythonConfig()
        for name in [bases] if isinstance(bases, str) else bases:
            if not isinstance(name, str) or '::' in name:
                raise ValueError(f'the base {name!r} is in another package: name a file')
            base = read_python_config(self.path.parent / name, self.depth + 1)
            whole.values = merge(whole.values, base.values)
            whole.places.update(base.places)
        values = merge(whole.values, self.own.values)
        return PythonConfig(values, {**whole.places, **self.own.places})

    def _evaluate(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=value) if (
                value is None
                or isinstance(value, (bool, int, float, str))
                and not (isinstance(value, str) and _REPLACED.search(value))
            ):
                return value
            case ast.Name(id=name) if name in self.own.values:
                return self.own.values[name]
            case ast.List(elts=items) | ast.Tuple(elts=items):
                return [self._evaluate(item) for item in items]
            case ast.Dict(keys=keys, values=values):
                pairs = zip(keys, values, strict=True)
                return self._make_mapping(node, [(k, v) for k, v in pairs])
            case ast.Call(func=ast.Name(id='dict'), args=[], keywords=words):
                named = [(ast.Constant(w.arg) if w.arg else None, w.value) for w in words]
                return self._make_mapping(node, named)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return self._combine(node, operator.sub, 0, self._evaluate(operand))
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _NUMBERS:
                sides = self._evaluate(left), self._evaluate(right)
                return self._combine(node, _NUMBERS[type(op)], *sides)
        self._refuse(node)

    def _make_mapping(
        self, node: ast.expr, pairs: list[tuple[ast.expr | None, ast.expr]]
    ) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, value in pairs:
            found = self._evaluate(value)
            if key is None:  # **other
                if not isinstance(found, dict):
                    self._refuse(node)
                made.update(found)
                continue
            name = self._evaluate(key)
            if not isinstance(name, (str, int)):
                self._refuse(key)
            made[str(name)] = found
        return made

    def _combine(self, node: ast.expr, do: Callable[[Any, Any], Any], a: Any, b: Any) -> Any:
        numbers = all(type(side) in (int, float) and abs(side) < LARGEST for side in (a, b))
        joined = do is operator.add and type(a) is type(b) and isinstance(a, (str, list))
        if not (numbers or joined) or (b == 0 and do in (operator.truediv, operator.floordiv)):
            self._refuse(node)
        return do(a, b)

    def _refuse(self, node: ast.AST) -> NoReturn:
        text = ast.unparse(node).splitlines()[0][:60]
        raise ToolkitError(
            f'{self.path}:{getattr(node, "lineno", 1)}: {text!r} is known only by running the '
            'config, and nothing of it is run here; write the value itself, or import what '
            "mmengine makes of it, which runs it: Config.fromfile(FILE).dump('plain.py')"
        )


def _count(value: Any, limit: int = MOST_VALUES) -> int:
    """Counts values, at most a few more than the limit; a long text counts by its length."""
    count, rest = 0, [value]
    while rest and count <= limit:
        item = rest.pop()
        count += 1 + (len(item) // 100 if isinstance(item, str) else 0)
        if isinstance(item, Mapping):
            rest += item.values()
        elif isinstance(item, list):
            rest += item[: limit + 1]
    return count
