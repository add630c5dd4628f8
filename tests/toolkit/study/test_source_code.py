"""Names that a module imports, on which the fingerprint of a run depends."""

from __future__ import annotations

import ast

import pytest

from toolkit.study.source_code import list_imported


@pytest.mark.parametrize(
    ('line', 'expected'),
    [
        ('import a.b', ['a.b']),
        ('from .b import c', ['a.b', 'a.b.c']),
        ("importlib.import_module('b.c')", ['b.c']),
        ("import_module('.b', __package__)", ['a.b']),
        ("__import__('b')", ['b']),
        ('import_module(name)', []),
        ("import_module('...b', __package__)", []),
    ],
)
def test_a_module_imports_what_it_names(line, expected):
    assert list(list_imported(ast.parse(line), 'a')) == expected
