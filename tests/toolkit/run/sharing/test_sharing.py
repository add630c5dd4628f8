"""A pushed and pulled run is the same run, and nothing else comes with it."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

import toolkit
from tests.support.tiny_plugin import make_tree
from toolkit import cli
from toolkit.config import Config
from toolkit.config.run_plugins import UntrustedPluginError
from toolkit.config.schema import RunConfig
from toolkit.engine import checkpoint
from toolkit.errors import RunError, ToolkitError
from toolkit.io.verification import plugin_trust
from toolkit.registry import SYSTEMS, build
from toolkit.run import capsule
from toolkit.run.capsule import make_capsule_input
from toolkit.run.rerun import rerun
from toolkit.run.sharing.card import make_card
from toolkit.run.sharing.manifest import MANIFEST, check_names
from toolkit.run.sharing.pull import pull
from toolkit.run.sharing.push import push
from toolkit.run.test import test as run_test
from toolkit.run.train import train

FILES = (
    'README.md',
    'ablakit.json',
    'capsule.json',
    'config.yaml',
    'last.safetensors',
    'metrics.json',
    'metrics.jsonl',
    'model.safetensors',
    'origins.json',
    'plugins/tiny_engine.py',
)


@pytest.fixture(scope='package', autouse=True)
def fast_disk() -> Iterator[None]:
    """Leaves files in the system's cache: a busy disk takes seconds to write them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, 'fsync', lambda descriptor: None)
        yield


