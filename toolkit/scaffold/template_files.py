"""Templates of new files: those of the toolkit, and those that plugins bring for kinds.

A plugin keeps them in its folder `templates`: `KIND.py.j2`, and `KIND.yaml.j2` if configs name
components of that kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2

from toolkit.errors import ToolkitError, did_you_mean
from toolkit.registry import plugin_index

FOLDER = 'templates'
_OWN = Path(__file__).with_name(FOLDER)


def find_template(name: str) -> Path | None:
    """Finds a template by its name in the toolkit, else in a plugin; None if there is none."""
    return next((f / name for f in _list_folders() if (f / name).is_file()), None)


def render(template: Path, **values: Any) -> str:
    """Renders a template with values by name.

    Raises:
        ToolkitError: the template has an error.
    """
    environment = jinja2.Environment(
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    try:
        return environment.from_string(template.read_text(encoding='utf-8')).render(values)
    except (jinja2.TemplateError, UnicodeDecodeError) as error:
        raise ToolkitError(f'the template {template} cannot be used: {error}') from error


def find_kind_template(kind: str) -> Path:
    """Finds the template of the components of a kind.

    Raises:
        ToolkitError: no such kind, or no template of it.
    """
    known = [declared.name for declared in plugin_index.get_index().kinds]
    if kind not in known:
        hint = did_you_mean(kind, known) or f'; there are: {", ".join(known)}'
        raise ToolkitError(f'no kind is named {kind!r}{hint}')
    if found := find_template(f'{kind}.py.j2'):
        return found
    raise ToolkitError(
        f'there is no template of the kind {kind!r}; write {FOLDER}/{kind}.py.j2 in the plugin '
        'that declares it (docs/guides/plugins.md)'
    )


def list_kinds_with_template() -> list[str]:
    """Lists the kinds of which there is a template."""
    kinds = [declared.name for declared in plugin_index.get_index().kinds]
    return [kind for kind in kinds if find_template(f'{kind}.py.j2')]


def _list_folders() -> Iterator[Path]:
    yield _OWN
    for root in plugin_index.get_roots().values():
        if root.is_dir():
            yield from (folder for folder in (root / FOLDER, *sorted(root.glob(f'*/{FOLDER}'))))
