"""Searches of a program: trials, early ends, kills, the test at the end, tables, mistakes."""

from __future__ import annotations

import json
import random
import re
import signal
import sys
import time
from dataclasses import replace

import pytest

from tests.support import program_studies, studies
from tests.support.browser import opened
from toolkit import cli
from toolkit.analysis.aggregate import analyze_study
from toolkit.analysis.results import load
from toolkit.analysis.search.trials import get_value, list_bests, make_trials_table, select_trials
from toolkit.analysis.table_files import study_table
from toolkit.cli import main
from toolkit.commands.study import SEARCH_LOCK
from toolkit.config import ConfigError
from toolkit.config.schema import TrainCfg
from toolkit.errors import ToolkitError
from toolkit.io.run_records import RunStatus
from toolkit.report import page as report_page
from toolkit.report.page import render
from toolkit.report.section import make_sections
from toolkit.run import work_dir as work_dirs
from toolkit.study.folder import write_plan
from toolkit.study.planning.plan import make_plan, make_planner
from toolkit.study.planning.plan_text import plan_text
from toolkit.study.reconcile import RunFilter, reconcile
from toolkit.study.search.loop import SearchRunner
from toolkit.study.search.sampler import KnownTrial
from toolkit.study.search.trials import Trial, choose_batch, read_trials, with_trials
from toolkit.study.search.validations import (
    PrunedError,
    end_if_pruned,
    judge,
    read_values,
    write_values,
)
from toolkit.study.study_file import read_study

pytest.importorskip('optuna')
SPACE = {
    'x': {'uniform': [0, 1]},
    'kind': {'choice': ['a', 'b']},
    'width': {'integer': [1, 8], 'when': {'kind': 'b'}},
}
SEARCH = {'metric': 'val_acc', 'space': SPACE, 'trials': 9, 'startup': 4}
ASHA = {'stop': 'asha', 'rungs': {'factor': 2, 'most': 9}}


class KilledError(BaseException):
    """Stands for a SIGKILL of the study."""


def write(folder, search=None, **changes):
    """Write a search of `search_train.py`."""
    command = [sys.executable, 'search_train.py', '{overrides}', '--seed', '{seed}']
    study = {
        'command': [*command, '--out', '{run}'],
        'program': {'results': {'jsonl': 'log.jsonl'}},
        'metrics': {'val_acc': 'higher', 'test_acc': 'higher'},
        'primary': 'test_acc',
        'variants': None,
        'search': {**SEARCH, **(search or {})},
        **changes,
    }
    return program_studies.write(folder, **study)


def measure(run):
    """The validations of a run of `search_train.py`, and its test."""
    settings = run.settings
    best = 1 - abs(settings.get('x', 1) - 0.3) - 0.2 * (settings.get('kind', 'a') != 'b')
    return [best * (1 - 0.5**epoch) for epoch in range(1, 10)], best


def simulate(folder, kill=lambda: None):
    """Make a call that leaves what the runs of a plan would; counts those that it did."""
    done = []

    def run(plan, choice):
        kill()
        entries = reconcile(plan, folder, choice)
        write_plan(plan, entries, folder)
        for entry in entries:
            if not entry.pending:
                continue
            kill()
            path, planned = entry.folder, entry.run
            path.mkdir(parents=True, exist_ok=True)
            (values, test), cut = measure(planned), None
            metrics = {'val_acc': values[-1], 'test_acc': test}
            if choice.trials:
                metrics, cut = {'val_acc': values[-1]}, judge(planned.trial, values)
                write_values(path, 'val_acc', values[: cut.validations] if cut else values)
            record = {'metrics': metrics, 'directions': dict.fromkeys(metrics, True), 'rows': {}}
            (path / 'metrics.json').write_text(json.dumps(record))
            kill()
            state = 'pruned' if cut else 'finished'
            status = RunStatus(state, 1, 9.0, fingerprint=planned.fingerprint)
            status.write(path)
            done.append((planned.id, cut.validations if cut else 9))
        return 0

    return run, done


def search(study, folder, kill=lambda: None):
    run, done = simulate(folder, kill)
    status = SearchRunner(study, folder, make_planner(study), run).run()
    return status, done


def found(folder):
    """Everything that a search has left, but for times."""
    results = load(folder)
    trials = [
        (run.id, dict(run.settings), dict(run.trial), run.status, dict(run.metrics))
        for run in results.trials
    ]
    return trials, [(run.id, dict(run.metrics)) for run in results.runs]


