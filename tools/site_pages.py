"""Pages that `mkdocs build` needs beside those of docs/: a hook that mkdocs.yml names.

Pages that lie beside the code they describe become pages of the site, links that leave docs/ lead
to them, and the Python reference is made from the docstrings.
"""

from __future__ import annotations

import base64
import json
import os.path
import re
from pathlib import Path, PurePosixPath
from typing import Any

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
# Page of the site by file of the repository.
OUTSIDE = {
    'README.md': 'project/readme.md',
    'SECURITY.md': 'project/security.md',
    'CHANGELOG.md': 'project/changelog.md',
    'plugins/ldpnet/README.md': 'systems/ldpnet.md',
    'plugins/csasn/README.md': 'systems/csasn.md',
    'plugins/timm_zoo/README.md': 'systems/timm_zoo.md',
}
API = {
    'Runs and systems': ['toolkit.run.loaded_run'],
    'Interfaces of components': ['toolkit.interfaces'],
    'Registries': ['toolkit.registry.kind', 'toolkit.registry.kinds'],
    'Tests of components': ['toolkit.testing.component'],
    'Pansharpening in memory': ['plugins.pansharpening.notebook'],
    'Metrics of pansharpening': ['plugins.pansharpening.metrics.functional'],
    'Metrics of classification': ['plugins.classification.metrics.functional'],
}
LINK = re.compile(r'(\[(?:[^\[\]]|\[[^\]]*\])*\])\(([^)\s]+)\)')
HEADING = re.compile(r'^#+ (.*)$', re.MULTILINE)
FENCE = re.compile(r'^```(\w+) ([^\s`]+)$', re.MULTILINE)


def on_files(files: Any, config: Any) -> Any:
    """Adds the pages that lie outside docs/, and the Python reference."""
    for source, page in OUTSIDE.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text()))
    files.append(File.generated(config, 'reference/api.md', content=_write_api()))
    for notebook in sorted((ROOT / 'docs' / 'notebooks').glob('*.ipynb')):
        text, images = _convert_notebook(notebook)
        files.append(File.generated(config, f'notebooks/{notebook.stem}.md', content=text))
        for name, content in images.items():
            files.append(File.generated(config, f'notebooks/{name}', content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Leads links to pages of the site; a fence that names its file shows the name as a title."""
    sources = {page: source for source, page in OUTSIDE.items()}
    source = sources.get(page.file.src_uri, f'docs/{page.file.src_uri}')

    def relink(found: re.Match[str]) -> str:
        text, target = found.groups()
        path, hash_, anchor = target.partition('#')
        if not path or '://' in path:
            return found[0]
        file = os.path.normpath(PurePosixPath(source).parent / path)
        if not (ROOT / file).exists():
            return found[0]  # mkdocs reports it
        goal = OUTSIDE.get(file)
        if goal is None and file.startswith('docs/') and (ROOT / file).is_file():
            goal = file.removeprefix('docs/')
            if goal.endswith('.ipynb') and not source.endswith(f'{Path(goal).stem}.md'):
                goal = str(Path(goal).with_suffix('.md'))  # the page that shows it
        if goal is None:  # a file or folder of the code, which has no page
            return text[1:-1]
        return f'{text}({os.path.relpath(goal, Path(page.file.src_uri).parent)}{hash_}{anchor})'

    return FENCE.sub(r'```\1 title="\2"', LINK.sub(relink, markdown))


def _convert_notebook(path: Path) -> tuple[str, dict[str, bytes]]:
    """Converts a notebook with its outputs to Markdown, and its pictures by file name."""
    parts, images = [], {}
    for cell in json.loads(path.read_text(encoding='utf-8'))['cells']:
        source = ''.join(cell['source'])
        parts.append(source if cell['cell_type'] == 'markdown' else f'```python\n{source}\n```')
        for output in cell.get('outputs', []):
            data = output.get('data', {'text/plain': output.get('text', '')})
            if 'image/png' in data:
                name = f'{path.stem}_{len(images) + 1}.png'
                images[name] = base64.b64decode(''.join(data['image/png']))
                parts.append(f'![Output of the cell above]({name})')
            elif 'text/markdown' in data:  # its headings are none of the page
                parts.append(HEADING.sub(r'**\1**', ''.join(data['text/markdown'])))
            else:
                parts.append(f'```text\n{"".join(data["text/plain"]).rstrip()}\n```')
    parts.append(f'This page is [a notebook]({path.name}).')
    return '\n\n'.join(parts), images


def _write_api() -> str:
    sections = [
        f'## {title}\n\n' + '\n'.join(f'::: {module}\n' for module in modules)
        for title, modules in API.items()
    ]
    return '# Python reference\n\nMade from the docstrings.\n\n' + '\n'.join(sections)
