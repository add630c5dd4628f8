"""The table in every style: what is in it, and that nothing in a name can break it."""

from __future__ import annotations

import csv
import io
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.study_folders import fail, finish, planned, study_of, write_plan
from toolkit.analysis.results import load
from toolkit.analysis.table_files import study_table
from toolkit.analysis.table_files import write as write_tables
from toolkit.errors import RunError

SCORES = {
    'full': [0.70, 0.72, 0.69, 0.71, 0.70],
    'better': [0.80, 0.83, 0.78, 0.82, 0.81],
    'no_kl': [0.71, None, 0.70, 0.70, 0.69],
}
HOSTILE = 'a_b & 50% #1 {x} | <b>$y^2~\\z'


@pytest.fixture
def results(tmp_path):
    return load(study_of(tmp_path / 'study', SCORES))


def test_text(results):
    out = study_table(results).split('\n')
    head, _, full, better, no_kl = out[2:7]
    assert head.split() == ['variant', 'n', 'score', '↑', 'parameters', 'MACs', 'time', 'memory']
    assert re.match(r'full \(reference\) +5 +0\.7040 ± 0\.0114 ', full)
    assert '◆ 0.8080 ± 0.0192***' in better
    assert '4/5 (1 failed)' in no_kl and '0.7000 ± 0.0082' in no_kl
    assert full.endswith('1 k   2 M  10 s  500 MB')
    text = '\n'.join(out)
    assert '◆ better than every other row of its column' in text
    assert '*** p < 0.001: differs from full (paired t-test over seeds' in text
    assert 'corrected over all 2 tests' in text
    assert '14 of 15 runs have finished.' in text
    (row,) = [line for line in out if re.match('no_kl +score', line)]
    assert ' 4 of 5 ' in row
    (row,) = [line for line in out if line.startswith('no_kl-s1')]
    assert row.split(maxsplit=3) == ['no_kl-s1', 'failed', '2', 'loss is not finite']
    assert all(len(line) < 160 for line in out)


def test_columns_stand_below_each_other(results):
    lines = study_table(results).split('\n')[2:7]
    rule = lines[1]
    gaps = [match.start() for match in re.finditer('  ', rule)]
    assert len(gaps) == 6
    assert all(
        line[gap : gap + 2].strip() == '' for line in lines for gap in gaps if gap < len(line)
    )


def test_markdown(results):
    lines = study_table(results, 'markdown').split('\n')
    table = [line for line in lines if line.startswith('|')][:5]
    assert table[1] == '| --- | ---: | ---: | ---: | ---: | ---: | ---: |'
    assert '| **0.8080 ± 0.0192**\\*\\*\\* |' in table[3]
    assert table[4].startswith('| no\\_kl | 4/5 (1 failed) |')
    assert len({line.count('|') for line in table}) == 1


def test_csv_is_a_row_per_cell_and_metric(results):
    rows = list(csv.DictReader(io.StringIO(study_table(results, 'csv'))))
    assert [row['variant'] for row in rows] == ['full', 'better', 'no_kl']
    assert float(rows[1]['mean']) == pytest.approx(0.808)
    assert (rows[2]['runs_planned'], rows[2]['runs_failed'], rows[2]['runs_measured']) == tuple(
        '514'
    )
    assert (rows[2]['n'], rows[2]['unpaired']) == ('4', '1')
    assert float(rows[1]['p_holm']) < 0.001
    assert rows[1]['improves'] == 'True'
    assert rows[0]['p_holm'] == ''


def test_json_holds_the_values_and_what_is_missing(results):
    record = json.loads(study_table(results, 'json'))
    assert (record['study'], record['compare_to']) == ('tiny', 'full')
    assert record['tests'] == {'over_runs': 2, 'over_items': 0}
    assert len(record['conditions']) == 3
    cell = record['conditions'][2]
    assert cell['values'] == {f'no_kl-s{i}': v for i, v in enumerate(SCORES['no_kl'])}
    assert cell['missing'] == {'no_kl-s1': {'status': 'failed', 'message': 'loss is not finite'}}
    assert cell['runs']['n'] == 4


def test_axes_and_data_are_columns(tmp_path):
    runs = [
        planned('full', s, id=f'{w}-{d}-{s}', settings={'model.a.width': w, 'b.width': 1}, data=d)
        for w in (8, 16)
        for d in ('x', 'y')
        for s in (0, 1)
    ]
    folder = write_plan(tmp_path, runs)
    for i, run in enumerate(runs):
        finish(folder / run['folder'], {'score': i / 10})
    text = study_table(load(folder))
    head = text.split('\n')[2]
    assert re.split(r'  +', head)[:5] == ['variant', 'model.a.width', 'b.width', 'data', 'n']
    assert '◆' not in text  # the same difference at each seed says nothing of noise
    assert 'differences' not in text  # there is nothing but the reference
    assert 'b.width' in study_table(load(folder), 'csv').split('\n')[0]


