"""A run that comes from somebody else runs none of its code before the user allows it."""

from __future__ import annotations

import importlib.util
import json
import py_compile
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from plugins.pansharpening.interfaces import GENERATORS
from tests.support.study_folders import CAPSULE
from toolkit import cli
from toolkit.config import load
from toolkit.config.dump import dump
from toolkit.config.run_plugins import UntrustedPluginError
from toolkit.errors import ToolkitError
from toolkit.io.verification import plugin_trust
from toolkit.io.verification.hashing import hash_tree
from toolkit.registry import plugin_index
from toolkit.run import kept_plugins
from toolkit.run.load_run import load_trained

PLUGIN = """
from pathlib import Path
from torch import nn
from plugins.pansharpening.interfaces import GENERATORS, Generator

Path({fuse!r}).touch()


@GENERATORS.register
class Mine(Generator):
    halo = 0

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(bands, bands, 1)

    def forward(self, lrms_up, pan):
        return self.layer(lrms_up)
"""
COMMANDS = {
    'check': ['check', '{run}/config.yaml'],
    'diff': ['diff', '--cost', '{run}/config.yaml', '{run}/config.yaml'],
    'test': ['test', '--run', '{run}'],
    'predict': ['predict', '--run', '{run}', '--output', '{run}/x.tif'],
    'rerun': ['rerun', '{run}'],
    'train': ['train', '{run}/config.yaml', '--work-dir', '{run}-new'],
    'resume': ['train', '{run}/config.yaml', '--resume', '--work-dir', '{run}'],
    'report': ['report', '{run}'],
    'show': ['show', '{run}/config.yaml'],
}


