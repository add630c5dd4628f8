"""Reading a study's folder: whole, half done, damaged."""

from __future__ import annotations

import json

import pytest

from tests.support.study_folders import begin, fail, finish, planned, study_of, write, write_plan
from toolkit.analysis.results import holds_study, load
from toolkit.analysis.table_files import study_table
from toolkit.errors import ToolkitError
from toolkit.io.verification.input_files import StudyInputs


def test_runs_in_every_state(tmp_path):
    first = planned('full', 0, settings={'model.width': 16}, changes=['a: 1 -> 2'])
    runs = [first, *(planned('full', seed) for seed in (1, 2, 3))]
    folder = write_plan(tmp_path / 'study', runs)
    finish(folder / 'runs/full-s0', {'score': 0.5, 'error': None}, {'score': [{'score': 0.5}]})
    fail(folder / 'runs/full-s1', 'died')
    begin(folder / 'runs/full-s2')
    results = load(folder)
    assert holds_study(folder)
    assert (results.name, results.compare_to, dict(results.metrics)) == (
        'tiny',
        'full',
        {'score': True},
    )
    done, failed, running, waiting = results.runs
    assert [run.status for run in results.runs] == ['finished', 'failed', 'running', 'waiting']
    assert done.metrics == {'score': 0.5, 'error': None}
    assert done.directions == {'score': True, 'error': False}
    assert done.rows() == {'score': [{'score': 0.5}]}
    assert done.settings == {'model.width': 16}
    assert done.changes == ('a: 1 -> 2',)
    assert (done.seconds, done.memory, done.parameters, done.macs) == (10.0, 5e8, 1000, 2_000_000)
    assert (failed.message, failed.attempts, failed.metrics) == ('died', 2, {})
    assert (running.attempts, waiting.attempts, waiting.rows()) == (1, 0, {})


def test_a_run_of_another_study_is_read_where_it_lies(tmp_path):
    other = tmp_path / 'other' / 'run'
    finish(other, {'score': 0.25})
    folder = write_plan(tmp_path / 'study', [planned('full', folder=str(other))])
    (run,) = load(folder).runs
    assert run.folder == other
    assert run.metrics == {'score': 0.25}


def test_runs_that_share_a_training(tmp_path):
    runs = [planned('full', id=d, data=d, trained_in='trainings/full') for d in ('a', 'b')]
    folder = write_plan(tmp_path / 'study', [*runs, planned('other')])
    found = load(folder).runs
    assert [run.trained_in for run in found] == [
        *(folder / 'trainings/full', folder / 'trainings/full', folder / 'runs/other-s0'),
    ]
    assert found[0].folder == folder / 'runs/a'


def test_what_an_earlier_attempt_measured_is_no_result(tmp_path):
    folder = study_of(tmp_path / 'study', {'full': [0.5]})
    begin(folder / 'runs/full-s0', attempts=2)
    assert load(folder).runs[0].metrics == {}


def test_directions_come_from_the_runs_where_the_study_leaves_them_open(tmp_path):
    folder = study_of(tmp_path / 'study', {'full': [0.5]}, metrics={'score': None, 'error': None})
    assert load(folder).metrics == {'score': True, 'error': None}
    finish(folder / 'runs/full-s0', {'score': 0.5, 'error': 1.0})
    assert load(folder).metrics == {'score': True, 'error': False}
    study_of(folder, {'full': [0.5]}, metrics={})
    assert load(folder).metrics == {'score': True}


def test_runs_that_disagree_about_a_direction(tmp_path):
    folder = study_of(tmp_path / 'study', {'full': [0.5, 0.6]}, metrics={'score': None})
    path = folder / 'runs/full-s1/metrics.json'
    path.write_text(path.read_text().replace('true', 'false'))
    with pytest.raises(ToolkitError, match=r'runs disagree whether a higher score .*full-s1'):
        load(folder)
    study_of(folder / 'x', {'full': [0.5]})
    write_plan(folder, [planned('full', 0), planned('full', 1)], metrics={'score': True})
    assert load(folder).metrics == {'score': True}  # the study decides


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda plan: plan.pop('runs'), "is damaged: no 'runs' in it"),
        (lambda plan: plan.pop('study'), "is damaged: no 'study' in it"),
        (lambda plan: plan.update(runs=[]), 'is damaged: it has no runs'),
        (lambda plan: plan.update(runs=[3]), 'is damaged: '),
        (lambda plan: plan['runs'][0].pop('seed'), "is damaged: no 'seed' in it"),
        (
            lambda plan: plan.update(compare_to='fulll'),
            "compare_to is 'fulll', and no run",
        ),
    ],
)
def test_damaged_plans(tmp_path, change, message):
    folder = study_of(tmp_path / 'study', {'full': [0.5]})
    plan = json.loads((folder / 'plan.json').read_text())
    change(plan)
    write(folder / 'plan.json', plan)
    with pytest.raises(ToolkitError) as error:
        load(folder)
    assert message in str(error.value)
    assert str(folder / 'plan.json') in str(error.value)


def test_no_study(tmp_path):
    with pytest.raises(ToolkitError, match='holds no study: there is no such folder'):
        load(tmp_path / 'nowhere')
    with pytest.raises(ToolkitError, match=r'holds no study: no plan\.json in it'):
        load(tmp_path)
    assert not holds_study(tmp_path)


DAMAGED = ['', '{"a":', '[1]', '{"status": "dead", "metrics": 3}', '{"a":' * 3000, '9' * 5000, '\0']


@pytest.mark.parametrize('content', DAMAGED)
def test_a_damaged_plan_is_named(tmp_path, content):
    folder = study_of(tmp_path / 'study', {'full': [0.5]})
    (folder / 'plan.json').write_text(content)
    with pytest.raises(ToolkitError, match=r'plan\.json is damaged'):
        load(folder)


@pytest.mark.parametrize('name', ['status.json', 'metrics.json'])
@pytest.mark.parametrize('content', DAMAGED)
def test_a_run_with_a_damaged_file_has_failed_and_hides_no_other(tmp_path, name, content):
    folder = study_of(tmp_path / 'study', {'full': [0.5], 'other': [0.7]})
    (folder / 'runs/full-s0' / name).write_text(content)
    damaged, other = load(folder).runs
    assert (damaged.status, damaged.metrics) == ('failed', {})
    assert f'full-s0/{name} is damaged' in damaged.message and '\n' not in damaged.message
    assert (other.status, other.metrics) == ('finished', {'score': 0.7})
    assert '0.7' in study_table(load(folder))


def test_results_of_files_that_have_changed_are_marked(tmp_path):
    folder = study_of(tmp_path / 's', {'full': [0.5], 'other': [0.6, None]})
    file = tmp_path / 'labels.csv'
    file.write_text('a,0')
    inputs = StudyInputs()
    for run in ('other-s0', 'other-s1'):
        inputs.add_run(run, [], [str(file)])
    inputs.write(folder)
    assert '‡' not in study_table(load(folder))
    file.write_text('a,1')
    assert load(folder).changed == {'other-s0': (str(file),)}  # the other one has no result
    for style in ('text', 'markdown', 'latex', 'json'):
        table = study_table(load(folder), style)
        assert 'before: other-s0' in table and 'labels.csv' in table
    text = study_table(load(folder))
    assert 'other ‡' in text and 'full (reference) ‡' not in text
