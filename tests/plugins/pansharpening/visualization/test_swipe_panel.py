"""The report's swipe panel: what it reads, and how it keeps to its budget."""

from __future__ import annotations

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from plugins.pansharpening.visualization import swipe_panel
from plugins.pansharpening.visualization.swipe_panel import Swipe
from tests.support.scene_run_folders import SIZE, draw, picture, two_variants
from tests.support.study_folders import planned, write, write_plan
from toolkit.analysis.aggregate import analyze_study
from toolkit.analysis.results import load
from toolkit.report import page as report_page
from toolkit.report.section import list_panel_runs

BUDGET = 2_000_000


@pytest.fixture
def study(tmp_path):
    return two_variants(tmp_path / 'study')


def rendered(folder, budget=BUDGET):
    return Swipe().render(list_panel_runs(analyze_study(load(folder))), budget)


def data_of(found):
    return json.loads(
        re.search(r'<script type="application/json">(.*?)</script>', found.html, re.S)[1]
    )


def image_of(data, layer, item=0):
    (place,) = [x['image'] for x in data['items'][item]['layers'] if x['name'] == layer]
    kind, _, content = data['images'][place].partition(',')
    assert kind == 'data:image/webp;base64'
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert('RGB'))


def test_layers_of_the_scene_once_and_of_each_variant_by_its_first_run(study):
    found = rendered(study)
    data = data_of(found)
    (item,) = data['items']
    assert [layer['name'] for layer in item['layers']] == [
        *('PAN', 'upsampled MS', 'full', 'full: error', 'other', 'other: error'),
    ]
    assert (item['name'], item['width'], item['height']) == ('scene', *SIZE)
    assert len(data['images']) == 6
    assert found.notes == ()
    # Without loss where there is room.
    assert np.array_equal(image_of(data, 'other'), np.asarray(picture(5000 + 20 + 2)))
    assert 'stored without loss' in found.html


def test_errors_say_what_they_show_and_on_which_scale(study):
    for seed in (0, 1):
        path = study / f'runs/other-s{seed}/pictures/scene.json'
        record = json.loads(path.read_text())
        write(path, {**record, 'error': {'what': 'RMSE', 'low': 0.0, 'high': 303.25}})
        path = study / f'runs/full-s{seed}/pictures/scene.json'
        write(path, {**record, 'error': {'what': 'RMSE', 'low': 0.0, 'high': 12}})
    found = rendered(study)
    names = [layer['name'] for layer in data_of(found)['items'][0]['layers']]
    assert names[-3:] == ['full: error (0 to 12)', 'other', 'other: error (0 to 303.25)']
    assert 'stored without loss. Errors: RMSE.' in found.html


def test_nothing_to_show(tmp_path):
    assert rendered(write_plan(tmp_path, [planned('full')])) is None


def test_a_scene_that_another_run_stretched_otherwise_is_not_taken_for_the_same(study):
    picture(99).save(study / 'runs/other-s0/pictures/scene-1.png')
    names = [layer['name'] for layer in data_of(rendered(study))['items'][0]['layers']]
    assert 'upsampled MS' in names
    assert 'upsampled MS (other)' in names
    assert 'PAN (other)' not in names


@pytest.mark.parametrize(
    ('damage', 'note'),
    [
        (lambda folder: (folder / 'scene.json').write_text('{'), r'scene\.json cannot be used'),
        (lambda folder: (folder / 'scene.json').write_text('{"item": "x"}'), "used: 'layers'"),
        (
            lambda folder: (folder / 'scene-0.png').unlink(),
            r'scene\.json cannot be used: .*No such',
        ),
        (lambda folder: (folder / 'scene-0.png').write_text('no'), r'scene-0\.png is no image'),
        (
            lambda folder: picture(0, (9, 9)).save(folder / 'scene-0.png'),
            'sizes .*expected one',
        ),
        (
            lambda folder: draw(folder.parent, size=(60, 60)),
            r'scene is \(60, 60\), not \(120, 90\)',
        ),
    ],
)
def test_what_cannot_be_used_is_said_and_the_rest_is_shown(study, damage, note):
    for seed in (0, 1):
        damage(study / f'runs/other-s{seed}/pictures')
    found = rendered(study)
    assert re.search(f'^other: .*{note}|^other: {note}', '\n'.join(found.notes), re.M), found.notes
    assert [layer['name'] for layer in data_of(found)['items'][0]['layers']][2:] == [
        *('full', 'full: error'),
    ]


