"""From a config's mappings to objects, along annotations."""

from __future__ import annotations

import enum
import importlib
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch

from toolkit.config.checks.config_checker import ConfigChecker
from toolkit.config.load import Config
from toolkit.errors import ComponentError, DataError
from toolkit.interfaces import Head
from toolkit.registry import HEADS, Slot
from toolkit.registry.annotations import UnresolvedAnnotation
from toolkit.registry.build import ComponentFactory, accepts_argument, convert, fill, get_signature


class Leaf(Head):
    def __init__(self, in_channels: int, num_classes: int = 2, scale: float = 1.0) -> None:
        super().__init__()
        self.got = (in_channels, num_classes, scale)


class Parent:
    def __init__(
        self, one: Slot[Head], many: dict[str, Slot[Head]], pair: tuple[int, int] = (0, 0)
    ) -> None:
        self.one = one(in_channels=3, stride=2)
        self.many = {name: slot(in_channels=4, num_classes=5) for name, slot in many.items()}
        self.pair = pair


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setattr(HEADS, '_module_dict', {**HEADS._module_dict, 'Leaf': Leaf})


def test_slots_wait_for_what_the_parent_knows_and_drop_what_a_part_does_not_take():
    node = {
        'one': {'type': 'Leaf', 'scale': 2.0},
        'many': {'a': {'type': 'Leaf'}, 'gone': None},
        'pair': [1, 2],
    }
    parent = ComponentFactory(Parent, node)()
    assert parent.one.got == (3, 2, 2.0)
    assert {name: head.got for name, head in parent.many.items()} == {'a': (4, 5, 1.0)}
    assert parent.pair == (1, 2)


def test_a_part_of_another_name_is_said_with_its_path():
    with pytest.raises(ComponentError, match=r'^one: expected a mapping with a `type`, found 3'):
        ComponentFactory(Parent, {'one': 3, 'many': {}})()


@dataclass
class Inner:
    count: int = 1

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError('count must be positive')


@dataclass
class Outer:
    inner: Inner = field(default_factory=Inner)
    head: Slot[Head] | None = None


def test_sections_are_filled_and_their_own_checks_speak():
    outer = fill(Outer, {'inner': {'count': 3}, 'head': {'type': 'Leaf'}})
    assert outer.inner == Inner(3)
    assert isinstance(outer.head, ComponentFactory)
    with pytest.raises(ComponentError, match=r'^inner: count must be positive$'):
        fill(Outer, {'inner': {'count': 0}})


def test_what_data_says_in_a_constructor_gets_the_path():
    def opened() -> None:
        raise DataError('no file x')

    with pytest.raises(ComponentError, match=r'^a\.b: no file x$') as caught:
        ComponentFactory(opened, {}, 'a.b')()
    assert caught.value.exit_status == 2


class Base:
    def __init__(self, needed: int, optional: str = 'x') -> None: ...


class Handing(Base):
    def __init__(self, own: float, **kwargs: object) -> None: ...


class Closed(Handing):
    def __init__(self) -> None: ...


def test_a_constructor_that_hands_arguments_on_takes_those_of_its_bases():
    found = get_signature(Handing)
    assert list(found) == ['own', 'needed', 'optional']
    assert found['own'].default is found['own'].empty
    assert found['needed'].default is ...
    assert found['needed'].annotation is int
    assert not accepts_argument(Handing, 'other')
    assert list(get_signature(Closed)) == []


def test_plain_values_stay_as_they_are():
    assert convert(dict[str, int], {'a': None, 'b': 1}, '') == {'a': None, 'b': 1}
    assert convert(int | str, 'x', '') == 'x'
    assert convert(Slot[Head] | None, None, '') is None


def test_a_class_without_a_constructor_takes_nothing():
    class Plain:
        pass

    class Module(torch.nn.Module):
        pass

    assert get_signature(Plain) == get_signature(Module) == {}


def test_a_compiled_network_leaves_signatures_as_they_are(monkeypatch):
    original = torch.nn.Module.__init__

    def guarded(self, *args, **kwargs):  # as torch.compile puts it in place
        original(self, *args, **kwargs)

    monkeypatch.setattr(torch.nn.Module, '__init__', guarded)

    class Module(torch.nn.Module):
        pass

    assert get_signature(Module) == {}