def test_the_test_is_used_at_the_end_alone(tmp_path, capsys):
    study, work = read_study(write(tmp_path)), tmp_path / 'work'
    status, done = search(study, work)
    names = [name for name, _ in done]
    assert status == 0
    assert names[:9] == [f'trial_{n}-s2' for n in range(9)]
    trials, runs = found(work)
    best = max(trials, key=lambda trial: trial[4]['val_acc'])[2]['number']
    assert names[9:] == ['reference-s0', 'reference-s1', f'best_{best}-s0', f'best_{best}-s1']
    assert all(set(trial[4]) == {'val_acc'} for trial in trials)
    assert all(('width' in settings) == (settings['kind'] == 'b') for _, settings, *_ in trials)
    assert all('test_acc' in metrics for _, metrics in runs)

    results = load(work)
    text = study_table(results, 'text')
    assert f'{best} (best)' in text
    assert 'Searched on the validation (val_acc)' in text
    assert 'sampler tpe with seed 0' in text
    assert f'best_{best}   val_acc' in text
    record = json.loads(study_table(results, 'json'))
    assert record['search']['split'] == 'validation'
    assert [trial['number'] for trial in record['trials']] == list(range(9))
    values = [record['trials'][n]['value'] for n, _ in list_bests(results)]
    assert values == sorted(values)
    shown = [row[-2].value for row in make_trials_table(results).rows]
    assert shown == sorted(shown, reverse=True)

    said = plan_text(make_plan(with_trials(study, work)), reconcile(make_plan(study), work), work)
    assert 'for a higher val_acc' in said and 'x: uniform 0 to 1' in said
    assert 'width: integer 1 to 8, where kind is b' in said
    assert '9 trials' in said


@pytest.mark.parametrize(('stop', 'batch'), [('asha', 1), ('asha', 3), ('hyperband', 1)])
def test_a_search_that_was_killed_ends_as_an_undisturbed_one(tmp_path, stop, batch):
    trials = 9 if stop == 'asha' else 16
    study = read_study(write(tmp_path, {**ASHA, 'stop': stop, 'batch': batch, 'trials': trials}))
    search(study, tmp_path / 'a' / 'whole')
    expected = found(tmp_path / 'a' / 'whole')
    assert {trial[3] for trial in expected[0]} == {'finished', 'pruned'}
    generator, kills = random.Random(0), []

    def kill():
        if len(kills) < 10 and generator.random() < 0.3:
            kills.append(1)
            raise KilledError

    work = tmp_path / 'b' / 'killed'
    for _ in range(11):
        try:
            assert search(study, work, kill)[0] == 0
        except KilledError:
            continue
        break
    assert len(kills) == 10
    assert found(work) == expected


def test_the_reference_alone_needs_no_trial(tmp_path, monkeypatch):
    file, work, started = write(tmp_path), tmp_path / 'work', []

    def run(plan, folder, launcher, choice, keep_going):
        entries = reconcile(plan, folder, choice)
        started.append([entry.run.id for entry in entries if entry.pending])
        return 130  # no tables

    monkeypatch.setattr('toolkit.study.execute.run_study', run)
    command = ['study', str(file), '--work-dir', str(work), '--only', 'reference']
    assert main(command) == 130
    assert main([*command, '--seeds', '1']) == 130
    search(read_study(file), work)
    (work / 'runs' / 'reference-s0' / 'status.json').unlink()
    assert main(command) == 130
    assert started == [['reference-s0', 'reference-s1'], ['reference-s1'], ['reference-s0']]


def test_more_trials_continue_a_search_and_another_space_does_not(tmp_path):
    work = tmp_path / 'work'
    search(read_study(write(tmp_path, {'trials': 6})), work)
    search(read_study(write(tmp_path)), work)
    search(read_study(write(tmp_path)), tmp_path / 'a' / 'whole')
    assert found(work)[0] == found(tmp_path / 'a' / 'whole')[0]
    other = {**SPACE, 'x': {'uniform': [0, 2]}}
    turned = dict(reversed(SPACE.items()))  # would draw other values for the same trials
    for space in (other, turned):
        with pytest.raises(ToolkitError, match='trials of another search: space changed'):
            search(read_study(write(tmp_path, {'space': space})), work)


