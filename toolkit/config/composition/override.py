"""Applies `key.path=value` of the command line, which changes a key; `+key.path=value` adds one."""

from __future__ import annotations

from typing import Any

from toolkit.config.composition.merge import (
    Extension,
    is_reference,
    null_paths,
    set_void,
    view_extended,
)
from toolkit.config.yaml_file import (
    COMMAND_LINE,
    ConfigError,
    KeyPath,
    Origins,
    Problem,
    describe_type,
    parse_yaml,
    split_path,
    suggest_path,
)
from toolkit.errors import list_names


def override(tree: dict[str, Any], origins: Origins, text: str) -> None:
    """Applies `key.path=value` or `+key.path=value` in place; the value is YAML.

    Raises:
        ConfigError: the key does not exist (names the nearest), a new key exists already, or the
            value is not YAML.
    """
    key, sign, value_text = text.partition('=')
    adding = key.startswith('+')
    path = split_path(key.removeprefix('+').strip())
    if not sign or not path or not all(path):
        raise _override_error(text, 'expected key.path=value')
    value, value_origins = parse_yaml(value_text, f'override {text!r}')
    del value_origins  # lines of a command line mean nothing
    try:
        assign(tree, origins, path, value, {(): COMMAND_LINE}, adding)
    except KeyError as error:
        raise _override_error(text, str(error.args[0])) from None


def assign(
    tree: dict[str, Any],
    origins: Origins,
    path: KeyPath,
    value: Any,
    value_origins: Origins,
    adding: bool,
) -> None:
    """Replaces the value at a path, or adds one at a new path.

    Args:
        value_origins: origins of the paths within the value; `()` is the value itself.
        adding: the path must be new; otherwise it must exist.
    Raises:
        KeyError: the key does not exist (names the nearest), or a new key exists already; its
            argument is the message.
    """
    _assign(tree, path, value, adding)
    for stale in [p for p in origins if p[: len(path)] == path]:
        del origins[stale]
    origins.update({(*path, *inner): origin for inner, origin in value_origins.items()})
    for inner in null_paths(value):
        # A mapping replaces the old value whole, so its nulls remove nothing.
        origins.setdefault((*path, *inner), value_origins.get((), COMMAND_LINE))
        set_void((*path, *inner), origins, bool(inner) or adding)


def _override_error(text: str, message: str) -> ConfigError:
    return ConfigError(Problem('command line', text, message))


def _assign(tree: dict[str, Any], path: KeyPath, value: Any, adding: bool) -> None:
    node: Any = tree
    # The keys that a node has; an extension of a reference also has those of the reference.
    view: Any = tree
    extends = False
    for depth, key in enumerate(path):
        last = depth == len(path) - 1
        here = '.'.join(path[:depth])
        if isinstance(view, list):
            if not key.isdigit() or int(key) >= len(view):
                raise KeyError(f'{here!r} is a list of {len(view)}; {key!r} is no index of it')
            if extends:
                raise KeyError(f'{here!r} is a list that a reference stands for; give it whole')
            if last:
                node[int(key)] = value
            node = view = node[int(key)]
            continue
        if not isinstance(view, dict):
            raise KeyError(f'{here!r} is {describe_type(view)}, so it has no key {key!r}')
        if last and adding and key in view:
            raise KeyError('the key is there already; leave out the + to change it')
        if key not in view and not adding:
            full = '.'.join(path[: depth + 1])
            near = suggest_path(path, depth, view)
            raise KeyError(f'no key {full!r}{near or _list_keys(view)} (+ in front adds a new key)')
        if last:
            whole = extends and isinstance(value, dict)
            node[key] = {**value, '_delete_': True} if whole else value
            return
        found = view_extended(tree, view.get(key))
        if not extends and is_reference(node.get(key)):
            node[key] = Extension(node[key])
        elif node.get(key) is None:
            node[key] = {}
        node = node[key]
        extends = extends or isinstance(node, Extension)
        view = ({} if found is None else found) if extends else node


def _list_keys(node: dict[str, Any]) -> str:
    return '; there are: ' + list_names(list(node)) if node else ''
