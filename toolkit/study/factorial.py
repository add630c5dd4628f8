"""Full factorial designs: every combination of named switches is a variant."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from toolkit.analysis.effects import NONE, join_switches
from toolkit.config import Config, Problem
from toolkit.config.yaml_file import split_path

MOST_SWITCHES = 8  # 256 variants


def find_design_problems(config: Config) -> list[Problem]:
    """Find mistakes in `design` and `switches` of a study file of the right types."""
    return list(_mistakes(config))


def expand_design(config: Config) -> Config:
    """Make the variants of a factorial design; other studies stay as they are.

    Returns:
        A config with `variants`, whose values have the places of their switches.
    """
    if config.tree.get('design') is None:
        return config
    switches: Mapping[str, Mapping[str, Any]] = config.tree['switches']
    variants, origins = {}, dict(config.origins)
    for on in itertools.product((False, True), repeat=len(switches)):
        chosen = [name for name, is_on in zip(switches, on) if is_on]
        variant = join_switches(chosen)
        variants[variant] = {p: v for name in chosen for p, v in (switches[name] or {}).items()}
        for path, origin in config.origins.items():
            if path[:1] == ('switches',) and path[1:2] and path[1] in chosen:
                origins[('variants', variant, *path[2:])] = origin
    return Config(config.file, {**config.tree, 'variants': variants}, origins)


def _mistakes(config: Config) -> Iterator[Problem]:
    tree = config.tree
    switches = tree.get('switches') or {}
    if tree.get('design') is None:
        if switches:
            yield config.problem(('switches',), 'switches need `design: factorial`')
        return
    if tree.get('variants'):
        message = 'design: factorial makes the variants from the switches; remove variants'
        yield config.problem(('variants',), message)
    if not 2 <= len(switches) <= MOST_SWITCHES:
        message = f'a factorial design needs 2 to {MOST_SWITCHES} switches, found {len(switches)}'
        yield config.problem(('switches',) if switches else ('design',), message)
    setters: list[tuple[str, str]] = []
    for name, values in switches.items():
        if not re.fullmatch(r'[\w.-]+', name) or name == NONE:
            message = (
                f'{name!r} cannot name a switch: use letters, digits, _, - and ., not {NONE!r}'
            )
            yield config.problem(('switches', name), message)
        if not values:
            yield config.problem(('switches', name), 'a switch changes something; give its paths')
        for path in values or {}:
            for other, there in setters:
                if other != name and _overlap(path, there):
                    message = f'sets {path!r}, and {other!r} sets {there!r}: both can be on'
                    yield config.problem(('switches', name, path), message)
        setters += [(name, path) for path in values or {}]


def _overlap(path: str, other: str) -> bool:
    first, second = (split_path(p.removeprefix('+')) for p in (path, other))
    length = min(len(first), len(second))
    return first[:length] == second[:length]
