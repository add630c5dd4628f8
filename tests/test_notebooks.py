"""The notebooks of the docs run, and give what they show."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / 'docs' / 'notebooks').glob('*.ipynb'))
NUMBER = re.compile(r'[-−]?\d+(?:\.\d+)?')


def list_outputs(notebook: Any) -> list[tuple[int, str]]:
    """The outputs as text with their cells; of a picture only that it is there."""
    found = []
    for number, cell in enumerate(notebook['cells']):
        for output in cell.get('outputs', []):
            assert output['output_type'] != 'error', output
            data = output.get('data', {'text/plain': output.get('text', '')})
            kind = next(k for k in ('image/png', 'text/markdown', 'text/plain') if k in data)
            text = 'picture' if kind == 'image/png' else ''.join(data[kind])
            found.append((number, text))
    return found


def test_notebooks_are_on_the_site_and_show_no_path_of_a_machine() -> None:
    assert len(NOTEBOOKS) == 3
    nav = (ROOT / 'mkdocs.yml').read_text()
    for path in NOTEBOOKS:
        assert f'notebooks/{path.stem}.md' in nav
        assert path.stat().st_size < 100_000
        notebook = json.loads(path.read_text(encoding='utf-8'))
        assert 'picture' in [text for _, text in list_outputs(notebook)]
        outputs = json.dumps([cell.get('outputs') for cell in notebook['cells']])
        assert not re.search(r'/(?:tmp|home|work|root|Users)/', outputs)
        for cell in notebook['cells']:
            if cell['cell_type'] == 'markdown':
                for target in re.findall(r'\]\(([^)#\s]+)\)', ''.join(cell['source'])):
                    assert (path.parent / target).exists(), target


@pytest.mark.slow
@pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_gives_what_it_shows(path: Path, tmp_path: Path, monkeypatch: Any) -> None:
    nbformat, nbclient = pytest.importorskip('nbformat'), pytest.importorskip('nbclient')
    commands = str(Path(sys.executable).parent)
    monkeypatch.setenv('PATH', f'{commands}{os.pathsep}{os.environ["PATH"]}')
    monkeypatch.setenv('TMPDIR', str(tmp_path))
    notebook = nbformat.read(path, 4)
    shown = list_outputs(notebook)
    resources = {'metadata': {'path': str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=600, resources=resources).execute()
    found = list_outputs(notebook)
    assert [NUMBER.sub('#', t) for _, t in found] == [NUMBER.sub('#', t) for _, t in shown]
    for (cell, here), (_, there) in zip(found, shown, strict=True):
        here, there = (
            [float(n.replace('−', '-')) for n in NUMBER.findall(t)] for t in (here, there)
        )
        assert here == pytest.approx(there, rel=0.02), f'cell {cell}: run `make notebooks`'
