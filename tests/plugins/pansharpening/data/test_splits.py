from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.pansharpening.commands.split import parse_fractions
from plugins.pansharpening.data.splits import (
    load_split,
    make_split,
    save_split,
    select_rows,
)
from plugins.pansharpening.scenes.manifest import SceneManifest, SceneRow, read_manifest
from tests.support.manifests import write_manifest, write_scene
from toolkit.cli import main
from toolkit.errors import ToolkitError

THREE = {'train': 0.7, 'val': 0.15, 'test': 0.15}


def row(number, sensor='QB', group=''):
    name = f's{number}'
    return SceneRow(f'm.csv:{number}', name, (name,), None, sensor, values={'town': group})


def manifest(rows, tmp_path):
    return SceneManifest(tmp_path / 'm.csv', tuple(rows), ('name', 'town'), 'abc')


scenes = st.lists(
    st.tuples(st.sampled_from(['QB', 'WV2', 'GF2']), st.integers(0, 12)), min_size=1, max_size=40
)


@settings(max_examples=60, deadline=None)
@given(scenes, st.integers(0, 99), st.booleans())
def test_splits_share_out_all_scenes_once(pairs, seed, grouped):
    rows = [row(i, sensor, f't{town}') for i, (sensor, town) in enumerate(pairs)]
    group = 'town' if grouped else None
    units = len({r.values['town'] for r in rows}) if grouped else len(rows)
    if units < 3:
        with pytest.raises(ToolkitError, match=f'3 splits .*need at least .*found {units}'):
            make_split(rows, THREE, seed, group)
        return
    splits = make_split(rows, THREE, seed, group)
    assert splits == make_split(rows, THREE, seed, group)
    assert sorted(n for names in splits.values() for n in names) == sorted(r.name for r in rows)
    assert all(splits.values())
    if grouped:
        split_of = {n: split for split, names in splits.items() for n in names}
        for town in {r.values['town'] for r in rows}:
            assert len({split_of[r.name] for r in rows if r.values['town'] == town}) == 1
    elif units >= 10:
        for name, fraction in THREE.items():
            assert abs(len(splits[name]) - fraction * units) < 2.5


def test_sensors_are_spread_evenly():
    rows = [row(i, ('QB', 'WV2')[i % 2]) for i in range(40)]
    splits = make_split(rows, THREE, 1)
    sensor_of = {r.name: r.sensor for r in rows}
    assert {name: len(names) for name, names in splits.items()} == {
        'train': 28,
        'val': 6,
        'test': 6,
    }
    for names in splits.values():
        assert sum(sensor_of[n] == 'QB' for n in names) == len(names) / 2
    assert splits != make_split(rows, THREE, 2)
    assert make_split(rows, {'train': 1, 'test': 0})['test'] == []


def test_saved_splits_are_checked_when_used(tmp_path):
    rows = [row(i) for i in range(10)]
    path, made_of = tmp_path / 'm.splits.json', manifest(rows, tmp_path)
    splits = make_split(rows, THREE)
    digest = save_split(path, made_of, splits, {'seed': 0})
    split_of, found = load_split(str(path), made_of)
    assert found == digest
    assert {n for n, split in split_of.items() if split == 'train'} == set(splits['train'])
    used, why = select_rows(made_of, str(path), 'val')
    assert ([r.name for r in used], why) == (splits['val'], digest)
    assert select_rows(made_of, None, None) == (tuple(rows), 'abc')

    more = SceneManifest(made_of.path, (*rows[1:], row(10)), made_of.columns, 'other')
    with pytest.raises(ToolkitError, match=r'new: s10; gone: s0.*toolkit split .*--overwrite'):
        load_split(str(path), more)
    record = json.loads(path.read_text())
    record['folds'][0]['test'].append(record['folds'][0]['train'][0])
    path.write_text(json.dumps(record))
    moved = record['folds'][0]['train'].pop(0)
    with pytest.raises(ToolkitError, match=f'{moved} is in train and in test.*make it anew'):
        load_split(str(path), made_of)
    path.write_text(json.dumps(record))
    with pytest.raises(ToolkitError, match='was changed after it was made'):
        load_split(str(path), made_of)
    for text in (
        '',
        '[]',
        '{"folds": 3}',
        '{"folds": [{"a": [1]}], "data": "", "digest": ""}',
    ):
        path.write_text(text)
        with pytest.raises(ToolkitError, match='holds no split'):
            load_split(str(path), made_of)


def test_which_scenes(tmp_path):
    rows = [row(i) for i in range(10)]
    path, made_of = str(tmp_path / 's.json'), manifest(rows, tmp_path)
    save_split(tmp_path / 's.json', made_of, make_split(rows, THREE), {})
    with pytest.raises(ToolkitError, match="split 'tset'; did you mean 'test'?"):
        select_rows(made_of, path, 'tset')
    with pytest.raises(ToolkitError, match='needs the name of one as `split`'):
        select_rows(made_of, path, None)
    told = SceneManifest(made_of.path, made_of.rows, ('name', 'split'), 'abc')
    with pytest.raises(ToolkitError, match='has a column split, and splits .* remove one'):
        select_rows(told, path, 'train')


@pytest.mark.parametrize(
    'text', ['train', 'train=', 'train=a', 'train=2,test=-1', '=1', 'a=.5,a=.5', 'train=nan', '']
)
def test_fractions_that_are_none(text):
    with pytest.raises(ToolkitError, match='expected NAME=SHARE'):
        parse_fractions(text)


def test_fractions():
    assert parse_fractions(' train=.8, test=.2') == {'train': 0.8, 'test': 0.2}
    with pytest.raises(ToolkitError, match='found a sum of 0.9, expected 1'):
        parse_fractions('train=.8,test=.1')


def test_the_command(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = [{**write_scene(tmp_path, f's{i}', 64, seed=i), 'town': i // 2} for i in range(6)]
    write_manifest(tmp_path / 'm.csv', rows)
    assert main(['split', 'm.csv', '--group', 'town', '--seed', '3']) == 0
    said = capsys.readouterr().out
    assert 'm.csv: 6 scenes' in said
    split_of, digest = load_split('m.splits.json', read_manifest('m.csv'))
    assert digest[:16] in said
    assert all(split_of[f's{i}'] == split_of[f's{i + 1}'] for i in (0, 2, 4))
    before = (tmp_path / 'm.splits.json').read_bytes()
    for argv, message in (
        ([], 'm.splits.json exists already; give --overwrite'),
        (['--overwrite', '--group', 'twon'], "no column is named 'twon'; did you mean 'town'?"),
        (['--overwrite', '--fractions', 'a=.5'], 'found a sum of 0.5'),
        (['--overwrite', '--seed', '-1'], 'seed must be 0 or more'),
        (['--overwrite', '--group', 'sensor'], 'need at least as many groups by sensor, found 1'),
    ):
        assert main(['split', 'm.csv', *argv]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count('\n') == 1
    assert (tmp_path / 'm.splits.json').read_bytes() == before
    assert main(['split', 'm.csv', '--overwrite', '--output', 'out/x.json']) == 0
    assert re.search(r'wrote out/x.json', capsys.readouterr().out)
    write_manifest(tmp_path / 'm.csv', [{**row, 'split': 'a'} for row in rows])
    assert main(['split', 'm.csv', '--overwrite']) == 2
    assert 'has a column split already' in capsys.readouterr().err