@pytest.mark.parametrize(
    ('state', 'sentence'),
    [('failed', '3 trials in a row failed (broken)'), ('finished', 'no trial has a result')],
)
def test_a_search_without_results_tests_nothing(tmp_path, capsys, state, sentence):
    study, work, seen = read_study(write(tmp_path, {'trials': 4})), tmp_path / 'work', []

    def run(plan, choice):
        seen.append(choice.trials)
        entries = reconcile(plan, work, choice)
        write_plan(plan, entries, work)
        for entry in entries:
            if entry.pending:
                made = entry.run.fingerprint
                entry.folder.mkdir(parents=True)
                RunStatus(state, 1, message='broken', fingerprint=made).write(entry.folder)
        return 1

    assert SearchRunner(study, work, make_planner(study), run).run() == 1
    assert all(seen)
    assert sentence in capsys.readouterr().out


def test_a_grid_has_every_point_once(tmp_path):
    space = {**SPACE, 'x': {'log': [0.01, 1], 'points': 3}, 'width': SPACE['width'] | {'step': 7}}
    grid = {'space': space, 'sampler': 'grid', 'trials': None}
    study, work = read_study(write(tmp_path, grid)), tmp_path / 'work'
    search(study, work)
    points = [tuple(trial.plan.point.values()) for trial in read_trials(study, work)]
    expected = [(x, *rest) for x in (0.01, 0.1, 1) for rest in (('a',), ('b', 1), ('b', 8))]
    assert points == [(pytest.approx(x), *rest) for x, *rest in expected]


def test_a_program_is_ended_where_its_validations_say_so(tmp_path):
    file = write(tmp_path, ASHA, common={'slow': 0.0})
    study = read_study(file)
    plan = make_plan(with_trials(study, tmp_path / 'work'))
    assert plan.higher
    from toolkit.study.programs.execution import run_program

    record = plan.configs['reference-s0'].tree
    record = {**record, 'metrics': {'val_acc': True}}
    folder = tmp_path / 'run'
    folder.mkdir()
    trial = {'number': 1, 'metric': 'val_acc', 'higher': True, 'thresholds': {'2': 0.4}}
    with program_studies.log_output(folder):
        cut = run_program(folder, record, trial)
    # x = 1 of kind a is worth 0.1 at best; a program that ended by itself is judged too.
    assert (cut.validations, cut.threshold) == (2, 0.4)
    assert not (folder / 'metrics.json').exists()
    slow = {**record, 'values': {**record['values'], 'slow': 5.0}}
    begun = time.monotonic()
    with program_studies.log_output(folder):
        cut = run_program(folder, slow, {**trial, 'thresholds': {'1': 0.4}})
    assert cut.validations == 1
    assert time.monotonic() - begun < 5


@pytest.mark.parametrize(
    ('change', 'changes', 'messages'),
    [
        ({'space': {'x': {'uniform': [1, 0]}}}, {}, ['two numbers, the lowest and the highest']),
        ({'space': {'x': {'uniform': [-1e308, 1e308]}}}, {}, ['two numbers, the lowest and']),
        ({'seed': 2**40}, {}, ['expected at most 100000000']),
        ({'space': {'x': {'log': [0, 1]}}}, {}, ['a logarithm needs numbers above 0']),
        ({'space': {'x': {}}}, {}, ['expected one of uniform, log, integer and choice']),
        ({'space': {'x': {'choice': [1, 1]}}}, {}, ['the value 1 stands here twice']),
        ({'space': {'x': {'uniform': [0, 1], 'step': 0.3}}}, {}, ['do not meet 1']),
        ({'space': {'x': {'uniform': [0, 1], 'when': {'y': 1}}}}, {}, ['no other path of the']),
        (
            {'space': {**SPACE, 'x': {'uniform': [0, 1], 'when': {'kind': 'c'}}}},
            {},
            ['kind is never c'],
        ),
        ({'space': {}}, {}, ['at least one path']),
        ({'trials': None}, {}, ['expected when it ends']),
        ({'trials': 0, 'batch': 0, 'run_seed': 1}, {}, ['1 or more', 'luck with this seed']),
        ({'sampler': 'grid'}, {}, ['a grid needs points, a step or a choice']),
        ({'rungs': {'factor': 3}}, {}, ['belongs to `stop: asha` or `stop: hyperband`']),
        ({'stop': 'asha'}, {}, ['how often it validates']),
        ({'stop': 'hyperband'}, {}, ['by the length of a run: give rungs, {most: N}']),
        ({'metric': 'test_acc'}, {}, ['on which split a metric is']),
        ({'metric': 'val_ac'}, {}, ["did you mean 'val_acc'"]),
        ({'metric': None}, {}, ['on which split']),
        ({}, {'folds': {'path': 'x', 'values': [1, 2]}}, ['would have seen them']),
        ({}, {'axes': {'x': [1, 2]}}, ['put the path into search.space']),
        ({'time': 'soon'}, {}, ["time is 'soon'"]),
        ({}, {'variants': {'full': {}, 'best_3': {}}}, ["'best_3' is the name of a trial"]),
        (
            {'space': {'x': {'integer': [0, 10**9]}}, 'sampler': 'grid', 'trials': None},
            {},
            ['at most 10000 values'],
        ),
        (
            {
                'space': {k: {'integer': [0, 999]} for k in ('x', 'width')},
                'sampler': 'grid',
                'trials': None,
            },
            {},
            ['the grid has more than 10000 points'],
        ),
    ],
)
def test_mistakes_in_a_search(tmp_path, change, changes, messages):
    with pytest.raises(ConfigError) as error:
        read_study(write(tmp_path, change, **changes))
    for message in messages:
        assert re.search(rf'study\.yaml:\d+: .*{re.escape(message)}', str(error.value))


