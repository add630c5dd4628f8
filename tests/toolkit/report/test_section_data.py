"""Data of the page's scripts, hyperparameters, tables of runs, and the room of panels."""

from __future__ import annotations

import json
import re

import pytest

from tests.support.study_folders import finish, planned, study_of, write, write_plan, write_run
from toolkit.analysis.aggregate import analyze_study
from toolkit.analysis.results import load
from toolkit.io.run_layout import METRICS_FILE, STATUS
from toolkit.report import plotly_bundle, section_data
from toolkit.report.jinja_environment import make_environment
from toolkit.report.panel import Panel, Rendered
from toolkit.report.panel_budget import PanelRequest, render_panels
from toolkit.report.runs import run_configs, run_tables
from toolkit.report.section import make_section


def study_with_axis(folder, scores=(0.5, 0.6)):
    runs = [
        planned(variant, seed, id=f'{variant}-{width}-{seed}', settings={'width': width})
        for variant in ('full', 'other')
        for width in (8, 16)
        for seed in (0, 1)
    ]
    write_plan(folder, runs, metrics={'score': True})
    for run in runs:
        finish(folder / run['folder'], {'score': scores[run['seed']]})
        rate = 0.1 if run['variant'] == 'full' else 0.2
        text = f'width: {run["settings"]["width"]}\nopt: {{lr: {rate}}}\nseed: {run["seed"]}\n'
        write_run(folder / run['folder'], text)
    return folder


def section_of(folder):
    return make_section('s1', analyze_study(load(folder)), study=True)


# -- hyperparameters -------------------------------------------------------------------------------


def test_hyperparameters_tell_conditions_apart_and_not_seeds(tmp_path):
    section = section_of(study_with_axis(tmp_path))
    assert section.data['hyperparameters'] == {
        'width': ['8', '16', '8', '16'],
        'opt.lr': ['0.1', '0.1', '0.2', '0.2'],
    }
    # The axis has its column already.
    assert section.data['columns'] == ['opt.lr'] and section.hyperparameters == 1
    table = section.tables['results']
    place = table.columns.index('opt.lr')
    assert [row[place].text for row in table.rows] == ['0.1', '0.1', '0.2', '0.2']
    assert len(table.columns) == len(table.better) == len(table.rows[0])


def test_values_that_vary_alike_have_one_column(tmp_path):
    folder = study_of(tmp_path, {'full': [0.5], 'other': [0.6]})
    for variant, width in (('full', 1), ('other', 2)):
        write_run(folder / f'runs/{variant}-s0', f'a: {width}\nb: {width}\nc: {3 - width}\n')
    section = section_of(folder)
    assert list(section.data['hyperparameters']) == ['a', 'b', 'c']
    assert section.data['columns'] == ['a', 'c']


def test_configs_are_kept_as_changes_from_the_first():
    configs = {'a': {'x': '1', 'y': '2'}, 'b': {'x': '1', 'z': '3'}}
    base, changes = run_configs.encode_changes(configs)
    assert base == {'x': '1', 'y': '2'}
    assert changes == {'a': {}, 'b': {'z': '3', 'y': None}}


def test_a_config_of_any_shape_is_flat():
    deep = current = {}
    for _ in range(100):
        current['a'] = current = {}
    tree = {'a': {'b': [1, {'c': 2}], 'empty': {}}, 'd': None, 'text': 'x', 'deep': deep}
    flat = run_configs.flatten(tree)
    assert flat['a.b'] == '[1, {"c": 2}]' and flat['a.empty'] == '{}'
    assert flat['d'] == 'null' and flat['text'] == 'x'
    assert run_configs.flatten('no mapping') == {}


def test_packed_data_are_the_same_each_time(tmp_path):
    data = section_of(study_with_axis(tmp_path)).data
    packed = section_data.pack(data)
    assert packed == section_data.pack(data)
    assert section_data.unpack(packed)['runs'][1]['metrics'] == {'score': 0.6}


# -- styles ----------------------------------------------------------------------------------------


def test_colours_are_of_variants_and_dashes_of_settings(tmp_path):
    styles = section_of(study_with_axis(tmp_path)).plot_styles
    assert [style['colour'] for style in styles] == [0, 0, 1, 1]
    assert [style['dash'] for style in styles] == ['solid', 'dash'] * 2
    many = [
        tuple(plotly_bundle.choose_plot_style(variant, context, 12).values())
        for variant in range(7)
        for context in range(12)
    ]
    assert len(set(many)) == len(many)


# -- tables ----------------------------------------------------------------------------------------


def test_every_run_has_a_row_and_its_condition(tmp_path):
    folder = study_with_axis(tmp_path)
    table = run_tables.make_runs_table(analyze_study(load(folder)))
    assert [row[0].text for row in table.rows][:3] == ['full-8-0', 'full-8-1', 'full-16-0']
    assert list(table.conditions) == [0, 0, 1, 1, 2, 2, 3, 3]
    score = table.columns.index('score ↑')
    assert [row[score].value for row in table.rows][:2] == [0.5, 0.6]
    assert len(table.better) == len(table.columns) and table.better[score] is True