@pytest.fixture(autouse=True)
def new_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A user who has not trusted anything, in this process either."""
    monkeypatch.setenv('XDG_STATE_HOME', str(tmp_path / 'state'))
    monkeypatch.setattr(plugin_trust, '_session', set())
    for attribute in ('_roots', '_failures'):
        monkeypatch.setattr(plugin_index, attribute, dict(getattr(plugin_index, attribute)))
    monkeypatch.setattr(plugin_index, '_path_roots', set(plugin_index._path_roots))
    monkeypatch.setattr(plugin_index, '_index', plugin_index.get_index())
    monkeypatch.setattr(GENERATORS, '_module_dict', dict(GENERATORS._module_dict))
    yield
    for name in ('mine', 'pack', 'pack.part'):
        sys.modules.pop(name, None)
    plugin_trust.allow_all(False)


@pytest.fixture
def received(tmp_path: Path) -> Path:
    """The folder of a run with a plugin, from a machine on which the plugin lay elsewhere."""
    run = tmp_path / 'received'
    config = load('ldpnet/ldpnet_2022_synthetic', ['model.generator.type=LDPNet'])
    config.tree['model']['generator'] = {'type': 'Mine'}
    config.tree['plugins'] = ['/another/machine/mine.py']
    (run / 'plugins').mkdir(parents=True)
    (run / 'plugins' / 'mine.py').write_text(PLUGIN.format(fuse=str(tmp_path / 'ran')))
    (run / 'config.yaml').write_text(dump(config.tree))
    (run / 'origins.json').write_text('{}')
    (run / 'capsule.json').write_text(json.dumps({**CAPSULE, 'config': config.tree}))
    return run


def call(command: str, run: Path, *more: str) -> int:
    return cli.main([*(word.format(run=run) for word in COMMANDS[command]), *more])


def test_commands_name_the_code_and_ask(
    received: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(received.rglob('*'))
    for command in COMMANDS:
        if command in ('report', 'show'):
            continue
        assert call(command, received) == 2, command
        error = capsys.readouterr().err
        assert str(received / 'plugins' / 'mine.py') in error
        assert hash_tree(received / 'plugins' / 'mine.py')[:12] in error
        assert '--trust' in error and 'Traceback' not in error
        assert not (tmp_path / 'ran').exists()
        assert sorted(received.rglob('*')) == before


@pytest.mark.parametrize('left', ['metrics.json', 'train.log', 'status.json', 'checkpoints'])
def test_a_run_whose_record_was_left_out_is_still_one(
    received: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], left: str
) -> None:
    (received / 'capsule.json').unlink()
    (received / 'origins.json').unlink()
    (received / left).mkdir()
    assert call('check', received) == 2
    assert '--trust' in capsys.readouterr().err
    assert not (tmp_path / 'ran').exists()


def test_reading_commands_need_no_code(
    received: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call('show', received) == 0
    assert call('report', received) == 0
    assert f'panels of {received}/plugins/mine.py are not shown' in capsys.readouterr().out
    assert not (tmp_path / 'ran').exists()


def use(run: Path, *plugins: str) -> None:
    load(run / 'config.yaml').use_plugins(plugins)


def test_trust_is_remembered_by_content(received: Path, tmp_path: Path) -> None:
    assert call('check', received, '--trust') == 0
    assert (tmp_path / 'ran').exists()
    plugin_trust.allow_all(False)
    plugin_trust._session.clear()  # as another process
    copy = shutil.copytree(received, tmp_path / 'copy')
    use(received)
    use(copy)
    with (copy / 'plugins' / 'mine.py').open('a') as file:
        file.write('# other')
    with pytest.raises(UntrustedPluginError):
        use(copy)


def test_a_plugin_given_by_the_user_is_trusted(received: Path, tmp_path: Path) -> None:
    own = tmp_path / 'own' / 'mine.py'
    own.parent.mkdir()
    shutil.copy(received / 'plugins' / 'mine.py', own)
    use(received, str(own))
    plugin_trust._session.clear()
    with pytest.raises(UntrustedPluginError):
        use(received)


def test_a_record_inside_the_folder_counts_for_nothing(
    received: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugin_trust.remember([received / 'plugins' / 'mine.py'])
    plugin_trust._session.clear()
    shutil.copytree(plugin_trust.find_record().parent, received / 'state' / 'ablakit')
    monkeypatch.setenv('HOME', str(received.parent / 'home'))
    monkeypatch.chdir(received)
    monkeypatch.setenv('XDG_STATE_HOME', 'state')
    assert not plugin_trust.is_trusted(received / 'plugins' / 'mine.py')


def test_every_spelling_of_a_plugin_is_held_back(received: Path, tmp_path: Path) -> None:
    text = (received / 'config.yaml').read_text()
    (received / 'plugins' / 'folder').mkdir()
    shutil.copy(received / 'plugins' / 'mine.py', received / 'plugins' / 'folder' / '__init__.py')
    for plugin in ('plugins/mine.py', './plugins/folder', '/x/mine.py', '~/mine.py'):
        (received / 'config.yaml').write_text(text.replace('/another/machine/mine.py', plugin))
        assert call('check', received) == 2, plugin
        assert not (tmp_path / 'ran').exists()


def test_bytecode_sent_along_is_not_run(received: Path, tmp_path: Path) -> None:
    """A cache that Python would take for that of the trusted source beside it."""
    source = received / 'plugins' / 'mine.py'
    package = received / 'plugins' / 'pack'
    package.mkdir()
    for name in ('__init__.py', 'part.py'):
        (package / name).write_text('')
    evil = tmp_path / 'evil.py'
    evil.write_text(f'from pathlib import Path\nPath({str(tmp_path / "cached")!r}).touch()\n')
    for path in (source, package / '__init__.py', package / 'part.py'):
        py_compile.compile(
            str(evil),
            importlib.util.cache_from_source(str(path)),
            invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
        )
    plugin_index.add(str(package))
    plugin_index.import_module('pack.part')
    plugin_trust.remember([source])
    use(received)
    plugin_index.import_module('mine')
    assert (tmp_path / 'ran').exists() and not (tmp_path / 'cached').exists()


def test_the_runs_own_copy_is_used_and_differences_are_said(
    received: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    original = tmp_path / 'work' / 'mine.py'
    original.parent.mkdir()
    copy = received / 'plugins' / 'mine.py'
    original.write_text(copy.read_text() + '# another version\n')
    text = (received / 'config.yaml').read_text()
    (received / 'config.yaml').write_text(text.replace('/another/machine/mine.py', str(original)))
    plugin_trust.remember([copy])
    trained = load_trained(None, run_dir=received)
    assert trained.config.tree['plugins'] == [str(copy)]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f'{original} has changed since this run: its own copy {copy} is used')
    config = load(received / 'config.yaml')
    config.use_plugins([str(original)])
    assert config.tree['plugins'] == [str(original)]
    config.use_plugins()  # the check calls it again
    assert config.tree['plugins'] == [str(original)]
    assert config.plugin_notes == [f"{original} is used in place of the run's own copy of mine.py"]


def test_results_of_another_version_do_not_replace_those_of_the_run(
    received: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / 'mine.py'
    other.write_text((received / 'plugins' / 'mine.py').read_text() + '# another version\n')
    assert call('test', received, '--plugin', str(other)) == 2
    assert 'own mine.py; results of the other version belong' in capsys.readouterr().err
    assert not (received / 'metrics.json').exists()


def test_two_plugins_of_one_name_keep_a_copy_each(tmp_path: Path) -> None:
    for folder in ('a', 'b'):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / 'mine.py').write_text(f'# {folder}\n')
    named = [str(tmp_path / folder / 'mine.py') for folder in ('a', 'b')]
    kept = kept_plugins.describe_plugins({'plugins': named})
    kept_plugins.keep_plugins(tmp_path / 'run', kept)
    copies = [(tmp_path / 'run' / entry['copy']).read_text() for entry in kept]
    assert copies == ['# a\n', '# b\n']


def test_a_folder_that_is_no_run_is_refused_as_before(tmp_path: Path) -> None:
    with pytest.raises(ToolkitError, match='holds no run'):
        load_trained(None, run_dir=tmp_path)


def test_trackers_that_send_values_are_held_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config, run = load('ldpnet/ldpnet_2022_synthetic'), tmp_path / 'received'
    run.mkdir()
    for arguments in ({}, {'uri': 'http://192.0.2.1/'}):
        config.tree['trackers'] = {'log': {'type': 'MLflowTracker', **arguments}}
        (run / 'config.yaml').write_text(dump(config.tree))
        (run / 'capsule.json').write_text(json.dumps({**CAPSULE, 'config': config.tree}))
        if not arguments:  # where the user's own environment says
            use(run)
    for command in ('test', 'rerun', 'resume', 'predict'):
        assert call(command, run) == 2, command
        error = capsys.readouterr().err
        assert 'names trackers, which send' in error and str(run / 'config.yaml') in error
    plugin_trust.remember([run / 'config.yaml'])  # as the run's own start does
    use(run)


@pytest.mark.parametrize('own', ['command', 'launcher'])
def test_a_study_folder_runs_no_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], own: str
) -> None:
    folder = tmp_path / 'received'
    (folder / 'runs').mkdir(parents=True)
    (folder / 'plan.json').write_text(json.dumps({'study': 's', 'runs': []}))
    evil = {
        'command': {'command': ['touch', str(tmp_path / 'ran')]},
        'launcher': {
            'base': 'ldpnet/ldpnet_2022_synthetic',
            'launcher': {'type': 'slurm', 'options': {'slurm_setup': ['touch ran']}},
        },
    }[own]
    study = {'study': 's', 'variants': {'full': {}}, 'metrics': {'score': 'higher'}, **evil}
    (folder / 'study.yaml').write_text(json.dumps(study))
    words = ['study', str(folder / 'study.yaml'), '--work-dir', str(folder)]
    for more in ([], ['--plan']):
        assert cli.main([*words, *more]) == 2
        error = capsys.readouterr().err
        assert 'names a command or a launcher' in error and '--trust' in error
    assert not (tmp_path / 'ran').exists()


def test_a_study_of_ones_own_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.support import program_studies

    file = program_studies.write(tmp_path / 'own', seeds=[0], variants={'full': {}})
    words = ['--work-dir', str(tmp_path / 'work')]
    assert cli.main(['study', str(file), *words]) == 0
    plugin_trust._session.clear()  # as another process
    assert plugin_trust.is_trusted(tmp_path / 'work' / 'study.yaml')
