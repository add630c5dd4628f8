"""Reading one YAML file: scalars as YAML 1.2 has them, origins, and what is refused."""

from __future__ import annotations

import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from toolkit.config.composition.interpolate import interpolate
from toolkit.config.dump import dump, dump_inline
from toolkit.config.yaml_file import ConfigError, parse_yaml


def value(text):
    return parse_yaml(text, 'x.yaml')[0]


def problems(text):
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, 'x.yaml')
    return str(caught.value).split('\n')


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('1e-3', 0.001),
        ('1E5', 100000.0),
        ('-.5', -0.5),
        ('1.', 1.0),
        ('.inf', math.inf),
        ('on', 'on'),
        ('no', 'no'),
        ('Yes', 'Yes'),
        ('true', True),
        ('False', False),
        ('010', 10),
        ('0x1F', 31),
        ('0o17', 15),
        ('1:30', '1:30'),
        ('1_000', '1_000'),
        ('2022-01-01', '2022-01-01'),
        ('"1e-3"', '1e-3'),
        ('~', None),
        ('', None),
        ('!!str 3', '3'),
    ],
)
def test_scalars(text, expected):
    found = value(text)
    assert found == expected
    assert type(found) is type(expected)


def test_every_key_has_its_line():
    _, origins = parse_yaml('a: 1\nb:\n  c: 2\n\n  d: [1,\n     {e: 3}]\n', 'x.yaml')
    lines = {'.'.join(path): origin.line for path, origin in origins.items()}
    assert lines == {'a': 1, 'b': 2, 'b.c': 3, 'b.d': 5, 'b.d.0': 5, 'b.d.1': 6, 'b.d.1.e': 6}


def test_merge_keys_and_anchors():
    text = 'base: &b {x: 1, y: 2}\nchild:\n  <<: *b\n  y: 3\nother: *b\n'
    assert value(text) == {
        'base': {'x': 1, 'y': 2},
        'child': {'y': 3, 'x': 1},
        'other': {'x': 1, 'y': 2},
    }


@pytest.mark.parametrize(
    'text',
    [
        'a: &a {x: 1, y: 1}\nb: &b {<<: *a, y: 2}\nc: {<<: *b, x: 3}',
        'a: &a {x: 1}\nb: {x: 2, <<: {<<: *a}}',
        'a: &a {x: 1}\nb: {<<: [{<<: *a}, {x: 2}]}',
        'a: &a {x: {u: 1}}\nb: {<<: [{z: 0}, *a], x: {w: 1}}',
        'a: &a {x: 1}\nb: &b {<<: *a}\nc: &c {<<: *b, x: 2}\nd: {<<: [*c, *a]}',
    ],
)
def test_the_outer_and_the_first_of_merged_mappings_win(text):
    assert value(text) == yaml.safe_load(text)


def test_all_duplicate_keys_are_named_with_both_lines():
    assert problems('a: 1\nb:\n  c: 1\n  c: 2\na: 3\n') == [
        "x.yaml:4: b.c: duplicate key 'c'; it stands on line 3 already",
        "x.yaml:5: a: duplicate key 'a'; it stands on line 1 already",
    ]


@pytest.mark.parametrize(
    'tag',
    [
        '!!python/object/apply:os.system ["true"]',
        '!!python/name:os.system',
        '!custom 3',
        '!!set {a}',
        '!!binary aGk=',
        '!!timestamp 2020-01-01',
    ],
)
def test_tags_are_refused(tag):
    (line,) = problems(f'ok: 1\nx: {tag}\n')
    assert line.startswith('x.yaml:2: x: the tag ')
    assert line.endswith('is refused: a config holds plain values only')


def test_tabs_are_named():
    assert problems('a:\n\tb: 1\n') == ['x.yaml:2: a tab is used for indentation; use spaces']


@pytest.mark.parametrize(
    ('text', 'line'),
    [('a: [1, 2\n', 2), ('a: b: c\n', 1), ('a: 1\n---\nb: 2\n', 2), ("a: 'x\n", 2), ('a: *b\n', 1)],
)
def test_broken_yaml_says_the_line(text, line):
    (message,) = problems(text)
    assert message.startswith(f'x.yaml:{line}: ')


def test_aliases_that_expand_without_end():
    bomb = 'a0: &a0 [x, x]\n' + ''.join(
        f'a{i}: &a{i} [{", ".join([f"*a{i - 1}"] * 9)}]\n' for i in range(1, 9)
    )
    assert 'expand without end' in problems(bomb)[0]
    assert 'refer to themselves' in problems('a: &a [*a]\n')[0]


_scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=20)
    | st.text('${}a.', max_size=8)
    | st.sampled_from(['1e-3', 'on', 'null', '~', '0x10', '.5', '${a.b}', 'a ${b}', '- x', '#', ''])
)
_keys = (
    st.text(max_size=8)
    | st.text('${}a.', max_size=4)
    | st.sampled_from(['on', '1', 'null', 'a.b', 'SAM/upsampled', '1e3'])
)
_values = st.recursive(
    _scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(_keys, _values, max_size=4))
def test_what_is_dumped_loads_the_same(tree):
    assert value(dump_inline(tree)) == tree
    found = interpolate(value(dump(tree)) or {}, {})[0]
    assert found == tree
    assert _types(found) == _types(tree)


def _types(tree):
    if isinstance(tree, dict):
        return {k: _types(v) for k, v in tree.items()}
    return [_types(v) for v in tree] if isinstance(tree, list) else type(tree)