def test_conditions_of_several_studies_stand_side_by_side(tmp_path):
    one = analyze_study(load(study_of(tmp_path / 'one', {'full': [0.5, 0.7], 'a': [0.1]})))
    two = analyze_study(load(study_of(tmp_path / 'two', {'full': [0.9]}, study='second')))
    table = run_tables.make_studies_table([one, two])
    assert table.columns == ['condition', 'score ↑ tiny', 'score ↑ second']
    assert [[cell.text for cell in row] for row in table.rows] == [
        ['full', '0.60 ± 0.14', '0.9000']
    ]
    assert run_tables.make_studies_table([one]) is None


def test_a_difference_where_lower_is_better_sorts_as_the_better_one(tmp_path):
    scores = {'full': [0.5, 0.6], 'low': [0.3, 0.45], 'high': [0.7, 0.85]}
    folder = study_of(tmp_path, scores, metrics={'score': False})
    table = section_of(folder).tables['differences']
    place = table.columns.index('difference')
    assert table.better[place] is True
    assert [row[place].value > 0 for row in table.rows] == [True, False]


# -- data of the test ------------------------------------------------------------------------------


def note_test_data(folder, run, print_):
    path = folder / 'runs' / run / METRICS_FILE
    write(path, {**json.loads(path.read_text()), 'test_data': print_})


def test_runs_of_different_test_data_are_told(tmp_path):
    folder = study_of(tmp_path, {'full': [0.5, 0.6], 'other': [0.7, 0.8]})
    for run in ('full-s0', 'full-s1', 'other-s0', 'other-s1'):
        note_test_data(folder, run, 'a' * 64)
    section = section_of(folder)
    assert section.warnings == []
    facts = {fact.name: fact.values for fact in section.ran_on.facts}
    assert [value for value, _ in facts['data: test']] == ['a' * 64]
    note_test_data(folder, 'other-s1', 'b' * 64)
    (warning,) = section_of(folder).warnings
    assert 'aaaaaaaaaaaa in 3 runs, bbbbbbbbbbbb in 1 runs' in warning


def test_a_run_that_starts_anew_while_it_is_read_has_no_result(tmp_path, monkeypatch):
    """Its metrics are of one attempt and its status of the next."""
    from toolkit.io import run_layout

    folder = study_of(tmp_path, {'full': [0.5]})
    read = run_layout.read_object

    def overtaken(path):
        content = read(path)
        if path.name == METRICS_FILE:
            status = json.loads((path.parent / STATUS).read_text())
            write(path.parent / STATUS, {**status, 'status': 'running', 'attempts': 2})
        return content

    monkeypatch.setattr(run_layout, 'read_object', overtaken)
    (run,) = load(folder).runs
    assert (run.status, run.metrics) == ('running', {})


def test_values_of_samples_of_a_later_test_are_not_mixed_with_earlier_metrics(tmp_path):
    folder = study_of(tmp_path, {'full': [0.5]})
    finish(folder / 'runs/full-s0', {'score': 0.5}, {'score': [{'item': 'a', 'score': 0.5}]})
    (run,) = load(folder).runs
    assert run.rows() == {'score': [{'item': 'a', 'score': 0.5}]}
    finish(folder / 'runs/full-s0', {'score': 0.9}, {'score': [{'item': 'a', 'score': 0.9}]})
    assert run.rows() == {}


# -- the room of panels ----------------------------------------------------------------------------


def panel_of(need, least=0):
    """A panel that needs so many bytes, and makes do with fewer down to `least`."""

    class Sized(Panel):
        title = f'needs {need}'
        offered = []

        def render(self, runs, budget):
            self.offered.append(budget)
            size = min(need, budget)
            return Rendered('x' * size) if size >= least else Rendered('', ('no room',))

    return Sized


@pytest.mark.parametrize(
    ('needs', 'budget', 'expected'),
    [
        ([10, 20, 30], 100, [10, 20, 30]),
        ([10, 200, 300], 100, [10, 45, 45]),  # what the first does not need goes to the others
        ([300, 10, 50], 100, [45, 10, 45]),
        ([100], 40, [40]),
        ([50, 50], 0, [0, 0]),
    ],
)
def test_panels_share_the_room_by_need(needs, budget, expected):
    requests = [PanelRequest(str(need), panel_of(need), []) for need in needs]
    sizes = [panel.size for panel in render_panels(requests, budget)]
    assert sizes == expected
    assert sum(sizes) <= budget


def test_an_axis_may_have_the_name_of_another_filter(tmp_path):
    runs = [
        planned('full', 0, id=f'full-{value}', settings={'data': value, 'status': value})
        for value in ('a', 'b')
    ]
    write_plan(tmp_path, runs, metrics={'score': True})
    finish(tmp_path / runs[0]['folder'], {'score': 0.5})
    assert section_of(tmp_path).filters == {
        'axis:data': ['a', 'b'],
        'axis:status': ['a', 'b'],
        'status': ['finished', 'waiting'],
    }


def test_a_row_has_the_status_of_its_run_though_an_axis_is_called_status(tmp_path):
    settings = {'data': 'x', 'status': 'odd'}
    runs = [planned('full', s, id=f'full-{s}', settings=settings) for s in (0, 1)]
    write_plan(tmp_path, runs, metrics={'score': True})
    finish(tmp_path / runs[0]['folder'], {'score': 0.5})
    table = section_of(tmp_path).tables['runs']
    assert table.columns[:5] == ['run', 'variant', 'data (axis)', 'status (axis)', 'status']
    macros = make_environment().get_template('macros.html.j2').module
    page = macros.table(table, 'a', 'runs', None)
    assert re.findall('data-status="(.*?)"', page) == ['finished', 'waiting']
