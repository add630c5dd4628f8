"""Kinds: named registries of parts, each with an interface and the arguments that parents supply.

Importing this module costs no torch. A kind learns which names exist from the sources of the
plugins (`toolkit.registry.plugin_index`) and imports a plugin's module only when one of its parts
is asked for.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable
from typing import Any, Protocol, TypeVar, overload

from mmengine.registry import Registry

from toolkit.errors import RegistryError, did_you_mean, nearest
from toolkit.registry import plugin_index

T = TypeVar('T')
T_co = TypeVar('T_co', covariant=True)


class Slot(Protocol[T_co]):
    """A factory of a part that waits for the arguments that only its parent knows.

    Annotate an argument `head: Slot[Head]` and call it with the injected arguments:
    `self.head = head(in_channels=512, num_classes=3)`. From a config it is a
    `toolkit.registry.build.Part`; in a test, `functools.partial(LinearHead, dropout=0.1)` serves
    as well.
    """

    def __call__(self, **injected: Any) -> T_co: ...


class Kind(Registry):
    """A named registry of parts that share an interface.

    Args:
        name: singular, as users read it: 'generator'.
        interface: dotted path of the abstract class that every part of this kind implements.
            A path, not the class, so that declaring a kind imports nothing.
        injected: names of the arguments that a parent supplies and a config must not.
        library: dotted path of a module of another package whose subclasses of the interface are
            parts of this kind too, under their own names (`torch.optim` for optimizers).
    """

    def __init__(
        self,
        name: str,
        interface: str,
        injected: tuple[str, ...] = (),
        library: str | None = None,
    ) -> None:
        super().__init__(name, scope='toolkit')
        if name in _KINDS:
            raise RegistryError(f'the kind {name!r} is declared twice')
        self.interface_path = interface
        self.injected = injected
        self.library = library
        _KINDS[name] = self

    def __bool__(self) -> bool:
        return True  # a kind without parts is a kind all the same

    def __repr__(self) -> str:
        return f'Kind({self.name!r})'

    @property
    def interface(self) -> type:
        """The abstract class of this kind, imported on first use."""
        return _import_object(self.interface_path)

    # -- registering ---------------------------------------------------------------------------

    @overload
    def register(self, part: type[T]) -> type[T]: ...
    @overload
    def register(self, *, name: str) -> Callable[[type[T]], type[T]]: ...

    def register(self, part: type[T] | None = None, *, name: str | None = None) -> Any:
        """Decorator: `@HEADS.register` or `@HEADS.register(name='linear')`."""
        if part is None:
            return lambda decorated: self._add(decorated, name)
        return self._add(part, name)

    def _add(self, part: type[T], name: str | None) -> type[T]:
        name = name or part.__name__
        if not isinstance(part, type) or not issubclass(part, self.interface):
            raise RegistryError(
                f'{where(part)}: {name} is registered as {a(self.name)} but is no subclass of '
                f'{self.interface_path}'
            )
        known = self._module_dict.get(name)
        if known is not None and where(known) != where(part):
            raise RegistryError(_twice(self.name, name, where(known), where(part)))
        self._module_dict[name] = part
        return part

    # -- looking up ----------------------------------------------------------------------------

    def get(self, name: str) -> type:  # type: ignore[override]
        """The class registered as `name`; its plugin is imported now if it was not yet.

        Raises:
            RegistryError: no such name (with the nearest ones, and the kind that does have it), a
                name that two plugins claim, or a plugin that cannot be imported.
        """
        entries = plugin_index.index().find(self.name, name)
        if len(entries) > 1:
            raise RegistryError(_twice(self.name, name, *(e.place for e in entries[:2])))
        if name in self._module_dict:
            return self._module_dict[name]
        if entries:
            plugin_index.import_module(entries[0].module)
            if name in self._module_dict:
                return self._module_dict[name]
        if name in (found := self.library_components()):
            return found[name]
        plugin_index.import_all()  # a name that is registered in a way that sources do not show
        if name in self._module_dict:
            return self._module_dict[name]
        raise RegistryError(self._missing(name))

    def __contains__(self, name: object) -> bool:
        return name in self.names() or name in self.library_components()

    def names(self) -> list[str]:
        """Names known so far, from plugins' sources and from what this process registered."""
        return sorted({*self._module_dict, *plugin_index.index().names(self.name)})

    def library_components(self) -> dict[str, type]:
        """The parts that `library` gives, by name; imports that library."""
        if self.library is None:
            return {}
        module = importlib.import_module(self.library)
        return {
            name: part
            for name, part in vars(module).items()
            if isinstance(part, type)
            and issubclass(part, self.interface)
            and part is not self.interface
            and not name.startswith('_')
        }

    def find_for(self, system: type) -> type | None:
        """The component that serves a class of systems, or the nearest of its base classes.

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
            for entry in plugin_index.index().of_kind(self.name):
                if entry.system == base.__name__ and entry.name not in self._module_dict:
                    component = self.get(entry.name)
                    if component.system is base:
                        found.add(component)
            if len(found) > 1:
                names = ' and '.join(sorted(where(component) for component in found))
                raise RegistryError(f'{names} are both {a(self.name)} for {base.__name__}')
            if found:
                return found.pop()
        return None

    def _missing(self, name: str) -> str:
        candidates = [*self.names(), *self.library_components()]
        message = f'no {self.name} is named {name!r}'
        others = [kind.name for kind in kinds().values() if kind is not self and name in kind]
        if others:
            message += f'; {name!r} is {a(others[0])}'
        elif hint := did_you_mean(name, candidates):
            message += hint
        elif near := _near_elsewhere(name, self):
            message += near
        elif candidates:
            known = ', '.join(sorted(candidates)[:8]) + (', ...' if len(candidates) > 8 else '')
            message += f'; there are: {known}'
        else:
            message += '; none is registered'
        failures = plugin_index.failures()
        if failures:
            broken = '; '.join(f'{module} ({error})' for module, error in failures.items())
            message += f'. It may be in a plugin that failed to import: {broken}'
        return message


def _near_elsewhere(name: str, own: Kind) -> str:
    """A name of another kind that may have been meant."""
    for kind in kinds().values():
        if kind is not own and (near := nearest(name, kind.names(), 1)):
            return f'; {near[0]!r} is {a(kind.name)}'
    return ''


def kinds() -> dict[str, Kind]:
    """All kinds by name, those that plugins declare included."""
    for module in plugin_index.index().kind_modules:
        if module != __name__:
            try:
                plugin_index.import_module(module)
            except RegistryError:
                continue  # stays in plugins.failures(), named where a part is missing
    return dict(_KINDS)


def kind_of(interface: type) -> Kind | None:
    """The kind whose parts implement `interface`, or None when it is no kind's interface."""
    for kind in kinds().values():
        module, _, name = kind.interface_path.rpartition('.')
        # A module not imported yet cannot be where this class came from.
        if getattr(sys.modules.get(module), name, None) is interface:
            return kind
    return None


