"""All words that completion offers: commands, options, configs, components, paths of configs."""

from __future__ import annotations

import argparse
from typing import Any

from toolkit.config import load
from toolkit.config.find import list_configs, list_studies
from toolkit.errors import ToolkitError
from toolkit.registry import plugin_index
from toolkit.registry.command import CommandParser


def collect_words(root: CommandParser) -> dict[str, Any]:
    """Collects the words.

    Args:
        root: parser of `toolkit`, with the commands of plugins; declares the arguments of all.
    Returns:
        `commands`: a tree of commands with `options` and `arguments`; `names`: by argument;
        `components`: names by kind; `paths`: of each shipped config.
    """
    configs = list_configs()
    index = plugin_index.get_index()
    return {
        'commands': _describe(root),
        'names': {'config': configs, 'a': configs, 'b': configs, 'study': list_studies()},
        'components': {kind.name: index.names(kind.name) for kind in index.kinds},
        'paths': {name: list_paths(name) for name in configs},
    }


def list_paths(config: str) -> list[str]:
    """Lists what an override of a config may name, each with `=`; empty if it cannot be read."""
    try:
        tree = load(config).tree
    except ToolkitError:
        return []
    return sorted(_walk(tree, ''))


def _walk(tree: dict[str, Any], path: str) -> list[str]:
    found = []
    for key, value in tree.items():
        found.append(f'{path}{key}=')
        if isinstance(value, dict):
            found += _walk(value, f'{path}{key}.')
    return found


def _describe(parser: CommandParser) -> dict[str, Any]:
    parser.declare()
    described: dict[str, Any] = {'options': {}, 'arguments': [], 'commands': {}}
    actions = [*parser._actions, *(a for g in parser.dependent_groups() for a in g._group_actions)]
    for action in actions:
        if isinstance(action, argparse._SubParsersAction):
            continue
        for option in action.option_strings:
            takes = {'choices': [str(choice) for choice in action.choices or ()]}
            described['options'][option] = takes if action.nargs != 0 else None
        if not action.option_strings:
            is_study = parser.prog.endswith(' study') and action.dest == 'file'
            described['arguments'].append('study' if is_study else action.dest)
    for name, command in parser.subcommands.items():
        described['commands'][name] = _describe(command)
    return described