TYPE_CHECKED = """
from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.interfaces import Head

if TYPE_CHECKING:
    from collections.abc import Sequence
    from no_such_library import Table


class Hidden(Head):
    def __init__(
        self, in_channels: int, sizes: Sequence[int] = (), table: Table | None = None, x: float = 0
    ) -> None:
        super().__init__()
"""


@pytest.fixture
def hidden(tmp_path, monkeypatch):
    (tmp_path / 'my_hidden.py').write_text(TYPE_CHECKED)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module('my_hidden').Hidden
    del sys.modules['my_hidden']


def test_names_under_type_checking_are_resolved_and_one_that_cannot_be_hides_no_other(hidden):
    found = {name: p.annotation for name, p in get_signature(hidden).items()}
    assert (found['in_channels'], found['x']) == (int, float)
    assert found['sizes'] == Sequence[int]
    assert found['table'] == UnresolvedAnnotation(
        'Table | None', "ModuleNotFoundError: No module named 'no_such_library'"
    )


@pytest.mark.parametrize(
    ('given', 'problems', 'unchecked'),
    [
        ({'x': 'big'}, [r"model\.x: found 'big'"], []),
        ({'sizes': 3}, [r'model\.sizes: found 3, expected a list'], []),
        (
            {'table': 3},
            [],
            [r"model\.table: not checked: the annotation 'Table \| None' of Hidden"],
        ),
        ({'table': {'type': 'A'}}, [r'model\.table: the annotation .*my_hidden.py:\d+'], []),
    ],
)
def test_an_argument_that_cannot_be_checked_is_named(hidden, given, problems, unchecked):
    checker = ConfigChecker(Config(Path('c.yaml'), {'model': given}))
    checker.check_arguments(hidden, given, ('model',), injected=('in_channels',))
    for patterns, found in ((problems, checker.problems), (unchecked, checker.unchecked)):
        assert len(found) == len(patterns), found
        assert all(re.search(p, str(f)) for p, f in zip(patterns, found)), found


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


@dataclass
class Range:
    low: float
    file: Path | None = None


class Typed:
    def __init__(
        self,
        folder: Path | None = None,
        files: list[Path] | None = None,
        pair: tuple[Path, int] | None = None,
        by_name: dict[str, Path] | None = None,
        colour: Colour = Colour.RED,
        dtype: torch.dtype = torch.float32,
        ranges: list[Range] | None = None,
        cls: type[Head] | None = None,
    ) -> None:
        self.given = (folder, files, pair, by_name, colour, dtype, ranges)


def test_paths_enumerations_dtypes_and_sections_are_converted_at_any_depth():
    given = {
        'folder': 'a/b',
        'files': ['c', 'd'],
        'pair': ['e', 3],
        'by_name': {'x': 'f'},
        'colour': 'BLUE',
        'dtype': 'bfloat16',
        'ranges': [{'low': 1.0, 'file': 'g'}],
    }
    checker = ConfigChecker(Config(Path('c.yaml'), {'model': given}))
    checker.check_arguments(Typed, given, ('model',), injected=())
    assert checker.problems == []
    assert ComponentFactory(Typed, given)().given == (
        Path('a/b'),
        [Path('c'), Path('d')],
        (Path('e'), 3),
        {'x': Path('f')},
        Colour.BLUE,
        torch.bfloat16,
        [Range(1.0, Path('g'))],
    )


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        ({'colour': 'BLEU'}, r"found 'BLEU'.* one of RED, BLUE; did you mean 'BLUE'"),
        ({'colour': 2}, 'found 2, expected one of RED, BLUE'),
        ({'dtype': 'float23'}, r"expected one of .*float32.*did you mean .*'float32'"),
        ({'folder': 3}, 'found 3, expected a path'),
        (
            {'cls': 'Head'},
            r'expected a class, .*; annotate Slot\[INTERFACE\]',
        ),
    ],
)
def test_values_that_cannot_be_converted_are_refused_with_what_to_use(given, message):
    checker = ConfigChecker(Config(Path('c.yaml'), {'model': given}))
    checker.check_arguments(Typed, given, ('model',), injected=())
    assert len(checker.problems) == 1
    assert re.search(message, str(checker.problems[0])), checker.problems
