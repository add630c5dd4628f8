"""Runs notebooks and keeps their outputs, without what is of this machine: `make notebooks`."""

from __future__ import annotations

import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient


def run_notebook(path: Path) -> None:
    """Runs a notebook and writes its outputs into it."""
    notebook = nbformat.read(path, 4)
    NotebookClient(notebook, timeout=600, record_timing=False).execute()
    notebook.metadata.pop('language_info', None)
    for output in (output for cell in notebook.cells for output in cell.get('outputs', [])):
        data = output.get('data', {})
        if len(data) > 1:  # the text names paths, and the other form is shown
            data['text/plain'] = '...'
    nbformat.write(notebook, path)


if __name__ == '__main__':
    for name in sys.argv[1:]:
        run_notebook(Path(name))
