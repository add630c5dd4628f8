"""The command line: quick where it can be, one line where it must."""

from __future__ import annotations

import subprocess
import sys

import pytest

from toolkit.cli import main
from toolkit.registry import COMMANDS, plugin_index

CONFIG = 'ldpnet/ldpnet_2022_synthetic'


def status(*argv):
    """Exit status, also where argparse exits by itself."""
    try:
        return main(argv)
    except SystemExit as error:
        return error.code


@pytest.mark.parametrize(
    'argv',
    [
        ['--help'],
        ['train', '--help'],
        ['predict', '--help'],
        ['study', '--help'],
        ['list'],
        ['list', 'attention'],
        ['show', CONFIG],
        ['show', CONFIG, '--origins', 'model.generator.width=8'],
        ['diff', CONFIG, 'ldpnet/ldpnet_2022_wv2'],
    ],
)
def test_light_commands_import_neither_torch_nor_mmengine(argv):
    code = (
        'import sys\nfrom toolkit.cli import main\n'
        'try:\n    done = main(sys.argv[1:])\nexcept SystemExit as error:\n    done = error.code\n'
        'assert not done, done\n'
        'heavy = {"torch", "mmengine", "numpy", "rich"} & set(sys.modules)\n'
        'assert not heavy, heavy'
    )
    done = subprocess.run([sys.executable, '-c', code, *argv], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_what_show_prints_is_the_same_config(tmp_path, capsys):
    assert status('show', CONFIG) == 0
    (tmp_path / 'shown.yaml').write_text(capsys.readouterr().out)
    assert status('diff', CONFIG, str(tmp_path / 'shown.yaml')) == 0
    assert capsys.readouterr().out == 'no difference: both configs run the same\n'


def test_show_tells_origins(capsys):
    assert status('show', CONFIG, '--origins', 'train_cfg.max_epochs=3') == 0
    lines = capsys.readouterr().out.split('\n')
    (width,) = [line for line in lines if line.strip().startswith('generator:')]
    assert '_base_/models/ldpnet_2022.yaml:' in width
    (epochs,) = [line for line in lines if line.strip().startswith('max_epochs:')]
    assert epochs.endswith('# command line')


def test_diff_applies_overrides_to_the_second(capsys):
    assert status('diff', CONFIG, CONFIG, 'model.losses.kl=null', 'model.generator.width=8') == 0
    out = capsys.readouterr().out
    assert 'removed (1)\n  model.losses.kl: - ' in out
    assert '  model.generator.width: 16 -> 8' in out


def test_diff_with_cost(capsys):
    assert status('diff', CONFIG, CONFIG, 'model.bands=8', '--cost') == 0
    assert 'parameters: 107,445 -> 131,221' in capsys.readouterr().out


def test_check_with_shapes(capsys):
    assert status('check', CONFIG, '--shapes', '--size', '64') == 0
    rows = capsys.readouterr().out.split('\n')
    assert rows[0].split() == ['component', 'class', 'output', 'parameters', 'MACs']
    (generator,) = [row.split() for row in rows if row.startswith('model.generator ')]
    assert generator[1:6] == ['LDPNet', '(1,', '4,', '64,', '64)']


@pytest.mark.parametrize(
    ('argv', 'expected'),
    [
        (['chek', CONFIG], "; did you mean 'check'? (see toolkit --help)"),
        (['study', 'x', '--rerun', 'chaged'], "; did you mean 'changed'?"),
        (['show'], 'which CONFIG?'),
        (['show', CONFIG, 'another'], 'one config expected, found 2'),
        (
            ['show', CONFIG, '--orgins'],
            "unrecognized arguments: --orgins; did you mean '--origins'?",
        ),
        (['train', CONFIG], 'name the folder of the run: --work-dir DIR'),
        (['show', CONFIG, 'model.widht=3'], "no key 'model.widht'"),
        (['list', 'backbon'], "no kind is named 'backbon'; did you mean 'backbone'?"),
        (['list', '--plugin', 'nowhere.py'], 'no plugin file '),
        (['check', CONFIG, '--plugin', 'no_module'], "no plugin module 'no_module'"),
    ],
)
def test_mistakes_are_one_line_and_status_2(argv, expected, capsys):
    assert status(*argv) == 2
    captured = capsys.readouterr()
    assert expected in captured.err
    assert captured.err.count('\n') == 1
    assert captured.out == ''


def test_the_config_may_stand_after_options(tmp_path, capsys):
    # Not found, and so looked for: the word was taken as the config.
    assert status('train', '--work-dir', str(tmp_path / 'w'), 'no_config.yaml') == 2
    assert 'no_config' in capsys.readouterr().err


def test_overrides_may_stand_anywhere(capsys):
    assert status('show', 'model.generator.width=8', CONFIG, '--origins', 'model.bands=8') == 0
    out = capsys.readouterr().out
    assert 'width: 8' in out
    assert 'bands: 8' in out


def test_plugins_add_commands(tmp_path, monkeypatch, capsys):
    (tmp_path / 'my_commands.py').write_text(
        'from toolkit.registry import COMMANDS\n'
        'from toolkit.registry.command import Command\n\n\n'
        "@COMMANDS.register(name='greet')\n"
        'class Greet(Command):\n'
        '    """Say hello.\n\n    Args: none.\n    """\n\n'
        '    @classmethod\n'
        '    def add_arguments(cls, parser):\n'
        "        parser.add_argument('--name', required=True)\n\n"
        '    def run(self, arguments):\n'
        "        print(f'hello {arguments.name}')\n"
        '        return 3\n'
    )
    for attribute in ('_roots', '_failures'):
        monkeypatch.setattr(plugin_index, attribute, dict(getattr(plugin_index, attribute)))
    monkeypatch.setattr(plugin_index, '_path_roots', set(plugin_index._path_roots))
    monkeypatch.setattr(plugin_index, '_index', None)
    monkeypatch.setattr(COMMANDS, '_module_dict', dict(COMMANDS._module_dict))
    plugin_index.add(str(tmp_path / 'my_commands.py'))
    assert status('greet', '--name', 'you') == 3
    assert capsys.readouterr().out == 'hello you\n'
    assert status('greet') == 2
    assert 'the following arguments are required: --name' in capsys.readouterr().err
    assert status('--help') == 0
    assert 'greet' in capsys.readouterr().out
    sys.modules.pop('my_commands')


def test_a_command_of_a_plugin_file_is_listed_and_runs(tmp_path, capsys, monkeypatch):
    for name in ('_roots', '_failures'):
        monkeypatch.setattr(plugin_index, name, dict(getattr(plugin_index, name)))
    monkeypatch.setattr(plugin_index, '_index', None)
    monkeypatch.setattr(COMMANDS, '_module_dict', dict(COMMANDS._module_dict))
    path = tmp_path / 'my_greeting.py'
    path.write_text(
        'from toolkit.registry import COMMANDS\n'
        'from toolkit.registry.command import Command\n\n\n'
        "@COMMANDS.register(name='greet')\n"
        'class Greet(Command):\n'
        "    '''Greet somebody.'''\n\n"
        '    @classmethod\n'
        '    def add_arguments(cls, parser):\n'
        "        parser.add_argument('name')\n\n"
        '    def run(self, arguments):\n'
        "        print(f'good day, {arguments.name}')\n"
        '        return 0\n'
    )
    assert main(['list', '--commands', '--plugin', str(path)]) == 0
    assert 'greet' in capsys.readouterr().out
    for words in (['greet', 'Ada', '--plugin', str(path)], [f'--plugin={path}', 'greet', 'Ada']):
        assert main(words) == 0
        assert capsys.readouterr().out == 'good day, Ada\n'
