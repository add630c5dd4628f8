"""Checks a whole config against the signatures of its components, before any work.

Every problem is found at once: each `type` against the kind of its place, each
argument by name, presence, type and choice. Nothing is built and no data is opened.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from toolkit.config.checks.config_checker import ConfigChecker
from toolkit.config.load import Config
from toolkit.config.schema import RunConfig
from toolkit.config.yaml_file import (
    ConfigError,
    KeyPath,
    Problem,
    split_path,
)
from toolkit.registry.build import (
    fill,
)


def check(config: Config) -> list[Problem]:
    """Returns all problems of a run's config; none when it can be built."""
    try:
        config.use_plugins()
    except ConfigError as error:
        return list(error.problems)
    return _drop_repeated(find_problems(config, RunConfig), config)


def load_whole(
    load: Callable[[Sequence[str]], Config], overrides: Sequence[str], plugins: Sequence[str] = ()
) -> Config:
    """Loads a config; where overrides are wrong, the mistakes of the rest are told with them.

    Args:
        load: loads the config with some overrides.
        overrides: of the command line.
        plugins: modules or paths beside those of the config.
    Raises:
        ConfigError: all problems, of overrides that cannot be applied and of the config without
            them.
    """
    try:
        return load(overrides)
    except ConfigError as error:
        found = [*error.problems]
    wrong = {text for text in overrides for p in found if text == p.path or repr(text) in p.place}
    if wrong:
        try:
            config = load([text for text in overrides if text not in wrong])
            config.use_plugins(plugins)
            found += check(config)
        except ConfigError as error:
            found += error.problems
    raise ConfigError(*found)


def find_problems(config: Config, cls: type, path: KeyPath = ()) -> list[Problem]:
    """Returns all problems of the arguments of a class at a path, the top by default."""
    node: Any = config.tree
    for key in path:
        node = node[key]
    checker = ConfigChecker(config)
    checker.check_arguments(cls, node, path, injected=())
    checker.check_tasks()
    return checker.problems


def find_unchecked(config: Config) -> list[Problem]:
    """Returns the values of a config whose annotations cannot be resolved."""
    checker = ConfigChecker(config)
    checker.check_arguments(RunConfig, config.tree, (), injected=())
    return checker.unchecked


def collect_components(config: Config) -> dict[KeyPath, tuple[type, Mapping[str, Any]]]:
    """Returns the class and the mapping of each component of a valid run config, by its path."""
    checker = ConfigChecker(config)
    checker.check_arguments(RunConfig, config.tree, (), injected=())
    return checker.components


def _drop_repeated(found: list[Problem], config: Config) -> list[Problem]:
    """Drops repeated reports of a problem that several places share by `${...}`."""

    def is_taken_over(problem: Problem) -> bool:
        path = split_path(problem.path)
        return any(path[:n] in config.references for n in range(1, len(path) + 1))

    first: dict[tuple[str, str], Problem] = {}
    for problem in sorted(found, key=is_taken_over):
        first.setdefault((problem.place, problem.message), problem)
    return [p for p in found if not is_taken_over(p) or p in first.values()]


def fill_checked(config: Config) -> RunConfig:
    """Checks a config and fills a `RunConfig` with it.

    Raises:
        ConfigError: with every problem.
    """
    if found := check(config):
        raise ConfigError(*found)
    for note in find_unchecked(config):
        print(note, file=sys.stderr)
    return fill(RunConfig, config.tree)
