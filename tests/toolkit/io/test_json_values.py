"""JSON files: NaN and infinity are null, and a file is written whole or not at all."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from toolkit.errors import RunError
from toolkit.io.json_values import replace_nonfinite, write_json


def refuse_constant(name: str) -> None:
    raise AssertionError(f'{name} is no JSON')


def test_numbers_that_are_not_finite_are_null(tmp_path: Path) -> None:
    value = {
        'scores': {'PSNR': math.inf, 'SAM': 0.5, 3: -math.inf},
        'rows': [{'x': math.nan}, (1, math.nan, True, None, 'NaN')],
    }
    write_json(tmp_path / 'new' / 'a.json', value)
    text = (tmp_path / 'new' / 'a.json').read_text(encoding='utf-8')
    assert text.endswith('}\n')
    assert json.loads(text, parse_constant=refuse_constant) == {
        'scores': {'PSNR': None, 'SAM': 0.5, '3': None},
        'rows': [{'x': None}, [1, None, True, None, 'NaN']],
    }


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        (np.float32(0.25), 0.25),
        (np.float64('nan'), None),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array([0.5, np.inf]), [0.5, None]),
        (torch.tensor([0.5, torch.nan]), [0.5, None]),
        (torch.tensor(3), 3),
    ],
)
def test_arrays_become_lists(value: object, expected: object) -> None:
    found = replace_nonfinite(value)
    assert found == expected and type(found) is type(expected)


def test_letters_stay_readable(tmp_path: Path) -> None:
    write_json(tmp_path / 'a.json', {'scene': 'Zürich'})
    assert 'Zürich' in (tmp_path / 'a.json').read_text(encoding='utf-8')


def test_a_value_that_json_has_not_leaves_the_old_file(tmp_path: Path) -> None:
    write_json(tmp_path / 'a.json', {'x': 1})
    with pytest.raises(TypeError):
        write_json(tmp_path / 'a.json', {'x': object()})
    assert json.loads((tmp_path / 'a.json').read_text()) == {'x': 1}


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / 'file').write_text('')
    with pytest.raises(RunError, match=r'a\.json'):
        write_json(tmp_path / 'file' / 'a.json', {})
