"""Reads a study file and checks everything that the file alone can show."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from toolkit.config import Config, ConfigError, Problem
from toolkit.config.checks.check import find_problems
from toolkit.config.dump import dump_inline
from toolkit.config.find import find_config
from toolkit.config.yaml_file import KeyPath, display_path, read_yaml, split_path
from toolkit.errors import did_you_mean
from toolkit.registry.build import fill
from toolkit.study.designs import expand_design, find_design_problems
from toolkit.study.launchers import LAUNCHERS, launcher_class
from toolkit.study.programs.problems import find_program_problems
from toolkit.study.search.problems import find_search_problems
from toolkit.study.sequential import find_sequential_problems
from toolkit.study.spec import BASE, CHANGES, DIRECTIONS, Spec, Study


def read_study(name: str | Path) -> Study:
    """Read a study file.

    Args:
        name: a path, or the name of a shipped one (`ldpnet/studies/demo`).
    Raises:
        ConfigError: all mistakes in the file, with their lines.
    """
    file = find_config(name, 'study')
    tree, origins = read_yaml(file, display_path(file))
    config = Config(file, tree, origins)
    found = find_problems(config, Spec)
    if not found and tree.get('launcher') is not None:
        found = _launcher_problems(config)
    found = found or find_design_problems(config)
    if found:
        raise ConfigError(*found)
    expanded = expand_design(config)
    if tree.get('search') is not None and not tree.get('variants'):
        expanded = Config(file, {**expanded.tree, 'variants': {'reference': {}}}, expanded.origins)
    # The study keeps the tree as it is written.
    study = Study(Config(file, tree, expanded.origins), fill(Spec, expanded.tree))
    found = list(_mistakes(study))
    if found:
        raise ConfigError(*found)
    return study


def _launcher_problems(config: Config) -> list[Problem]:
    name = config.tree['launcher'].get('type', 'local')
    if name not in LAUNCHERS:
        near = did_you_mean(str(name), LAUNCHERS) or f'; there are: {", ".join(LAUNCHERS)}'
        message = f'no launcher is named {name!r}{near}'
        return [config.problem(('launcher', 'type'), message)]
    return find_problems(config, launcher_class(config.tree['launcher']), ('launcher',))


def _mistakes(study: Study) -> Iterator[Problem]:
    """Find mistakes other than wrong types and names of keys."""
    spec = study.spec
    if not re.fullmatch(r'[\w.+-]+', study.name) or study.name.startswith('.'):
        message = f'{study.name!r} cannot name a folder: use letters, digits, _, -, + and .'
        yield study.problem(('study',), message)
    if not spec.variants:
        yield study.problem(('variants',), 'expected at least one variant, such as `full: {}`')
    for section in ('variants', 'data'):
        if '' in getattr(spec, section):
            yield study.problem((section, ''), 'an entry without a name')
    if spec.folds is not None and not spec.folds.paths:
        yield study.problem(('folds', 'path'), 'expected at least one path')
    yield from _repeated(study, ('seeds',), spec.seeds, 'seed')
    for axis, values in spec.axes.items():
        yield from _repeated(study, ('axes', axis), values, 'value')
    if spec.folds is not None:
        yield from _repeated(study, ('folds', 'values'), spec.folds.values, 'value')
    if spec.compare_to is not None and spec.compare_to not in spec.variants:
        near = did_you_mean(spec.compare_to, spec.variants)
        near = near or f'; there are: {", ".join(spec.variants)}'
        yield study.problem(('compare_to',), f'no variant is named {spec.compare_to!r}{near}')
    axes = [axis.removeprefix('+') for axis in spec.axes]
    for number, path in enumerate(spec.compare_along):
        if path.removeprefix('+') not in axes:
            near = did_you_mean(path, axes) or (f'; there are: {", ".join(axes)}' if axes else '')
            message = f'{path!r} is no axis of this study{near}'
            yield study.problem(('compare_along', str(number)), message)
    if spec.primary is not None and study.metrics and spec.primary not in study.metrics:
        near = (
            did_you_mean(spec.primary, study.metrics) or f'; they are: {", ".join(study.metrics)}'
        )
        yield study.problem(('primary',), f'{spec.primary!r} is none of the metrics{near}')
    yield from find_program_problems(study)
    yield from find_sequential_problems(study)
    yield from find_search_problems(study)
    yield from _sample_problems(study)
    yield from _metric_problems(study)
    yield from _entry_problems(study)
    yield from _collisions(study)


def _repeated(study: Study, path: KeyPath, values: list[Any], what: str) -> Iterator[Problem]:
    if not values:
        yield study.problem(path, f'expected at least one {what}')
    lines: dict[str, str] = {}
    for number, value in enumerate(values):
        here = (*path, str(number))
        if dump_inline(value) in lines:
            message = f'the {what} {dump_inline(value)} stands here twice; each value is one run'
            yield study.problem(here, message)
        lines[dump_inline(value)] = study.config.place(here)


def _sample_problems(study: Study) -> Iterator[Problem]:
    sample, axes = study.spec.sample, study.spec.axes
    if sample is None:
        return
    size = math.prod(map(len, axes.values()))
    if not axes:
        yield study.problem(('sample',), 'there are no axes to sample')
    elif not 1 <= sample.points <= size:
        message = f'expected 1 to {size}, the number of points of the axes; found {sample.points}'
        yield study.problem(('sample', 'points'), message)


def _metric_problems(study: Study) -> Iterator[Problem]:
    metrics = study.spec.metrics
    if isinstance(metrics, Mapping):
        for name, better in metrics.items():
            if better not in DIRECTIONS:
                message = f'found {dump_inline(better)}, expected higher or lower: which is better?'
                yield study.problem(('metrics', name), message)
    elif isinstance(metrics, list) and all(isinstance(name, str) for name in metrics):
        yield from _repeated(study, ('metrics',), metrics, 'metric')
    elif metrics is not None:
        message = 'expected a list of names, or a mapping of names to higher or lower'
        yield study.problem(('metrics',), message)


def _entry_problems(study: Study) -> Iterator[Problem]:
    """Find mistakes in the keys of variants and data sets that are no paths."""
    for section in ('variants', 'data'):
        for name, entry in getattr(study.spec, section).items():
            given = entry if isinstance(entry, Mapping) else {}
            if not isinstance(given.get(BASE, ''), str):
                found = f'found {dump_inline(given[BASE])}, expected the path of a config'
                yield study.problem((section, name, BASE), found)
            changes = given.get(CHANGES, 1)
            if section == 'data' and CHANGES in given:
                yield study.problem(
                    (section, name, CHANGES), 'only a variant says how much it changes'
                )
            elif not isinstance(changes, int) or isinstance(changes, bool) or changes < 0:
                found = f'found {dump_inline(changes)}, expected the number of changes'
                yield study.problem((section, name, CHANGES), found)


def _collisions(study: Study) -> Iterator[Problem]:
    """Find parts of a study that set the same path, or a path below one that another sets."""
    spec = study.spec
    setters: list[tuple[str, KeyPath, str]] = []
    if not study.is_program:
        setters.append(('the seeds', ('seeds',), 'randomness.seed'))
    if spec.budget.iterations is not None:
        setters.append(('budget.iterations', ('budget', 'iterations'), 'train_cfg'))
    setters += [('an axis', ('axes', path), path) for path in spec.axes]
    if spec.folds is not None:
        setters += [('the folds', ('folds', 'path'), path) for path in spec.folds.paths]
    setters += [
        (f'the data set {name!r}', ('data', name, path), path)
        for name in spec.data
        for path in study.data(name)
    ]
    setters += [
        (f'the variant {name!r}', ('variants', name, path), path)
        for name in spec.variants
        for path, value in study.variant(name).items()
        # A variant without a training is only tested, whatever the budget.
        if not (path == 'train_cfg' and value is None and spec.budget.iterations is not None)
    ]
    for number, (what, here, path) in enumerate(setters):
        for other, there, other_path in setters[:number]:
            same_kind = here[0] == there[0] and here[0] in ('data', 'variants')
            if same_kind and here[1] != there[1]:
                continue  # never in the same run
            if _within(path, other_path) or _within(other_path, path):
                where = f'{other_path.removeprefix("+")!r} ({study.config.place(there)})'
                message = f'collides with {other}, which sets {where}; one of them may do so'
                yield study.problem(here, f'{what} {message}')


def _within(path: str, other: str) -> bool:
    inner, outer = (split_path(p.removeprefix('+')) for p in (path, other))
    return inner[: len(outer)] == outer
