"""Composes the configs of a study's runs from base, variant, axes, data set, fold and seed."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.config import Config, ConfigError, Problem
from toolkit.config.composition.bases import find_base
from toolkit.config.composition.merge import merge
from toolkit.config.composition.override import assign
from toolkit.config.composition.training_length import set_iterations
from toolkit.config.load import Draft, load_draft
from toolkit.config.yaml_file import KeyPath, Origins, split_path
from toolkit.study.spec import BASE, Study


class Composer:
    """Composes the configs of runs; reads each file once.

    Applies in this order: the base, or the variant's own base; the file of the data set; the
    budget; the paths common to all runs; then all other paths, none of which is set twice.
    """

    def __init__(self, study: Study) -> None:
        self.study = study
        self._drafts: dict[Path, Draft] = {}

    def config(
        self,
        variant: str | None,
        settings: Mapping[str, Any],
        data: str | None,
        fold: int | None,
        seed: int | None,
        point: Mapping[str, Any] | None = None,
    ) -> Config:
        """Compose the config of one run; None leaves out that part of the study.

        The point of a search replaces what the variant sets.

        Raises:
            ConfigError: a path or a file does not fit; names the line of the study file.
        """
        study, found = self.study, []
        result = self._base(variant)
        if data is not None:
            self._merge_data(result, data)
        if study.spec.budget.iterations is not None:
            origins = self._origins(('budget', 'iterations'))
            set_iterations(result.tree, result.origins, study.spec.budget.iterations, origins)
        found += self._put(result, self._common(result), ('common',))
        found += self._put(result, study.data(data) if data is not None else {}, ('data', data))
        if variant is not None:
            found += self._put(result, study.variant(variant), ('variants', variant))
        given = {path.removeprefix('+'): path for path in study.spec.axes}
        points = {given[path]: value for path, value in settings.items()}
        found += self._put(result, points, ('axes',))
        found += self._put(result, point or {}, ('search', 'space'))
        folds = study.spec.folds
        if folds is not None and fold is not None:
            values = dict.fromkeys(folds.paths, folds.values[fold])
            found += self._put(result, values, ('folds', 'path'), named=False)
        if seed is not None:
            self._set(result, 'randomness.seed', seed, ('seeds',))
        if found:
            raise ConfigError(*found)
        return result.resolve()

    def _base(self, variant: str | None) -> Draft:
        own = (self.study.spec.variants[variant] or {}).get(BASE) if variant is not None else None
        if own is not None:
            return self._draft(own, ('variants', str(variant), BASE)).copy()
        return self._draft(self.study.spec.base, (BASE,)).copy()

    def _draft(self, name: str, path: KeyPath) -> Draft:
        line = self.study.config.place(path)
        file = find_base(name, self.study.config.file, line, '.'.join(path))
        if file not in self._drafts:
            self._drafts[file] = load_draft(file)
        return self._drafts[file]

    def _merge_data(self, result: Draft, name: str) -> None:
        """Merge the file of a data set over the config, whose null keys stay null."""
        entry = self.study.spec.data[name]
        file = entry if isinstance(entry, str) else (entry or {}).get(BASE)
        if file is None:
            return
        path = ('data', name) if isinstance(entry, str) else ('data', name, BASE)
        other = self._draft(file, path)
        off = {key for key, value in result.tree.items() if value is None}
        tree = {key: value for key, value in other.tree.items() if key not in off}
        origins = {p: o for p, o in other.origins.items() if p[0] not in off}
        merge(result.tree, result.origins, tree, origins)

    def _common(self, result: Draft) -> dict[str, Any]:
        """Get the paths common to all runs, without those below a null of this config."""
        return {
            path: value
            for path, value in self.study.spec.common.items()
            if not _is_off(result.tree, split_path(path.removeprefix('+'))[:-1])
        }

    def _put(
        self,
        result: Draft,
        values: Mapping[str, Any],
        where: tuple[str | None, ...],
        named: bool = True,
    ) -> list[Problem]:
        """Put values at their paths, and return the problems.

        Args:
            result: the config to change.
            values: values by dotted path.
            where: place of the values in the study file.
            named: whether each value stands under its own path at that place.
        """
        found = []
        for path, value in values.items():
            there = tuple(map(str, (*where, path) if named else where))
            keys = split_path(path.removeprefix('+'))
            origins = self._origins(there)
            try:
                if not all(keys):
                    raise KeyError(f'{path!r} is no dotted path')
                # A later path may lie within this value.
                own = copy.deepcopy(value)
                assign(result.tree, result.origins, keys, own, origins, path.startswith('+'))
            except KeyError as error:
                found.append(self.study.problem(there, str(error.args[0])))
        return found

    def _set(self, result: Draft, path: str, value: Any, where: KeyPath) -> None:
        """Put a value at a path that may exist or not."""
        keys = split_path(path)
        node: Any = result.tree
        for key in keys[:-1]:
            node = node.get(key) or {} if isinstance(node, dict) else {}
        adding = not isinstance(node, dict) or keys[-1] not in node
        assign(result.tree, result.origins, keys, value, self._origins(where), adding)

    def _origins(self, path: KeyPath) -> Origins:
        """Get the origins below a path of the study file, relative to that path."""
        origins = self.study.config.origins
        return {p[len(path) :]: o for p, o in origins.items() if p[: len(path)] == path}


def _is_off(tree: dict[str, Any], path: KeyPath) -> bool:
    """Tell whether a path or one of its parents is null."""
    node: Any = tree
    for key in path:
        node = node.get(key, {}) if isinstance(node, dict) else {}
        if node is None:
            return True
    return False
