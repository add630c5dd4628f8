"""Kinds: named registries of components with an interface and the arguments that parents supply.

This module does not import torch. A kind takes the names of its components from the sources of
plugins (`toolkit.registry.plugin_index`), and imports the module of a plugin when one of its
components is used.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, overload

from toolkit.errors import ComponentError, RegistryError, did_you_mean, find_nearest
from toolkit.registry import plugin_index

if TYPE_CHECKING:

    class Registry:
        """The part of mmengine's registry that a kind uses; mmengine has no annotations."""

        name: str
        module_dict: dict[str, type[Any]]
        _module_dict: dict[str, type[Any]]

        def __init__(self, name: str, scope: str) -> None: ...
        def __len__(self) -> int: ...
else:
    from mmengine.registry import Registry

T = TypeVar('T')
T_co = TypeVar('T_co', covariant=True)


class Slot(Protocol[T_co]):
    """A factory of a component, called by its parent with the injected arguments.

    Annotate an argument `head: Slot[Head]` and call it: `self.head = head(in_channels=512,
    num_classes=3)`. A config gives a `toolkit.registry.build.ComponentFactory`; in a test,
    `functools.partial(LinearHead, dropout=0.1)` works as well.
    """

    def __call__(self, **injected: Any) -> T_co: ...


