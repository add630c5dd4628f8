"""Finds annotation files that are cut or damaged."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

from toolkit.errors import ToolkitError

SUFFIXES = ('.json', '.xml')


def find_damaged(folder: Path) -> tuple[dict[str, str], int]:
    """Finds JSON and XML files that cannot be parsed.

    In XML, texts that begin like JSON are parsed too, as in DDTI's `svg`.

    Args:
        folder: folder with the files, which may lie in folders of it.
    Returns:
        The fault of each damaged file, by its path from the folder; and the number of all files.
    Raises:
        ToolkitError: there is no such folder, or it has no such files.
    """
    if not folder.is_dir():
        raise ToolkitError(f'--annotations: no folder {folder}')
    files = sorted(path for path in folder.rglob('*') if path.suffix.lower() in SUFFIXES)
    if not files:
        raise ToolkitError(f'--annotations: {folder} has no files of {", ".join(SUFFIXES)}')
    found = {}
    for path in files:
        try:
            fault = _find_fault(path)
        except OSError as error:
            fault = error.strerror or str(error)
        if fault:
            found[path.relative_to(folder).as_posix()] = fault
    return found, len(files)


def _find_fault(path: Path) -> str:
    content = path.read_bytes()
    if not content.strip():
        return 'empty'
    if path.suffix.lower() == '.json':
        return _find_json_fault(content)
    try:
        root = ElementTree.fromstring(content)
    except ElementTree.ParseError as error:
        return f'no XML: {error}'
    for element in root.iter():
        text = (element.text or '').strip()
        if text[:1] in ('[', '{') and (fault := _find_json_fault(text)):
            return f'<{element.tag}>: {fault}'
    return ''


def _find_json_fault(text: bytes | str) -> str:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        cut = error.pos >= len(error.doc.rstrip()) or error.msg.startswith('Unterminated')
        reason = error.msg.removesuffix(' at')
        return f'{"cut" if cut else "damaged"} JSON: {reason} at character {error.pos}'
    except (UnicodeDecodeError, RecursionError) as error:
        return f'no JSON: {error}'
    return ''
