"""Builds components from a checked config; annotations tell which arguments are components.

`Slot[Head]` becomes a `ComponentFactory` that the parent calls with the injected arguments, a plain
interface (`Scene`) is built at once, a dataclass is filled from a mapping, and collections of
components are mappings by name.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from toolkit.errors import ComponentError, ToolkitError
from toolkit.registry import Kind, Slot, find_kind
from toolkit.registry.annotations import UnresolvedAnnotation, resolve_annotations
from toolkit.registry.built import BuildRecord, remember
from toolkit.registry.component_errors import explain_construction
from toolkit.registry.contracts import check_attributes, check_instance
from toolkit.registry.library_ranges import get_library_ranges
from toolkit.registry.plain_values import convert_text, is_text_type


class ComponentFactory:
    """A component with the arguments of its config, to be called with the injected ones.

    Injected arguments that the component does not take are dropped, so that a parent can offer all
    that it knows.

    Args:
        cls: the registered class.
        arguments: of the config; components among them are built when this one is called.
        path: dotted path in the config, for errors.
    """

    def __init__(
        self, cls: Callable[..., Any], arguments: Mapping[str, Any], path: str = ''
    ) -> None:
        self.cls = cls
        self.arguments = dict(arguments)
        self.path = path

    def __call__(self, **injected: Any) -> Any:
        """Builds the component.

        Raises:
            ComponentError: its constructor refuses the arguments; the message has the dotted path.
        """
        arguments = {name: self._convert(name, value) for name, value in self.arguments.items()}
        accepted = {
            name: value for name, value in injected.items() if accepts_argument(self.cls, name)
        }
        try:
            component = self.cls(**{**arguments, **accepted})
            if isinstance(self.cls, type):
                check_instance(component, self.cls, self.path)
            remember(component, BuildRecord(self.path, self, injected))
            check_attributes(component, self.path)
            return component
        except ComponentError:
            raise
        except ToolkitError as error:
            raise ComponentError(self.path, str(error)) from error
        except (Exception, SystemExit) as error:  # constructors of components are anybody's code
            if dataclasses.is_dataclass(self.cls):
                raise ComponentError(self.path, str(error)) from error
            raise ComponentError(self.path, explain_construction(self.cls, error)) from error

    def __repr__(self) -> str:
        arguments = ', '.join(f'{k}={v!r}' for k, v in self.arguments.items())
        return f'{getattr(self.cls, "__name__", self.cls)}({arguments})'

    def _convert(self, name: str, value: Any) -> Any:
        parameter = get_signature(self.cls).get(name)
        if parameter is None:
            return value
        return convert(parameter.annotation, value, f'{self.path}.{name}' if self.path else name)


def make_factory(node: Mapping[str, Any], kind: Kind, path: str = '') -> ComponentFactory:
    """Makes the factory of the component that a mapping with a `type` names."""
    if not isinstance(node, Mapping) or not isinstance(node.get('type'), str):
        raise ComponentError(path, f'expected a mapping with a `type`, found {node!r}')
    return ComponentFactory(
        kind.get(node['type']), {k: v for k, v in node.items() if k != 'type'}, path
    )


def build(node: Mapping[str, Any], kind: Kind, path: str = '', **injected: Any) -> Any:
    """Builds the component that a mapping with a `type` names."""
    return make_factory(node, kind, path)(**injected)


def fill(cls: type, node: Mapping[str, Any], path: str = '') -> Any:
    """Fills a section of the config, a dataclass; components in it become slots."""
    return ComponentFactory(cls, node, path)()


@functools.cache
def get_signature(cls: Callable[..., Any]) -> dict[str, inspect.Parameter]:
    """Returns the parameters of a class by name, without `self`, with resolved annotations.

    A constructor with `**kwargs` takes the arguments of its base classes too. It may supply some of
    them itself, so the default of those without one is `...`. Ranges are left out of annotations;
    `get_ranges` has them.
    """
    found = _collect_parameters(cls)
    plain = _strip_all_ranges({n: p.annotation for n, p in found.items()})
    return {n: p.replace(annotation=plain[n]) for n, p in found.items()}


@functools.cache
def get_ranges(cls: Callable[..., Any]) -> dict[str, Any]:
    """Returns the annotations of a class's parameters with their ranges, by name."""
    return {name: p.annotation for name, p in _collect_parameters(cls).items()}


def _strip_all_ranges(annotations: dict[str, Any]) -> dict[str, Any]:
    """Leaves ranges out of annotations, at any depth."""

    def holder() -> None: ...

    holder.__annotations__ = dict(annotations)
    return typing.get_type_hints(holder)