def test_a_file_outside_the_folder_is_not_read(study, tmp_path):
    """A name is a name, whatever path it is written with."""
    picture(1).save(tmp_path / 'secret.png')
    for seed in (0, 1):
        write(
            study / f'runs/other-s{seed}/pictures/scene.json',
            {'item': 'scene', 'layers': [{'name': 'sharpened', 'file': '../../../../secret.png'}]},
        )
    assert any('No such file' in note for note in rendered(study).notes)


def test_names_are_no_markup(study):
    hostile = '</script><script>alert(1)</script>'
    for seed in (0, 1):
        for variant in ('full', 'other'):
            draw(study / f'runs/{variant}-s{seed}', item='x', names=(hostile, 'sharpened'))
    assert hostile not in rendered(study).html
    assert data_of(rendered(study))['items'][1]['layers'][0]['name'] == hostile


# -- the budget ------------------------------------------------------------------------------------


def test_less_room_means_lower_quality_then_fewer_pictures_and_it_says_so(study):
    for seed in (0, 1):
        for variant in ('full', 'other'):
            for item in ('scene', 'second', 'another'):
                own = seed + 2 * (variant == 'other')
                draw(study / f'runs/{variant}-s{seed}', item, own, (320, 240), noise=3)
    whole = len(rendered(study, 10**9).html)
    seen = []
    for share in (1.01, 0.7, 0.4, 0.3, 0.12, 0.06, 0.03, 0.01):
        found = rendered(study, int(whole * share))
        assert len(found.html.encode()) <= whole * share
        if 'application/json' in found.html:
            data = data_of(found)
            item = data['items'][0]
            quality = re.search('stored ([^.]*)\\.', found.html)[1]
            seen.append((len(data['items']), item['width'], len(item['layers']), quality))
            assert bool(found.notes) == (
                (len(data['items']), item['width'], len(item['layers'])) != (3, 320, 6)
            )
    assert seen[0] == (3, 320, 6, 'without loss')
    assert 'quality' in seen[1][3]
    assert seen[-1][0] == 1
    assert seen == sorted(seen, key=lambda s: s[:3], reverse=True)


def test_the_middle_is_shown_where_there_is_no_room_for_the_whole(study, monkeypatch):
    monkeypatch.setattr(swipe_panel, 'CROPS', (64,))
    for budget in range(60_000, 0, -1000):
        found = rendered(study, budget)
        if found.html and data_of(found)['items'][0]['width'] == 64:
            break
    else:
        pytest.fail('it never came to that')
    assert found.notes[-1] == 'The central 64 pixels are shown, to keep the file small.'
    full = np.asarray(picture(5000 + 20 + 1), int)[13:77, 28:92]
    assert np.abs(image_of(data_of(found), 'full') - full).mean() < 25  # those pixels, compressed


def test_no_room_at_all(study):
    found = rendered(study, 100)
    assert found.html == ''
    assert found.notes == ('No room was left for images; report fewer studies at once.',)


@pytest.mark.slow
def test_a_report_of_many_pictures_stays_below_its_limit(study):
    for place, run in enumerate(sorted((study / 'runs').iterdir())):
        for item in range(3):
            draw(run, 'i' * (item + 1), seed=place, size=(768, 768), noise=4)
    output = study / 'report.html'
    report_page.write([study], output)
    assert report_page.LIMIT / 4 < output.stat().st_size <= report_page.LIMIT
