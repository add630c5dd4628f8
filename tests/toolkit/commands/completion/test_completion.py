"""Tab completes commands, options, configs, components and the paths of overrides."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from toolkit.cli import build_parser, main
from toolkit.commands import BUILTIN_COMMANDS
from toolkit.commands.completion import complete, scripts, words
from toolkit.config.find import list_configs

WORDS = {
    'commands': {
        'options': {'--version': None},
        'arguments': [],
        'commands': {
            'train': {
                'options': {
                    '--work-dir': {'choices': []},
                    '--style': {'choices': ['text', 'tex']},
                    '--resume': None,
                },
                'arguments': ['config', 'overrides'],
                'commands': {},
            },
            'list': {'options': {}, 'arguments': ['kind', 'name'], 'commands': {}},
            'bench': {
                'options': {},
                'arguments': [],
                'commands': {'scene': {'options': {}, 'arguments': [], 'commands': {}}},
            },
        },
    },
    'names': {'config': ['a/net', 'a/other', 'b/net']},
    'components': {'loss': ['L1', 'L2'], 'head': ['Linear']},
    'paths': {'a/net': ['model.width=', 'model=']},
}


@pytest.mark.parametrize(
    ('line', 'found'),
    [
        ('toolkit tr', ['train']),
        ('toolkit train a/', ['a/net', 'a/other']),
        ('toolkit train --re', ['--resume']),
        ('toolkit train --style te', ['tex', 'text']),
        ('toolkit train --work-dir x', []),
        ('toolkit train --work-dir a a/n', ['a/net']),
        ('toolkit train --resume a/net model.', ['model.width=']),
        ('toolkit train a/net model.width=3 mo', ['model.width=', 'model=']),
        ('toolkit train a/other mo', []),
        ('toolkit list l', ['loss']),
        ('toolkit list loss ', ['L1', 'L2']),
        ('toolkit list lost ', []),
        ('toolkit bench s', ['scene']),
        ('toolkit nothing x', []),
    ],
)
def test_words_of_a_line(line, found):
    *before, current = line.split(' ')
    assert complete.complete(WORDS, before, current) == found


@pytest.mark.slow
def test_all_commands_configs_components_and_paths_are_collected():
    found = words.collect_words(build_parser())
    commands = found['commands']['commands']
    assert set(commands) >= set(BUILTIN_COMMANDS) | {'evaluate', 'pansharpen'}
    assert commands['train']['arguments'] == ['config', 'overrides']
    assert commands['study']['arguments'] == ['study']
    assert '--work-dir' in commands['train']['options']
    assert 'scene' in commands['bench']['commands']
    assert found['names']['config'] == list_configs() == list(found['paths'])
    assert 'CBAM' in found['components']['attention']
    assert 'model.generator.width=' in found['paths']['ldpnet/ldpnet_2022']
    assert all(found['paths'].values())


def test_the_program_imports_the_standard_library_alone():
    tree = ast.parse(scripts.PROGRAM.read_text())
    names = {alias.name for n in ast.walk(tree) if isinstance(n, ast.Import) for alias in n.names}
    names |= {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    assert {name.split('.')[0] for name in names} <= sys.stdlib_module_names


@pytest.fixture
def kept(tmp_path, monkeypatch):
    """The environment of a shell whose words are those above, newer than all sources."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    monkeypatch.chdir(tmp_path)
    file = Path(complete.words_file())
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(WORDS))
    return file


SHELLS = {
    'bash': """{script}
COMP_WORDS=(toolkit train a/net model.w); COMP_CWORD=3; _toolkit 2>/dev/null; echo "$COMPREPLY" """,
    'fish': '{script}\ncomplete -C "toolkit train a/net model.w"',
    'zsh': """compdef() {{ :; }}; functions[compdef]=:; compadd() {{ print -- $@[-1] }}
{script}
words=(toolkit train a/net model.w); CURRENT=4; _toolkit""",
}


@pytest.mark.parametrize('shell', SHELLS)
def test_a_shell_gets_the_path_of_an_override(shell, kept):
    if shutil.which(shell) is None:
        pytest.skip(f'{shell} is not installed')
    line = SHELLS[shell].format(script=scripts.make_script(shell))
    done = subprocess.run([shell, '-c', line], capture_output=True, text=True)
    assert done.stdout.split() == ['model.width='], done.stderr


def ask(*line):
    argv = [sys.executable, '-I', '-S', str(scripts.PROGRAM), *line]
    return subprocess.run(argv, capture_output=True, text=True)


def test_damaged_words_print_nothing_and_are_written_anew(kept):
    kept.write_text('{"commands": ')
    done = ask('toolkit', '--', 'tr')
    assert (done.returncode, done.stdout, done.stderr) == (1, '', '')
    assert not kept.exists()


def test_older_words_are_used_while_they_are_written_anew(kept, monkeypatch):
    os.utime(kept, (1, 1))
    started = []
    monkeypatch.setattr(subprocess, 'Popen', lambda argv, **options: started.append(argv))
    assert complete.read_words() == WORDS
    assert complete.read_words() == WORDS  # a second press of Tab starts no second writer
    assert [argv[-2:] for argv in started] == [['completion', '--write-words']]


def test_paths_of_a_config_of_ones_own_are_kept_until_it_changes(kept, monkeypatch):
    Path('mine.yaml').write_text('_base_: ldpnet/ldpnet_2022_demo\nextra: {mine: 1}\n')
    assert main(['completion', '--write-paths', 'mine.yaml']) == 0
    monkeypatch.setattr(subprocess, 'run', lambda *_, **__: pytest.fail('written again'))
    found = complete.complete(WORDS, ['toolkit', 'train', 'mine.yaml'], 'extra.')
    assert found == ['extra.mine=']
    assert complete.read_paths('nothing.yaml') == []


def test_a_shell_must_be_named(capsys):
    assert main(['completion']) == 2
    assert capsys.readouterr().err == 'expected a shell: bash, fish, zsh\n'