def _collect_parameters(cls: Callable[..., Any]) -> dict[str, inspect.Parameter]:
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
    if isinstance(cls, type):
        owner = next(base for base in cls.__mro__ if '__init__' in vars(base))
        if owner is object or owner.__module__ == 'torch.nn.modules.module':
            # Without a constructor. That of torch's modules says (*args, **kwargs) and takes none;
            # torch.compile puts a function of its own in its place.
            return {}
    parameters = dict(inspect.signature(target).parameters)
    if isinstance(cls, type):
        parameters.pop(next(iter(parameters), ''), None)  # self
    hints = resolve_annotations(target)
    hints = {**hints, **get_library_ranges(cls)}
    return {
        name: p.replace(annotation=hints.get(name, inspect.Parameter.empty))
        for name, p in parameters.items()
    }


def accepts_argument(cls: Callable[..., Any], name: str) -> bool:
    """Tells whether a class takes an argument of this name."""
    parameters = get_signature(cls)
    return name in parameters or any(
        p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()
    )


def find_slot_kind(annotation: Any) -> Kind | None:
    """Finds the kind of the interface X in `Slot[X]`; None for other annotations."""
    if typing.get_origin(annotation) is not Slot:
        return None
    interface = typing.get_args(annotation)[0]
    kind = find_kind(interface)
    if kind is None:
        raise ComponentError(
            '', f'{interface.__name__} in {annotation} is the interface of no kind'
        )
    return kind


def find_object_kind(annotation: Any) -> Kind | None:
    """Finds the kind of an annotation that is an interface; such arguments are built at once."""
    return find_kind(annotation) if inspect.isclass(annotation) else None


def is_union(annotation: Any) -> bool:
    """Tells whether an annotation is `X | Y`, `Union[X, Y]` or `Optional[X]`."""
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def strip_none(annotation: Any) -> Any:
    """Turns `X | None` into X; a union of several others stays as it is."""
    if is_union(annotation):
        rest = [a for a in typing.get_args(annotation) if a is not type(None)]
        if len(rest) == 1:
            return rest[0]
    return annotation


def get_mapping_values(annotation: Any) -> Any:
    """Returns X of `dict[str, X]` or `Mapping[str, X]`; None for other annotations."""
    origin = typing.get_origin(annotation)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        arguments = typing.get_args(annotation)
        return arguments[1] if len(arguments) == 2 else None
    return None


def find_listed_section(annotation: Any) -> type | None:
    """Finds the dataclass X of `list[X]` or `tuple[X, ...]`; None for other annotations."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if inspect.isclass(origin) and issubclass(origin, Sequence) and arguments:
        section = arguments[0]
        return section if inspect.isclass(section) and dataclasses.is_dataclass(section) else None
    return None


def convert(annotation: Any, value: Any, path: str) -> Any:
    """Converts a value of a config by its annotation; plain values stay as they are."""
    annotation = strip_none(annotation)
    if value is None or isinstance(annotation, UnresolvedAnnotation):
        return value
    if (kind := find_slot_kind(annotation)) is not None:
        return make_factory(value, kind, path)
    if (kind := find_object_kind(annotation)) is not None and isinstance(value, Mapping):
        return build(value, kind, path)
    if inspect.isclass(annotation) and dataclasses.is_dataclass(annotation):
        return fill(annotation, value, path) if isinstance(value, Mapping) else value
    values = get_mapping_values(annotation)
    if values is not None and isinstance(value, Mapping):
        entries = {k: convert(values, v, f'{path}.{k}') for k, v in value.items()}
        components = find_slot_kind(values) is not None or find_object_kind(values) is not None
        # In a collection of components `null` removes an entry.
        return {k: v for k, v in entries.items() if v is not None} if components else entries
    if is_text_type(annotation) and isinstance(value, str):
        return convert_text(annotation, value)
    if isinstance(value, list):
        return _convert_list(annotation, value, path)
    return value


def _convert_list(annotation: Any, value: list[Any], path: str) -> Any:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            arguments = (arguments[0],) * len(value)
        pairs = zip(arguments, value)
        return tuple(convert(a, v, f'{path}.{n}') for n, (a, v) in enumerate(pairs))
    if inspect.isclass(origin) and issubclass(origin, Sequence) and arguments:
        return [convert(arguments[0], v, f'{path}.{n}') for n, v in enumerate(value)]
    return value
