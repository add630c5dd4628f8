"""Commands that write a file destroy no input, and replace no file without being asked."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import patch_classifier
from tests.support.manifests import write_manifest, write_scene
from toolkit.cli import build_parser, main

# By command: its words with {} for the output, the suffix of the output, and inputs of it.
COMMANDS = {
    'predict images': (
        'predict --run run --input images/image00.png images/manifest.csv --output {}',
        '.csv',
        ['images/manifest.csv'],
    ),
    'export': ('export --run run --output {}', '.onnx', ['run/checkpoints/last.onnx']),
    'card': (
        'card --run run --output {}',
        '.md',
        ['run/capsule.json', 'run/metrics.json', 'run/checkpoints/last.pth'],
    ),
    'schema': ('schema --output {}', '.json', []),
    'compare': ('compare run run2 --task shape --json {}', '.json', ['run2/metrics.json']),
    'audit --json': ('audit images/manifest.csv --json {}', '.json', ['images/image03.png']),
    'audit --html': ('audit images/manifest.csv --html {}', '.html', ['images/manifest.csv']),
    'audit --groups': (
        'audit images/manifest.csv --split folds.json --groups {}',
        '.csv',
        ['images/manifest.csv', 'folds.json'],
    ),
    'split images': (
        'split images/manifest.csv --folds 3 --output {}',
        '.json',
        ['images/manifest.csv', 'images/image05.png'],
    ),
    'report': (
        'report run --output {}',
        '.html',
        ['run/capsule.json', 'run/metrics.json', 'run/config.yaml'],
    ),
    'split scenes': ('split scenes.csv --output {}', '.json', ['scenes.csv', 'a_pan.tif']),
    'evaluate': (
        'evaluate --fused fused.tif --ms a_ms.tif --pan a_pan.tif --json {}',
        '.json',
        ['a_ms.tif', 'fused.tif'],
    ),
    'predict a scene': (
        'predict baselines/exp --input ms=a_ms.tif pan=a_pan.tif --sensor IKONOS --output {}',
        '.tif',
        ['a_ms.tif', 'a_pan.tif'],
    ),
}
PANSHARPEN = 'pansharpen --ms a_ms.tif --pan a_pan.tif --output {}'


@pytest.fixture(scope='module')
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two runs, a manifest of images, its split, and scenes."""
    folder = tmp_path_factory.mktemp('inputs')
    metrics = {'test_evaluator': {'metrics': patch_classifier.clinical_metrics()}}
    run = patch_classifier.run_of(
        folder / 'made',
        **metrics,
        test_dataloader={
            'dataset': patch_classifier.manifest_data(patch_classifier.save(folder / 'images')),
            'batch_size': 5,
        },
        default_hooks={'pictures': {'type': 'Pictures', 'count': 0}},
    )
    shutil.copytree(run, folder / 'run')
    shutil.copytree(run, folder / 'run2')
    # Weights under the only suffix that the command accepts as an output.
    shutil.copy(folder / 'run/checkpoints/last.pth', folder / 'run/checkpoints/last.onnx')
    rows = [write_scene(folder, name, 64, seed=i) for i, name in enumerate('abc')]
    write_manifest(folder / 'scenes.csv', rows)
    shutil.copy(folder / 'a_ms.tif', folder / 'fused.tif')
    words = ['images/manifest.csv', '--folds', '3', '--output', 'folds.json']
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert main(['split', *words]) == 0
        words = ['ms=a_ms.tif', 'pan=a_pan.tif', '--sensor', 'IKONOS', '--output', 'fused.tif']
        assert main(['predict', 'baselines/exp', '--input', *words, '--overwrite']) == 0
    return folder


