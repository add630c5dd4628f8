"""Files of a shared run, with sizes and hashes, and the names that they may have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import toolkit
from toolkit.errors import ToolkitError
from toolkit.io import run_layout as layout
from toolkit.io.json_values import format_json, parse_json
from toolkit.io.verification.hashing import read_digest

MANIFEST = 'ablakit.json'
CARD = 'README.md'
# Weights that `toolkit test` takes have the name that model hubs expect.
TESTED_WEIGHTS, LAST_WEIGHTS = 'model.safetensors', 'last.safetensors'
# Files that are shared as they are. Logs, images, reports and tables of predictions are not.
RECORDS = (
    layout.CAPSULE,
    layout.CONFIG,
    layout.ORIGINS,
    layout.PATCH,
    layout.METRICS_FILE,
    layout.METRICS_LOG,
    layout.VALIDATIONS,
    layout.IDENTITIES,
)
NEEDED = (layout.CAPSULE, layout.CONFIG, layout.ORIGINS, CARD, TESTED_WEIGHTS)
FORMAT = 1
# A manifest lists names, sizes and hashes only.
LARGEST = 1 << 24
_PART = re.compile(r'[^\x00-\x1f\x7f/\\:*?"<>|]{1,255}')


@dataclass(frozen=True)
class SharedFile:
    """A file of a shared run.

    Attributes:
        size: in bytes.
        sha256: hash of its content.
    """

    size: int
    sha256: str


def describe_files(folder: Path, names: Iterable[str]) -> dict[str, SharedFile]:
    """Describes files of a folder.

    Raises:
        OSError: one cannot be read.
    """
    return {
        name: SharedFile((folder / name).stat().st_size, read_digest(folder / name))
        for name in names
    }


def format_manifest(files: Mapping[str, SharedFile]) -> str:
    """Formats the content of the manifest of a shared run."""
    listed = {name: vars(file) for name, file in files.items()}
    return format_json({'format': FORMAT, 'toolkit': toolkit.__version__, 'files': listed})


def read_manifest(path: Path, source: str) -> dict[str, SharedFile]:
    """Reads the manifest of a shared run, whose sender is not known.

    Args:
        path: of the file.
        source: address of the shared run, for messages.
    Raises:
        ToolkitError: it is damaged, of another format, or names files that no shared run has.
    """
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise ValueError(f'it has {size:,} bytes, more than a list of files')
        content = parse_json(path.read_bytes())
        if type(content['format']) is not int or content['format'] != FORMAT:
            raise ToolkitError(
                f'{source} has format {content["format"]!r}, and this version reads {FORMAT}; '
                'install the version that it was pushed with: it is named in its ' + MANIFEST
            )
        files = {str(name): _parse_file(entry) for name, entry in content['files'].items()}
    except OSError as error:
        raise ToolkitError(f'cannot read {MANIFEST} of {source}: {error.strerror}') from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ToolkitError(
            f'{MANIFEST} of {source} is damaged: {layout.explain_damage(error)}'
        ) from error
    check_names(files, source)
    if missing := [name for name in NEEDED if name not in files]:
        raise ToolkitError(f'{source} is no whole run: {", ".join(missing)} is not listed in it')
    return files


def check_names(names: Iterable[str], source: str) -> None:
    """Checks that files have names of a shared run: known ones, or files in its plugins' folder.

    Raises:
        ToolkitError: a name leads out of the folder, is not known, or differs from another in case
            alone.
    """
    seen: dict[str, str] = {}
    for name in names:
        if not _is_known(name):
            raise ToolkitError(
                f'{source} names the file {name!r}, which no shared run has; nothing was written'
            )
        if (other := seen.setdefault(name.casefold(), name)) != name:
            raise ToolkitError(
                f'{source} names {other!r} and {name!r}, which are one file on some disks; rename '
                'one of them'
            )


def _is_known(name: str) -> bool:
    if name in (*RECORDS, CARD, TESTED_WEIGHTS, LAST_WEIGHTS):
        return True
    parts = PurePosixPath(name).parts
    return (
        len(parts) > 1
        and parts[0] == layout.PLUGINS
        and name == '/'.join(parts)
        and all(_PART.fullmatch(part) and not part.endswith(('.', ' ')) for part in parts)
        # Bytecode would run in place of the source that the user looks at.
        and '__pycache__' not in parts
        and not name.endswith(('.pyc', '.pyo'))
    )


def _parse_file(entry: Any) -> SharedFile:
    size, sha256 = entry['size'], entry['sha256']
    if type(size) is not int or size < 0 or not re.fullmatch('[0-9a-f]{64}', str(sha256)):
        raise ValueError(f'expected a size and a sha256, found {str(entry)[:80]}')
    return SharedFile(size, sha256)
