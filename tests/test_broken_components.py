"""Broken components of all kinds: each is told before training, with file, line and path.

A case is a class in `tests/support/broken_components.py`, whose comment names the words that must
be said. The good components that the classes are made of pass, and so do the built-in ones.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import broken_components
from toolkit.cli import main

SOURCE = Path(broken_components.__file__)
PANSHARPENER = """\
model:
  type: Pansharpener
  bands: 4
  ratio: 4
  generator:
    type: {generator}
  reblur:
    type: {degradation}
  losses:
    spectral:
      type: {loss}
    spatial: {{type: GoodBlurredLoss}}
"""
CLASSIFIER = """\
model:
  type: Classifier
  tasks: {{kind: {{classes: [a, b]}}, margin: {{classes: [x, y, z]}}}}
  size: 32
  branches:
    one:
      type: {backbone}
    two:
      type: GoodBackbone
  neck:
    type: {neck}
  attention:
    type: {attention}
  trunk:
    type: {trunk}
  head:
    type: {head}
  losses:
    ce:
      type: {classloss}
  task_weighting:
    type: {taskweighting}
"""
# Path in the config of a component of each kind, by the beginning of the name of its class.
PATHS = {
    'generator': 'model.generator',
    'degradation': 'model.reblur',
    'loss': 'model.losses.spectral',
    'backbone': 'model.branches.one',
    'neck': 'model.neck',
    'attention': 'model.attention',
    'trunk': 'model.trunk',
    'head': 'model.head',
    'classloss': 'model.losses.ce',
    'taskweighting': 'model.task_weighting',
}
GOOD = {kind: f'Good{name}' for kind, name in broken_components.GOOD.items()}


def list_cases() -> Iterator[tuple[str, str, str, int]]:
    """Name, kind, expected words and line of each broken class."""
    for number, line in enumerate(SOURCE.read_text().splitlines(), 1):
        if match := re.match(r'class (\w+?)_(\w+)\(.*\):  # (.+)$', line):
            yield f'{match[1]}_{match[2]}', match[1].lower(), match[3], number


CASES = {name: case for name, *case in list_cases()}


@pytest.fixture(scope='module', autouse=True)
def plugin() -> Iterator[None]:
    with broken_components.registered():
        yield


def write(folder: Path, **types: str) -> Path:
    text = PANSHARPENER if not types or types.keys() & PANSHARPENED else CLASSIFIER
    path = folder / 'c.yaml'
    path.write_text(text.format(**{**GOOD, **types}))
    return path


PANSHARPENED = {'generator', 'degradation', 'loss'}


@pytest.mark.parametrize('kind', ['generator', 'backbone'])
def test_good_components_pass(kind, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path, **{kind: GOOD[kind]})
    assert main(['check', 'c.yaml', '--shapes']) == 0
    assert 'component' in capsys.readouterr().out


# One of each four by default; all take 10 seconds.
PARAMETERS = [
    name if number % 4 == 0 else pytest.param(name, marks=pytest.mark.slow)
    for number, name in enumerate(CASES)
]


@pytest.mark.parametrize('name', PARAMETERS)
def test_broken(name, tmp_path, monkeypatch, capsys):
    kind, expected, line = CASES[name]
    monkeypatch.chdir(tmp_path)
    config = write(tmp_path, **{kind: name}).read_text().splitlines()
    assert main(['check', 'c.yaml', '--shapes']) == 2
    told = capsys.readouterr()
    assert told.out == ''
    assert 'Traceback' not in told.err and len(told.err.splitlines()) <= 6, told.err
    key = PATHS[kind]
    first = told.err.splitlines()[0]
    place = next(n for n, text in enumerate(config, 1) if text.endswith(f': {name}'))
    assert first.startswith((f'c.yaml:{place}: {key}: ', f'c.yaml:{place - 1}: {key}: ')), told.err
    assert re.search(rf'{name}\b', first), told.err
    found = re.search(rf'{re.escape(str(SOURCE))}:(\d+)', first)
    assert found and line <= int(found[1]) < line + 40, told.err
    assert re.search(expected, first), told.err
