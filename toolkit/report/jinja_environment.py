"""Jinja environment and style sheet that all HTML pages share."""

from __future__ import annotations

from pathlib import Path

import jinja2

TEMPLATES = Path(__file__).with_name('templates')


def make_environment(folder: Path = TEMPLATES) -> jinja2.Environment:
    """Makes an environment that escapes values and fails on undefined ones."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def read_style() -> str:
    """Reads the style sheet of the report."""
    return (TEMPLATES / 'report.css').read_text(encoding='utf-8')
