"""Small configs that would expand without end: refused in one line, in little time."""

from __future__ import annotations

import time

import pytest

from toolkit.config import ConfigError, load
from toolkit.config.yaml_file import parse_yaml


def chain(count):
    links = ''.join(f'  a{i}: "${{e.a{i - 1}}}"\n' for i in range(1, count))
    return f'e:\n  a0: 1\n{links}'


def repeated(count, entry):
    return 'e:\n  a0: xxxxxxxxxx\n' + ''.join(
        f'  a{i}: {entry.replace("R", f"${{e.a{i - 1}}}")}\n' for i in range(1, count)
    )


BOMBS = {
    'references': (repeated(30, '["R", "R", "R"]'), 'references expand to more than 10000 others'),
    'text': (repeated(40, '"RR"'), 'references expand to more than'),
    'chain': (chain(2000), 'references refer to references, more than 50 deep'),
    'lists': ('e: ' + '[' * 500 + ']' * 500, 'values are nested more than 100 deep'),
    'mappings': ('e: ' + '{a: ' * 600 + '1' + '}' * 600, 'values are nested more than 100 deep'),
    'itself': ('e: &a\n  <<: *a\n  b: 1\n', 'anchors that refer to themselves'),
    'itself_in_a_list': ('e: &a\n  <<: [*a, *a]\n', 'anchors that refer to themselves'),
    'merges': (
        'e:\n  a0: &a0 {x: 1}\n'
        + ''.join(f'  a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n' for i in range(1, 40)),
        'expand without end',
    ),
    'bool': ('e: !!bool 3\n', "e: '3' is not what its tag says"),
    'digits': (f'e: {"9" * 6000}\n', "e: '999.* [.]{3} 9+' is not what its tag says"),
}


@pytest.mark.parametrize('name', BOMBS)
def test_bombs(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text, message = BOMBS[name]
    (tmp_path / 'c.yaml').write_text(text)
    start = time.process_time()
    with pytest.raises(ConfigError, match=message) as caught:
        load('c.yaml')
    assert time.process_time() - start < 2
    assert str(caught.value).startswith('c.yaml:')
    assert '\n' not in str(caught.value) and len(str(caught.value)) < 200


def test_an_extension_of_references_that_double_is_bounded(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    doubled = ''.join(
        f'z{i}: "${{z{i - 1}.k}}"\ny{i}: {{k: "${{z{i}}}"}}\n'.replace('z0.k', 'y0.k')
        for i in range(1, 60)
    )
    (tmp_path / 'b.yaml').write_text('y0: {k: {k: 1}}\n' + doubled)
    (tmp_path / 'c.yaml').write_text('_base_: b.yaml\nz59: {mine: 1}\n')
    start = time.process_time()
    with pytest.raises(ConfigError):
        load('c.yaml', ['+z58.mine=2'])
    assert time.process_time() - start < 2


def test_a_base_of_many_bases_is_read_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i in range(25):
        (tmp_path / f'b{i}.yaml').write_text(f'_base_: [b{i + 1}.yaml, b{i + 1}.yaml]\nk{i}: {i}\n')
    (tmp_path / 'b25.yaml').write_text('x: 1\n')
    start = time.process_time()
    assert len(load('b0.yaml').tree) == 26
    assert time.process_time() - start < 2


@pytest.mark.parametrize('shape', ['chain', 'list'])
def test_too_many_bases(shape, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i in range(150):
        (tmp_path / f'b{i}.yaml').write_text(f'_base_: b{i + 1}.yaml\n')
    (tmp_path / 'b150.yaml').write_text('x: 1\n')
    names = 'b0.yaml' if shape == 'chain' else f'[{", ".join(["b150.yaml"] * 150)}]'
    (tmp_path / 'c.yaml').write_text(f'_base_: {names}\n')
    with pytest.raises(ConfigError, match=r'\.yaml:1: _base_: the config has more than 100 bases'):
        load('c.yaml')


def test_two_merged_mappings_that_merge_others_keep_all_keys():
    text = (
        'x: &x {p: 1}\ny: &y {q: 2}\na: &a\n  <<: *x\nb: &b\n  <<: *y\nc:\n  <<: [*a, *b]\n  r: 3\n'
    )
    assert parse_yaml(text, 'x.yaml')[0]['c'] == {'r': 3, 'p': 1, 'q': 2}
