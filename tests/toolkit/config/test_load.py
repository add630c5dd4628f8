"""Bases, `_delete_`, null, interpolation, overrides, and where each value came from."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolkit.config import ConfigError, load


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def writer(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return name

    return writer


def message(name, overrides=()):
    with pytest.raises(ConfigError) as caught:
        load(name, overrides)
    return str(caught.value)


def test_bases_merge_deep_in_order_and_later_wins(write):
    write('b/one.yaml', 'model: {a: 1, b: {x: 1, y: 1}}\nlist: [1, 2]\n')
    write('b/two.yaml', 'model: {b: {y: 2}}\nlist: [3]\n')
    name = write('c.yaml', '_base_: [b/one.yaml, b/two.yaml]\nmodel: {c: 3}\n')
    config = load(name)
    assert config.tree == {'model': {'a': 1, 'b': {'x': 1, 'y': 2}, 'c': 3}, 'list': [3]}
    assert config.place('model.b.x') == 'b/one.yaml:1'
    assert config.place('model.b.y') == 'b/two.yaml:1'
    assert config.place('model.c') == 'c.yaml:2'
    assert config.place('model.b.nothing.below') == 'b/one.yaml:1'


def test_a_base_without_its_suffix_and_bases_of_bases(write):
    write('b/one.yaml', 'a: 1\n')
    write('b/two.yaml', '_base_: one\nb: 2\n')
    assert load(write('c', '_base_: b/two\n')).tree == {'a': 1, 'b': 2}


def test_delete_replaces_a_mapping_whole(write):
    write('base.yaml', 'gray: {type: A, kernel: 3, deep: {x: 1}}\n')
    name = write('c.yaml', '_base_: base.yaml\ngray: {_delete_: true, type: B}\n')
    config = load(name)
    assert config.tree == {'gray': {'type': 'B'}}
    assert config.place('gray.type') == 'c.yaml:2'
    assert ('gray', 'kernel') not in config.origins


def test_null_takes_an_entry_out_and_a_mapping_puts_it_back(write):
    write('base.yaml', 'losses: {kl: {type: KL}, mse: {type: MSE}}\n')
    write('no_kl.yaml', '_base_: base.yaml\nlosses: {kl: null}\n')
    name = write('again.yaml', '_base_: no_kl.yaml\nlosses: {kl: {type: Row}}\n')
    assert load('no_kl.yaml').tree['losses'] == {'kl': None, 'mse': {'type': 'MSE'}}
    assert list(load(name).tree['losses']) == ['kl', 'mse']
    assert load(name).tree['losses']['kl'] == {'type': 'Row'}


def test_cyclic_bases_name_the_circle(write):
    write('a.yaml', '_base_: b.yaml\n')
    write('b.yaml', 'x: 1\n_base_: a.yaml\n')
    assert message('a.yaml') == (
        'b.yaml:2: _base_: the bases go round in a circle: a.yaml -> b.yaml -> a.yaml'
    )


def test_missing_base_and_config_name_the_nearest(write):
    write('data/ikonos.yaml', '')
    write('c.yaml', '_base_: data/ikonoss.yaml\n')
    assert message('c.yaml').startswith("c.yaml:1: _base_: no such base 'data/ikonoss.yaml'")
    assert "did you mean 'data/ikonos.yaml'?" in message('c.yaml')
    assert message('d.yaml') == "d.yaml: no such config; did you mean 'c.yaml'?"
    assert message('data') == 'data: is a folder; expected a config file'


def test_interpolation_keeps_types_and_follows_references(write):
    name = write(
        'c.yaml',
        'n: 4\nname: scene_${n}\nagain: ${name}\nmodel: {bands: "${n}", part: {a: 1}}\n'
        'copy: ${model.part}\nplain: $${n}\nlist: ["${n}"]\n',
    )
    tree = load(name, ['n=8']).tree
    assert tree['model']['bands'] == 8
    assert tree['name'] == tree['again'] == 'scene_8'
    assert tree['copy'] == {'a': 1}
    assert tree['copy'] is not tree['model']['part']
    assert tree['plain'] == '${n}'
    assert tree['list'] == [8]


def test_bad_references_are_all_named(write):
    name = write('c.yaml', 'model: {bands: 4}\na: ${model.band}\nb: ${c}\nc: ${b}\nd: ${d.x}\n')
    lines = message(name).split('\n')
    assert (
        lines[0] == "c.yaml:2: a: ${model.band}: no key 'model.band'; did you mean 'model.bands'?"
    )
    assert lines[1] == 'c.yaml:3: b: ${b} refers to itself or to a mapping that contains it'
    assert lines[-1].startswith('c.yaml:5: d: ${d.x}: no key ')


def test_overrides_change_add_and_know_what_is_there(write):
    name = write('c.yaml', 'model: {width: 16, betas: [0.9, 0.99]}\nx: null\n')
    config = load(
        name, ['model.width=1e-3', 'model.betas.1=0.5', '+model.new={a: [1]}', '+x.y=on', 'x.y=2']
    )
    assert config.tree == {
        'model': {'width': 0.001, 'betas': [0.9, 0.5], 'new': {'a': [1]}},
        'x': {'y': 2},
    }
    assert config.place('model.width') == 'command line'
    assert config.place('model.new.a') == 'command line'


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('model.widht=3', "no key 'model.widht'; did you mean 'model.width'?"),
        ('modle.width=3', "no key 'modle'; did you mean 'model.width'?"),
        ('model.width.x=3', "'model.width' is an integer, so it has no key 'x'"),
        ('model.betas.2=3', "'model.betas' is a list of 1; '2' is no index of it"),
        ('+model.width=3', 'the key is there already; leave out the + to change it'),
        ('model.width', 'expected key.path=value'),
        ('model..width=1', 'expected key.path=value'),
        ('=1', 'expected key.path=value'),
    ],
)
def test_wrong_overrides(write, text, expected):
    name = write('c.yaml', 'model: {width: 16, betas: [0.9]}\n')
    assert expected in message(name, [text])
    assert message(name, [text]).startswith(f'command line: {text}: ')


def test_an_override_that_is_not_yaml_or_asks_to_run_code(write):
    name = write('c.yaml', 'a: 1\n')
    assert "override 'a=[1':1" in message(name, ['a=[1'])
    assert 'is refused' in message(name, ['a=!!python/name:os.system'])


def test_empty_and_non_mapping_files(write):
    assert load(write('empty.yaml', '')).tree == {}
    assert message(write('list.yaml', '- 1\n')) == 'list.yaml:1: expected a mapping, found a list'
    name = write('binary.yaml', '')
    Path(name).write_bytes(b'\xff\xfe\x00a')
    assert 'is not UTF-8 text' in message(name)


def test_resolved_tree_does_not_share_with_its_bases(write):
    write('base.yaml', 'a: {x: [1]}\n')
    name = write('c.yaml', '_base_: base.yaml\n')
    first = load(name)
    first.tree['a']['x'].append(2)
    assert load(name).tree == {'a': {'x': [1]}}