def test_what_the_sampler_learns_from_trials_without_a_value(tmp_path):
    study, work = read_study(write(tmp_path, {'trials': 3})), tmp_path / 'work'
    search(study, work)
    trial = read_trials(study, work)[0]
    failed = replace(trial.run, status='failed', metrics={})
    assert Trial(trial.plan, failed).outcome is None
    assert Trial(trial.plan, replace(trial.run, metrics={'val_acc': None})).outcome is None
    cut = replace(
        trial.run, status='pruned', metrics={}, trial={**trial.run.trial, 'thresholds': {'2': 0.5}}
    )
    outcome = Trial(trial.plan, cut, (0.6, None)).outcome
    assert outcome == KnownTrial(dict(trial.plan.point), None, 2)
    further = choose_batch(
        study.spec.search, [Trial(trial.plan, cut, (0.6, None))] * 5, higher=True, count=1
    )
    assert 0 <= further[0].point['x'] <= 1


def test_values_are_those_of_the_metric_of_the_search_and_the_last_ends_no_trial(tmp_path):
    study, work = read_study(write(tmp_path, {'trials': 1})), tmp_path / 'work'
    search(study, work)
    trial = {'number': 0, 'metric': 'mse', 'higher': False, 'thresholds': {'2': 0.5}}
    run = replace(read_trials(study, work)[0].run, trial=trial)
    lines = [{'iter': 5 * n, 'epoch': n, 'val': {'mse': 1.0 / n, 'acc': 0.0}} for n in (1, 2)]
    lines[1]['val']['mse'] = 0.9
    log = run.folder / 'metrics.jsonl'
    log.write_text(''.join(json.dumps(line) + '\n' for line in lines))
    assert read_values(run) == [1.0, 0.9]  # the file is of another search, by val_acc
    for length in (TrainCfg(max_epochs=2), TrainCfg(max_iters=10)):
        end_if_pruned(run, run.folder, length)
    with pytest.raises(PrunedError, match='0.9 after 2 validations, expected 0.5'):
        end_if_pruned(run, run.folder, TrainCfg(max_epochs=3))
    log.unlink()
    assert read_values(run) == [1.0, 0.9]
    (run.folder / 'validations.json').write_text('{"metric": "mse"}')
    with pytest.raises(ToolkitError, match='validations.json is damaged'):
        read_values(run)


@pytest.mark.slow
def test_a_search_ends_the_same_after_kills_of_its_processes(tmp_path):
    small = {'trials': 4, 'startup': 2, **ASHA, 'batch': 2}
    file = write(tmp_path, small, common={'slow': 0.05}, seeds=[0])
    for name in 'ab':
        (tmp_path / name).mkdir()
    code, said = studies.run(file, tmp_path / 'a' / 'whole')
    assert code == 0, said
    generator, work = random.Random(1), tmp_path / 'b' / 'killed'
    for _ in range(10):
        process = studies.start(file, work, start_new_session=True)
        time.sleep(generator.uniform(0.3, 2.0))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.wait()
    code, said = studies.run(file, work)
    assert code == 0, said
    assert found(work) == found(tmp_path / 'a' / 'whole')


