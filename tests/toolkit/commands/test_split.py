"""`toolkit split` asks the manifest which task it is of."""

from __future__ import annotations

import json

import pytest

from tests.support.manifests import write_manifest, write_scene
from toolkit.cli import main


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [write_scene(tmp_path, f's{i}', 64, seed=i) for i in range(4)]
    write_manifest(tmp_path / 'scenes.csv', rows)
    images = [{'image': f'{i}.png', 'patient': i // 2, 'kind': 'ab'[i // 2 % 2]} for i in range(24)]
    for row in images:
        (tmp_path / row['image']).write_bytes(b'x')
    write_manifest(tmp_path / 'images.csv', images)
    write_manifest(tmp_path / 'named.csv', [{'path': row['image'], 'ms': 1} for row in images])
    write_manifest(tmp_path / 'neither.csv', [{'imgae': 'a.png'}])
    write_manifest(tmp_path / 'both.csv', [{'image': 'a.png', 'pan': 'b.tif'}])
    return tmp_path


def test_the_manifest_decides(here, capsys):
    """Options have the defaults of their task, and each kind of manifest its own output."""
    assert main(['split', 'images.csv', '--task', 'kind', '--folds', '3']) == 0
    assert '24 images, 12 patients' in ' '.join(capsys.readouterr().out.split())
    saved = json.loads((here / 'images.folds.json').read_text())
    assert len(saved['folds']) == 3
    assert saved['options'] == {'by': 'folds', 'folds': 3, 'test': 0.2, 'val': 0.15, 'seed': 0}
    assert main(['split', 'scenes.csv', '--seed', '3']) == 0
    assert '4 scenes' in capsys.readouterr().out
    saved = json.loads((here / 'scenes.splits.json').read_text())
    fractions = {'train': 0.7, 'val': 0.15, 'test': 0.15}
    assert saved['options'] == {'fractions': fractions, 'seed': 3, 'group': None}


@pytest.mark.parametrize(
    ('argv', 'message'),
    [
        (['images.csv', '--group', 'x'], '--group is an option for a manifest of scenes; .*images'),
        (['scenes.csv', '--folds', '5'], '--folds is an option for a manifest of images; .*scenes'),
        (['scenes.csv', '--columns', 'a=b'], '--columns is an option for a manifest of images'),
        (
            ['neither.csv'],
            r"images \(column image\).*scenes.*found the columns imgae; did.*'image'",
        ),
        (['both.csv'], 'of images .*of scenes .*found the columns image, pan; rename'),
        (['gone.csv'], 'gone.csv'),
        (['images.csv', '--seed', '-1'], '--seed must be 0 or more, found -1'),
        (['images.csv', '--output', '.'], 'the output . is a folder'),
    ],
)
def test_mistakes_are_one_line(here, argv, message, capsys):
    import re

    before = sorted(here.iterdir())
    assert main(['split', *argv]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error
    assert error.count('\n') == 1
    assert sorted(here.iterdir()) == before


def test_an_option_decides_where_columns_do_not(here):
    assert main(['split', 'named.csv', '--columns', 'image=path']) == 0
    assert (here / 'named.folds.json').exists()


def test_help_has_the_options_of_both(capsys):
    with pytest.raises(SystemExit):
        main(['split', '--help'])
    shown = capsys.readouterr().out
    for text in ('manifest of scenes', '--fractions', 'manifest of images', '--folds K', '(5)'):
        assert text in shown
    assert 'SUPPRESS' not in shown