def where(part: object) -> str:
    """`file:line` of a class or function, for messages."""
    try:
        return f'{inspect.getsourcefile(part)}:{inspect.getsourcelines(part)[1]}'  # type: ignore[arg-type]
    except (OSError, TypeError):
        return f'{getattr(part, "__module__", "?")}.{getattr(part, "__qualname__", part)}'


def a(noun: str) -> str:
    """The noun with its indefinite article."""
    return f'{"an" if noun[0] in "aeiou" else "a"} {noun}'


def _twice(kind: str, name: str, first: str, second: str) -> str:
    return f'the {kind} {name!r} is registered twice: {first} and {second}; rename one of them'


def _import_object(path: str) -> Any:
    module, _, name = path.rpartition('.')
    return getattr(importlib.import_module(module), name)


_KINDS: dict[str, Kind] = {}

SYSTEMS = Kind('system', 'toolkit.interfaces.System')
BACKBONES = Kind('backbone', 'toolkit.interfaces.Backbone', injected=('in_channels', 'size'))
NECKS = Kind(
    'neck', 'toolkit.interfaces.Neck', injected=('in_channels', 'strides', 'prefix_tokens')
)
ATTENTIONS = Kind(
    'attention', 'toolkit.interfaces.Attention', injected=('in_channels', 'prefix_tokens')
)
HEADS = Kind('head', 'toolkit.interfaces.Head', injected=('in_channels', 'num_classes'))
DEGRADATIONS = Kind('degradation', 'toolkit.interfaces.Degradation', injected=('bands', 'ratio'))
LOSSES = Kind('loss', 'toolkit.interfaces.Loss', injected=('num_classes',))
DATASETS = Kind('dataset', 'toolkit.interfaces.Dataset')
TRANSFORMS = Kind('transform', 'toolkit.interfaces.Transform')
METRICS = Kind('metric', 'toolkit.interfaces.Metric')
SAMPLERS = Kind('sampler', 'toolkit.interfaces.Sampler', injected=('dataset', 'seed'))
COMMANDS = Kind('command', 'toolkit.registry.command.Command')
BENCHES = Kind('bench', 'toolkit.registry.command.Command')
PREDICTORS = Kind('predictor', 'toolkit.interfaces.Predictor')
SPLITTERS = Kind('splitter', 'toolkit.interfaces.Splitter')
VISUALIZERS = Kind('visualizer', 'toolkit.interfaces.Visualizer')
PANELS = Kind('panel', 'toolkit.report.panel.Panel')
HOOKS = Kind('hook', 'mmengine.hooks.Hook', library='mmengine.hooks')
OPTIMIZERS = Kind('optimizer', 'torch.optim.Optimizer', injected=('params',), library='torch.optim')
SCHEDULERS = Kind(
    'scheduler',
    'mmengine.optim.scheduler.param_scheduler._ParamScheduler',
    injected=('optimizer',),
    library='mmengine.optim.scheduler',
)