def test_the_report_shows_the_trials_apart(tmp_path):
    study, work = read_study(write(tmp_path, ASHA)), tmp_path / 'work'
    search(study, work)
    results = load(work)
    trials = analyze_study(select_trials(results))
    tested, searched = make_sections([(analyze_study(results), True), (trials, True)])
    assert not tested.search and 'history' not in tested.charts
    assert searched.search and searched.charts[:2] == ['history', 'parallel']
    assert sorted(searched.data['trials']) == list(range(9))
    assert 'Searched on the validation' in ' '.join(searched.summary)
    assert searched.tables['missing'].rows[0][1].text == 'pruned'
    page, _ = render([work])
    assert 'History of the best value' in page


@pytest.mark.slow
def test_filters_act_on_the_history_of_the_best_value(tmp_path, browser):
    search(read_study(write(tmp_path, ASHA)), tmp_path / 'work')
    values = {r.trial['number']: get_value(r) for r in load(tmp_path / 'work').trials}
    scored = sorted(number for number, value in values.items() if value is not None)
    report_page.write([tmp_path / 'work'], tmp_path / 'report.html')
    with opened(browser, tmp_path / 'report.html') as page:
        plot = page.locator("#s2 [data-chart='history'] .plot")
        plot.scroll_into_view_if_needed()
        plot.locator('.main-svg').first.wait_for()
        drawn = 'p => p.data.map((trace) => [...trace.x])'
        assert plot.evaluate(drawn) == [[*scored, max(values)], scored]
        page.locator('#s2 [data-role=search]').fill(f'trial_{scored[1]}')
        page.wait_for_function(f'p => ({drawn})(p)[1].length === 1', arg=plot.element_handle())
        assert plot.evaluate(drawn) == [[scored[1], max(values)], [scored[1]]]


@pytest.mark.parametrize(('people', 'is_refused'), [('ab', True), ('cd', False)])
def test_a_validation_that_shares_people_with_the_test_is_refused_before_any_trial(
    tmp_path, people, is_refused
):
    """The trainings do not follow the validation here, and the trials hold no test."""
    test = {'dataset': {'type': 'TinyData', 'length': 7, 'augment': False, 'people': ['b', 'x']}}
    val = {'dataset': {**test['dataset'], 'people': list(people), 'length': 5}}
    evaluator = studies.BASE['test_evaluator']
    file = studies.write(
        tmp_path,
        variants=None,
        primary='mse',
        common={'+val_dataloader': val, 'test_dataloader': test, '+val_evaluator': evaluator},
        search={'space': {'model.width': {'choice': [4, 8]}}, 'sampler': 'grid'},
    )
    study, started = read_study(file), []

    def run(plan, choice):
        started.append(choice)
        return 130

    runner = SearchRunner(study, tmp_path / 'work', make_planner(study), run)
    if is_refused:
        with pytest.raises(ConfigError, match='validation'):
            runner.run()
    else:
        assert runner.run() == 130
    assert bool(started) != is_refused


def test_the_validation_is_no_part_of_the_space(tmp_path):
    space = {'val_dataloader.dataset.length': {'choice': [3, 7]}}
    file = studies.write(
        tmp_path, variants=None, primary='mse', search={'space': space, 'trials': 2}
    )
    with pytest.raises(ConfigError, match='with different validations tell nothing together'):
        read_study(file)


def test_failed_trials_are_run_again_once(tmp_path):
    study, work = read_study(write(tmp_path, {'trials': 4})), tmp_path / 'work'
    run, _ = simulate(work)
    asked = []

    def note(plan, choice):
        asked.append((choice.trials, tuple(choice.rerun)))
        return run(plan, choice)

    choice = RunFilter(rerun=('failed',))
    assert SearchRunner(study, work, make_planner(study), note, choice).run() == 0
    assert asked == [(True, ('failed',)), *[(True, ())] * 3, (False, ('failed',))]


def test_a_second_process_on_a_search_is_told_the_way(tmp_path, capsys):
    file = write(tmp_path, ASHA)
    with work_dirs.claimed(tmp_path / 'work' / SEARCH_LOCK, 'search'):
        assert cli.main(['study', str(file), '--work-dir', str(tmp_path / 'work')]) == 2
    error = capsys.readouterr().err
    assert 'another process works on the search' in error and 'a larger --jobs' in error
