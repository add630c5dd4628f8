"""Designs over named switches: combinations of them are the variants of a study."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from toolkit.analysis.designs.effects import NONE, join_switches
from toolkit.config import Config, Problem
from toolkit.config.yaml_file import split_path
from toolkit.study.design_points import (
    MOST_POINTS,
    MOST_SWITCHES,
    RESOLUTIONS,
    Point,
    find_fraction,
    list_coalitions,
    list_combinations,
    sample_orders,
)

# Keys that belong to one design.
_KEYS = {'resolution': 'fractional', 'runs': 'fractional', 'permutations': 'shapley'}


def find_design_problems(config: Config) -> list[Problem]:
    """Find mistakes in `design` and `switches` of a study file of the right types."""
    return list(_mistakes(config))


def expand_design(config: Config) -> Config:
    """Make the variants of a design; other studies stay as they are.

    Returns:
        A config with `variants`, whose values have the places of their switches.
    """
    if config.tree.get('design') is None:
        return config
    switches: Mapping[str, Mapping[str, Any]] = config.tree['switches']
    variants, origins = {}, dict(config.origins)
    for on in list_points(config.tree):
        chosen = [name for name, is_on in zip(switches, on) if is_on]
        variant = join_switches(chosen)
        variants[variant] = {p: v for name in chosen for p, v in (switches[name] or {}).items()}
        for path, origin in config.origins.items():
            if path[:1] == ('switches',) and path[1:2] and path[1] in chosen:
                origins[('variants', variant, *path[2:])] = origin
    return Config(config.file, {**config.tree, 'variants': variants}, origins)


def list_points(tree: Mapping[str, Any]) -> list[Point]:
    """List the points of the design of a study file without mistakes."""
    count = len(tree['switches'])
    if tree['design'] == 'fractional':
        found = find_fraction(count, tree.get('resolution'), tree.get('runs'))
        assert found is not None
        return found[1]
    if tree.get('permutations') is not None:
        return list_coalitions(sample_orders(count, tree['permutations']))
    return list_combinations(count)


def _size_problems(config: Config) -> Iterator[Problem]:
    """Find too few or too many switches for a design, and sizes that it cannot have."""
    tree, count = config.tree, len(config.tree.get('switches') or {})
    here, design = ('switches',) if count else ('design',), tree['design']
    resolution, runs, orders = (tree.get(key) for key in _KEYS)
    least = 3 if design == 'fractional' else 2
    whole = design == 'factorial' or (design == 'shapley' and orders is None)
    most = MOST_POINTS.bit_length() - 1 if whole else MOST_SWITCHES
    if not least <= count <= most:
        message = f'a {design} design needs {least} to {most} switches, found {count}'
        hint = '; sample some orders with permutations' if design == 'shapley' else ''
        hint = '; take a part of them with design: fractional' if design == 'factorial' else hint
        yield config.problem(here, message + (hint if count > most and whole else ''))
    elif orders is not None and orders < 3:
        message = f'an order and its reverse have no spread: expected three or more, found {orders}'
        yield config.problem(('permutations',), message)
    elif orders is not None and len(list_coalitions(sample_orders(count, orders))) > MOST_POINTS:
        message = f'would need over {MOST_POINTS} variants: expected fewer, found {orders}'
        yield config.problem(('permutations',), message)
    elif design == 'fractional':
        yield from _fraction_problems(config, count, resolution, runs)


def _fraction_problems(
    config: Config, count: int, resolution: int | None, runs: int | None
) -> Iterator[Problem]:
    if resolution is not None and runs is not None:
        yield config.problem(('runs',), 'follows from resolution; give one of them')
    elif resolution is not None and resolution not in RESOLUTIONS:
        message = f'expected {", ".join(map(str, RESOLUTIONS))}, found {resolution}'
        yield config.problem(('resolution',), message)
    elif runs is not None and (runs < 2 or runs & (runs - 1) or runs > MOST_POINTS):
        message = f'expected a power of two up to {MOST_POINTS}, found {runs}'
        yield config.problem(('runs',), message)
    elif runs is not None and runs >= 2**count:
        message = f'{runs} runs hold all {2**count} combinations: use design: factorial'
        yield config.problem(('runs',), message)
    elif runs is not None and runs <= count:
        message = f'{count} switches need more than {count} runs, found {runs}'
        yield config.problem(('runs',), message)
    elif (found := find_fraction(count, resolution, runs)) is None:
        message = f'no fraction of {count} switches within {MOST_POINTS} runs has it'
        yield config.problem(('resolution',), message)
    elif len(found[1]) == 2**count:
        message = (
            f'resolution {found[0]} needs all {2**count} combinations of {count} switches: use '
            'design: factorial, or a lower resolution'
        )
        yield config.problem(('resolution',) if resolution else ('design',), message)


def _mistakes(config: Config) -> Iterator[Problem]:
    tree = config.tree
    for key, design in _KEYS.items():
        if tree.get(key) is not None and tree.get('design') != design:
            yield config.problem((key,), f'belongs to `design: {design}`')
    switches = tree.get('switches') or {}
    if tree.get('design') is None:
        if switches:
            message = 'switches need `design: factorial`, `fractional` or `shapley`'
            yield config.problem(('switches',), message)
        return
    if tree.get('variants'):
        message = f'design: {tree["design"]} makes the variants from the switches; remove variants'
        yield config.problem(('variants',), message)
    yield from _size_problems(config)
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
