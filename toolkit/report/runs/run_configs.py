"""Configs of runs as flat values by dotted path, and the paths in which they differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from toolkit.analysis.conditions import Condition
from toolkit.errors import ToolkitError
from toolkit.io.run_layout import CAPSULE, CONFIG
from toolkit.io.run_results import RunResult
from toolkit.run import capsule

# Text of each value by dotted path.
FlatConfig = dict[str, str]
Capsule = dict[str, Any]

_SEED = 'randomness.seed'
_DEEPEST = 40  # levels; a config that a user wrote has under ten


def read_capsules(runs: Sequence[RunResult]) -> dict[str, Capsule | None]:
    """Reads the capsules of the trainings by the ids of the runs.

    Returns:
        The records of the runs that have one; None for one that is damaged.
    """
    found: dict[str, Capsule | None] = {}
    for run in runs:
        if (run.trained_in / CAPSULE).exists():
            try:
                found[run.id] = capsule.read(run.trained_in)
            except (ToolkitError, TypeError, ValueError, AttributeError):
                found[run.id] = None
    return found


def read_flat_configs(
    runs: Sequence[RunResult], capsules: Mapping[str, Capsule | None]
) -> dict[str, FlatConfig]:
    """Reads the configs of the runs that have one, by the ids of the runs."""
    found = {}
    for run in runs:
        tree = (capsules.get(run.id) or {}).get('config')
        if not isinstance(tree, Mapping):
            tree = _read_yaml(run)
        if flat := flatten(tree):
            found[run.id] = flat
    return found


def _read_yaml(run: RunResult) -> Any:
    try:
        with open(run.trained_in / CONFIG, encoding='utf-8', errors='replace') as file:
            return yaml.load(file, getattr(yaml, 'CSafeLoader', yaml.SafeLoader))
    except (OSError, yaml.YAMLError, ValueError, RecursionError):
        return None  # no config yet, or a damaged one


def flatten(tree: Any) -> FlatConfig:
    """Flattens nested mappings into the text of each value by its dotted path."""
    found: FlatConfig = {}

    def walk(path: str, value: Any, depth: int) -> None:
        if isinstance(value, Mapping) and value and depth < _DEEPEST:
            for key, inner in value.items():
                walk(f'{path}.{key}' if path else str(key), inner, depth + 1)
        elif path:
            found[path] = format_value(value)

    walk('', tree, 0)
    return found


def format_value(value: Any) -> str:
    """Formats a value of a config as text; a string has no quotes."""
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False, default=str)
    except (ValueError, RecursionError):
        return str(value)


def find_hyperparameters(
    conditions: Sequence[Condition], configs: Mapping[str, FlatConfig]
) -> dict[str, list[str]]:
    """Finds the values that tell conditions apart.

    Returns:
        For each path that is the same in all runs of each condition, and not in all conditions,
        its value per condition; '' where it has none.
    """
    per_condition: list[dict[str, str | None]] = []
    for condition in conditions:
        known = [configs[run.id] for run in condition.runs if run.id in configs]
        shared: dict[str, str | None] = {}
        for path in dict.fromkeys(path for config in known for path in config):
            values = {config.get(path, '') for config in known}
            shared[path] = values.pop() if len(values) == 1 else None
        per_condition.append(shared)
    # A condition without any config yet says nothing.
    known_conditions = [shared for shared in per_condition if shared]
    found = {}
    for path in dict.fromkeys(path for shared in known_conditions for path in shared):
        values = [shared.get(path, '') for shared in known_conditions]
        if path != _SEED and None not in values and len(set(values)) > 1:
            found[path] = [shared.get(path) or '' for shared in per_condition]
    return found


def encode_changes(
    configs: Mapping[str, FlatConfig],
) -> tuple[FlatConfig, dict[str, dict[str, str | None]]]:
    """Encodes the configs as those of the first run and the changes from it.

    Returns:
        The first config; and for each run the values that differ, None where a path is not there.
    """
    base = next(iter(configs.values()), {})
    changes = {}
    for id_, config in configs.items():
        changed: dict[str, str | None] = {
            path: text for path, text in config.items() if base.get(path) != text
        }
        changed |= {path: None for path in base if path not in config}
        changes[id_] = changed
    return base, changes
