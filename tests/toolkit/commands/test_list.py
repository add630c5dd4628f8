"""`toolkit list`: kinds, components with their arguments, commands, and the references of both."""

from __future__ import annotations

import json
from typing import Literal

import pytest

from toolkit.cli import main
from toolkit.registry.description import describe

# Other tests of the same process register components of their own.
BUILT_IN = ('toolkit.', 'plugins.')

COMPONENT = '''
from torch import nn
from toolkit.interfaces import Head
from toolkit.registry import HEADS


class Base(Head):
    """A head.

    Args:
        in_channels: C. Injected by the parent.
        dropout: probability that a feature is dropped, in the training
            alone.
    Shape: (B, C) -> (B, K).
    """

    def __init__(self, in_channels: int, num_classes: int, dropout: float = 0.1) -> None:
        super().__init__()


@HEADS.register(name='one-layer')
class OneLayer(Base):
    """One layer.

    For tests: it computes nothing.

    Args:
        width, depth: of the layer.
    Source: nobody, "Nothing",
        equation 3.
    """

    def __init__(self, width: int, depth: int | None = None, **options) -> None:
        super().__init__(**options)
'''


@pytest.fixture
def plugin(tmp_path, plugins_of_this_test):
    path = tmp_path / 'my_described_head.py'
    path.write_text(COMPONENT)
    return str(path)


def test_one_component_is_told_whole(plugin, capsys):
    assert main(['list', 'head', 'one-layer', '--plugin', plugin]) == 0
    shown = capsys.readouterr().out
    assert shown == (
        f'one-layer  (head of my_described_head, {plugin}:22)\n\n'
        'One layer.\n\n'
        'For tests: it computes nothing.\n\n'
        'arguments\n'
        '  width: int  [required]\n'
        '      of the layer.\n'
        '  depth: int | None = None\n'
        '      of the layer.\n'
        '  in_channels: int  [injected by the parent]\n'
        '      C. Injected by the parent.\n'
        '  num_classes: int  [injected by the parent]\n'
        '  dropout: float = 0.1\n'
        '      probability that a feature is dropped, in the training alone.\n\n'
        'shape\n'
        '  (B, C) -> (B, K).\n\n'
        'source\n'
        '  nobody, "Nothing",\n'
        '  equation 3.\n'
    )


def test_one_component_as_json(plugin, capsys):
    assert main(['list', 'head', 'one-layer', '--json', '--plugin', plugin]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told['kind'] == 'head' and told['plugin'] == 'my_described_head'
    assert (told['file'], told['line']) == (plugin, 22)
    assert told['arguments'][0] == {
        'name': 'width',
        'type': 'int',
        'default': None,
        'meaning': 'of the layer.',
        'injected': False,
    }
    dropout = next(a for a in told['arguments'] if a['name'] == 'dropout')
    assert dropout['default'] == '0.1'
    assert main(['list', 'head', '--json', '--plugin', plugin]) == 0
    heads = json.loads(capsys.readouterr().out)
    assert told in heads
    assert {head['kind'] for head in heads} == {'head'}


@pytest.mark.parametrize(
    ('argv', 'message'),
    [
        (['head', 'LinerHead'], "no head is named 'LinerHead'; did you mean 'LinearHead'?"),
        (['heads', 'LinearHead'], "no kind is named 'heads'; did you mean 'head'?"),
        (['LinearHead'], "'LinearHead' is of the kind head: toolkit list head LinearHead"),
        (['atention'], "no kind is named 'atention'; did you mean 'attention'?"),
        (['head', '--markdown'], '--markdown and --commands take neither a KIND nor --json'),
    ],
)
def test_mistakes(argv, message, capsys):
    assert main(['list', *argv]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count('\n') == 1


def test_every_argument_of_every_component_has_a_meaning(capsys):
    assert main(['list', '--json']) == 0
    components = json.loads(capsys.readouterr().out)
    silent = [
        f'{c["kind"]} {c["name"]}: {a["name"]}'
        for c in components
        for a in c['arguments']
        if not a['meaning'] and c['module'].startswith(BUILT_IN)
    ]
    assert silent == []
    assert len(components) > 100


def test_commands_with_their_options(capsys):
    assert main(['list', '--commands']) == 0
    names = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert {'train', 'split', 'bench', 'evaluate', 'audit'} <= set(names)
    assert main(['list', '--commands', '--markdown']) == 0
    text = capsys.readouterr().out
    for expected in (
        '## toolkit train',
        '| `--work-dir DIR` | folder of this run; not with --try |',
        '### toolkit bench overhead',
        '**Options for Classifier**',
        '**Options for Pansharpener**',
        '**Options for a manifest of scenes**',
        '| `--checkpoint best\\|last\\|PATH` |',
    ):
        assert expected in text
    assert 'SUPPRESS' not in text


def test_annotations_are_written_as_in_sources():
    assert describe.format_annotation(Literal['a', 1]) == "Literal['a', 1]"
    assert describe.format_annotation(int | None) == 'int | None'
    assert describe.format_annotation(dict[str, describe.ArgumentDescription]) == (
        'dict[str, ArgumentDescription]'
    )


def test_sections_of_a_docstring():
    found = describe.split_docstring(
        """One line.

        More.

        Args:
            a: first.
        Shape: x -> y,
            for all x.

        Further text.
        """
    )
    assert found['Args'] == 'a: first.'
    assert found['Shape'] == 'x -> y,\nfor all x.'
    assert found[''].split() == ['One', 'line.', 'More.', 'Further', 'text.']
