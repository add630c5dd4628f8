"""From a checked config to objects: a signature's annotations say which arguments are parts.

`Slot[Head]` becomes a `Part` that waits for its injected arguments, a plain interface (`Scene`) is
built at once, a dataclass is filled from a mapping, and collections of parts are mappings by name.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from toolkit.errors import ComponentError, ToolkitError
from toolkit.registry import Kind, Slot, kind_of


class Part:
    """A part with the arguments that its config gives, to be called with the injected ones.

    Injected arguments that the part's signature does not name are dropped, so that a parent offers
    all it knows and each part takes what it needs.

    Args:
        cls: the registered class.
        arguments: what the config gives; parts in it are made when this one is called.
        path: dotted path in the config, for errors.
    """

    def __init__(
        self, cls: Callable[..., Any], arguments: Mapping[str, Any], path: str = ''
    ) -> None:
        self.cls = cls
        self.arguments = dict(arguments)
        self.path = path

    def __call__(self, **injected: Any) -> Any:
        """Build the part.

        Raises:
            ComponentError: its constructor refuses the arguments; the message has the dotted path.
        """
        arguments = {name: self._convert(name, value) for name, value in self.arguments.items()}
        accepted = {name: value for name, value in injected.items() if takes(self.cls, name)}
        try:
            return self.cls(**{**arguments, **accepted})
        except ComponentError:
            raise
        except ToolkitError as error:
            raise ComponentError(self.path, str(error)) from error
        except (TypeError, ValueError, ArithmeticError, OSError, AssertionError) as error:
            section = dataclasses.is_dataclass(self.cls)
            name = '' if section else f'{getattr(self.cls, "__name__", self.cls)}: '
            raise ComponentError(self.path, f'{name}{error}') from error

    def __repr__(self) -> str:
        given = ', '.join(f'{k}={v!r}' for k, v in self.arguments.items())
        return f'{getattr(self.cls, "__name__", self.cls)}({given})'

    def _convert(self, name: str, value: Any) -> Any:
        parameter = signature(self.cls).get(name)
        if parameter is None:
            return value
        return convert(parameter.annotation, value, f'{self.path}.{name}' if self.path else name)


def part(node: Mapping[str, Any], kind: Kind, path: str = '') -> Part:
    """The part that a config's mapping with a `type` names."""
    if not isinstance(node, Mapping) or not isinstance(node.get('type'), str):
        raise ComponentError(path, f'expected a mapping with a `type`, found {node!r}')
    return Part(kind.get(node['type']), {k: v for k, v in node.items() if k != 'type'}, path)


def build(node: Mapping[str, Any], kind: Kind, path: str = '', **injected: Any) -> Any:
    """Build the part that a config's mapping names."""
    return part(node, kind, path)(**injected)


def fill(cls: type, node: Mapping[str, Any], path: str = '') -> Any:
    """A section of the config (a dataclass) from its mapping; the parts in it wait as slots."""
    return Part(cls, node, path)()


@functools.cache
def signature(cls: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Parameters by name without `self`, annotations resolved.

    A constructor that hands `**kwargs` on takes what its base classes take too; which of those it
    needs is not known (it may supply them itself), so their default reads `...`.
    """
    found = _parameters(cls)
    bases = list(cls.__mro__[1:-1]) if isinstance(cls, type) else []
    own = cls
    while bases and any(p.kind is p.VAR_KEYWORD for p in found.values()):
        base = bases.pop(0)
        if base.__init__ is own.__init__:  # type: ignore[misc]
            continue
        own = base
        found = {n: p for n, p in found.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)}
        for name, parameter in _parameters(base).items():
            if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                required = parameter.default is parameter.empty
                parameter = parameter.replace(default=...) if required else parameter
            found.setdefault(name, parameter)
    return found


def _parameters(cls: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    target = cls.__init__ if isinstance(cls, type) else cls  # type: ignore[misc]
    if target is object.__init__ or getattr(target, '__module__', '') == 'torch.nn.modules.module':
        return {}  # a module without a constructor: torch's own says (*args, **kwargs), takes none
    parameters = dict(inspect.signature(target).parameters)
    if isinstance(cls, type):
        parameters.pop(next(iter(parameters), ''), None)  # self
    try:
        hints = typing.get_type_hints(target)
    except Exception:  # a library whose annotations cannot be resolved is checked by name alone
        hints = {}
    return {
        name: p.replace(annotation=hints.get(name, inspect.Parameter.empty))
        for name, p in parameters.items()
    }


def takes(cls: Callable[..., Any], name: str) -> bool:
    """Whether the signature has an argument of this name."""
    parameters = signature(cls)
    return name in parameters or any(
        p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()
    )


def slot_kind(annotation: Any) -> Kind | None:
    """The kind whose interface is X in `Slot[X]`, else None."""
    if typing.get_origin(annotation) is not Slot:
        return None
    interface = typing.get_args(annotation)[0]
    kind = kind_of(interface)
    if kind is None:
        raise ComponentError(
            '', f'{interface.__name__} in {annotation} is the interface of no kind'
        )
    return kind


def object_kind(annotation: Any) -> Kind | None:
    """The kind whose interface the annotation is, for arguments that are built at once."""
    return kind_of(annotation) if inspect.isclass(annotation) else None


def is_union(annotation: Any) -> bool:
    """Whether the annotation is `X | Y`, `Union[X, Y]` or `Optional[X]`."""
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def without_none(annotation: Any) -> Any:
    """`X | None` -> X; a union of several others is left as it is."""
    if is_union(annotation):
        rest = [a for a in typing.get_args(annotation) if a is not type(None)]
        if len(rest) == 1:
            return rest[0]
    return annotation


def mapping_values(annotation: Any) -> Any:
    """The value annotation of `dict[str, X]` or `Mapping[str, X]`, else None."""
    origin = typing.get_origin(annotation)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        arguments = typing.get_args(annotation)
        return arguments[1] if len(arguments) == 2 else None
    return None


def convert(annotation: Any, value: Any, path: str) -> Any:
    """A config's value as its annotation wants it; plain values are returned as they are."""
    annotation = without_none(annotation)
    if value is None:
        return None
    if (kind := slot_kind(annotation)) is not None:
        return part(value, kind, path)
    if (kind := object_kind(annotation)) is not None and isinstance(value, Mapping):
        return build(value, kind, path)
    if inspect.isclass(annotation) and dataclasses.is_dataclass(annotation):
        return fill(annotation, value, path) if isinstance(value, Mapping) else value
    values = mapping_values(annotation)
    if values is not None and isinstance(value, Mapping):
        entries = {k: convert(values, v, f'{path}.{k}') for k, v in value.items()}
        parts = slot_kind(values) is not None or object_kind(values) is not None
        # In a collection of parts `null` means that the entry is not there.
        return {k: v for k, v in entries.items() if v is not None} if parts else entries
    if typing.get_origin(annotation) is tuple and isinstance(value, list):
        return tuple(value)
    return value
