"""Record of the plugins whose code this user has run or allowed, by their content.

It lies in the user's state folder and never in the folder of a run, so that nobody can send it
along with a run.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path

from toolkit.io.verification.hashing import hash_tree

RECORD = 'trusted_plugins.jsonl'

# Hashes that are trusted in this process alone, and whether it trusts every plugin.
_session: set[str] = set()
_allows_all = False


def find_record() -> Path:
    """Finds the file of the record: in $XDG_STATE_HOME, else in ~/.local/state.

    Source: XDG Base Directory Specification; a relative $XDG_STATE_HOME is invalid there, and would
    let a received folder bring a record of its own.
    """
    given = Path(os.environ.get('XDG_STATE_HOME', ''))
    state = given if given.is_absolute() else Path.home() / '.local' / 'state'
    return state / 'ablakit' / RECORD


def allow_all(allowed: bool) -> None:
    """Sets whether this process runs plugins that are not trusted yet, as `--trust` asks."""
    global _allows_all
    _allows_all = allowed


def allows_all() -> bool:
    """Tells whether this process runs plugins that are not trusted yet."""
    return _allows_all


def is_trusted(path: Path) -> bool:
    """Tells whether the content of a plugin, a file or a folder, has been trusted before."""
    content = hash_tree(path)
    return content in _session or content in _read()


def trust_in_process(path: Path) -> None:
    """Trusts the content of a plugin until this process ends."""
    _session.add(hash_tree(path))


def remember(paths: Iterable[Path]) -> bool:
    """Trusts the content of plugins from now on.

    Returns:
        False if the record cannot be written; the contents are then trusted in this process alone.
    """
    known = _read()
    lines = []
    for path in paths:
        content = hash_tree(path)
        _session.add(content)
        if content not in known:
            at = datetime.now(timezone.utc).isoformat(timespec='seconds')
            lines.append(json.dumps({'sha256': content, 'path': str(path), 'at': at}) + '\n')
    if not lines:
        return True
    record = find_record()
    try:
        record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # One short write in append mode: runs that start together do not lose each other's lines.
        with open(record, 'ab') as file:
            file.write(''.join(lines).encode())
    except OSError:
        return False
    return True


def _read() -> set[str]:
    try:
        text = find_record().read_text(encoding='utf-8', errors='replace')
    except (OSError, RuntimeError):  # no record yet, or a user without a home
        return set()
    found = set()
    for line in text.splitlines():
        try:
            found.add(str(json.loads(line)['sha256']))
        except (ValueError, KeyError, TypeError):
            continue  # a line that a full disk has cut
    return found
