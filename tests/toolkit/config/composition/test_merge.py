"""Mappings over references, and nulls that remove nothing."""

from __future__ import annotations

import re

import pytest

from toolkit.config import ConfigError, load
from toolkit.config.checks.check import check

BASE = """val: {metrics: {sam: {type: SAM}, q: {type: Q, block: 32}}, size: 4}
test: ${val}
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def writer(name, text):
        (tmp_path / name).write_text(text)
        return name

    return writer


def test_a_mapping_over_a_reference_is_merged_into_a_copy(write):
    write('base.yaml', BASE)
    name = write('c.yaml', '_base_: base.yaml\ntest: {metrics: {mine: {type: M}, q: {block: 8}}}\n')
    config = load(name)
    assert config.tree['test'] == {
        'metrics': {'sam': {'type': 'SAM'}, 'q': {'type': 'Q', 'block': 8}, 'mine': {'type': 'M'}},
        'size': 4,
    }
    assert config.tree['val']['metrics'].keys() == {'sam', 'q'}
    assert config.place('test.metrics.mine') == 'c.yaml:2'
    assert config.place('test.metrics.q.block') == 'c.yaml:2'
    assert config.place('test.metrics.sam.type') == 'base.yaml:1'


def test_the_copy_follows_later_changes_of_the_original(write):
    write('base.yaml', BASE)
    write('middle.yaml', '_base_: base.yaml\ntest: {metrics: {mine: {type: M}}}\n')
    name = write('c.yaml', '_base_: middle.yaml\nval: {size: 5}\ntest: {metrics: {q: null}}\n')
    config = load(name, ['val.metrics.sam.type=ERGAS'])
    assert config.tree['test'] == {
        'metrics': {'sam': {'type': 'ERGAS'}, 'q': None, 'mine': {'type': 'M'}},
        'size': 5,
    }


def test_delete_replaces_the_reference_and_parts_of_its_copy(write):
    write('base.yaml', BASE)
    name = write('c.yaml', '_base_: base.yaml\ntest: {_delete_: true, size: 1}\n')
    assert load(name).tree['test'] == {'size': 1}
    name = write('d.yaml', '_base_: base.yaml\ntest: {metrics: {_delete_: true, m: {type: M}}}\n')
    assert load(name).tree['test'] == {'metrics': {'m': {'type': 'M'}}, 'size': 4}


def test_the_command_line_reaches_into_a_reference(write):
    name = write('base.yaml', BASE)
    given = ['test.metrics.q.block=8', '+test.metrics.mine={type: M}', 'test.metrics.sam={type: E}']
    tree = load(name, given).tree
    assert tree['test']['metrics'] == {
        'sam': {'type': 'E'},
        'q': {'type': 'Q', 'block': 8},
        'mine': {'type': 'M'},
    }
    assert tree['val']['metrics']['sam'] == {'type': 'SAM'}
    for text, wanted in (
        ('test.metrics.sm=null', "test.metrics.sam'?"),
        ('+test.metrics.q=1', 'there already'),
        ('test.size.x=1', "'test.size' is an integer"),
    ):
        with pytest.raises(ConfigError, match=wanted.replace('?', r'\?')):
            load(name, [text])


def test_references_to_extensions_and_through_them(write):
    write('base.yaml', BASE + 'third: ${test}\nname: ${test.metrics.sam.type}\n')
    name = write('c.yaml', '_base_: base.yaml\ntest: {metrics: {mine: {type: M}}}\n')
    tree = load(name).tree
    assert tree['third'] == tree['test']
    assert 'mine' in tree['third']['metrics'] and tree['name'] == 'SAM'


def test_a_mapping_does_not_fit_a_reference_to_a_number(write):
    write('base.yaml', 'a: 3\nb: ${a}\n')
    name = write('c.yaml', '_base_: base.yaml\nb: {x: 1}\n')
    with pytest.raises(ConfigError, match=r'yaml:2: b: .*\$\{a\}.*an integer.*_delete_'):
        load(name)


def found(name, *overrides):
    return '\n'.join(str(problem) for problem in check(load(name, overrides)))


def test_a_null_that_removes_nothing_is_an_error(write):
    base = 'ldpnet/ldpnet_2022_synthetic'
    name = write('c.yaml', f'_base_: {base}\nmodel:\n  losses: {{kll: null}}\n')
    problem = r"c\.yaml:3: model\.losses\.kll: null removes nothing: .*'kll'.* mean 'kl'\?"
    assert re.search(problem, found(name)) and found(name).count('\n') == 0
    right = write('d.yaml', f'_base_: {base}\nmodel:\n  losses: {{kl: null}}\n')
    assert found(right) == ''
    again = write('e.yaml', '_base_: d.yaml\nmodel: {losses: {kl: null}}\n')
    assert found(again) == ''
    assert found(base, 'model.losses.kl=null') == ''
    assert 'command line: model.losses.kll' in found(base, '+model.losses.kll=null')
    assert 'command line: model.losses.kl: null' in found(base, 'model.losses={kl: null}')


def test_a_null_in_a_copy_removes_what_the_original_has(write):
    base = 'ldpnet/ldpnet_2022_synthetic'
    text = f'_base_: {base}\ntest_evaluator: {{metrics: {{NAME: null}}}}\n'
    metrics = load(base).tree['test_evaluator']['metrics']
    name = write('c.yaml', text.replace('NAME', next(iter(metrics))))
    assert found(name) == ''
    name = write('d.yaml', text.replace('NAME', 'nothing'))
    assert 'd.yaml:2: test_evaluator.metrics.nothing: null removes nothing' in found(name)
