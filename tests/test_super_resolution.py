"""The example of a task in docs/examples is trained, tested, used and reported."""

from __future__ import annotations

import ast
import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image

from tests.support.plugins_of_one_test import plugins_of_this_test  # noqa: F401
from toolkit.cli import main
from toolkit.registry import get_kinds, plugin_index
from toolkit.testing.component import check_component

EXAMPLE = Path(__file__).parents[1] / 'docs' / 'examples' / 'super_resolution'


@pytest.fixture
def example(tmp_path, monkeypatch) -> Path:
    """A copy of the example beside drawn images, in the working folder."""
    folder = shutil.copytree(EXAMPLE, tmp_path / 'super_resolution')
    monkeypatch.chdir(tmp_path)
    plugin_index.add(str(folder))
    for subset, count, seed in (('train', 4, 0), ('test', 2, 1)):
        draw(tmp_path / 'images' / subset, count, seed)
    return folder


def draw(folder: Path, count: int, seed: int) -> None:
    namespace: dict = {'__name__': 'draw'}
    exec((EXAMPLE / 'draw.py').read_text(), namespace)
    namespace['draw_images'](folder, count, seed)


def count_code_lines(path: Path) -> int:
    """Counts the lines of a file without blank lines, comments and docstrings."""
    text = path.read_text()
    documented: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(
            node
        ):
            first = node.body[0]
            documented |= set(range(first.lineno, (first.end_lineno or 0) + 1))
    lines = enumerate(text.splitlines(), 1)
    return sum(
        bool(line.strip()) and not line.strip().startswith('#') and number not in documented
        for number, line in lines
    )


def test_it_is_short():
    assert sum(map(count_code_lines, EXAMPLE.glob('*.py'))) < 160


def test_its_components_keep_their_contracts(example):
    kinds = get_kinds()
    for kind, name in (
        ('system', 'Bicubic'),
        ('system', 'SuperResolver'),
        ('metric', 'Fidelity'),
        ('visualizer', 'ResolutionImages'),
        ('predictor', 'Enlarger'),
    ):
        check_component(kinds[kind].get(name))
    check_component(kinds['dataset'].get('ImagePairs'), folder='images/train', size=16)


@pytest.mark.slow
def test_its_config_and_its_study_are_checked(example, capsys):
    assert main(['check', str(example / 'config.yaml'), '--shapes']) == 0
    assert main(['study', str(example / 'study.yaml'), '--work-dir', 's', '--plan']) == 0
    told = capsys.readouterr()
    assert 'bicubic   seed 0  ' in told.out and 'width 32  seeds 0, 1, 2' in told.out
    assert not told.err


def test_an_image_in_training_and_test_is_refused(example, capsys):
    shutil.copy('images/train/image_00.png', 'images/test/copy.png')
    assert main(['check', str(example / 'config.yaml')]) == 2
    assert 'the test holds 1 of 3 images (images/test/copy.png)' in capsys.readouterr().err


@pytest.mark.slow
def test_it_is_trained_tested_predicted_and_reported(example, capsys):
    config, small = str(example / 'config.yaml'), Path('small.png')
    assert main(['train', config, '--work-dir', 'run', '--iterations', '250']) == 0
    assert main(['test', '--run', 'run']) == 0
    bicubic = ['model={type: Bicubic, scale: 2}', 'train_cfg=null']
    assert main(['test', config, *bicubic, '--work-dir', 'bicubic']) == 0
    found = {run: json.loads(Path(run, 'metrics.json').read_text()) for run in ('run', 'bicubic')}
    psnr = {run: record['metrics']['fidelity.PSNR'] for run, record in found.items()}
    assert psnr['run'] > psnr['bicubic'] > 15, psnr
    Image.open('images/test/image_00.png').resize((48, 48)).save(small)
    assert main(['predict', '--run', 'run', '--input', str(small), '--output', 'big.png']) == 0
    words = ['predict', '--run', 'run', '--input', str(small), '--output']
    assert main([*words, 'flips.png', '--flips']) == 0
    assert main([*words, 'flips.png']) == 2
    assert 'flips.png exists already' in capsys.readouterr().err
    plain, flips = (Image.open(name) for name in ('big.png', 'flips.png'))
    assert plain.size == flips.size == (96, 96) and plain.tobytes() != flips.tobytes()
    import toolkit

    run = toolkit.load_run('run')
    assert run.predict(torch.rand(3, 8, 8), flips=True).shape == (3, 16, 16)
    assert main(['report', 'run', 'bicubic', '--output', 'report.html']) == 0
    text = Path('report.html').read_text()
    assert all(f'"name": "{name}"' in text for name in ('target', 'run')), 'no swipe'
