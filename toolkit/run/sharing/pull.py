"""Takes over a shared run from a folder or a model hub, checked file by file."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from toolkit.engine import checkpoint
from toolkit.errors import RunError, ToolkitError
from toolkit.io import run_layout as layout
from toolkit.run import capsule
from toolkit.run.sharing import hub
from toolkit.run.sharing.manifest import (
    LAST_WEIGHTS,
    MANIFEST,
    TESTED_WEIGHTS,
    SharedFile,
    read_manifest,
)
from toolkit.run.sharing.new_folder import make_new_folder
from toolkit.run.sharing.weights_file import restore_checkpoint

_CHUNK = 1 << 20


@dataclass(frozen=True)
class PulledRun:
    """Result of a pull.

    Attributes:
        files: number of files that were checked.
        size: of these files in bytes.
        plugins: paths of the plugins in the new folder, which are code.
    """

    files: int
    size: int
    plugins: tuple[Path, ...]


def pull(source: str, folder: Path) -> PulledRun:
    """Writes the folder of a run from a shared one, whole or not at all; no code of it runs.

    Args:
        source: folder of a shared run, or hf:OWNER/NAME[@REVISION].
        folder: new or empty.
    Raises:
        ToolkitError: the folder holds files, no shared run is there, or a file of it is missing,
            a link, or has another name, size or content than its manifest says.
        RunError: a file cannot be read or written, or the hub cannot be reached.
    """
    address = hub.parse_address(source)
    with make_new_folder(folder) as new, tempfile.TemporaryDirectory() as downloads:
        if address is not None:
            fetch = hub.open_repository(address, Path(downloads))
        else:
            fetch = _open_folder(Path(source))
        files = read_manifest(fetch(MANIFEST), source)
        try:
            for name, file in files.items():
                _copy(fetch(name), new / name, file, f'{name} of {source}')
            _restore(new, files, source)
        except OSError as error:
            raise RunError(f'cannot write {folder}: {error.strerror or error}') from error
        plugins = _list_plugins(new, source)
    size = sum(file.size for file in files.values())
    return PulledRun(len(files), size, tuple(folder / name for name in plugins))


def _open_folder(root: Path) -> Callable[[str], Path]:
    if not root.is_dir():
        raise ToolkitError(
            f'{root} is no folder; expected one that `toolkit push` has written, or hf:OWNER/NAME'
        )
    if not (root / MANIFEST).exists():
        held = f'; it holds a run itself: push it first, toolkit push {root} DEST'
        raise ToolkitError(
            f'{root} holds no shared run: no {MANIFEST} in it'
            + (held if (root / layout.CAPSULE).exists() else '')
        )

    def find(name: str) -> Path:
        path = root
        for part in name.split('/'):
            path = path / part
            if path.is_symlink():
                raise ToolkitError(
                    f'{path} is a link, which may lead out of {root}; put a copy there'
                )
        return path

    return find


def _copy(source: Path, target: Path, file: SharedFile, name: str) -> None:
    """Copies a file whose size and hash are known.

    Raises:
        ToolkitError: it is missing, no file, or not what was pushed.
    """
    if not source.is_file():
        raise ToolkitError(f'{name} is missing, or is no file; push the run again')
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    try:
        with source.open('rb') as given, target.open('xb') as copy:
            # One byte more than stated shows that the file is longer.
            while chunk := given.read(min(_CHUNK, file.size - size + 1)):
                size += len(chunk)
                if size > file.size:
                    break
                digest.update(chunk)
                copy.write(chunk)
            copy.flush()
            os.fsync(copy.fileno())
    except OSError as error:
        raise RunError(f'cannot copy {name} to {target}: {error.strerror or error}') from error
    if size != file.size:
        state = 'is longer than' if size > file.size else f'has {size:,} bytes, not'
        raise ToolkitError(
            f'{name} is damaged or was changed: it {state} the {file.size:,} bytes of the '
            f'{MANIFEST}; push the run again'
        )
    if digest.hexdigest() != file.sha256:
        raise ToolkitError(
            f'{name} is damaged or was changed: its sha256 is {digest.hexdigest()[:16]}..., and '
            f'{MANIFEST} says {file.sha256[:16]}...; push the run again'
        )


def _restore(new: Path, files: Mapping[str, SharedFile], source: str) -> None:
    """Writes checkpoints in place of the safetensors files."""
    pairs = {TESTED_WEIGHTS: checkpoint.LAST}
    if LAST_WEIGHTS in files:
        pairs = {TESTED_WEIGHTS: checkpoint.BEST, LAST_WEIGHTS: checkpoint.LAST}
    for name, restored in pairs.items():
        restore_checkpoint(new / name, checkpoint.get_folder(new) / restored, source)
        (new / name).unlink()


def _list_plugins(new: Path, source: str) -> list[str]:
    """Lists the plugins of a pulled run.

    Raises:
        ToolkitError: its record is damaged, or names a plugin outside of its folder.
    """
    try:
        entries = capsule.read(new)['plugins'] or []
    except ToolkitError as error:
        raise ToolkitError(f'{layout.CAPSULE} of {source} is damaged') from error
    for copy in (entry['copy'] for entry in entries if entry['copy'] is not None):
        parts = copy.split('/')
        inside = parts[0] == layout.PLUGINS and '..' not in parts and (new / copy).exists()
        if not inside:
            raise ToolkitError(
                f'{layout.CAPSULE} of {source} names the plugin {copy}, which is not in its '
                f'folder {layout.PLUGINS}/'
            )
    folder = new / layout.PLUGINS
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return [path.relative_to(new).as_posix() for path in found]
