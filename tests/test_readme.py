"""The README's commands run as printed: files it shows are written, its shell blocks are run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / 'README.md'
FENCE = re.compile(r'^```(\w+)(?: +(\S+))?\n(.*?)^```$', re.MULTILINE | re.DOTALL)


def blocks():
    """(language, file name or '', text) of every fenced block, in order."""
    return [(m[1], m[2] or '', m[3]) for m in FENCE.finditer(README.read_text())]


def test_readme_shows_files_and_commands():
    languages = [language for language, _, _ in blocks()]
    assert languages.count('bash') >= 4
    assert any(name.endswith('.yaml') for _, name, _ in blocks())
    assert any(name.endswith('.py') for _, name, _ in blocks())


def test_links_lead_somewhere():
    targets = re.findall(r'\]\(([^)#]+)\)', README.read_text())
    assert targets
    for target in targets:
        if not target.startswith(('http://', 'https://')):
            assert (ROOT / target).exists(), target


@pytest.mark.slow
def test_every_command_runs(tmp_path):
    """In an empty folder, with only the installed command; `make` has its own targets to test."""
    environment = {
        **os.environ,
        'PATH': f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}',
    }
    environment.pop('TOOLKIT_DATA', None)
    ran = 0
    for language, name, text in blocks():
        if name:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        elif language == 'bash' and 'make ' not in text:
            done = subprocess.run(
                ['bash', '-euo', 'pipefail', '-c', text],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=600,
            )
            assert done.returncode == 0, f'{text}\n{done.stdout}\n{done.stderr}'
            assert 'Traceback' not in done.stderr
            ran += 1
    assert ran >= 4


def test_the_parts_reference_is_fresh():
    done = subprocess.run(
        [sys.executable, '-m', 'toolkit', 'list', '--markdown'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    fresh = (ROOT / 'docs' / 'reference' / 'components.md').read_text() == done.stdout
    assert fresh, 'stale: run `toolkit list --markdown > docs/reference/components.md`'
