"""A number of a run has one value, in every file that states it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.patch_classifier import clinical_metrics, run_of
from toolkit import cli

SETTINGS = {'resamples': 300, 'seed': 5, 'stratified': True}


@pytest.fixture(scope='module')
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tested run with figures and a clinical report."""
    return run_of(
        tmp_path_factory.mktemp('run'),
        test_evaluator={'metrics': clinical_metrics()},
        custom_hooks={
            'figures': {'type': 'ClassificationFigures', 'resamples': 20, 'failures': 0},
            'clinical': {'type': 'ClinicalReport', **SETTINGS},
        },
        default_hooks={'pictures': {'type': 'Pictures', 'count': 0}},
    )


def read(run: Path, name: str) -> dict[str, Any]:
    return json.loads((run / name).read_text())


def test_figures_state_what_the_clinical_report_states(run: Path) -> None:
    clinical, figures = read(run, 'clinical.json'), read(run, 'figures/figures.json')
    assert figures['resamples'] == clinical['resamples'] == SETTINGS['resamples']
    assert clinical['tasks'].keys() == figures['tasks'].keys() == {'pathology', 'shape'}
    for name, task in clinical['tasks'].items():
        drawn, values = figures['tasks'][name], task['values']
        for key in ('classes', 'positive', 'threshold', 'temperature', 'confusion'):
            assert drawn[key] == task[key], key
        for key in ('images', 'patients'):
            assert drawn[key] == task['counts'][key]
        for when in ('before', 'after'):
            assert drawn['reliability'][when]['ECE'] == task['calibration'][when]['ECE']['value']
        assert task['calibration']['after']['ECE'] == values['ECE']
        for label, curve in drawn['curves'].items():
            for area in ('AUC', 'AP'):
                found = values[area if task['positive'] else f'{area}/{label}']
                assert curve[area] == [found[key] for key in ('value', 'low', 'high')]
        if task['positive']:
            at = drawn['curves'][task['positive']]['operating']
            assert at.pop('threshold') == task['threshold']
            assert at == {metric: values[metric]['value'] for metric in at}


def test_metrics_and_tables_state_what_the_clinical_report_states(run: Path) -> None:
    clinical, metrics = read(run, 'clinical.json'), read(run, 'metrics.json')['metrics']
    text = (run / 'clinical.md').read_text()
    lines = (run / 'clinical.csv').read_text().splitlines()
    for name, task in clinical['tasks'].items():
        for value, found in task['values'].items():
            assert metrics[f'{name}.{value}'] == found['value']
            start = f'{name},image,,,{task["counts"]["images"]},{task["counts"]["patients"]},'
            (line,) = [x for x in lines if x.startswith(f'{start}{value},')]
            low, high = ('' if found[k] is None else str(found[k]) for k in ('low', 'high'))
            assert line.startswith(f'{start}{value},{found["value"]},{low},{high},')
            if found['low'] is not None:
                shown = f'{found["value"]:.3f} [{found["low"]:.3f}, {found["high"]:.3f}]'
                assert shown in text


def test_the_model_card_and_compare_state_the_same(run: Path, tmp_path: Path) -> None:
    clinical = read(run, 'clinical.json')
    assert cli.main(['card', '--run', str(run), '--output', str(tmp_path / 'card.md')]) == 0
    card, text = (tmp_path / 'card.md').read_text(), (run / 'clinical.md').read_text()
    cells = re.findall(r'\d\.\d{3} \[[^\]]*\]', text)
    assert len(cells) > 60
    assert set(cells) <= set(re.findall(r'\d\.\d{3} \[[^\]]*\]', card))
    for level in ('image', 'patient'):
        out = tmp_path / f'{level}.json'
        arguments = ['compare', str(run), str(run), '--task', 'pathology', '--level', level]
        assert cli.main([*arguments, '--resamples', '100', '--json', str(out)]) == 0
        task = clinical['tasks']['pathology']
        values = task['values'] if level == 'image' else task['patients']['values']
        for name, found in json.loads(out.read_text())['values'].items():
            assert found['a'] == found['b'] == values[name]['value'], name
