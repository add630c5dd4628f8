"""Annotation files that are cut or damaged."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

from toolkit.errors import ToolkitError

SUFFIXES = ('.json', '.xml')


def damaged(folder: Path) -> tuple[dict[str, str], int]:
    """Files that cannot be read whole, with what is wrong, and how many were looked at.

    JSON is parsed; of XML also each text that begins like JSON, as in DDTI's `svg`.

    Raises:
        ToolkitError: no such folder, or none of these files in it.
    """
    if not folder.is_dir():
        raise ToolkitError(f'--annotations: no folder {folder}')
    files = sorted(path for path in folder.rglob('*') if path.suffix.lower() in SUFFIXES)
    if not files:
        raise ToolkitError(f'--annotations: {folder} has no files of {", ".join(SUFFIXES)}')
    found = {}
    for path in files:
        try:
            wrong = _wrong(path)
        except OSError as error:
            wrong = error.strerror or str(error)
        if wrong:
            found[path.relative_to(folder).as_posix()] = wrong
    return found, len(files)


def _wrong(path: Path) -> str:
    content = path.read_bytes()
    if not content.strip():
        return 'empty'
    if path.suffix.lower() == '.json':
        return _json(content)
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        return f'no XML: {error}'
    for element in root.iter():
        text = (element.text or '').strip()
        if text[:1] in ('[', '{') and (wrong := _json(text)):
            return f'<{element.tag}>: {wrong}'
    return ''


def _json(text: bytes | str) -> str:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        cut = error.pos >= len(error.doc.rstrip()) or error.msg.startswith('Unterminated')
        what = error.msg.removesuffix(' at')
        return f'{"cut" if cut else "damaged"} JSON: {what} at character {error.pos}'
    except (UnicodeDecodeError, RecursionError) as error:
        return f'no JSON: {error}'
    return ''