class Kind(Registry):
    """A named registry of components that share an interface.

    Args:
        name: singular noun, for users: 'generator'.
        interface: dotted path of the abstract class that every component of this kind implements.
            It is a path so that declaring a kind imports nothing.
        injected: names of the arguments that a parent supplies and a config must not.
        library: dotted path of a module of another package. Its subclasses of the interface are
            components of this kind under their own names (`torch.optim` for optimizers).
        refused: classes of `library` that are not used here, with the way that is.
    """

    def __init__(
        self,
        name: str,
        interface: str,
        injected: tuple[str, ...] = (),
        library: str | None = None,
        refused: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(name, scope='toolkit')
        if name in _KINDS:
            raise RegistryError(f'the kind {name!r} is declared twice')
        self.interface_path = interface
        self.injected = injected
        self.library = library
        self.refused = dict(refused or {})
        _KINDS[name] = self

    def __bool__(self) -> bool:
        return True  # an empty kind is a kind as well

    def __repr__(self) -> str:
        return f'Kind({self.name!r})'

    def _repr_markdown_(self) -> str:
        lookup = importlib.import_module('toolkit.registry.description.lookup')
        return str(lookup.describe(self)._repr_markdown_())

    @property
    def interface(self) -> type[Any]:
        """The abstract class of this kind, imported on first use."""
        found: type[Any] = _import_object(self.interface_path)
        return found

    # -- registering ---------------------------------------------------------------------------

    @overload
    def register(self, component: type[T]) -> type[T]: ...
    @overload
    def register(self, *, name: str) -> Callable[[type[T]], type[T]]: ...

    def register(self, component: type[T] | None = None, *, name: str | None = None) -> Any:
        """Decorator: `@HEADS.register` or `@HEADS.register(name='linear')`."""
        if component is None:
            return lambda decorated: self._add(decorated, name)
        return self._add(component, name)

    def _add(self, component: type[T], name: str | None) -> type[T]:
        name = name or component.__name__
        if not isinstance(component, type) or not issubclass(component, self.interface):
            raise RegistryError(
                f'{locate_source(component)}: {name} is registered as {with_article(self.name)} '
                f'but is no subclass of {self.interface_path} (docs/guides/component_kinds.md)'
            )
        other = self._find_other(component, name)
        if other is not None:
            raise RegistryError(_twice(self.name, name, other, locate_source(component)))
        self._module_dict[name] = component
        return component

    def _find_other(self, component: type[Any], name: str) -> str | None:
        """Finds the place of another component that has the name; None if there is none."""
        place, module = locate_source(component), component.__module__
        known = self._module_dict.get(name)
        # A cell of a notebook that is run again defines its class anew.
        is_again = known is not None and module == known.__module__ == '__main__'
        if known is not None and not is_again and locate_source(known) != place:
            return locate_source(known)
        if name in (found := self.library_components()) and found[name] is not component:
            return f'{self.library}.{name}'
        if module.partition('.')[0] in plugin_index.get_roots():
            return None  # `get` tells two plugins, whose sources are known, apart
        file = Path(place.rpartition(':')[0]).resolve()
        entries = plugin_index.get_index().find(self.name, name)
        return next((e.place for e in entries if Path(e.file).resolve() != file), None)

    # -- looking up ----------------------------------------------------------------------------

    def get(self, name: str) -> type[Any]:
        """Returns the class registered as `name`; imports its plugin if needed.

        Raises:
            RegistryError: no such name (the message has the nearest ones, or the kind that has
                it), a name that two plugins register, or a plugin that cannot be imported.
        """
        entries = plugin_index.get_index().find(self.name, name)
        if len(entries) > 1:
            raise RegistryError(_twice(self.name, name, *(e.place for e in entries[:2])))
        if name in self._module_dict:
            return self._module_dict[name]
        if entries:
            plugin_index.import_module(entries[0].module)
            if name in self._module_dict:
                return self._module_dict[name]
            raise RegistryError(
                f'{entries[0].place}: {name} is not registered once its file was imported; a '
                'decorator below @register must give the class back'
            )
        if name in (found := self.library_components()):
            return found[name]
        plugin_index.import_all()  # the name may be registered in a way that sources do not show
        if name in self._module_dict:
            return self._module_dict[name]
        raise RegistryError(self._missing(name))

    def __getitem__(self, name: str) -> type[Any]:
        """The class registered as `name`; see `get`."""
        return self.get(name)

    def build(self, component: str | type, /, **arguments: Any) -> Any:
        """Builds a component alone: `GENERATORS.build('LDPNet', bands=4, ratio=4)`.

        Args:
            component: its name, or its class, which need not be registered.
            **arguments: as in a config, and those that a parent would inject, of which it gets the
                ones that it takes. Components among them are mappings with a `type`.
        Raises:
            RegistryError: no such component.
            ComponentError: an argument that it does not have, or that it refuses.
        """
        build = importlib.import_module('toolkit.registry.build')  # it imports this module
        cls = self.get(component) if isinstance(component, str) else component
        injected = {name: arguments.pop(name) for name in self.injected if name in arguments}
        taken = list(build.get_signature(cls))
        for name in arguments:
            if not build.accepts_argument(cls, name):
                hint = did_you_mean(name, taken) or f'; it has: {", ".join(taken) or "none"}'
                raise ComponentError('', f'{cls.__name__} has no argument {name!r}{hint}')
        return build.ComponentFactory(cls, arguments)(**injected)

    def __contains__(self, name: object) -> bool:
        return name in self.names() or name in self.library_components()

    def names(self) -> list[str]:
        """Known names, from the sources of plugins and from registrations of this process."""
        return sorted({*self._module_dict, *plugin_index.get_index().names(self.name)})

    def library_components(self) -> dict[str, type[Any]]:
        """The components of `library` by name; imports it."""
        if self.library is None:
            return {}
        module = importlib.import_module(self.library)
        return {
            name: component
            for name, component in vars(module).items()
            if isinstance(component, type)
            and issubclass(component, self.interface)
            and component is not self.interface
            and not name.startswith('_')
            and name not in self.refused
        }

    def find_for(self, system: type) -> type[Any] | None:
        """Finds the component that serves a class of systems, or the nearest of its base classes.

        Only its own plugin is imported.

        Args:
            system: class of a system.
        Returns:
            A class whose attribute `system` is that class; None if there is none.
        Raises:
            RegistryError: several components serve the same class.
        """
        for base in system.__mro__:
            found = {c for c in self._module_dict.values() if getattr(c, 'system', None) is base}
            for entry in plugin_index.get_index().of_kind(self.name):
                if entry.system == base.__name__ and entry.name not in self._module_dict:
                    component = self.get(entry.name)
                    if component.system is base:
                        found.add(component)
            if len(found) > 1:
                names = ' and '.join(sorted(locate_source(component) for component in found))
                raise RegistryError(
                    f'{names} are both {with_article(self.name)} for {base.__name__}'
                )
            if found:
                return found.pop()
        return None

    def _missing(self, name: str) -> str:
        candidates = [*self.names(), *self.library_components()]
        if name in self.refused:
            return f'{name} of {self.library} is not used here: {self.refused[name]}'
        message = f'no {self.name} is named {name!r}'
        others = [kind.name for kind in get_kinds().values() if kind is not self and name in kind]
        if others:
            message += f'; {name!r} is {with_article(others[0])}'
        elif hint := did_you_mean(name, candidates):
            message += hint
        elif near := _near_elsewhere(name, self):
            message += near
        elif candidates:
            known = ', '.join(sorted(candidates)[:8]) + (', ...' if len(candidates) > 8 else '')
            message += f'; there are: {known}'
        else:
            message += '; none is registered'
        failures = plugin_index.get_failures()
        if failures:
            broken = '; '.join(f'{module} ({error})' for module, error in failures.items())
            message += f'. It may be in a plugin that failed to import: {broken}'
        return message


def _near_elsewhere(name: str, own: Kind) -> str:
    """The message about a similar name in another kind; '' if there is none."""
    for kind in get_kinds().values():
        if kind is not own and (near := find_nearest(name, kind.names(), 1)):
            return f'; {near[0]!r} is {with_article(kind.name)}'
    return ''


def get_kinds() -> dict[str, Kind]:
    """Returns all kinds by name, with those that plugins declare."""
    for module in plugin_index.get_index().kind_modules:
        if module != __name__:
            try:
                plugin_index.import_module(module)
            except RegistryError:
                continue  # kept in get_failures(), which errors about missing names quote
    return dict(_KINDS)


def find_kind(interface: type) -> Kind | None:
    """Finds the kind of an interface; None if it is the interface of no kind."""
    for kind in get_kinds().values():
        module, _, name = kind.interface_path.rpartition('.')
        # The class cannot come from a module that is not imported yet.
        if getattr(sys.modules.get(module), name, None) is interface:
            return kind
    return None


def locate_source(component: object) -> str:
    """Returns `file:line` of a class or function, for messages."""
    try:
        return f'{inspect.getsourcefile(component)}:{inspect.getsourcelines(component)[1]}'  # type: ignore[arg-type]
    except (OSError, TypeError):
        module = getattr(component, '__module__', '?')
        return f'{module}.{getattr(component, "__qualname__", component)}'


def with_article(noun: str) -> str:
    """Returns a noun with its indefinite article."""
    return f'{"an" if noun[0] in "aeiou" else "a"} {noun}'


def _twice(kind: str, name: str, first: str, second: str) -> str:
    return f'the {kind} {name!r} is registered twice: {first} and {second}; rename one of them'


def _import_object(path: str) -> Any:
    module, _, name = path.rpartition('.')
    return getattr(importlib.import_module(module), name)


_KINDS: dict[str, Kind] = {}