@pytest.fixture(scope='package')
def run(tiny_plugin: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained and tested run."""
    folder = tmp_path_factory.mktemp('sharing') / 'run'
    hooks = {'log': {'type': 'MetricsLog'}, 'best': {'type': 'Checkpoint', 'save_best': 'mse'}}
    tree = make_tree(default_hooks=hooks)
    given = make_capsule_input(Config(folder / 'config.yaml', tree))
    parts = build.fill(RunConfig, tree)
    train(parts, folder, capsule_input=given)
    run_test(parts, folder, folder / 'checkpoints' / 'best.pth')
    (folder / 'plugins' / '__pycache__').mkdir()
    (folder / 'plugins' / '__pycache__' / 'tiny_engine.pyc').write_bytes(b'x')
    (folder / 'pictures').mkdir()
    (folder / 'pictures' / 'patient.png').write_bytes(b'x')
    (folder / 'diff.patch').unlink(missing_ok=True)  # of a checkout with changes
    return folder


@pytest.fixture(scope='package')
def shared(run: Path) -> Path:
    before = {name: (run / name).read_bytes() for name in list_files(run)}
    push(run, str(run.parent / 'shared'), license_='apache-2.0')
    assert before == {name: (run / name).read_bytes() for name in list_files(run)}
    return run.parent / 'shared'


@pytest.fixture
def copied(shared: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shared, tmp_path / 'copied'))


def list_files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob('*') if p.is_file())


def test_a_pulled_run_is_the_run_to_the_last_bit(run: Path, shared: Path, tmp_path: Path) -> None:
    assert list_files(shared) == sorted(FILES)
    assert cli.main(['pull', str(shared), str(tmp_path / 'a' / 'pulled')]) == 0
    pulled = tmp_path / 'a' / 'pulled'
    for name in ('best.pth', 'last.pth'):
        old, new = (checkpoint.load(f / 'checkpoints' / name) for f in (run, pulled))
        assert old['meta'] == new['meta'] and list(new) == ['state_dict', 'meta']
        assert old['state_dict'].keys() == new['state_dict'].keys()
        assert all(torch.equal(v, new['state_dict'][k]) for k, v in old['state_dict'].items())
    loaded = toolkit.load_run(pulled)
    assert loaded.checkpoint is not None and loaded.checkpoint.name == 'best.pth'
    assert loaded.metrics == loaded.test() == toolkit.load_run(run).metrics
    again = rerun(pulled, tmp_path / 'again')
    assert (again.equal, again.warnings) == (True, [])
    push(pulled, str(tmp_path / 'b'))  # and can be shared again
    assert (tmp_path / 'b' / 'model.safetensors').read_bytes() == (
        shared / 'model.safetensors'
    ).read_bytes()


def test_a_pulled_run_is_not_resumed_without_the_state_of_its_optimizer(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pull(str(shared), tmp_path / 'pulled')
    config = tmp_path / 'pulled' / 'config.yaml'
    words = ['train', str(config), '--resume', '--work-dir', str(config.parent)]
    before = [path.read_bytes() for path in config.parent.rglob('*.json*')]
    assert cli.main([*words, 'train_cfg.max_epochs=3']) == 2
    assert before == [path.read_bytes() for path in config.parent.rglob('*.json*')]
    assert 'only its weights can be used (load_from)' in capsys.readouterr().err


def test_the_card_says_what_the_hub_and_a_reader_need(run: Path, shared: Path) -> None:
    _, front, body = (shared / 'README.md').read_text().split('---\n', 2)
    about = yaml.safe_load(front)
    assert about['library_name'] == 'ablakit' and about['license'] == 'apache-2.0'
    assert about['tags'] == ['ablakit', 'tiny-system']
    for name, value in toolkit.load_run(run).metrics.items():
        assert f'| {name} |' in body and f'{value:.6g}' in body
    assert 'plugins/tiny_engine.py' in body and '--trust' in body
    assert 'toolkit pull shared runs/shared' in body


@pytest.mark.parametrize(
    ('tested', 'iteration', 'says', 'is_indexed'),
    [
        ('best.pth', None, 'Of `model.safetensors`, iteration', True),
        ('last.pth', None, 'Of `last.safetensors`, iteration', False),
        ('best.pth', 77, 'Of `best.pth`, which is not in this folder, iteration 77', False),
        ('iter_3.pth', 3, 'Of `iter_3.pth`, which is not in this folder, iteration 3', False),
    ],
)
def test_the_card_states_results_of_the_weights_that_have_them(
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tested: str,
    iteration: int | None,
    says: str,
    is_indexed: bool,
) -> None:
    monkeypatch.setattr(SYSTEMS.get('TinySystem'), 'pipeline_tag', 'image-to-image')
    other = Path(shutil.copytree(run, tmp_path / 'run'))
    content = json.loads((other / 'metrics.json').read_text())
    if iteration is None:
        iteration = checkpoint.load(other / 'checkpoints' / tested)['meta']['iter']
    content |= {'checkpoint': f'elsewhere/{tested}', 'iter': iteration}
    (other / 'metrics.json').write_text(json.dumps(content))
    card = make_card(other, 'a b', 'a b')
    assert says in card and ('model-index' in card) == is_indexed
    assert "toolkit pull 'a b' 'runs/a b'" in card and "load_run('runs/a b')" in card


def test_changes_of_the_code_are_shared_only_if_asked(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Path(shutil.copytree(run, tmp_path / 'run'))
    record = capsule.read(other)
    record['git'] = {'commit': 'abc', 'dirty': True}
    (other / 'capsule.json').write_text(json.dumps(record))
    (other / 'diff.patch').write_text('+token')
    assert cli.main(['push', str(other), str(tmp_path / 'without')]) == 0
    assert 'left out: diff.patch' in capsys.readouterr().out
    assert list_files(tmp_path / 'without') == sorted(FILES)
    held = [path.read_bytes() for path in (tmp_path / 'without').rglob('*') if path.is_file()]
    assert not any(b'+token' in content for content in held)
    assert '| abc, with changes (not in this folder) |' in (
        tmp_path / 'without' / 'README.md'
    ).read_text(encoding='utf-8')
    assert cli.main(['push', str(other), str(tmp_path / 'with'), '--with-patch']) == 0
    assert 'left out' not in capsys.readouterr().out
    pull(str(tmp_path / 'with'), tmp_path / 'pulled')
    assert (tmp_path / 'pulled' / 'diff.patch').read_text() == '+token'
    card = (tmp_path / 'with' / 'README.md').read_text(encoding='utf-8')
    assert 'with changes (diff.patch)' in card
    (other / 'diff.patch').unlink()  # a run that was pulled without them
    assert 'not in this folder' in make_card(other, 'a', 'a', with_patch=True)


def test_a_pulled_plugin_runs_only_with_trust(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('XDG_STATE_HOME', str(tmp_path / 'state'))
    monkeypatch.setattr(plugin_trust, '_session', set())
    pulled = pull(str(shared), tmp_path / 'pulled')
    assert pulled.plugins == (tmp_path / 'pulled' / 'plugins' / 'tiny_engine.py',)
    with pytest.raises(UntrustedPluginError, match='pulled/plugins/tiny_engine.py'):
        toolkit.load_run(tmp_path / 'pulled')
    with pytest.raises(UntrustedPluginError):
        push(tmp_path / 'pulled', str(tmp_path / 'again'))
    assert not (tmp_path / 'again').exists()


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b'\n')


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def link(path: Path) -> None:
    path.rename(path.with_name('moved'))
    path.symlink_to(path.with_name('moved'))


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGES = {
    flip: 'changed',
    append: 'longer',
    cut: 'not the',
    Path.unlink: 'missing',
    link: 'is a link',
    make_pipe: 'is no file',
}


@pytest.mark.parametrize(
    ('name', 'damage'),
    [
        *((name, flip) for name in FILES if name != MANIFEST),
        *(('metrics.json', damage) for damage in DAMAGES if damage is not flip),
    ],
)
def test_a_file_that_is_not_as_pushed_is_refused(
    copied: Path, tmp_path: Path, name: str, damage: Callable[[Path], None]
) -> None:
    damage(copied / name)
    with pytest.raises(ToolkitError, match=DAMAGES[damage]) as error:
        pull(str(copied), tmp_path / 'new' / 'pulled')
    assert name in str(error.value) and '\n' not in str(error.value)
    assert not (tmp_path / 'new').exists()


@pytest.mark.parametrize(
    'name',
    [
        '../x',
        '/etc/passwd',
        'plugins/../../x',
        'plugins//x.py',
        'plugins/./x.py',
        'plugins\\x.py',
        'plugins/a\\..\\..\\x',
        'plugins/c:x',
        'plugins/x.py\n',
        'plugins/__pycache__/x.py',
        'plugins/x.pyc',
        'plugins/x.py.',
        'plugins',
        'train.log',
        '.lock',
        'checkpoints/last.pth',
        '',
    ],
)
def test_only_names_of_a_run_are_taken(copied: Path, tmp_path: Path, name: str) -> None:
    content = json.loads((copied / MANIFEST).read_text())
    content['files'][name] = {'size': 1, 'sha256': '0' * 64}
    (copied / MANIFEST).write_text(json.dumps(content))
    with pytest.raises(ToolkitError, match='which no shared run has'):
        pull(str(copied), tmp_path / 'pulled')
    assert [path.name for path in tmp_path.iterdir()] == ['copied']


def test_names_that_are_one_on_some_disks_are_refused() -> None:
    with pytest.raises(ToolkitError, match='one file on some disks'):
        check_names(['plugins/a.py', 'plugins/A.py'], 'x')


@pytest.mark.parametrize(
    ('content', 'says'),
    [
        ('[]', 'damaged'),
        ('{"format": 1}', "no 'files' in it"),
        ('{"format": 2, "files": {}}', 'has format 2'),
        ('{"format": 1, "files": {}}', 'is no whole run: capsule.json'),
        ('{"format": 1, "files": {"config.yaml": {"size": -1, "sha256": ""}}}', 'damaged'),
        ('[' * 100_000, 'damaged'),
    ],
)
def test_a_damaged_manifest_is_one_line(
    copied: Path, tmp_path: Path, content: str, says: str
) -> None:
    (copied / MANIFEST).write_text(content)
    with pytest.raises(ToolkitError, match=says) as error:
        pull(str(copied), tmp_path / 'pulled')
    assert '\n' not in str(error.value)


def test_a_record_that_names_a_plugin_elsewhere_is_refused(run: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(run, tmp_path / 'other'))
    record = capsule.read(other)
    record['plugins'][0]['copy'] = '../secret.py'
    (other / 'capsule.json').write_text(json.dumps(record))
    push(other, str(tmp_path / 'shared'))
    with pytest.raises(ToolkitError, match=r'names the plugin \.\./secret\.py'):
        pull(str(tmp_path / 'shared'), tmp_path / 'pulled')
    assert not (tmp_path / 'pulled').exists()


def test_what_cannot_be_shared_is_refused(run: Path, shared: Path, tmp_path: Path) -> None:
    with pytest.raises(ToolkitError, match='holds files already'):
        push(run, str(shared))
    with pytest.raises(ToolkitError, match='holds files already'):
        pull(str(shared), run)
    with pytest.raises(ToolkitError, match='holds a run itself: push it first'):
        pull(str(run), tmp_path / 'pulled')
    with pytest.raises(ToolkitError, match='is no folder'):
        pull(str(tmp_path / 'nothing'), tmp_path / 'pulled')
    with pytest.raises(ToolkitError, match='holds no run'):
        push(tmp_path, str(tmp_path / 'x'))
    with pytest.raises(ToolkitError, match='expected hf:OWNER/NAME'):
        push(run, 'hf:../x')
    other = Path(shutil.copytree(run, tmp_path / 'other'))
    (other / 'plugins' / 'more.py').symlink_to(tmp_path / 'secret')
    with pytest.raises(ToolkitError, match='more.py is a link'):
        push(other, str(tmp_path / 'x'))
    (other / 'plugins' / 'more.py').unlink()
    capsule.end(other, 'failed: x')
    with pytest.raises(ToolkitError, match='that is failed: x; only a finished'):
        push(other, str(tmp_path / 'x'))
    assert sorted(path.name for path in tmp_path.iterdir()) == ['other']


class FakeHub:
    """A hub in a folder, with the calls of huggingface_hub that are used."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.calls = folder, []

    def HfApi(self) -> FakeHub:
        return self

    def repo_exists(self, name: str) -> bool:
        return (self.folder / name).exists()

    def list_repo_files(self, name: str) -> list[str]:
        return ['.gitattributes', *list_files(self.folder / name)]

    def create_repo(self, name: str, *, private: bool, exist_ok: bool) -> str:
        self.calls.append(('private', private))
        (self.folder / name).mkdir(parents=True, exist_ok=exist_ok)
        return f'https://hub/{name}'

    def upload_folder(self, *, repo_id: str, folder_path: Path, **options: Any) -> None:
        removed = options['delete_patterns']
        assert 'plugins/*' in removed and {*FILES[:-1]} <= {*removed}
        assert not any(fnmatch(f'onnx/{name}', p) for p in removed for name in FILES[:-1])
        shutil.copytree(folder_path, self.folder / repo_id, dirs_exist_ok=True)

    def model_info(self, name: str, *, revision: str | None) -> Any:
        if not self.repo_exists(name):
            raise ConnectionError(f'404: no repository {name}\nmore lines')
        return SimpleNamespace(sha='abc' if revision is None else revision)

    def hf_hub_download(self, name: str, file: str, *, revision: str, local_dir: Path) -> str:
        self.calls.append(('revision', revision))
        target = local_dir / file
        target.parent.mkdir(parents=True, exist_ok=True)
        return str(shutil.copyfile(self.folder / name / file, target))


@pytest.fixture
def fake_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHub]:
    fake = FakeHub(tmp_path / 'hub')
    monkeypatch.setitem(sys.modules, 'huggingface_hub', fake)  # type: ignore[arg-type]
    yield fake


