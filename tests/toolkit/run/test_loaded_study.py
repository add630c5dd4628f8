"""The results of a study in Python."""

from __future__ import annotations

from pathlib import Path

import pytest

import toolkit
from tests.support.study_folders import finish, planned, write_plan
from toolkit.errors import ToolkitError


def test_a_study_has_its_runs_and_tables(tmp_path: Path) -> None:
    runs = [planned(variant, seed) for variant in ('full', 'small') for seed in (0, 1)]
    folder = write_plan(tmp_path / 'study', runs)
    for number, run in enumerate(runs[:3]):
        finish(folder / run['folder'], {'score': 0.5 + number / 10})
    study = toolkit.load_study(folder)
    assert repr(study) == f'<study tiny in {folder}: 3 of 4 runs finished>'
    assert [run.metrics.get('score') for run in study.runs] == [0.5, 0.6, 0.7, None]
    assert 'small' in study.table() and '| small |' in study._repr_markdown_()
    with pytest.raises(ToolkitError, match="no style is named 'html'; there are: text, markdown"):
        study.table('html')
    assert study.table('csv').splitlines()[0].startswith('variant')


def test_a_folder_without_a_study(tmp_path: Path) -> None:
    with pytest.raises(ToolkitError, match=r'holds no study: no plan.json in it'):
        toolkit.load_study(tmp_path)
