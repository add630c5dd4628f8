"""Descriptions by name, class, object and kind, and the errors about other things."""

from __future__ import annotations

from typing import Any

import pytest

import toolkit
from toolkit.errors import ToolkitError
from toolkit.interfaces import Head
from toolkit.registry import ATTENTIONS, HEADS, METRICS, get_kinds
from toolkit.registry import kind as kind_module
from toolkit.registry.description.describe import describe_component


def test_a_name_a_class_and_an_object_are_described_alike() -> None:
    by_name, by_class = toolkit.describe('CBAM'), toolkit.describe(ATTENTIONS['CBAM'])
    assert repr(by_name) == repr(by_class) == repr(toolkit.describe('attention CBAM'))
    built = toolkit.describe(ATTENTIONS.build('CBAM', in_channels=8, kernel_size=3))
    assert repr(built) == f'{by_name!r}\n\nbuilt with\n  kernel_size=3, in_channels=8'
    assert 'reduction: int (>= 1) = 16' in repr(by_name) and 'state_dict' not in repr(by_name)


@pytest.mark.parametrize('name', ['attention', 'head', 'loss', 'generator', 'optimizer'])
def test_every_component_is_described_in_both_forms(name: str) -> None:
    kind = get_kinds()[name]
    assert all(f'`{entry}`' in kind._repr_markdown_() for entry in kind.names())
    for name in kind.names():
        known, found = describe_component(kind, name), toolkit.describe(f'{kind.name} {name}')
        for text in (repr(found), found._repr_markdown_()):
            assert known.summary in text
            assert all(argument.signature in text for argument in known.arguments)


def test_a_kind_lists_its_components() -> None:
    assert repr(toolkit.describe('head')) == repr(toolkit.describe(HEADS))
    assert 'LinearHead' in repr(toolkit.describe('head'))


def test_what_a_notebook_registers_and_declares_is_there(monkeypatch: Any) -> None:
    class CBAM(Head):
        """Has the name of another component."""

    monkeypatch.setitem(HEADS._module_dict, 'Mine', CBAM)
    for text in (repr(toolkit.describe('head')), HEADS._repr_markdown_()):
        assert 'Has the name of another component.' in text and 'LinearHead' in text
    monkeypatch.setattr(kind_module, '_KINDS', dict(kind_module._KINDS))
    own = kind_module.Kind('own', 'toolkit.interfaces.Head')
    assert 'own: implements toolkit.interfaces.Head' in repr(toolkit.describe('own'))
    own.register(CBAM)
    assert '- `CBAM`: Has the name' in own._repr_markdown_()


def test_a_class_with_the_name_of_a_component_is_at_its_own_place() -> None:
    class CBAM(ATTENTIONS.interface):
        """Does nothing."""

    assert f'{__name__.replace(".", "/")}.py' in repr(toolkit.describe(CBAM))


def test_a_class_need_not_be_registered() -> None:
    class Mine(Head):
        """Does nothing.

        Args:
            depth: number of layers.
        """

        def __init__(self, in_channels: int, depth: int = 2) -> None:
            super().__init__()

    text = repr(toolkit.describe(Mine))
    assert 'Mine  (head of' in text and 'number of layers.' in text
    assert 'in_channels: int  [injected by the parent]' in text


def test_what_is_no_component_gets_one_line(monkeypatch: Any) -> None:
    with pytest.raises(ToolkitError, match=r"named 'CBAN'; did you mean 'CBAM'\?"):
        toolkit.describe('CBAN')
    with pytest.raises(ToolkitError, match='int is no component: expected its name, a class'):
        toolkit.describe(3)
    monkeypatch.setitem(METRICS._module_dict, 'CBAM', METRICS['SAM'])
    with pytest.raises(ToolkitError, match="several kinds have a CBAM: say 'attention CBAM' or"):
        toolkit.describe('CBAM')
