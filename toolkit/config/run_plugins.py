"""Plugins of a run's folder: its own copies of them, and the consent that running them needs.

A run keeps copies of its plugins, so that it can be used on another machine and after the plugins
have changed. Such copies are code. A folder that comes from somebody else may hold any, so they run
only if this user has run or allowed the same content before: see
`toolkit.io.verification.plugin_trust`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import ToolkitError
from toolkit.io.run_layout import (
    CAPSULE,
    CHECKPOINTS,
    CONFIG,
    IDENTITIES,
    METRICS_FILE,
    METRICS_LOG,
    ORIGINS,
    PLAN,
    PLUGINS,
    RUNS,
    STATUS,
    TEST_LOG,
    TRAIN_LOG,
    read_object,
)
from toolkit.io.verification import plugin_trust
from toolkit.io.verification.hashing import hash_tree

# A folder with one of these files is that of a run, and so is all that lies in it.
MARKS = (CAPSULE, ORIGINS, METRICS_LOG)
# Beside a config, these say so too, where a sender has left out the others. A folder above may have
# files of these names for other reasons.
MARKS_BESIDE = (METRICS_FILE, TRAIN_LOG, TEST_LOG, STATUS, IDENTITIES, CHECKPOINTS)
# What a file in such a folder may make this machine do.
PLUGINS_RUN = 'this run names plugins, which are code that would be run'
TRACKERS_SEND = 'this run names trackers, which send or write its values where its config says'
COMMAND_RUNS = 'this study names a command or a launcher with settings, which would be run'


class UntrustedPluginError(ToolkitError):
    """Plugins in the folder of a run that this user has neither run nor allowed before.

    Args:
        paths: of the plugins, or of the file that names what would be done.
        what: states what that is.
    """

    def __init__(self, paths: Sequence[Path], what: str = PLUGINS_RUN) -> None:
        listed = ''.join(f'\n  {path} (sha256 {hash_tree(path)[:12]})' for path in paths)
        super().__init__(
            f'{what}:{listed}\n'
            'This user has not run or trusted them before. If you trust who made them, or have '
            'read them, give --trust; the same content is then never asked for again'
        )
        self.paths = tuple(paths)


@dataclass(frozen=True)
class NamedPlugin:
    """A plugin that a config names, as it is to be used.

    Attributes:
        plugin: module or path to use.
        note: sentence for the user where it is not the one at its original path; '' otherwise.
    """

    plugin: str
    note: str = ''


def find_run(path: Path) -> Path | None:
    """Finds the folder of the run or study in which a path lies; None outside of all."""
    absolute = path.absolute()
    for place in dict.fromkeys((absolute, absolute.resolve())):
        for folder in (place, *place.parents):
            if any((folder / name).is_file() for name in MARKS):
                return folder
            if (folder / PLAN).is_file() and (folder / RUNS).is_dir():
                return folder
        if place.name == CONFIG and any((place.parent / name).exists() for name in MARKS_BESIDE):
            return place.parent
    return None


def choose_plugin(plugin: str, run: Path | None) -> NamedPlugin:
    """Chooses a run's own copy of a plugin, where it has one.

    Args:
        plugin: as the run's config names it.
        run: folder of the run; None for a config that is no run's.
    """
    copy = None if run is None else find_copy(run, plugin)
    if copy is None:
        return NamedPlugin(plugin)
    original = Path(plugin)
    if not original.is_absolute() or not original.exists() or original.resolve() == copy.resolve():
        return NamedPlugin(str(copy))
    if hash_tree(original) == hash_tree(copy):
        return NamedPlugin(str(copy))
    note = (
        f'{original} has changed since this run: its own copy {copy} is used '
        f'(--plugin {original} uses the other version)'
    )
    return NamedPlugin(str(copy), note)


def find_copy(run: Path, plugin: str) -> Path | None:
    """Finds the copy of a plugin that a run has kept; None if it kept none."""
    kept = {entry.get('plugin'): entry.get('copy') for entry in read_kept(run)}
    name = kept.get(plugin) or f'{PLUGINS}/{Path(plugin).name}'
    copy = run / name
    return copy if copy.exists() else None


def read_kept(run: Path) -> list[Mapping[str, Any]]:
    """Reads what a run's record says of its plugins: `plugin`, its `copy`, and `sha256`."""
    try:
        found = (read_object(run / CAPSULE) or {}).get('plugins')
    except ToolkitError:
        return []  # a damaged record is reported by the command that needs it
    entries = found if isinstance(found, list) else []
    return [entry for entry in entries if isinstance(entry, dict)]


def has_addresses(tree: Mapping[str, Any]) -> bool:
    """Tells whether a config says where trackers send or write values, beyond the user's settings.

    A tracker without arguments writes into the run's folder, or where the environment says.
    """
    trackers = tree.get('trackers')
    entries = trackers.values() if isinstance(trackers, Mapping) else ()
    return any(isinstance(entry, Mapping) and entry.keys() > {'type'} for entry in entries)


def check_trusted(paths: Iterable[Path], what: str = PLUGINS_RUN) -> None:
    """Checks that the code of plugins may run; with `--trust`, remembers their content.

    Args:
        paths: of the plugins, or of the file that names what would be done.
        what: states what that is.

    Raises:
        UntrustedPluginError: it may not; names the plugins.
    """
    unknown = [path for path in paths if path.exists() and not plugin_trust.is_trusted(path)]
    if unknown and not plugin_trust.allows_all():
        raise UntrustedPluginError(unknown, what)
    plugin_trust.remember(unknown)
