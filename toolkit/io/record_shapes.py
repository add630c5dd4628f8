"""Holds JSON that somebody else may have written to the shape that its readers rely on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_WORDS = {
    str: 'a text',
    int: 'an integer',
    bool: 'true or false',
    dict: 'an object',
    list: 'a list',
}


def check_shape(value: Any, expected: Any, path: str = '') -> None:
    """Checks a value of JSON.

    Args:
        value: as read.
        expected: a type (`dict` and `list` of anything); `(item, None)`, for an item or null;
            `[item]`, a list of these; a mapping of keys that must be there, or `{str: item}`.
        path: of the value, for messages.
    Raises:
        ValueError: names the first path that has another type, or is missing.
    """
    if isinstance(expected, tuple):
        if value is not None:
            check_shape(value, expected[0], path)
    elif isinstance(expected, list):
        _check_type(value, list, path)
        for number, item in enumerate(value):
            check_shape(item, expected[0], f'{path}[{number}]')
    elif isinstance(expected, Mapping):
        _check_type(value, dict, path)
        if str in expected:
            expected = dict.fromkeys(value, expected[str])
        for key, item in expected.items():
            if key not in value:
                raise ValueError(f'no {_join(path, key)} in it')
            check_shape(value[key], item, _join(path, key))
    else:
        _check_type(value, expected, path)


def _check_type(value: Any, expected: type, path: str) -> None:
    if type(value) is not expected:
        raise ValueError(f'{path or "it"} is not {_WORDS[expected]}')


def _join(path: str, key: str) -> str:
    return f'{path}.{key}' if path else key
