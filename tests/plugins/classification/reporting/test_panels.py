"""Panels of classifiers: what they show, what they leave out, and whom they do not concern."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from plugins.classification.reporting.curves_panel import ClassifierCurves
from plugins.classification.reporting.images_panel import WhereItLooks
from plugins.pansharpening.visualization.swipe_panel import Swipe
from tests.support import classification_run_folders
from tests.support.scene_run_folders import two_variants
from toolkit.analysis.aggregate import analyze_study
from toolkit.analysis.results import load
from toolkit.report.section import list_panel_runs

PANELS = (ClassifierCurves, WhereItLooks)


@pytest.fixture(scope='module')
def study(tmp_path_factory):
    return classification_run_folders.study(tmp_path_factory.mktemp('study') / 'study')


def runs_of(folder):
    return list_panel_runs(analyze_study(load(folder)))


def data_of(html):
    return json.loads(re.search(r'application/json">(.*?)</script>', html, re.S)[1])


def test_curves_are_the_mean_over_the_runs_of_a_variant(study):
    html = ClassifierCurves().render(runs_of(study), 10**6).html
    data = data_of(html)
    full, other = data['pathology']['classes']['malignant']
    assert (full['label'], other['label']) == ('full', 'no_attention')
    assert (full['colour'], other['colour']) == (0, 1)
    own = [
        json.loads((study / f'runs/full-s{s}/figures/figures.json').read_text())['tasks'][
            'pathology'
        ]['curves']['malignant']
        for s in (0, 1)
    ]
    assert full['AUC'] == [one['AUC'][0] for one in own]
    mean = np.mean([np.interp(0.25, one['roc']['x'], one['roc']['y']) for one in own])
    assert full['roc']['y'][25] == pytest.approx(mean, abs=1e-3)
    assert len(full['operating']) == 2
    for kind in ('roc', 'pr'):
        low, middle, high = (np.array(full[kind][k]) for k in ('low', 'y', 'high'))
        assert (low <= middle).all() and (middle <= high).all()
    after = data['pathology']['reliability'][0]['after']
    assert sum(after['n']) == 240
    # Counts of the two runs together.
    assert html.count('<table class="confusion">') == 4
    assert '&lt;b&gt;irregular&lt;/b&gt;' in html and '<b>irregular' not in html


def test_one_run_keeps_its_own_curve_and_band(study):
    runs = [run for run in runs_of(study) if run.result.seed == 0]
    (full, _) = data_of(ClassifierCurves().render(runs, 10**6).html)['pathology']['classes'][
        'malignant'
    ]
    own = json.loads((study / 'runs/full-s0/figures/figures.json').read_text())
    assert full['roc'] == own['tasks']['pathology']['curves']['malignant']['roc']
    assert full['AUC_interval'][0] < full['AUC'][0] < full['AUC_interval'][1]


def test_pictures_of_the_same_images_by_all_variants(study):
    html = WhereItLooks().render(runs_of(study), 10**7).html
    data = data_of(html)
    assert [item['item'] for item in data['items']] == ['item0', 'item1', 'item2']
    for item in data['items']:
        assert [v['label'] for v in item['variants']] == ['full', 'no_attention']
        images = {v['layers']['image'] for v in item['variants']}
        assert len(images) == 1  # kept once
        assert len({v['layers']['Grad-CAM pathology'] for v in item['variants']}) == 2
    assert data['layers'] == ['Grad-CAM pathology', 'attention joint spatial']
    assert html.count('<details') == 4 and html.count(' open>') == 1
    assert '<b>irregular' not in html


@pytest.mark.parametrize('budget', [400_000, 20_000, 1000])
@pytest.mark.parametrize('panel', PANELS)
def test_the_budget_is_kept(study, panel, budget):
    rendered = panel().render(runs_of(study), budget)
    assert len(rendered.html.encode()) <= budget
    if budget <= 20_000:
        assert rendered.notes


@pytest.mark.parametrize('panel', PANELS)
def test_nothing_for_pansharpening_and_nothing_of_ours_in_its_swipe(tmp_path, study, panel):
    assert panel().render(runs_of(two_variants(tmp_path / 'ps')), 10**6) is None
    assert Swipe().render(runs_of(study), 10**7) is None


@pytest.mark.parametrize('panel', PANELS)
def test_damaged_files_are_named_and_the_rest_is_shown(study, tmp_path, panel):
    folder = Path(shutil.copytree(study, tmp_path / 'study'))
    (folder / 'runs/full-s0/figures/figures.json').write_text('{"tasks": 3}')
    (folder / 'runs/full-s0/pictures/item1.json').write_text('[]')
    (folder / 'runs/full-s0/pictures/item0-image.png').write_bytes(b'')
    rendered = panel().render(runs_of(folder), 10**7)
    assert any('full' in note and 'cannot be used' in note for note in rendered.notes)
    assert 'no_attention' in rendered.html


def test_prediction_sets_of_variants() -> None:
    from plugins.classification.reporting.sets_table import make_rows

    def sets(coverage: float, rare: float | None) -> dict:
        value = {'value': coverage, 'low': 0.8, 'high': 0.95, 'exact': 40}
        by_class = {'common': {**value, 'value': 0.97}, 'rare': {**value, 'value': rare}}
        size = {'value': 1.25, 'low': 1.1, 'high': 1.4}
        aim = {'coverage_aimed_at': 0.9, 'of': 'class'}
        return {**aim, 'coverage': value, 'by_class': by_class, 'size': size}

    rows = make_rows([('a', [sets(0.9, 0.5)]), ('b', [sets(0.8, 0.6), sets(0.9, 0.7)]), ('c', [])])
    assert rows == [
        ['a', '1', '90 %', 'each class', '0.900 [0.800, 0.950]*', 'rare: 0.500 [0.800, 0.950]*']
        + ['1.250 [1.100, 1.400]'],
        ['b', '2', '90 %', 'each class', '0.850 (0.800 to 0.900)', 'rare: 0.650 (0.600 to 0.700)']
        + ['1.250 (1.250 to 1.250)'],
    ]
    # A class without test images is no class that is covered least.
    assert make_rows([('a', [sets(0.9, None)])])[0][5].startswith('common: 0.970')