def test_an_axis_named_as_a_column_loses_no_value(tmp_path):
    names = ('data', 'metric', 'mean', 'seconds', 'variant', 'n', 'p')
    settings = {name: f'value of {name}' for name in names}
    folder = write_plan(tmp_path, [planned('full', settings=settings)])
    finish(folder / 'runs/full-s0', {'score': 0.5})
    (row,) = csv.DictReader(io.StringIO(study_table(load(folder), 'csv')))
    assert {name: row[f'{name} (axis)'] for name in names} == settings
    assert (row['variant'], row['metric'], float(row['mean'])) == ('full', 'score', 0.5)


# -- studies that have hardly begun ----------------------------------------------------------------


def test_a_study_of_which_nothing_has_run(tmp_path):
    folder = write_plan(tmp_path, [planned('full'), planned('other')], metrics={})
    results = load(folder)
    text = study_table(results)
    assert '0 of 2 runs have finished.' in text
    assert text.count('waiting') == 2
    assert len(study_table(results, 'csv').split('\n')) == 4
    assert len(json.loads(study_table(results, 'json'))['conditions']) == 2
    for style in ('markdown', 'latex'):
        assert 'waiting' in study_table(results, style)


def test_a_run_that_lacks_a_metric_is_listed(tmp_path):
    folder = study_of(tmp_path, {'full': [0.5, 0.6]}, metrics={'score': True, 'error': False})
    finish(folder / 'runs/full-s0', {'score': 0.5, 'error': 1.0})
    finish(folder / 'runs/full-s1', {'score': 0.6, 'error': None}, message='done')
    text = study_table(load(folder))
    assert re.search(r'full-s1 +finished +1 +without error; done', text)
    assert '1.000 (n = 1)' in text


def test_messages_of_several_lines_stay_in_their_row(tmp_path):
    folder = study_of(tmp_path, {'full': [0.5]})
    fail(folder / 'runs/full-s0', 'one | two\nthree')
    assert 'one | two three' in study_table(load(folder))
    assert 'one \\| two three |' in study_table(load(folder), 'markdown')


# -- LaTeX -----------------------------------------------------------------------------------------


def bodies(latex):
    return re.findall(r'\\begin\{tabular\}\{([lr]+)\}\n(.*?)\\end\{tabular\}', latex, re.S)


@settings(max_examples=25)
@given(st.text(st.sampled_from(HOSTILE + 'é "[]\n'), min_size=1, max_size=12).filter(str.strip))
def test_latex_survives_any_name(tmp_path_factory, name):
    folder = tmp_path_factory.mktemp('study')
    runs = [planned('full', 0), planned(name, 0, id='other')]
    write_plan(folder, runs, study=name)
    finish(folder / 'runs/full-s0', {'score': 0.5})
    fail(folder / 'runs/other', name)
    assert_latex(study_table(load(folder), 'latex'))


def assert_latex(latex):
    plain = latex.replace('\\\\', '')  # row ends
    plain = re.sub(r'\\[&%$#_{}]', '', plain)
    assert plain.count('{') == plain.count('}')
    assert plain.count('$') % 2 == 0
    body = '\n'.join(plain.split('\n')[1:])  # after the comment
    assert not set('%#_~') & set(body)
    assert '^' not in re.sub(r'\$\^\{\*+\}\$', '', body)
    commands = set(re.findall(r'\\[a-zA-Z]+', plain))
    assert commands <= {
        *('\\begin', '\\end', '\\centering', '\\caption', '\\toprule', '\\midrule', '\\bottomrule'),
        *('\\textbf', '\\boldmath', '\\ensuremath', '\\pm', '\\uparrow', '\\downarrow'),
        *(
            '\\textbackslash',
            '\\textasciitilde',
            '\\textasciicircum',
            '\\usepackage',
            '\\resizebox',
        ),
        *('\\ifdim', '\\width', '\\columnwidth', '\\else', '\\fi'),
    }
    tables = bodies(latex)
    assert len(tables) == latex.count('\\begin{table}') == latex.count('\\end{table}')
    for layout, text in tables:
        rows = [line for line in text.split('\n') if line.rstrip().endswith('\\\\')]
        assert len(rows) > 1
        for row in rows:
            assert len(re.findall(r'(?<!\\)&', row)) == len(layout) - 1
        rules = re.findall(r'\\(\w+rule)', text)
        assert rules == ['toprule', 'midrule', 'bottomrule']


def test_latex(results):
    latex = study_table(results, 'latex')
    assert_latex(latex)
    assert r'better & 5 & {\boldmath\textbf{0.8080 \ensuremath{\pm} 0.0192}}$^{***}$ & 1 k' in latex
    assert r'no\_kl & 4/5 (1 failed) &' in latex