def read_files(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob('*') if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def run_command(inputs: Path, monkeypatch, capsys) -> Callable[..., tuple[int, str]]:
    monkeypatch.chdir(inputs)

    def run(words: str, output: Path | str, *more: str) -> tuple[int, str]:
        capsys.readouterr()
        status = main([*(word.format(output) for word in words.split()), *more])
        return status, capsys.readouterr().err

    return run


@pytest.mark.parametrize('name', COMMANDS)
def test_no_command_destroys_a_file(name: str, inputs: Path, run_command, tmp_path: Path) -> None:
    words, suffix, own = COMMANDS[name]
    if name == 'export':
        for package in ('onnx', 'onnxscript', 'onnxruntime'):
            pytest.importorskip(package)
    before = read_files(inputs)
    for path in own:
        for more in ((), ('--overwrite',)):
            status, error = run_command(words, path, *more)
            assert status == 2
            if more or 'exists already' not in error:  # refused for the one reason or the other
                assert error.startswith(f'the output {path}')
                assert 'would destroy the input' in error
            assert error.count('\n') == 1
    foreign = tmp_path / f'foreign{suffix}'
    foreign.write_bytes(b"another program's")
    status, error = run_command(words, foreign)
    assert status == 2
    assert f'{foreign} exists already; give --overwrite' in error
    assert foreign.read_bytes() == b"another program's"
    assert run_command(words, foreign, '--overwrite')[0] == 0
    assert foreign.read_bytes() != b"another program's"
    assert read_files(inputs) == before


def test_pansharpen_destroys_no_file(inputs: Path, run_command, tmp_path: Path) -> None:
    before = read_files(inputs)
    for more in ((), ('--overwrite',)):
        status, error = run_command(PANSHARPEN, 'a_pan.tif', *more)
        assert status == 2
        assert 'a_pan.tif' in error
    foreign = tmp_path / 'foreign.tif'
    foreign.write_bytes(b"another program's")
    status, error = run_command(PANSHARPEN, foreign)
    assert status == 2
    assert f'{foreign}' in error and '--overwrite' in error
    assert foreign.read_bytes() == b"another program's"
    assert read_files(inputs) == before


def test_files_beside_the_output_count(inputs: Path, run_command, tmp_path: Path) -> None:
    words = COMMANDS['predict images'][0]
    for name in ('said-patients.csv', 'said.json'):
        (tmp_path / name).write_text('{}')
        status, error = run_command(words, tmp_path / 'said.csv')
        assert status == 2
        assert f'{tmp_path / name} exists already' in error
        (tmp_path / name).unlink()
    status, error = run_command(f'{COMMANDS["audit --json"][0]} --html {{}}', tmp_path / 'both')
    assert status == 2
    assert 'two outputs are the same file' in error


def test_a_report_is_written_anew_without_being_asked(run_command, tmp_path: Path) -> None:
    for _ in range(2):
        assert run_command('report run --output {}', tmp_path / 'report.html')[0] == 0


# -- all commands ----------------------------------------------------------------------------------

# Commands that write a folder of their own; {} is the folder.
FOLDERS = {
    'pansharpen': 'pansharpen --ms a_ms.tif --pan a_pan.tif --iterations 1 --output {}.tif',
    'test': 'test --run run --work-dir {}',
    'rerun': 'rerun run --work-dir {}',
    'external': 'external --run run --manifest images/manifest.csv --known unchecked --output {}',
}
# `pansharpen` trains as `train` and `study` do; `bench` draws its data; `new` replaces no file, as
# its own tests hold, and so do those of `push` and `pull`; `completion` writes into its cache; the
# others write nothing.
OTHERS = {'train', 'study', 'bench', 'check', 'check-component', 'show', 'diff', 'list'}
OTHERS |= {'new', 'completion', 'push', 'pull', 'import'}


def test_every_command_is_held_to_this() -> None:
    """A new command that writes is added to one of the tables above."""
    parsers = next(a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    held = {name.split()[0] for name in (*COMMANDS, *FOLDERS)}
    assert set(parsers.choices) == held | OTHERS


@pytest.mark.parametrize(
    'name', [pytest.param(n, marks=[pytest.mark.slow] * (n == 'pansharpen')) for n in FOLDERS]
)
def test_no_command_changes_what_it_reads(
    name: str, inputs: Path, run_command, tmp_path: Path
) -> None:
    before = read_files(inputs)
    status, error = run_command(FOLDERS[name], tmp_path / 'new')
    assert status == 0, error
    assert read_files(inputs) == before