def test_a_hub_holds_what_a_folder_does(
    run: Path, tmp_path: Path, fake_hub: FakeHub, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(['push', str(run), 'hf:me/tiny']) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in FILES if name != MANIFEST)
    assert 'https://hub/me/tiny' in out and 'toolkit pull hf:me/tiny DIR' in out
    assert list_files(fake_hub.folder / 'me' / 'tiny') == sorted(FILES)
    assert fake_hub.calls == [('private', True)]
    with pytest.raises(ToolkitError, match='holds 10 files already; give --overwrite'):
        push(run, 'hf:me/tiny')
    push(run, 'hf:me/tiny', overwrite=True, public=True)
    fake_hub.calls.clear()
    pull('hf:me/tiny', tmp_path / 'pulled')
    assert set(fake_hub.calls) == {('revision', 'abc')}
    assert toolkit.load_run(tmp_path / 'pulled').metrics == toolkit.load_run(run).metrics
    flip(fake_hub.folder / 'me' / 'tiny' / 'model.safetensors')
    with pytest.raises(ToolkitError, match='model.safetensors of hf:me/tiny is damaged'):
        pull('hf:me/tiny', tmp_path / 'other')
    with pytest.raises(RunError, match='hf:me/no: ConnectionError: 404: no repository me/no; look'):
        pull('hf:me/no', tmp_path / 'other')
    with pytest.raises(ToolkitError, match='leave out @v1'):
        push(run, 'hf:me/tiny@v1')
    assert not (tmp_path / 'other').exists()


def test_the_library_of_the_hub_is_an_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, 'huggingface_hub', None)
    with pytest.raises(ToolkitError, match=r'pip install "ablakit\[hub\]"'):
        pull('hf:me/tiny', tmp_path / 'pulled')
