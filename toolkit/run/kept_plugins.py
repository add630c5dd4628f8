"""Copies of the user's plugins in the folder of a run."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.errors import RunError
from toolkit.io.run_layout import PLUGINS
from toolkit.io.verification import plugin_trust
from toolkit.io.verification.hashing import hash_tree
from toolkit.registry import plugin_index


def describe_plugins(tree: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Describes each plugin: `plugin` as the config names it, its `copy` in the folder, `sha256`.

    A plugin that is an installed module has no copy.
    """
    found, taken = [], set()
    for number, plugin in enumerate(tree.get('plugins') or [], 1):
        source = _find_source(plugin)
        if source is None:
            continue
        copy = None
        if Path(plugin).is_absolute():
            # Two plugins may have the same file name.
            copy = f'{PLUGINS}/{number}/{source.name}' if source.name in taken else None
            copy = copy or f'{PLUGINS}/{source.name}'
            taken.add(source.name)
        try:
            found.append({'plugin': plugin, 'copy': copy, 'sha256': hash_tree(source)})
        except OSError as error:
            raise RunError(f'cannot read the plugin {source}: {error.strerror}') from error
    return found


def _find_source(plugin: str) -> Path | None:
    return Path(plugin) if Path(plugin).is_absolute() else plugin_index.find_source(plugin)


def keep_plugins(work_dir: Path, described: Sequence[Mapping[str, Any]]) -> None:
    """Copies the plugins that are files or folders, so that the run can be used after they have
    changed and on another machine.

    Raises:
        RunError: a plugin cannot be copied.
    """
    copies = []
    for entry in described:
        if entry['copy'] is None:
            continue
        source, copy = Path(entry['plugin']), work_dir / entry['copy']
        try:
            _copy_plugin(source, copy)
        except OSError as error:
            raise RunError(
                f'cannot keep a copy of the plugin {source} as {copy}: {error.strerror or error}'
            ) from error
        copies.append(copy)
    if not plugin_trust.remember(copies):
        print(
            f'warning: {plugin_trust.find_record()} cannot be written: commands on this run will '
            'ask for --trust',
            file=sys.stderr,
        )


def _copy_plugin(source: Path, copy: Path) -> None:
    """Copies a plugin whole or not at all, in place of an older copy."""
    if copy.exists() and hash_tree(copy) == hash_tree(source):
        return
    temporary = copy.with_name(f'.{copy.name}.tmp')
    try:
        _remove(temporary)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, temporary, ignore=shutil.ignore_patterns('__pycache__'))
        else:
            shutil.copyfile(source, temporary)
        _remove(copy)
        os.replace(temporary, copy)
    except BaseException:
        with contextlib.suppress(OSError):
            _remove(temporary)
        raise


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
