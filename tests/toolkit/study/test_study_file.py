"""A study file's mistakes are said with their lines, before anything is composed."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import studies
from toolkit.analysis.results import TableOptions
from toolkit.cli import main
from toolkit.config import ConfigError
from toolkit.study.spec import Budget
from toolkit.study.study_file import read_study

# Line 1 to 4 of every file below.
HEAD = 'study: s\nbase: ldpnet/ldpnet_2022_synthetic\nvariants:\n  full: {}\n'

CASES = {
    'unknown key': (
        'variant: {}\n',
        ["5: variant: unknown key 'variant'; did you mean 'variants'"],
    ),
    'seeds twice': ('seeds: [0, 1, 0]\n', ['5: seeds.2: the seed 0 stands here twice']),
    'seeds twice, on lines': (
        'seeds:\n  - 3\n  - 4\n  - 3\n',
        ['8: seeds.2: the seed 3 stands here twice'],
    ),
    'no seeds': ('seeds: []\n', ['5: seeds: expected at least one seed']),
    'seeds of another type': ('seeds: [a]\n', ['5: seeds: .*expected a list .each an integer']),
    'compare_to': (
        '  no_kl: {}\ncompare_to: ful\n',
        ["6: compare_to: no variant is named 'ful'; did you mean 'full'"],
    ),
    'axis is what a variant sets': (
        '  wide: {model.generator.width: 32}\naxes:\n  model.generator.width: [8]\n',
        [
            "5: variants.wide.model.generator.width: the variant 'wide' collides with an axis, "
            r"which sets 'model.generator.width' \(s.yaml:7\)"
        ],
    ),
    'axis in what a variant replaces': (
        '  pnn: {model.generator: {type: PNN}}\naxes:\n  model.generator.width: [8]\n',
        ["5: variants.pnn.model.generator: .*collides with an axis.*'model.generator.width'"],
    ),
    'axis is the seed': (
        'axes: {randomness.seed: [1]}\n',
        ['5: axes.randomness.seed: an axis collides with the seeds'],
    ),
    'data and axis': (
        'axes: {model.bands: [4]}\ndata: {a: {model.bands: 8}}\n',
        ["6: data.a.model.bands: the data set 'a' collides with an axis"],
    ),
    'iterations and variant': (
        '  long: {train_cfg.max_epochs: 9}\nbudget: {iterations: 3}\n',
        ['5: variants.long.train_cfg.max_epochs: .*collides with budget.iterations'],
    ),
    'axis value twice': (
        'axes: {model.bands: [4, 4]}\n',
        ['5: axes.model.bands.1: the value 4 stands here twice'],
    ),
    'sample without axes': ('sample: {points: 3}\n', ['5: sample: there are no axes']),
    'sample too large': (
        'axes: {model.bands: [4, 8]}\nsample: {points: 3}\n',
        ['6: sample.points: expected 1 to 2'],
    ),
    'metric twice': ('metrics: [SAM, SAM]\n', ['5: metrics.1: the metric SAM stands here twice']),
    'direction': (
        'metrics: {SAM: down}\n',
        ['5: metrics.SAM: found down, expected higher or lower'],
    ),
    'time': ('budget: {time: 3 weeks}\n', ["5: budget.time: time is '3 weeks', expected seconds"]),
    'retries': ('budget: {retries: -1}\n', ['5: budget.retries: retries must be 0 or more']),
    'launcher': (
        'launcher: {type: rai}\n',
        ["5: launcher.type: no launcher is named 'rai'; did you mean 'ray'"],
    ),
    'launcher argument': (
        'launcher: {job: 2}\n',
        ["5: launcher.job: LocalLauncher has no argument 'job'; did you mean 'jobs'"],
    ),
    'changes': (
        '  a: {changes: one, model.bands: 8}\n',
        ['5: variants.a.changes: found one, expected the number of changes'],
    ),
    'nothing': ('', []),
    'no name': ("  '': {}\n", ['5: variants.: an entry without a name']),
    'no path of folds': (
        'folds: {path: [], values: [1]}\n',
        ['5: folds.path: expected at least one path'],
    ),
    'axis of one value': (
        'axes: {model.bands: 4}\n',
        ['5: axes.model.bands: found 4, expected a list$'],
    ),
    'duplicate variant': ('  full: {}\n', ["5: variants.full: duplicate key 'full'"]),
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize('name', CASES)
def test_mistakes(name, here, capsys):
    text, expected = CASES[name]
    (here / 's.yaml').write_text(HEAD + text)
    if not expected:
        read_study('s.yaml')
        return
    assert main(['study', 's.yaml', '--plan']) == 2
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert captured.out == ''
    assert len(lines) == len(expected), captured.err
    for line, pattern in zip(lines, expected, strict=True):
        assert re.match(f's.yaml:{pattern}', line), line
    assert [path.name for path in here.iterdir()] == ['s.yaml']


def test_all_mistakes_at_once(here):
    (here / 's.yaml').write_text(HEAD + 'seeds: [1, 1]\ncompare_to: x\nmetrics: [a, a]\n')
    with pytest.raises(ConfigError) as error:
        read_study('s.yaml')
    assert len(error.value.problems) == 3


def test_a_study_that_is_not_there(here, capsys):
    assert main(['study', 'ldpnet/studies/dem']) == 2
    assert "no such study; did you mean 'ldpnet/studies/demo'?" in capsys.readouterr().err


@pytest.mark.parametrize(
    ('argv', 'expected'),
    [
        (['--only', 'ful'], "--only: no variant is named 'ful'; did you mean 'full'?"),
        (['--seeds', '7'], '--seeds: the study has no seed 7; there are: 0'),
        (['--only', 'full', 'full'], 'full is given twice'),
        (['--style', 'csv'], '--style is an option of --table'),
        (['--rerun', 'all'], "invalid choice: 'all'"),
        (['--jobs', '0'], 'jobs must be at least 1, found 0'),
    ],
)
def test_options_that_do_not_fit(argv, expected, here, capsys):
    (here / 's.yaml').write_text(HEAD)
    try:
        status = main(['study', 's.yaml', *argv])
    except SystemExit as error:
        status = error.code
    assert status == 2
    assert expected in capsys.readouterr().err
    assert not (here / 'work').exists()


@pytest.mark.parametrize(
    ('time', 'seconds'),
    [
        (None, None),
        (90, 90),
        (1.5, 1.5),
        ('90 s', 90),
        ('30min', 1800),
        ('2 h', 7200),
        ('1 d', 86400),
    ],
)
def test_times(time, seconds):
    assert Budget(time).seconds == seconds


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=3), st.integers(0, 2**31), st.data())
def test_a_sample_is_a_part_of_the_grid_and_the_same_each_time(sizes, seed, data):
    from toolkit.config import Config
    from toolkit.study.spec import Sample, Spec, Study

    axes = {f'a.{i}': list(range(size)) for i, size in enumerate(sizes)}
    whole = Study(Config('s', {}), Spec('s', 'b', {'v': {}}, axes=axes)).settings()
    points = data.draw(st.integers(1, len(whole)))
    spec = Spec('s', 'b', {'v': {}}, axes=axes, sample=Sample(points, seed))
    drawn = Study(Config('s', {}), spec).settings()
    assert drawn == Study(Config('s', {}), spec).settings()
    assert len(drawn) == points
    assert [point for point in whole if point in drawn] == drawn  # in the grid's order, none twice


def test_a_factorial_design_has_a_variant_for_each_combination(tmp_path):
    switches = {'wide': {'model.width': 16}, 'dry': {'model.dropout': 0.0}}
    file = studies.write(tmp_path, variants=None, design='factorial', switches=switches)
    study = read_study(file)
    assert list(study.spec.variants) == ['none', 'dry', 'wide', 'wide+dry']
    assert study.variant('wide+dry') == {'model.width': 16, 'model.dropout': 0.0}
    assert study.compare_to == 'none'
    assert study.options.switches == ('wide', 'dry')
    place = study.config.place(('variants', 'wide+dry', 'model.width'))
    assert place == study.config.place(('switches', 'wide', 'model.width'))
    assert 'variants' not in study.config.tree


def _design(kind, count, **keys):
    switches = {f's{n}': {f'model.a{n}': 1} for n in range(count)}
    return {'variants': None, 'design': kind, 'switches': switches, **keys}


def test_a_fraction_and_sampled_orders_name_their_variants(tmp_path):
    study = read_study(studies.write(tmp_path, **_design('fractional', 4)))
    assert list(study.spec.variants) == [
        'none',
        's0+s3',
        's1+s3',
        's0+s1',
        's2+s3',
        's0+s2',
        's1+s2',
        's0+s1+s2+s3',
    ]
    assert (study.options.design, study.compare_to) == ('fractional', 'none')
    study = read_study(studies.write(tmp_path, **_design('shapley', 9, permutations=3)))
    assert len(study.options.orders) == 3
    assert TableOptions.from_json(study.options.to_json()) == study.options
    assert list(study.spec.variants)[0] == 'none'
    assert len(study.spec.variants) <= 3 * 8 + 2


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            {'switches': {'a': {'model.width': 1}}},
            'switches need `design: factorial`, `fractional` or',
        ),
        ({'design': 'factorial'}, 'makes the variants from the switches; remove variants'),
        (
            {'variants': None, 'design': 'factorial', 'switches': {'a': {'model.width': 1}}},
            'needs 2 to 8 switches, found 1',
        ),
        (
            {
                'variants': None,
                'design': 'factorial',
                'switches': {'a': {'model': 1}, 'b': {'model.width': 2}},
            },
            "sets 'model.width', and 'a' sets 'model': both can be on",
        ),
        (
            {'variants': None, 'design': 'factorial', 'switches': {'a+b': {'x': 1}, 'b': None}},
            "'a+b' cannot name a switch",
        ),
        ({'resolution': 4}, 'belongs to `design: fractional`'),
        (_design('fractional', 2), 'needs 3 to 16 switches, found 2'),
        (_design('fractional', 5, resolution=2), 'expected 3, 4, 5, found 2'),
        (_design('fractional', 5, resolution=5, runs=16), 'give one of them'),
        (_design('fractional', 5, runs=12), 'expected a power of two'),
        (_design('fractional', 9, runs=8), '9 switches need more than 9 runs, found 8'),
        (_design('fractional', 5, runs=32), 'hold all 32 combinations'),
        (_design('fractional', 4, resolution=5), 'resolution 5 needs all 16 combinations'),
        (_design('factorial', 9), 'take a part of them with design: fractional'),
        (_design('shapley', 9), 'sample some orders with permutations'),
        (_design('shapley', 5, permutations=1), 'an order and its reverse have no spread'),
        (_design('shapley', 5, permutations=2), 'expected three or more, found 2'),
        (_design('shapley', 12, permutations=99), 'over 256 variants'),
    ],
)
def test_mistakes_in_a_factorial_design(changes, message, tmp_path):
    with pytest.raises(ConfigError) as error:
        read_study(studies.write(tmp_path, **changes))
    assert message in str(error.value)
