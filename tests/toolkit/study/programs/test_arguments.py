"""Command lines of programs: every value stays one argument, and reads back as itself."""

from __future__ import annotations

import argparse
import math

import pytest

from toolkit.study.programs.arguments import (
    explain_override,
    fill_command,
    format_overrides,
    list_placeholders,
    split_command,
)

HOSTILE = [
    'x; rm -rf ~',
    '$(id)',
    '`id`',
    "it's",
    '"',
    'a b',
    '',
    '-x',
    '--lr',
    '{run}',
    'a=b',
    '\\',
]


@pytest.mark.parametrize('text', HOSTILE)
def test_a_hostile_value_is_one_argument_that_argparse_reads_back(text):
    parser = argparse.ArgumentParser()
    parser.add_argument('--name')
    parser.add_argument('--lr', type=float)
    arguments = format_overrides('argparse', {'name': text, 'lr': -0.5})
    filled = fill_command(['{overrides}'], {'run': '/r'}, arguments)
    assert vars(parser.parse_args(filled)) == {'name': text, 'lr': -0.5}
    assert fill_command(['{overrides}'], {}, format_overrides('equals', {'name': text})) == [
        f'--name={text}'
    ]


@pytest.mark.parametrize(
    ('style', 'values', 'expected'),
    [
        ('argparse', {'lr': 0.5, 'b': 8, 'amp': True, 'off': None}, '--lr 0.5 -b 8 --amp'),
        ('argparse', {'w': [1, 2]}, '-w 1 2'),
        ('equals', {'a.b': True, 'cc': None, 'dd': [1, 2]}, '--a.b=true --cc=null --dd=[1, 2]'),
        (
            'hydra',
            {'a.b': 0.1, '+c': [1, 'x y'], 'd': {'e': None}},
            "a.b=0.1 +c=[1,'x y'] d={e:null}",
        ),
        ('hydra', {'a': '1', 'b': 'true', 'c': 'resnet50'}, "a='1' b='true' c=resnet50"),
        ('hydra', {'a': "it's", 'b': 'x\\'}, "a='it\\'s' b='x\\\\'"),
    ],
)
def test_each_style_writes_its_own_form(style, values, expected):
    assert ' '.join(format_overrides(style, values)) == expected


def test_a_command_is_split_without_a_shell_and_braces_can_be_written():
    arguments = split_command("python 'my script.py' --x={{a}} --out {run}/sub {overrides}")
    assert list_placeholders(arguments) == ['run', 'overrides']
    filled = fill_command(arguments, {'run': '/r u'}, ['--a', '{seed}'])
    assert filled == ['python', 'my script.py', '--x={a}', '--out', '/r u/sub', '--a', '{seed}']


@pytest.mark.parametrize(
    ('style', 'path', 'value', 'message'),
    [
        ('argparse', 'amp', False, 'no way to say false'),
        ('argparse', 'a', {'b': 1}, 'plain values and lists'),
        ('argparse', 'a', [[1]], 'plain values and lists'),
        ('argparse', '--a', 1, 'without dashes'),
        ('equals', 'a b', 1, 'no name of an option'),
        ('json', '+a', 1, "is Hydra's"),
        ('yaml', 'a..b', 1, 'no name of an option'),
    ],
)
def test_overrides_that_a_style_cannot_write(style, path, value, message):
    assert message in explain_override(style, path, value)


def test_numbers_that_are_not_finite_are_written_as_each_style_reads_them():
    values = {'a': math.inf, 'b': [-math.inf]}
    written = {style: format_overrides(style, values) for style in ('argparse', 'hydra', 'equals')}
    assert written == {
        'argparse': ['-a', 'inf', '-b', '-inf'],
        'hydra': ['a=inf', 'b=[-inf]'],
        'equals': ['-a=.inf', '-b=[-.inf]'],
    }
