"""What the pages that stand alone have in common: how templates are filled, and the look."""

from __future__ import annotations

from pathlib import Path

import jinja2

TEMPLATES = Path(__file__).with_name('templates')


def environment(folder: Path = TEMPLATES) -> jinja2.Environment:
    """Fills templates of a folder: values are escaped, one that is not given is an error."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def style() -> str:
    """The report's style sheet."""
    return (TEMPLATES / 'report.css').read_text(encoding='utf-8')