# -- files -----------------------------------------------------------------------------------------


def test_write(results):
    paths = write_tables(results)
    assert [path.name for path in paths] == [
        'results.md',
        'results.csv',
        'results.tex',
        'results.json',
    ]
    assert paths[0].read_text() == study_table(results, 'markdown')
    assert json.loads(paths[3].read_text())['study'] == 'tiny'


def test_write_where_nothing_can_be_written(results):
    (results.folder / '.results.md.tmp').mkdir()
    with pytest.raises(RunError, match=r'cannot write .*results\.md'):
        write_tables(results)


def study_with(folder, scores, **options):
    """A study of metrics `score` and `error` with the same values."""
    runs = [planned(variant, seed) for variant, s in scores.items() for seed in range(len(s))]
    write_plan(folder, runs, metrics={'score': True, 'error': False}, options=options)
    for variant, values in scores.items():
        for seed, value in enumerate(values):
            run = folder / 'runs' / f'{variant}-s{seed}'
            finish(run, {'score': value, 'error': 1 - value})
    return load(folder)


def test_the_best_is_marked_only_beyond_noise(tmp_path):
    close = {'full': SCORES['full'], 'other': [0.71, 0.71, 0.70, 0.70, 0.71]}
    assert '**' not in study_table(load(study_of(tmp_path / 'a', close)), 'markdown').split('|')
    assert 'Bold' not in study_table(load(study_of(tmp_path / 'a', close)), 'markdown')
    one = {'full': [0.7], 'better': [0.9]}
    assert 'Bold' not in study_table(load(study_of(tmp_path / 'b', one)), 'markdown')
    close['better'] = SCORES['better']
    table = study_table(load(study_of(tmp_path / 'c', close)), 'markdown')
    assert re.search(r'\| better \| 5 \| \*\*0.80', table)


def test_the_digits_of_a_difference_follow_its_own_spread(tmp_path):
    scores = {
        'full': [0.70, 0.72, 0.69],
        'tiny': [0.70001, 0.72002, 0.69001],
        'equal': [0.70, 0.72, 0.69],
    }
    text = study_table(load(study_of(tmp_path, scores)))
    assert re.search(r'tiny +score +3 +\+0.000013 +\[−0.000001, \+0.000028\]', text)
    assert not re.search(r'[+−]0\.0+[ ,\]]', text)


def test_a_primary_metric_is_the_family_of_the_corrected_tests(tmp_path):
    every, primary = (
        study_with(tmp_path / name, SCORES_OF_THREE, **options)
        for name, options in (('a', {}), ('b', {'primary': 'score'}))
    )
    before, after = (json.loads(study_table(results, 'json')) for results in (every, primary))
    assert (before['tests']['over_runs'], after['tests']['over_runs']) == (4, 2)
    tests = {(c['variant'], c['metric']): c['runs'] for c in after['conditions']}
    assert tests['better', 'error']['p'] is not None
    assert tests['better', 'error']['p_holm'] is None
    assert tests['better', 'score']['p_holm'] == pytest.approx(2 * tests['better', 'score']['p'])
    text = study_table(primary)
    assert 'over all 2 tests of score' in text
    assert 'they explore and prove nothing' in text


SCORES_OF_THREE = {name: values[:1] + values[2:] for name, values in SCORES.items()}


def test_names_columns_and_digits_are_chosen(tmp_path):
    results = study_with(
        tmp_path,
        SCORES_OF_THREE,
        names={'no_kl': 'without KL', 'score': 'Q'},
        columns=['error', 'score', 'time'],
        digits={'score': 2},
    )
    head, _, full, better, no_kl = study_table(results).split('\n')[2:7]
    assert re.split(r'  +', head.strip()) == ['variant', 'error ↓', 'Q ↑', 'time']
    assert no_kl.startswith('without KL ')
    assert ' 0.70 ± 0.01 ' in no_kl


def test_tests_along_an_axis(tmp_path):
    runs = [
        planned(v, s, id=f'{v}-{w}-{s}', settings={'model.width': w})
        for v in ('full', 'small')
        for w in (8, 16, 32)
        for s in range(4)
    ]
    folder = write_plan(tmp_path, runs, options={'along': ['model.width']})
    for number, run in enumerate(runs):
        width = run['settings']['model.width']
        finish(folder / run['folder'], {'score': width / 100 + (number * 7 % 5) / 1000})
    results = load(folder)
    record = json.loads(study_table(results, 'json'))
    assert record['tests']['over_runs'] == 3 + 4
    along = [c['along'] for c in record['conditions']]
    assert [sorted(found) for found in along] == [[], ['model.width'], ['model.width']] * 2
    test = along[2]['model.width']['runs']
    assert test['difference'] == pytest.approx(0.24, abs=0.01)
    assert test['p_holm'] > test['p']
    assert 'tiny: differences along width from 8' in study_table(results)
