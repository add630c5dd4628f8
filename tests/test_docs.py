"""Every command and code block of the README and the docs works as printed.

Blocks of `bash` run in one folder per page, after the blocks of `yaml` and `python` that carry a
file name were written there. Blocks of `console` are examples on a reader's own files: their
options must exist. Other YAML and Python must parse.
"""

from __future__ import annotations

import ast
import functools
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from toolkit.config.find import find_config, list_configs, list_studies

ROOT = Path(__file__).parents[1]
FENCE = re.compile(r'^```(\w*)(?: +(\S+))?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
PAGES = [ROOT / 'README.md', *sorted((ROOT / 'docs').rglob('*.md'))]
PAGES += sorted((ROOT / 'plugins').rglob('README.md'))
# Arguments of `toolkit` by file in docs/reference.
GENERATED = {'components.md': 'list --markdown', 'commands.md': 'list --commands --markdown'}


class Block(NamedTuple):
    language: str
    name: str
    text: str


@functools.cache
def blocks(page: Path) -> tuple[Block, ...]:
    return tuple(Block(m[1], m[2] or '', m[3]) for m in FENCE.finditer(page.read_text()))


def shown(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def run_by(page: Path) -> list[Block]:
    return [b for b in blocks(page) if b.language == 'bash' and 'pip install' not in b.text]


@functools.cache
def help_of(*command: str) -> str:
    done = subprocess.run(
        [sys.executable, '-m', 'toolkit', *command, '--help'],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, 'COLUMNS': '200'},
    )
    assert done.returncode == 0, f'toolkit {" ".join(command)}: {done.stderr}'
    return done.stdout


def commands(page: Path) -> list[list[str]]:
    """The `toolkit` command lines that a page shows on a reader's own files."""
    found = []
    for block in blocks(page):
        if block.language in ('console', 'bash', ''):
            text = block.text.replace('\\\n', ' ')
            lines = [line.removeprefix('$ ').strip() for line in text.splitlines()]
            found += [
                shlex.split(line, comments=True)[1:]
                for line in lines
                if line.startswith('toolkit ')
            ]
    return found


@pytest.mark.parametrize('page', PAGES, ids=shown)
def test_links_lead_somewhere(page: Path) -> None:
    for target, heading in re.findall(r'\]\(([^)#\s]*)#?([^)\s]*)\)', page.read_text()):
        if target.startswith(('http://', 'https://')):
            continue
        linked = page.parent / target if target else page
        assert linked.exists(), target
        if heading and linked.suffix == '.md':
            assert heading in list_anchors(linked), f'{target}#{heading}'


def list_anchors(page: Path) -> set[str]:
    """Lists the anchors of the headings of a page."""
    headings = re.findall(r'^#+ (.+)$', FENCE.sub('', page.read_text()), re.M)
    return {re.sub(r'[^\w\- ]', '', heading.lower()).replace(' ', '-') for heading in headings}


@pytest.mark.parametrize('page', PAGES, ids=shown)
def test_named_files_and_modules_exist(page: Path) -> None:
    """Those of the checkout, of which prose says where something is."""
    text = FENCE.sub('', page.read_text())
    named = re.findall(r'`((?:toolkit|plugins|tests|tools)/[\w/.-]*)`', text)
    assert [path for path in named if not (ROOT / path).exists()] == []
    for dotted in re.findall(r'`((?:toolkit|plugins)(?:\.\w+)+)[`(]', text):
        names = dotted.split('.')
        module = next(
            (
                found
                for n in range(len(names), 0, -1)
                for found in (
                    ROOT.joinpath(*names[:n]).with_suffix('.py'),
                    ROOT.joinpath(*names[:n], '__init__.py'),
                )
                if found.is_file()
            ),
            None,
        )
        assert module is not None, dotted
        known = module.relative_to(ROOT).with_suffix('').parts
        rest = names[len([part for part in known if part != '__init__']) :]
        assert all(re.search(rf'\b{name}\b', module.read_text()) for name in rest), dotted


@pytest.mark.parametrize('page', PAGES, ids=shown)
def test_blocks_parse(page: Path) -> None:
    for block in blocks(page):
        if block.language == 'yaml':
            for document in yaml.safe_load_all(block.text):
                assert document is not None, block.text
        elif block.language == 'python':
            ast.parse(block.text)
        elif block.language == 'bash':
            done = subprocess.run(['bash', '-n', '-c', block.text], capture_output=True, text=True)
            assert done.returncode == 0, done.stderr


# A plugin's predictor has options of its own.
EXAMPLES = sorted((ROOT / 'docs' / 'examples').glob('*/*.py'))


@pytest.mark.parametrize('page', PAGES, ids=shown)
def test_commands_and_options_exist(page: Path) -> None:
    reference = (ROOT / 'docs' / 'reference' / 'commands.md').read_text()
    for line in commands(page):
        name = line[1] if line[0] == 'bench' and len(line) > 1 else None
        command = ('bench', name) if name and not name.startswith('-') else (line[0],)
        text = help_of(*command)
        for option in [word.split('=')[0] for word in line if re.match(r'--[a-z]', word)]:
            if line[0] in ('predict', 'export'):  # the options of its task come with the config
                text = reference.split(f'\n## toolkit {line[0]}\n')[1].split('\n## ')[0]
                text += ''.join(path.read_text() for path in EXAMPLES)
            assert option in text, f'toolkit {" ".join(line)}: no option {option}'


@pytest.mark.parametrize('page', PAGES, ids=shown)
def test_named_configs_exist(page: Path) -> None:
    shipped = {*list_configs(), *list_studies()}
    folders = {name.split('/')[0] for name in shipped}
    for line in commands(page):
        for word in line[1:]:
            if re.fullmatch(r'[a-z_]+(/[a-z0-9_]+)+', word) and word.split('/')[0] in folders:
                assert word in shipped, f'toolkit {" ".join(line)}: no config {word}'
                find_config(word, 'study' if '/studies/' in word else 'config')


def shorten(block: Block) -> str:
    """The text of a block, with keys that make the runs of LDP-Net short.

    The drawn scene has a 16th of its pixels, and a study without a budget trains 20 iterations.
    """
    keys = set(re.findall(r'^(\w+):', block.text, re.MULTILINE))
    text = block.text
    if re.search(r'^_base_: ldpnet/', text, re.MULTILINE) and 'test_dataloader' not in keys:
        text += 'test_dataloader: {dataset: {scene: {size: 256}}}\n'
    elif re.search(r'^base: ldpnet/', text, re.MULTILINE) and 'common' not in keys:
        text += 'common: {test_dataloader.dataset.scene.size: 256}\n'
    if {'study', 'base'} <= keys and 'budget' not in keys:
        text += 'budget: {iterations: 20}\n'
    return text


def test_only_keys_that_shorten_a_run_are_added() -> None:
    """Twelve trainings of 150 iterations and tests of a million pixels prove no more."""
    allowed = {
        'budget': {'iterations': 20},
        'common': {'test_dataloader.dataset.scene.size': 256},
        'test_dataloader': {'dataset': {'scene': {'size': 256}}},
    }
    cut = [b for page in PAGES for b in blocks(page) if b.name and shorten(b) != b.text]
    assert {'study.yaml', 'first.yaml'} <= {block.name for block in cut}
    for block in cut:
        shown, run = (yaml.safe_load(text) for text in (block.text, shorten(block)))
        added = {key: run.pop(key) for key in run.keys() - shown.keys()}
        assert shown == run
        assert added == {key: allowed[key] for key in added}


@pytest.mark.slow
@pytest.mark.parametrize('page', [page for page in PAGES if run_by(page)], ids=shown)
def test_every_command_runs(page: Path, tmp_path: Path) -> None:
    """In an empty folder, with only the installed command; `make` has its own targets to test.

    A page's files make as many runs as they say, but smaller ones (`shorten`).
    """
    environment = {
        **os.environ,
        'PATH': f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}',
    }
    environment.pop('TOOLKIT_DATA', None)
    for block in blocks(page):
        if block.name:
            (tmp_path / block.name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / block.name).write_text(shorten(block))
        elif block in run_by(page):
            done = subprocess.run(
                ['bash', '-euo', 'pipefail', '-c', block.text],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=1800,
            )
            assert done.returncode == 0, f'{block.text}\n{done.stdout}\n{done.stderr}'
            assert 'Traceback' not in done.stderr


def test_the_first_pages_are_run() -> None:
    """The README and the first guide show files and commands that a test runs."""
    for page in (ROOT / 'README.md', ROOT / 'docs' / 'getting_started.md'):
        assert len(run_by(page)) >= 2, page
        assert any(b.name.endswith('.yaml') for b in blocks(page)), page


@pytest.mark.parametrize(('file', 'arguments'), GENERATED.items())
def test_generated_references_are_fresh(file: str, arguments: str) -> None:
    path = ROOT / 'docs' / 'reference' / file
    if not path.exists():
        pytest.skip(f'{path.relative_to(ROOT)} is not written')
    done = subprocess.run(
        [sys.executable, '-m', 'toolkit', *arguments.split()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    stale = f'stale: run `toolkit {arguments} > {path.relative_to(ROOT)}`'
    assert path.read_text() == done.stdout, stale
