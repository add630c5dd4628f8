"""A record of a run that is damaged, or was written by somebody else, is refused by its entry."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.study_folders import CAPSULE
from toolkit.errors import ToolkitError
from toolkit.io.record_shapes import check_shape
from toolkit.run import capsule

WHOLE: dict[str, Any] = {
    **CAPSULE,
    'config': {},
    'sources': {'plugins': 'c8e3'},
    'plugins': [{'plugin': '/x/a.py', 'copy': 'plugins/a.py', 'sha256': '00'}],
    'resumed': [{'at': '2026-01-02T03:04:05+00:00', 'changed': ['threads']}],
}
# Whatever a file may hold; an entry accepts those of its own type alone.
VALUES = ('x', 1, -1.5, True, [], ['x'], [[[]]], {}, {'x': [1]}, {'x': 'y'}, None)


def write(folder: Path, record: Any) -> None:
    (folder / 'capsule.json').write_text(json.dumps(record))


def list_paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        items = enumerate(value)
    return [path, *(p for key, item in items for p in list_paths(item, (*path, key)))]


def replace(record: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    changed = copy.deepcopy(record)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return changed


def test_every_entry_of_another_type_is_named(tmp_path: Path) -> None:
    write(tmp_path, WHOLE)
    assert capsule.read(tmp_path) == WHOLE
    refused = 0
    for path in list_paths(WHOLE):
        held = WHOLE
        for key in path:
            held = held[key]
        for value in VALUES:
            write(tmp_path, replace(WHOLE, path, value))
            if type(value) is type(held):
                continue
            try:
                capsule.read(tmp_path)
            except ToolkitError as error:
                refused += 1
                named = str(path[0]) if path else 'it'
                assert f'capsule.json is damaged: {named}' in str(error), (path, value)
            else:
                # `ended` of a run that goes on, what a run without a config does not have, and
                # entries that are for a reader's eyes.
                free = path[:1] in {('ended',), ('data',), ('plugins',), ('config',)}
                assert (value is None and free) or path[0] in {'git', 'hardware'}, (path, value)
    assert refused > 250


@pytest.mark.parametrize('key', sorted(WHOLE))
def test_a_missing_entry_is_named(tmp_path: Path, key: str) -> None:
    write(tmp_path, {name: value for name, value in WHOLE.items() if name != key})
    with pytest.raises(ToolkitError, match=f'capsule.json is damaged: no {key} in it'):
        capsule.read(tmp_path)


def test_paths_of_lists_and_objects_are_named() -> None:
    check_shape([{'a': None}, {'a': 1}], [{'a': (int, None)}])
    with pytest.raises(ValueError, match=r'^\[1\]\.a is not an integer'):
        check_shape([{'a': 1}, {'a': True}], [{'a': int}])
    with pytest.raises(ValueError, match='^x is not a text'):
        check_shape({'x': 2}, {str: str})
