"""What `toolkit new` writes passes its checks as it is; nothing is overwritten or half-written."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.plugins_of_one_test import plugins_of_this_test  # noqa: F401
from toolkit.cli import main
from toolkit.config import load
from toolkit.config.checks.check import check
from toolkit.errors import RunError, ToolkitError
from toolkit.io import atomic_write
from toolkit.registry import plugin_index
from toolkit.scaffold.names import make_name
from toolkit.scaffold.new_files import write_new_files
from toolkit.scaffold.template_files import list_kinds_with_template

KINDS = [kind.name for kind in plugin_index.get_index().kinds]
QUICK = ('attention', 'sampler', 'hook', 'optimizer', 'scheduler', 'command', 'splitter', 'panel')
# No config names them.
WITHOUT_CONFIG = ('command', 'bench', 'splitter', 'auditor', 'panel')
ROOT = Path(__file__).parents[3]


def run_here(*command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, 'PYTHONPATH': str(ROOT)}
    return subprocess.run(
        [sys.executable, '-m', *command], capture_output=True, text=True, env=environment
    )


def test_each_kind_has_a_template():
    assert set(list_kinds_with_template()) == set(KINDS)


@pytest.mark.parametrize('kind', QUICK)
def test_a_new_component_keeps_its_contract(kind, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(['new', 'component', f'my_{kind}', '--kind', kind]) == 0
    files = {path.name for path in tmp_path.iterdir()}
    config = () if kind in WITHOUT_CONFIG else (f'my_{kind}.yaml',)
    assert files == {f'my_{kind}.py', f'test_my_{kind}.py', f'my_{kind}.md', *config}
    capsys.readouterr()
    assert main(['check-component', f'my_{kind}.py']) == 0
    told = capsys.readouterr()
    assert 'no fault found' in told.out and not told.err


@pytest.mark.slow
def test_all_that_is_written_passes_its_tests_and_ruff(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for kind in KINDS:
        assert main(['new', 'component', f'my_{kind}', '--kind', kind]) == 0
    for words in (['task', 'edges'], ['plugin', 'gate'], ['plugin', 'UpTwo', '--kind', 'loss']):
        assert main(['new', *words]) == 0
    found = run_here('pytest', '-q', '-p', 'no:cacheprovider', *map(str, tmp_path.glob('*.py')))
    assert found.returncode == 0 and f'{len(KINDS)} passed' in found.stdout, found.stdout
    for command in (['check'], ['format', '--check', '--line-length', '100']):
        style = ['--config', 'format.quote-style="single"'] if command[0] == 'format' else []
        found = run_here('ruff', *command, *style, str(tmp_path))
        assert found.returncode == 0, found.stdout + found.stderr
    for config in sorted(tmp_path.glob('**/*.yaml')):
        if not config.stem.startswith('study_'):
            loaded = load(config)
            loaded.use_plugins()
            assert check(loaded) == [], config
    for config in ('my_system.yaml', 'my_generator.yaml', 'edges/configs/edges.yaml'):
        assert main(['check', str(tmp_path / config), '--shapes']) == 0, capsys.readouterr().err


def test_nothing_is_overwritten(tmp_path, capsys):
    (tmp_path / 'my_gate.yaml').write_text('mine')
    words = ['new', 'component', 'MyGate', '--kind', 'attention', '--in', str(tmp_path)]
    assert main(words) == 2
    assert 'my_gate.yaml exists already' in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ['my_gate.yaml']
    assert main([*words[:-1], str(tmp_path / 'my_gate.yaml')]) == 2
    assert 'is no folder' in capsys.readouterr().err


def test_nothing_is_half_written(tmp_path, monkeypatch):
    kept = atomic_write.write

    def fail_at_second(path, text):
        if path.name == 'b':
            raise RunError('disk full')
        kept(path, text)

    monkeypatch.setattr(atomic_write, 'write', fail_at_second)
    with pytest.raises(RunError, match='disk full'):
        write_new_files(tmp_path / 'new', {'x/a': '1', 'x/b': '2'})
    assert not (tmp_path / 'new').exists()


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['component', '3d', '--kind', 'head'], "'3d' cannot name a class.*'d' would do|'D'"),
        (['component', 'my-head', '--kind', 'head'], "'MyHead' would do"),
        (['component', 'a b', '--kind', 'head'], "'AB' would do"),
        (['component', 'été', '--kind', 'head'], 'expected a letter'),
        (['component', '_x', '--kind', 'head'], "'X' would do"),
        (['component', 'class', '--kind', 'head'], "'class' is a keyword of Python"),
        (['component', 'Import', '--kind', 'head'], "'import' is a keyword of Python"),
        (['component', 'CBAM', '--kind', 'attention'], r"attention 'CBAM' exists already \(.*:\d+"),
        (['component', 'evaluate', '--kind', 'command'], "command 'evaluate' exists already"),
        (['component', 'Torch', '--kind', 'head'], "'torch' is the name of a module"),
        (['component', 'X', '--kind', 'atention'], "no kind .*did you mean 'attention'"),
        (['component', 'X'], 'which kind.*backbone, .*attention'),
        (['task', 'X', '--kind', 'head'], 'leave out --kind'),
        (['task', 'Classifier'], "the system 'Classifier' exists already"),
        (['plugins', 'X'], "'plugins' cannot be written; did you mean 'plugin'"),
        (['plugin', 'toolkit'], "'toolkit' is the name of a module"),
    ],
)
def test_a_bad_name_is_refused_with_the_reason(words, message, tmp_path, capsys):
    assert main(['new', *words, '--in', str(tmp_path / 'new')]) == 2
    told = capsys.readouterr().err
    assert re.search(message, told) and len(told.splitlines()) == 1, told
    assert not (tmp_path / 'new').exists()


def test_a_kind_without_a_template_says_where_one_belongs(tmp_path, capsys):
    plugin = tmp_path / 'with_a_kind.py'
    plugin.write_text(
        'from toolkit.registry import Kind\nBOXES = Kind("box_kind", "with_a_kind.Box")\n'
        'class Box: ...\n'
    )
    words = ['new', 'component', 'X', '--kind', 'box_kind', '--plugin', str(plugin)]
    assert main([*words, '--in', str(tmp_path)]) == 2
    assert 'write templates/box_kind.py.j2' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('text', 'spellings'),
    [
        ('BoxBlur', ('BoxBlur', 'box_blur', 'box-blur')),
        ('box_blur', ('BoxBlur', 'box_blur', 'box-blur')),
        ('HTTPReader2D', ('HTTPReader2D', 'http_reader2_d', 'http-reader2-d')),
        ('x', ('X', 'x', 'x')),
    ],
)
def test_a_name_has_three_spellings(text, spellings):
    name = make_name(text)
    assert (name.of_class, name.of_module, name.of_command) == spellings


def test_a_template_with_a_mistake_is_told(tmp_path):
    from toolkit.scaffold.template_files import render

    template = tmp_path / 'x.py.j2'
    template.write_text('{{ nothing }}')
    with pytest.raises(ToolkitError, match=r'x.py.j2 cannot be used.*nothing'):
        render(template, name='X')


@pytest.mark.parametrize(
    ('name', 'kind', 'reason'),
    [
        ('Tensor', 'loss', 'the new module uses itself'),
        ('Loss', 'loss', 'the new module uses itself'),
        ('Any', 'hook', 'the new module uses itself'),
        ('Warning', 'hook', 'the new module uses itself'),
        ('conftest', 'loss', 'a file that pytest or setuptools run'),
        ('Setup', 'loss', 'a file that pytest or setuptools run'),
        ('Box\n', 'loss', "cannot name a class of Python.*'Box' would do"),
    ],
)
@pytest.mark.parametrize('what', ['component', 'plugin', 'task'])
def test_a_name_that_would_break_the_new_module_is_refused(
    what, name, kind, reason, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    options = [] if what == 'task' else ['--kind', kind]
    if what == 'task' and name == 'Loss':
        pytest.skip('a task has no loss')
    assert main(['new', what, name, *options]) == 2
    assert re.search(reason, capsys.readouterr().err)
    assert not list(tmp_path.iterdir())
