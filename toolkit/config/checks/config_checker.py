"""Walks a config along the annotations of its components and collects the problems."""

from __future__ import annotations

import dataclasses
import inspect
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.config.checks.annotations import (
    allows_none,
    describe_annotation,
    describe_expected,
    describe_value,
    fits,
    suggest_choice,
)
from toolkit.config.checks.range_faults import find_fault
from toolkit.config.load import Config
from toolkit.config.yaml_file import (
    COMMAND_LINE,
    KeyPath,
    Problem,
    display_path,
    split_path,
)
from toolkit.errors import (
    ComponentError,
    RegistryError,
    ToolkitError,
    did_you_mean,
    find_nearest,
    list_names,
)
from toolkit.registry import SYSTEMS, Kind, locate_source
from toolkit.registry.annotations import UnresolvedAnnotation
from toolkit.registry.build import (
    fill,
    find_listed_section,
    find_object_kind,
    find_slot_kind,
    get_mapping_values,
    get_ranges,
    get_signature,
    strip_none,
)


class ConfigChecker:
    """Visitor that walks the tree along the annotations and collects problems."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.own_places = (f'{display_path(config.file)}:', str(COMMAND_LINE))
        self.problems: list[Problem] = []
        self.unchecked: list[Problem] = []
        self.components: dict[KeyPath, tuple[type, Mapping[str, Any]]] = {}

    def fail(self, path: KeyPath, message: str) -> None:
        place = self.config.find_own_place(path) or self.config.place(path)
        if place == display_path(self.config.file):  # nothing in the file stands near the path
            place += ':1'
        self.problems.append(Problem(place, '.'.join(path), message))

    def check_arguments(
        self, cls: Any, node: Mapping[str, Any], path: KeyPath, injected: Sequence[str]
    ) -> None:
        """Checks a mapping as the arguments of a class; a dataclass is a section of the config."""
        before = len(self.problems)
        parameters = get_signature(cls)
        section = dataclasses.is_dataclass(cls)
        open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
        named = {
            n: p for n, p in parameters.items() if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
        }
        settable = [name for name in named if name not in injected]
        misspelt: list[str] = []
        for name, value in node.items():
            if name == 'type' and not section:
                continue
            here = (*path, name)
            if name in injected and name in named:
                self.fail(here, f'{name!r} is supplied by the parent; remove it')
            elif name in named:
                count = len(self.problems)
                self.check_value(named[name].annotation, value, here)
                if len(self.problems) == count and (
                    fault := find_fault(get_ranges(cls)[name], value)
                ):
                    self.fail(here, f'{name} {fault}')
                if isinstance(named[name].annotation, UnresolvedAnnotation):
                    self._note_unresolved(cls, named[name].annotation, value, here)
            elif not open_ended:
                misspelt += find_nearest(name, settable)
                self.fail(here, self._describe_unknown(cls, name, settable, path))
        for name in settable:
            if (
                named[name].default is inspect.Parameter.empty
                and name not in node
                and name not in misspelt
            ):
                lead = 'missing key' if section else f'{cls.__name__} needs the argument'
                self.fail(path, f'{lead} {name!r}{describe_expected(named[name].annotation)}')
        if section and len(self.problems) == before:
            self._check_section(cls, node, path)

    def _note_unresolved(
        self, cls: Any, annotation: UnresolvedAnnotation, value: Any, path: KeyPath
    ) -> None:
        message = (
            f'the annotation {annotation.text!r} of {cls.__name__} ({locate_source(cls)}) cannot '
            f'be resolved ({annotation.reason}); import its names in that file'
        )
        if isinstance(value, Mapping) and 'type' in value:
            self.fail(path, message)  # it would be built of a plain mapping
        else:
            self.unchecked.append(self.config.problem(path, f'not checked: {message}'))

    def _check_section(self, cls: type, node: Mapping[str, Any], path: KeyPath) -> None:
        """Reports the problems that a section finds in its `__post_init__`."""
        try:
            fill(cls, node, '.'.join(path))
        except ComponentError as error:
            if error.path != '.'.join(path):
                self.fail(self._find_keys(error.path), error.message)
                return
            named = [key for key in node if re.search(rf'\b{key}\b', error.message)]
            # If several keys exclude each other, report the one that the config itself added.
            own = [k for k in named if self.config.place((*path, k)).startswith(self.own_places)]
            self.fail((*path, *(own or named)[-1:]), error.message)

    def _find_keys(self, path: str) -> KeyPath:
        """Splits a dotted path whose keys may contain dots, such as those of `custom_keys`."""
        known = (keys for keys in self.config.origins if '.'.join(keys) == path)
        return next(known, split_path(path))

    def _describe_unknown(self, cls: Any, name: str, settable: Sequence[str], path: KeyPath) -> str:
        hint = did_you_mean(name, settable)
        if dataclasses.is_dataclass(cls):
            return f'unknown key {name!r}{hint or "; there are: " + list_names(settable)}'
        message = f'{cls.__name__} has no argument {name!r}'
        # In the order in which the files were merged, so that an earlier value is one of a base.
        order = [p[-1] for p in self.config.origins if p in ((*path, 'type'), (*path, name))]
        type_origin = self.config.origins.get((*path, 'type'))
        own_origin = self.config.origins.get((*path, name))
        replaced = type_origin and own_origin and type_origin.file != own_origin.file
        if not hint and replaced and order == [name, 'type']:
            return (
                f'{message}; it comes from a base with another `type`: '
                f'set `_delete_: true` beside the `type` in {type_origin}'
            )
        if not hint and settable:
            hint = '; it has: ' + list_names(settable)
        return message + hint

    def check_tasks(self) -> None:
        """Reports components of another task than the system's; see `find_task`."""
        system = next((cls for cls, _ in self.components.values() if _is_system(cls)), None)
        task = None if system is None else find_task(system)
        for path, (cls, _) in self.components.items():
            other = find_task(cls)
            if task is not None and other not in (None, task):
                self.fail(
                    (*path, 'type'),
                    f'{cls.__name__} is a component of {other}, but the system '
                    f'{system.__name__} is of {task}',
                )

    # -- values ------------------------------------------------------------------------------

    def check_value(self, annotation: Any, value: Any, path: KeyPath) -> None:
        """Checks a value against its annotation."""
        if annotation in (inspect.Parameter.empty, Any) or isinstance(
            annotation, UnresolvedAnnotation
        ):
            return
        if value is None:
            if not allows_none(annotation):
                expected = describe_expected(annotation).strip(' ()')
                self.fail(path, f'found null, expected {expected}')
            return
        annotation = strip_none(annotation)
        try:
            slot = find_slot_kind(annotation) or find_object_kind(annotation)
        except ToolkitError as error:
            self.fail(path, str(error))
            return
        values = get_mapping_values(annotation)
        if slot is not None:
            self.check_component(slot, value, path)
        elif inspect.isclass(annotation) and dataclasses.is_dataclass(annotation):
            if isinstance(value, Mapping):
                self.check_arguments(annotation, value, path, injected=())
            else:
                self.fail(path, f'found {describe_value(value)}, expected a mapping')
        elif values is not None:
            self.check_collection(values, value, path)
        elif isinstance(value, list) and (section := find_listed_section(annotation)):
            for number, entry in enumerate(value):
                self.check_value(section, entry, (*path, str(number)))
        elif not fits(annotation, value):
            self.fail(
                path,
                f'found {describe_value(value)}, expected {describe_annotation(annotation)}'
                + suggest_choice(annotation, value),
            )

    def check_collection(self, annotation: Any, value: Any, path: KeyPath) -> None:
        """Checks a mapping by name whose entries share an annotation."""
        if not isinstance(value, Mapping):
            hint = '; name each entry: {name: {type: ...}}' if isinstance(value, list) else ''
            self.fail(path, f'found {describe_value(value)}, expected a mapping by name{hint}')
            return
        parts = (find_slot_kind(annotation) or find_object_kind(annotation)) is not None
        for name, entry in value.items():
            if entry is not None or not parts:
                self.check_value(annotation, entry, (*path, name))
            elif (origin := self.config.origins.get((*path, name))) and origin.is_void:
                known = [key for key, other in value.items() if other is not None]
                there = '; there are: ' + list_names(known) if known else ''
                self.fail(
                    (*path, name),
                    f'null removes nothing: there is no {name!r} before it'
                    f'{did_you_mean(name, known) or there}',
                )

    def check_component(self, kind_: Kind, node: Any, path: KeyPath) -> None:
        """Checks a mapping with a `type` of the expected kind."""
        if not isinstance(node, Mapping):
            hint = f'; write {{type: {node}}}' if isinstance(node, str) and node in kind_ else ''
            self.fail(
                path, f'found {describe_value(node)}, expected a {kind_.name} with a `type`{hint}'
            )
            return
        name = node.get('type')
        if not isinstance(name, str):
            if name is not None:
                self.fail(
                    (*path, 'type'),
                    f'found {describe_value(name)}, expected the name of a {kind_.name}',
                )
                return
            near = find_nearest('type', node, 1)
            hint = f' ({near[0]!r} is not `type`)' if near else ''
            self.fail(path, f'no `type`: which {kind_.name}?{hint}')
            return
        try:
            cls = kind_.get(name)
        except RegistryError as error:
            self.fail((*path, 'type'), str(error))
            return
        self.components[path] = cls, node
        self.check_arguments(cls, node, path, kind_.injected)


def find_task(cls: type) -> str | None:
    """Finds the task that a component serves; None if it serves any.

    The nearest `TASK` counts: of the class, its module, or a package above it.
    """
    if isinstance(own := vars(cls).get('TASK'), str):
        return own
    name = cls.__module__
    while name:
        task = getattr(sys.modules.get(name), 'TASK', None)
        if isinstance(task, str):
            return task
        name = name.rpartition('.')[0]
    return None


def _is_system(cls: type) -> bool:
    return issubclass(cls, SYSTEMS.interface)
