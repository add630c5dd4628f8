"""Checks that files of weights and features still hold what was written: no bit has flipped.

torch writes a CRC-32 for each record of a checkpoint, and does not compare it when it loads one.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

from toolkit.errors import ToolkitError
from toolkit.io.verification.hashing import read_digest

# Added to the name of a file for the file of its digest: `sha256sum FILE > FILE.sha256`.
SIDECAR = '.sha256'
_CHUNK = 1 << 20
# torch packs no records. Weights that somebody has packed shrink by a few per cent.
LARGEST = 1 << 28
MOST_RATIO = 10


class DamagedFileError(ToolkitError):
    """A file whose content is not what was written."""


def check_file(path: Path) -> None:
    """Checks the checksums that a file has: of its records (zip, such as .pth), and in a side file.

    Raises:
        DamagedFileError: one does not match, or the records unpack to far more than the file has;
            names the file and the record.
        OSError: the file cannot be read.
    """
    sidecar = path.with_name(path.name + SIDECAR)
    if sidecar.is_file():
        _check_digest(path, sidecar)
    if zipfile.is_zipfile(path):
        _check_records(path)


def compute_checksum(content: bytes | memoryview) -> int:
    """Computes the CRC-32 of bytes."""
    return zlib.crc32(content)


def _check_records(path: Path) -> None:
    record = ''
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            _check_sizes(path, entries)
            for entry in entries:
                record = entry.filename
                with archive.open(entry) as file:
                    while file.read(_CHUNK):
                        pass  # the end of a record that does not match raises
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        named = f'its record {record}' if record else 'its table of records'
        raise DamagedFileError(
            f'{path} is damaged: {named} is not what was written ({_describe(error)})'
        ) from error
    except zlib.error as error:
        raise DamagedFileError(f'{path} is damaged: its record {record}: {error}') from error


def _check_sizes(path: Path, entries: Sequence[zipfile.ZipInfo]) -> None:
    """Refuses an archive that is far larger once it is unpacked, or whose records overlap.

    Raises:
        DamagedFileError: it is.
    """
    size = path.stat().st_size
    packed = sum(entry.compress_size for entry in entries)
    unpacked = sum(entry.file_size for entry in entries)
    if packed > size:
        raise DamagedFileError(
            f'{path} is damaged: its records state {packed} bytes, and it has {size}'
        )
    if unpacked > LARGEST and unpacked > MOST_RATIO * size:
        raise DamagedFileError(
            f'{path} is refused: it takes {size / 1e6:.1f} MB and unpacks to '
            f'{unpacked / 1e9:.1f} GB; weights do not compress so far'
        )


def _describe(error: Exception) -> str:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    return 'its CRC-32 differs' if 'CRC-32' in text else text[:100]


def _check_digest(path: Path, sidecar: Path) -> None:
    words = sidecar.read_text(encoding='utf-8', errors='replace').split()
    found = read_digest(path)
    if not words or words[0].lower() != found:
        raise DamagedFileError(
            f'{path} is damaged or another file: its sha256 is {found[:16]}..., and '
            f'{sidecar.name} says {words[0][:16] + "..." if words else "nothing"}'
        )
