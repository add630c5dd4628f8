"""Mistakes of authors in components of every kind: each is told with file and line, or harmless.

A case is the template of a kind with one mistake in it. `check-component` tells it in at most six
lines, with exit status 1 or 2 and without a traceback. `-s` prints the share that is told.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.plugins_of_one_test import plugins_of_this_test  # noqa: F401
from toolkit.cli import main
from toolkit.scaffold.projects import make_component
from toolkit.scaffold.template_files import list_kinds_with_template

# The method of each kind that a check calls; 'forward' for the others.
METHODS = {
    'system': 'tensor',
    'dataset': '__getitem__',
    'transform': 'apply',
    'sampler': 'order',
    'scheduler': '_get_value',
    'optimizer': 'step',
    'scene': 'read_ms',
    'panel': 'render',
    'predictor': 'add_arguments',
    'splitter': 'add_arguments',
    'auditor': 'add_arguments',
    'batch_mixing': 'mix',
    'command': 'add_arguments',
    'bench': 'add_arguments',
}
# Methods that run only with a trained system or a batch: of these kinds, a check sees the rest.
UNSEEN = ('metric', 'visualizer', 'hook')
OF_COMMANDS = ('predictor', 'splitter', 'auditor', 'command', 'bench')


def change_method(source: str, kind: str, change: Callable[[str, list[str]], list[str]]) -> str:
    """Changes the lines of the method that a check calls."""
    name = METHODS.get(kind, 'forward')
    cls = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)][-1]
    method = next(n for n in cls.body if isinstance(n, ast.FunctionDef) and n.name == name)
    lines, first = source.splitlines(), method.body[0].lineno - 1
    body = lines[first : method.body[-1].end_lineno]
    lines[first : method.body[-1].end_lineno] = change(name, body)
    return '\n'.join(lines) + '\n'


def change_class(source: str, pattern: str, text: str) -> str:
    """Changes the last class, which is that of the kind."""
    head, mark, rest = source.rpartition('\nclass ')
    changed = re.sub(pattern, text, mark + rest, count=1, flags=re.DOTALL)
    assert changed != mark + rest, pattern
    return head + changed


def add_arguments_of_none(source: str, kind: str) -> str:
    return change_method(source, kind, lambda name, body: ['        return None'])


MISTAKES: dict[str, Callable[[str, str], str]] = {
    'a name that does not exist': lambda source, kind: change_method(
        source, kind, lambda name, body: ['        torhc.zeros(1)', *body]
    ),
    'an attribute that does not exist': lambda source, kind: change_method(
        source, kind, lambda name, body: [_first_name(kind, 'missing_attribute'), *body]
    ),
    'an error of its own': lambda source, kind: change_method(
        source, kind, lambda name, body: ["        raise KeyError('width')"]
    ),
    'a result of None': add_arguments_of_none,
    'a syntax error': lambda source, kind: change_class(
        source, r'class (\w+)\((.*?)\):', r'class \1(\2)'
    ),
    'a module that is not installed': lambda source, kind: source.replace(
        '"""\n\n', '"""\n\nimport not_installed_anywhere\n', 1
    ),
    'another base class': lambda source, kind: change_class(
        source, r'class (\w+)\(.*?\):', r'class \1:'
    ),
    'no docstring': lambda source, kind: change_class(source, r'    """.*?"""\n\n', ''),
    'an argument without a value': lambda source, kind: change_class(
        source, r'(:\n    """.*?"""\n)', r'\1\n    def __new__(cls, needed_argument): ...\n'
    ),
}
# Harmless for these kinds: their method has no result.
NO_RESULT = (*OF_COMMANDS, 'optimizer', 'panel')
RUNS = ('a name that does not exist', 'an attribute that does not exist', 'an error of its own')


def _first_name(kind: str, attribute: str) -> str:
    return f'        {"cls" if kind in OF_COMMANDS else "self"}.{attribute}'


def list_cases() -> Iterator[tuple[str, str]]:
    for kind in list_kinds_with_template():
        for mistake in MISTAKES:
            if kind in UNSEEN and mistake in (*RUNS, 'a result of None'):
                continue
            if kind in NO_RESULT and mistake == 'a result of None':
                continue
            yield kind, mistake


CASES = list(list_cases())


def tell(kind: str, mistake: str, number: int, folder: Path, capsys) -> str:
    """The fault of a case in words; '' if it is told as it must be."""
    files = make_component(f'mistake_{number}', kind)
    name = next(name for name in files if not name.startswith('test_'))
    source = MISTAKES[mistake](files[name], kind)
    assert source != files[name]
    path = folder / name
    path.write_text(source)
    try:
        status = main(['check-component', str(path)])
    except Exception as error:
        capsys.readouterr()
        return f'traceback of {type(error).__name__}: {error}'
    told = capsys.readouterr()
    if status == 0:
        return 'silent'
    if 'Traceback' in told.err or len(told.err.splitlines()) > 6:
        return f'too long: {told.err}'
    if status not in (1, 2) or not re.search(rf'{re.escape(str(path))}:\d+', told.err):
        return f'status {status} without file and line: {told.err}'
    return ''


def test_there_are_at_least_100_cases_of_all_kinds():
    assert len(CASES) >= 100 and {kind for kind, _ in CASES} == set(list_kinds_with_template())


@pytest.mark.parametrize(('kind', 'mistake'), CASES[::9])
def test_a_mistake_is_told(kind, mistake, tmp_path, capsys):
    assert tell(kind, mistake, 0, tmp_path, capsys) == ''


# A check of a config runs components of these kinds; a mistake each, all but a missing docstring.
OF_NETWORKS = dict(
    zip(
        ('system', 'backbone', 'neck', 'attention', 'head', 'degradation', 'loss', 'generator'),
        [mistake for mistake in MISTAKES if mistake != 'no docstring'],
        strict=True,
    )
)


@pytest.mark.parametrize(('kind', 'mistake'), OF_NETWORKS.items())
def test_a_mistake_is_told_with_its_place_in_a_config(kind, mistake, tmp_path, capsys):
    files = make_component(f'placed_{kind}', kind)
    name = next(name for name in files if not name.startswith('test_'))
    config = tmp_path / f'{Path(name).stem}.yaml'
    (tmp_path / name).write_text(MISTAKES[mistake](files[name], kind))
    config.write_text(files[config.name])
    assert main(['check', str(config), '--shapes']) == 2
    told = capsys.readouterr().err
    assert len(told.splitlines()) <= 6 and 'Traceback' not in told
    place = re.search(rf'^{re.escape(str(config))}:\d+: model[\w.]*: (.*)$', told, re.MULTILINE)
    assert place and re.search(rf'placed_?{kind}', place[1], re.IGNORECASE), told
    if mistake in RUNS:
        assert re.search(rf' fails at {re.escape(str(tmp_path / name))}:\d+ ', place[1]), told


def test_a_mistake_in_what_predicts_alone_has_the_status_of_a_check(tmp_path, capsys):
    files = make_component('placed_views', 'prediction_views')
    name = 'placed_views.py'
    mistake = MISTAKES['a name that does not exist']
    (tmp_path / name).write_text(mistake(files[name], 'prediction_views'))
    config = tmp_path / 'placed_views.yaml'
    config.write_text(files[config.name])
    assert main(['check', str(config), '--shapes']) == 2
    told = capsys.readouterr().err
    place = rf'{re.escape(str(config))}:\d+: model.views: PlacedViews fails at .*{name}:\d+ .*\n'
    assert re.fullmatch(place, told), told


@pytest.mark.slow
def test_every_mistake_is_told(tmp_path, capsys):
    exceptions = {
        (kind, mistake): found
        for number, (kind, mistake) in enumerate(CASES)
        if (found := tell(kind, mistake, number, tmp_path, capsys))
    }
    with capsys.disabled():
        print(f'\n{len(CASES) - len(exceptions)} of {len(CASES)} mistakes are told')
        for case, found in exceptions.items():
            print(*case, found, sep=': ')
    assert not exceptions
