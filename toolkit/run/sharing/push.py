"""Shares a run: its records, weights, plugins and a card, as a folder or on a model hub."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from toolkit.engine import checkpoint
from toolkit.errors import RunError, ToolkitError
from toolkit.io import atomic_write
from toolkit.io import run_layout as layout
from toolkit.run import capsule
from toolkit.run.sharing import hub
from toolkit.run.sharing.card import make_card
from toolkit.run.sharing.manifest import (
    CARD,
    LAST_WEIGHTS,
    MANIFEST,
    RECORDS,
    TESTED_WEIGHTS,
    SharedFile,
    check_names,
    describe_files,
    format_manifest,
)
from toolkit.run.sharing.new_folder import make_new_folder
from toolkit.run.sharing.weights_file import write_weights

# Other files of a repository, such as weights of other programs, stay.
_OWN = (*RECORDS, CARD, MANIFEST, TESTED_WEIGHTS, LAST_WEIGHTS)


@dataclass(frozen=True)
class PushedRun:
    """Result of a push.

    Attributes:
        files: of the shared run by name.
        place: folder, or address in the web, that holds them.
        has_left_patch: whether the run keeps changes of code that were not shared.
    """

    files: dict[str, SharedFile]
    place: str
    has_left_patch: bool


def push(
    run: Path,
    destination: str,
    *,
    license_: str | None = None,
    public: bool = False,
    overwrite: bool = False,
    with_patch: bool = False,
) -> PushedRun:
    """Shares a finished training; the run itself stays as it is.

    Args:
        run: folder of the run.
        destination: new folder, or hf:OWNER/NAME.
        license_: identifier of a license, as the hub has them: 'apache-2.0'.
        public: a new repository of the hub can be seen by everybody.
        overwrite: a repository of the hub that holds files may be changed.
        with_patch: share the changes of code that were not committed (`diff.patch`).
    Raises:
        ToolkitError: no finished training in the folder, a link in it, plugins that are not
            trusted, or a destination that holds files.
        RunError: a file cannot be read or written, or the hub cannot be reached.
    """
    address = hub.parse_address(destination)
    record = capsule.read(run)
    if record.get('kind') != 'train' or record.get('status') != 'finished':
        raise ToolkitError(
            f'{run} holds a {record.get("kind")} that is {record.get("status")}; only a finished '
            'training can be shared'
        )
    names = _list_names(run, with_patch)
    has_left_patch = not with_patch and (run / layout.PATCH).exists()
    title = address.repository.split('/')[1] if address else Path(destination).absolute().name
    card = make_card(run, title, str(address or title), license_, with_patch=with_patch)
    if address is None:
        with make_new_folder(Path(destination)) as new:
            return PushedRun(_write(run, new, names, card), destination, has_left_patch)
    with tempfile.TemporaryDirectory() as temporary:
        files = _write(run, Path(temporary), names, card)
        replaced = [*_OWN, f'{layout.PLUGINS}/*']
        place = hub.upload(
            Path(temporary), address, public=public, overwrite=overwrite, replaced=replaced
        )
    return PushedRun(files, place, has_left_patch)


def _list_names(run: Path, with_patch: bool) -> list[str]:
    """Lists the records and plugins of a run that are shared.

    Raises:
        ToolkitError: one is a link, which may lead to a file that nobody wants to share; or has a
            name that is not shared.
    """
    records = [name for name in RECORDS if with_patch or name != layout.PATCH]
    found = [run / name for name in records if (run / name).exists()]
    plugins = run / layout.PLUGINS
    found += sorted(path for path in plugins.rglob('*') if '__pycache__' not in path.parts)
    for path in [plugins, run / layout.CHECKPOINTS, *found]:
        if path.is_symlink():
            raise ToolkitError(
                f'{path} is a link, which may lead to a file that is no part of the run; put a '
                'copy in its place'
            )
    names = [path.relative_to(run).as_posix() for path in found if path.is_file()]
    check_names(names, str(run))
    return names


def _write(run: Path, new: Path, names: list[str], card: str) -> dict[str, SharedFile]:
    folder = checkpoint.get_folder(run)
    last, best = folder / checkpoint.LAST, folder / checkpoint.BEST
    weights = {TESTED_WEIGHTS: last}
    if best.exists():
        weights = {TESTED_WEIGHTS: best, LAST_WEIGHTS: last}
    try:
        for name in names:
            (new / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(run / name, new / name)
        for name, source in weights.items():
            write_weights(source, new / name)
        atomic_write.write(new / CARD, card)
        files = describe_files(new, [CARD, *weights, *names])
    except OSError as error:
        named = error.filename2 or error.filename or new
        raise RunError(f'cannot share {run}: {named}: {error.strerror or error}') from error
    atomic_write.write(new / MANIFEST, format_manifest(files))
    return files
