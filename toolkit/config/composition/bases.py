"""Bases of a config: finds the files that `_base_` names, and merges a file over them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from toolkit.config.composition.merge import merge
from toolkit.config.find import find_config
from toolkit.config.yaml_file import ConfigError, Origins, Problem, display_path, read_yaml
from toolkit.errors import did_you_mean

_MOST_BASES = 100  # files merged into one config; the largest shipped one has 8


class BaseMerger:
    """Merger of files over their bases; a base of several others is read once."""

    def __init__(self) -> None:
        self._merged: dict[Path, tuple[dict[str, Any], Origins]] = {}
        self._count = 0

    def merge(self, file: Path, chain: tuple[Path, ...]) -> tuple[dict[str, Any], Origins]:
        """Merges a file over its bases.

        Args:
            file: file to read.
            chain: files that lead to it, each a base of the one before.
        """
        real = file.resolve()
        own, own_origins = read_yaml(file, display_path(file))
        bases = own.pop('_base_', [])
        line = str(own_origins.get(('_base_',), display_path(file)))
        if isinstance(bases, str):
            bases = [bases]
        if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
            raise ConfigError(Problem(line, '_base_', 'expected a path or a list of paths'))
        tree: dict[str, Any] = {}
        origins: Origins = {}
        for base in bases:
            base_file = find_base(base, file, line)
            found = base_file.resolve()
            if found in (*chain, real):
                names = ' -> '.join(display_path(f) for f in (*chain, real, found))
                message = f'the bases go round in a circle: {names}'
                raise ConfigError(Problem(line, '_base_', message))
            self._count += 1
            if self._count > _MOST_BASES:
                message = f'the config has more than {_MOST_BASES} bases, those of bases included'
                raise ConfigError(Problem(line, '_base_', message))
            if found not in self._merged:
                self._merged[found] = self.merge(base_file, (*chain, real))
            merge(tree, origins, *self._merged[found])
        own_origins = {p: o for p, o in own_origins.items() if p[0] != '_base_'}
        merge(tree, origins, own, own_origins)
        return tree, origins


def find_base(base: str, file: Path, line: str, key: str = '_base_') -> Path:
    """Finds the file of `base`, which the config or study `file` names at `line` under `key`.

    Raises:
        ConfigError: there is no such file; names the nearest ones.
    """
    candidate = file.parent / base
    for path in (candidate, candidate.with_name(candidate.name + '.yaml')):
        if path.is_file():
            return path
    # A base may also have the name of a shipped config: `_base_: ldpnet/ldpnet_2022`.
    try:
        return find_config(base)
    except ConfigError:
        near = did_you_mean(base, _relative_siblings(candidate, file.parent))
        message = f'no such base {base!r} (looked for {display_path(candidate)}){near}'
        raise ConfigError(Problem(line, key, message)) from None


def _relative_siblings(candidate: Path, folder: Path) -> list[str]:
    if not candidate.parent.is_dir():
        return []
    return [os.path.relpath(p, folder) for p in candidate.parent.glob('*.yaml')]
