"""What the report is made of: bars, curves, environments, diffs, plot styles."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.study_folders import CAPSULE, planned, study_of, write, write_plan, write_run
from toolkit.analysis.aggregate import analyze_study
from toolkit.analysis.interval_bars import Bar, make_bars
from toolkit.analysis.results import load
from toolkit.report import plotly_bundle
from toolkit.report.runs import training_curves
from toolkit.report.runs.config_diff import find_config_changes
from toolkit.report.runs.environment import read_environment


def test_bars_share_the_scale_of_their_column():
    assert make_bars([(1.0, 2.0, 3.0), None, (3.0, 4.0, 5.0)]) == [
        Bar(0, 25, 50),
        None,
        Bar(50, 75, 100),
    ]
    assert make_bars([(1.0, 2.0, 3.0)], zero=True) == [Bar(33.33, 66.67, 100, 0)]
    assert make_bars([(-1.0, 0.0, 1.0)], zero=True) == [Bar(0, 50, 100, 50)]
    assert make_bars([(2.0, 2.0, 2.0)]) == [Bar(50, 50, 50)]  # nothing to scale by
    assert make_bars([None, None]) == [None, None]


def test_cells_are_told_apart_by_colour_dash_or_marker():
    plot_styles = [plotly_bundle.choose_plot_style(place) for place in range(56)]
    assert len({tuple(style.values()) for style in plot_styles}) == 56
    assert (
        len({(style['colour'], style['dash']) for style in plot_styles[:28]}) == 28
    )  # lines alone


def test_every_look_has_its_drawing():
    templates = Path(plotly_bundle.__file__).with_name('templates')
    macros, style = ((templates / n).read_text() for n in ('macros.html.j2', 'report.css'))
    assert all(f"'{symbol}'" in macros for symbol in plotly_bundle.SYMBOLS[:-1])
    assert all(f'.key .{dash} ' in style for dash in plotly_bundle.DASHES[1:])
    assert all(f'--c{i}:' in style and f'.c{i} ' in style for i in range(plotly_bundle.COLOURS))


# -- curves ----------------------------------------------------------------------------------------


def log(run, count, start=0.0, every=1):
    run.mkdir(parents=True, exist_ok=True)
    lines = [{'iter': i * every, 'epoch': i / 9, 'loss': start + i} for i in range(1, count + 1)]
    (run / 'metrics.jsonl').write_text(''.join(json.dumps(line) + '\n' for line in lines))


def curves_of(folder):
    return training_curves.make_curves(analyze_study(load(folder)).conditions)


def test_training_and_validation_curves(tmp_path):
    folder = study_of(tmp_path, {'full': [0.5, None]})
    (found,) = curves_of(folder)
    assert (found['condition'], found['run'], found['seed']) == (0, 'full-s0', 0)
    assert found['train']['x'] == list(range(1, 41))
    assert found['train']['y']['loss'][:3] == [1.0, 0.5, 0.33333]
    assert found['train']['epoch'][:2] == [0.1, 0.2]
    assert found['train']['seconds'][9] == pytest.approx(0.1)  # ten iterations of 0.01 s
    assert found['val'] == {
        'x': [40],
        'epoch': [4.0],
        'seconds': [0.4],
        'y': {'val: score': [0.5]},
    }


def test_a_shared_training_is_read_where_it_is(tmp_path):
    runs = [planned('full', id=d, data=d, trained_in='trainings/full') for d in ('a', 'b')]
    folder = write_plan(tmp_path, runs)
    write_run(folder / 'trainings/full', 'a: 1\n')
    write(folder / 'runs/a/capsule.json', {**CAPSULE, 'device': 'that of the test'})
    analysis = analyze_study(load(folder))
    assert [run['train']['x'][-1] for run in training_curves.make_curves(analysis.conditions)] == [
        40,
        40,
    ]
    assert [change.config for change in find_config_changes(analysis)] == ['a: 1\n'] * 2
    (device,) = [f for f in read_environment(analysis.results.runs).facts if f.name == 'device']
    assert device.values == [('cpu', ['a', 'b'])]


def test_long_curves_are_thinned_alike(tmp_path):
    folder = write_plan(tmp_path, [planned('full', 0), planned('full', 1)])
    log(folder / 'runs/full-s0', 10_000)
    log(folder / 'runs/full-s1', 4_001)
    long, short = (run['train'] for run in curves_of(folder))
    assert 400 < len(long['x']) <= training_curves.MOST
    assert short['x'][:-1] == long['x'][: len(short['x']) - 1]  # so that means can be taken
    step = long['x'][0]
    assert long['y']['loss'][0] == pytest.approx((1 + step) / 2)  # the mean of its lines
    assert short['x'][-1] == 4001  # to the very end


def test_many_runs_share_the_numbers(tmp_path):
    folder = write_plan(tmp_path, [planned('full', seed) for seed in range(60)])
    for seed in range(60):
        log(folder / f'runs/full-s{seed}', 2000)
    count = sum(len(run['train']['x']) for run in curves_of(folder))
    assert count <= training_curves.NUMBERS
    assert all(len(run['train']['x']) >= training_curves.FEWEST for run in curves_of(folder))


def test_values_that_are_not_finite_are_gaps_and_torn_lines_an_end(tmp_path):
    folder = write_plan(tmp_path, [planned('full')])
    run = folder / 'runs/full-s0'
    run.mkdir(parents=True)
    text = '{"iter": 1, "loss": null}\n{"iter": 2, "loss": 0.5}\n{"iter": 3, "lo'
    (run / 'metrics.jsonl').write_text(text)
    (found,) = curves_of(folder)
    positions = {'x': [1, 2], 'epoch': [], 'seconds': []}
    assert found['train'] == {**positions, 'y': {'loss': [None, 0.5]}}


# -- what runs were made with ----------------------------------------------------------------------


def test_facts_that_differ_are_told_with_their_runs(tmp_path):
    folder = study_of(tmp_path, {'full': [0.5, 0.6, 0.7], 'x': [None]})
    dirty = {**CAPSULE, 'git': {'commit': 'f' * 40, 'dirty': True}, 'packages': {'torch': '2.7.0'}}
    write(folder / 'runs/full-s1/capsule.json', {**dirty, 'started': '2026-01-03T00:00:00+00:00'})
    (folder / 'runs/full-s2/capsule.json').write_text('{')
    found = read_environment(load(folder).runs)
    facts = {fact.name: fact for fact in found.facts}
    assert found.runs == 2
    code = facts['code']
    assert not code.common
    assert code.values[0] == ('0123456789ab', ['full-s0'])
    assert code.values[1] == (
        f'{"f" * 12} with changes that were not committed',
        ['full-s1'],
    )
    assert facts['Python'].common
    assert facts['started'].values[0][0].endswith('to 2026-01-03T00:00:00+00:00')
    assert facts['damaged capsules'].values == [('full-s2', ['full-s2'])]
    packages = {fact.name: [value for value, _ in fact.values] for fact in found.packages}
    assert packages == {'torch': ['2.6.0', '2.7.0'], 'numpy': ['2.0.0', '-']}


# -- what each condition changed -------------------------------------------------------------------


def test_configs_are_compared_at_equal_seeds(tmp_path):
    folder = study_of(tmp_path, {'full': [0.5, 0.6], 'wide': [None, 0.7]})
    for variant, width in (('full', 8), ('wide', 16)):
        for seed in (0, 1):
            if variant == 'full' or seed == 1:  # one variant lost its first run
                run = folder / f'runs/{variant}-s{seed}'
                write_run(run, f'a: 1\nb: 2\nwidth: {width}\nc: 3\nd: 4\ne: 5\nseed: {seed}\n')
    full, wide = find_config_changes(analyze_study(load(folder)))
    assert (full.against, full.diff) == ('', [])
    assert wide.against == 'full'
    assert [(line.kind, line.text) for line in wide.diff] == [
        ('gap', ''),
        ('same', 'a: 1'),
        ('same', 'b: 2'),
        ('removed', 'width: 8'),
        ('added', 'width: 16'),
        ('same', 'c: 3'),
        ('same', 'd: 4'),
    ]
    assert wide.config.startswith('a: 1\n')


def test_changes_are_known_before_anything_ran(tmp_path):
    runs = [planned('full'), planned('other', changes=['model.width: 8 -> 16'])]
    (found,) = find_config_changes(analyze_study(load(write_plan(tmp_path, runs))))
    assert (found.place, found.summary, found.diff, found.config) == (
        1,
        ('model.width: 8 -> 16',),
        [],
        '',
    )
