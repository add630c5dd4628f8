"""Plans: every run is the config that was meant, and what is hardly meant is said."""

from __future__ import annotations

import re
import time

import pytest
import yaml

from plugins.pansharpening.data.patches import Patches
from tests.support import studies
from toolkit.bench.cost import measure_costs
from toolkit.cli import main
from toolkit.config import ConfigError, load
from toolkit.config.checks.check import fill_checked
from toolkit.config.diff import compare_configs
from toolkit.study import fingerprint, source_code
from toolkit.study.model_costs import SystemBuilder
from toolkit.study.planning import plan as plan_module
from toolkit.study.planning.plan import list_own_changes, make_plan
from toolkit.study.study_file import read_study

SYNTHETIC = {'study': 's', 'base': 'ldpnet/ldpnet_2022_synthetic', 'variants': {'full': {}}}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def plan(folder, open_data=False, **study):
    (folder / 's.yaml').write_text(yaml.safe_dump({**SYNTHETIC, **study}, sort_keys=False))
    return make_plan(read_study(folder / 's.yaml'), open_data=open_data)


def same(a, b):
    return not compare_configs(a.tree, b.tree)


def test_runs_are_variants_times_axes_times_data_times_folds_times_seeds(here):
    found = plan(
        here,
        variants={'full': {}, 'no kl': {'model.losses.kl': None}},
        axes={'model.generator.width': [16, 8], '+extra.note': ['x']},
        data={'small': {'test_dataloader.dataset.scene.size': 256}, 'large': None},
        folds={'path': 'test_dataloader.dataset.scene.seed', 'values': [4, 5, 6]},
        seeds=[1, 2],
    )
    assert len(found.runs) == 2 * 2 * 2 * 3 * 2
    last = found.runs[-1]
    assert last.id == 'no_kl-width=8-note=x-large-f6-s2'
    assert last.settings == {'model.generator.width': 8, 'extra.note': 'x'}
    assert (last.variant, last.data, last.fold, last.seed) == ('no kl', 'large', 6, 2)
    assert len({run.id for run in found.runs}) == len(found.runs)
    tree = found.configs[last.id].tree
    assert tree['model']['losses']['kl'] is None
    assert tree['model']['generator']['width'] == 8
    assert tree['randomness']['seed'] == 2
    # What refers to a value follows it.
    for role in ('train', 'val', 'test'):
        assert tree[f'{role}_dataloader']['dataset']['scene']['seed'] == 6
    assert last.changes[0] == 'model.generator.width: 16 -> 8'
    assert last.changes[1].startswith('model.losses.kl: - LDPDetailKL(')


def test_a_data_sets_file_makes_the_config_that_has_it_as_its_base(here):
    for base, wv2 in (
        ('ldpnet/ldpnet_2022', 'ldpnet/ldpnet_2022_wv2'),
        ('baselines/exp', 'baselines/exp_wv2'),
    ):
        found = plan(here, base=base, data={'ikonos': {}, 'wv2': '_base_/data/wv2.yaml'})
        assert same(found.configs[found.runs[0].id], load(base))
        assert same(found.configs[found.runs[1].id], load(wv2))


def test_a_variant_may_be_another_config_altogether(here):
    found = plan(here, base='baselines/exp', variants={'a': {}, 'gsa': {'base': 'baselines/gsa'}})
    assert same(found.configs[found.runs[1].id], load('baselines/gsa'))
    assert found.runs[1].changes == ('model.generator: EXP() -> GSA()',)


def test_what_is_only_tested_runs_with_one_seed(here):
    found = plan(
        here,
        seeds=[0, 1, 2],
        variants={'full': {}, 'exp': {'base': 'baselines/exp_synthetic'}},
    )
    assert [run.id for run in found.runs] == ['full-s0', 'full-s1', 'full-s2', 'exp-s0']
    assert found.runs[-1].fingerprint.train is None


def test_the_budget_replaces_the_length_of_training(here):
    variants = {'full': {}, 'exp': {'base': 'baselines/exp_synthetic'}}
    found = plan(here, variants=variants, budget={'iterations': 7})
    assert found.configs[found.runs[0].id].tree['train_cfg'] == {'max_iters': 7}
    assert 'train_cfg' not in found.configs[found.runs[1].id].tree
    assert found.runs[0].changes == ()


def test_what_is_common_leaves_alone_what_a_config_switches_off(here):
    variants = {'full': {}, 'exp': {'base': 'baselines/exp_synthetic'}}
    found = plan(here, variants=variants, common={'train_dataloader.batch_size': 3})
    assert found.configs[found.runs[0].id].tree['train_dataloader']['batch_size'] == 3
    assert found.configs[found.runs[1].id].tree['train_dataloader'] is None


def test_tests_that_differ_share_a_training(here):
    found = plan(
        here,
        common={'val_dataloader': None, 'val_evaluator': None},
        data={'reduced': {'test_dataloader.dataset.protocol': 'reduced'}, 'full': {}},
    )
    first, second = (run.fingerprint for run in found.runs)
    assert first.train == second.train
    assert first.key != second.key


PROBLEMS = {
    'path': (
        {'variants': {'full': {}, 'wide': {'model.generator.widht': 3}}},
        r"variants.wide.model.generator.widht: no key 'model.generator.widht'; did you mean "
        r"'model.generator.width'\? .*\(in wide\)",
    ),
    'removed twice': (
        {'variants': {'full': {}, 'x': {'model.losses.kll': None}}},
        "no key 'model.losses.kll'; did you mean 'model.losses.kl'",
    ),
    'added and there': (
        {'variants': {'full': {'+model.losses.kl': None}}},
        'the key is there already; leave out the [+]',
    ),
    'axis of one variant only': (
        {
            'variants': {'full': {}, 'exp': {'base': 'baselines/exp_synthetic'}},
            'axes': {'model.generator.width': [8]},
        },
        r"axes.model.generator.width: no key 'model.generator.width'.*\(in exp, model.gen.*=8\)",
    ),
    'argument': (
        {'variants': {'full': {'model.generator': {'type': 'PNN', 'widht': 3}}}},
        "model.generator.widht: PNN has no argument 'widht'",
    ),
    'type': ({'axes': {'model.generator.width': [8, 'big']}}, 'model.generator.width: found .big'),
    'metric': (
        {'metrics': ['Q2m']},
        "metrics.0: no run reports the metric 'Q2m'; did you mean 'Q2n",
    ),
    'direction': ({'metrics': {'SAM': 'higher'}}, 'metrics.SAM: SAM is better when lower'),
    'base': ({'base': 'ldpnet/ldpnet_2023'}, "base: no such base 'ldpnet/ldpnet_2023'"),
    'base of a variant': (
        {'variants': {'x': {'base': 'nowhere'}}},
        "variants.x.base: no such base 'nowhere'",
    ),
    'no test': (
        {
            'common': {
                'train_dataloader.dataset.scene': {'type': 'SyntheticScene', 'size': 512},
                **dict.fromkeys(
                    f'{role}_{what}'
                    for role in ('val', 'test')
                    for what in ('dataloader', 'evaluator')
                ),
            }
        },
        'a study compares tests: give test_dataloader and test_evaluator',
    ),
    'weights from nowhere': (
        {'variants': {'x': {'train_dataloader': None, 'optim_wrapper': None, 'train_cfg': None}}},
        'variants.x: the system has weights, and the config neither trains them nor has load_from',
    ),
}


@pytest.mark.parametrize('name', PROBLEMS)
def test_problems_are_said_before_anything_runs(name, here, capsys):
    study, expected = PROBLEMS[name]
    (here / 's.yaml').write_text(yaml.safe_dump({**SYNTHETIC, **study}, sort_keys=False))
    assert main(['study', 's.yaml']) == 2
    captured = capsys.readouterr()
    assert re.search(expected, captured.err), captured.err
    assert captured.err.count('\n') == 1
    assert re.match(r's\.yaml:\d+: ', captured.err)
    assert [path.name for path in here.iterdir()] == ['s.yaml']


def test_names_of_the_tables_are_checked(here):
    write = {
        'compare_along': ['model.depth'],
        'axes': {'model.dropout': [0.1, 0.2]},
        'primary': 'mes',
        'metrics': ['mse'],
    }
    with pytest.raises(ConfigError) as error:
        read_study(studies.write(here, **write))
    assert "'model.depth' is no axis of this study" in str(error.value)
    assert "'mes' is none of the metrics; did you mean 'mse'?" in str(error.value)
    table = {'columns': ['n', 'tim'], 'digits': {'psnr': 2}}
    with pytest.raises(ConfigError) as error:
        make_plan(read_study(studies.write(here, table=table)))
    assert "table.columns.1: 'tim' is no column; did you mean 'time'?" in str(error.value)
    assert "'psnr' is no metric" in str(error.value)


@pytest.mark.parametrize(
    ('study', 'message'),
    [
        (
            {'axes': {f'model.losses.{n}.weight': [*range(2000)] for n in ('kl', 'spatial_high')}},
            's.yaml:.*: axes: the study has 4000000 runs, .*at most 10000; .*sample',
        ),
        ({'seeds': list(range(20_000))}, 's.yaml:.*: seeds: the study has 20000 runs'),
    ],
)
def test_more_runs_than_anybody_waits_for_are_refused_before_they_are_listed(here, study, message):
    start = time.process_time()
    with pytest.raises(ConfigError, match=message):
        plan(here, **study)
    assert time.process_time() - start < 5


def test_a_mistake_in_every_run_is_said_once(here):
    with pytest.raises(ConfigError) as error:
        plan(here, seeds=[0, 1, 2], variants={'a': {}, 'b': {}}, common={'model.losses.kll': None})
    (problem,) = error.value.problems
    assert '(in' not in problem.message


def test_warnings(here):
    found = plan(
        here,
        variants={
            'full': {},
            'no_kl': {'changes': 1, 'model.losses.kl': None},
            'same': {'model.generator.width': 16},
            'twin': {'model.losses.kl': None},
            'two': {'changes': 1, 'model.losses.kl': None, 'model.generator.width': 8},
        },
    )
    texts = [re.sub(r'^\S+s\.yaml:\d+: |^s\.yaml:\d+: ', '', line) for line in found.warnings]
    assert texts[0] == 'variants.same: changes nothing'
    assert texts[1] == 'variants.twin: is the same as no_kl'
    assert texts[2].startswith('variants.two: changes 2, says 1: model.generator.width: 16 -> 8; ')
    assert len(texts) == 3


@pytest.mark.parametrize(
    ('change', 'shown'),
    [
        ('a.x=2', ['a.x']),  # what b and c take over of it follows
        ('b=${extra.other}', ['b.x', 'b.y']),
        ('b.y=3', ['b.y']),
        ('extra.note.x=5', ['d.x']),  # a note is not compared, what refers to it is
    ],
)
def test_a_changed_reference_is_a_change_and_what_follows_a_change_is_none(tmp_path, change, shown):
    file = tmp_path / 'c.yaml'
    file.write_text(
        'extra: {note: {x: 4}, other: {x: 7, y: 8}}\na: {x: 1, y: 2}\n'
        'b: ${a}\nc: ${a.x}\nd: ${extra.note}\n'
    )
    changes = list_own_changes(load(file), load(file, [change]))
    assert [one.path for one in changes] == shown


def test_the_plan_shows_parts_values_and_costs(here, capsys):
    study = {
        **SYNTHETIC,
        'variants': {'full': {}, 'pnn': {'model.generator': {'type': 'PNN'}}},
        'axes': {'optim_wrapper.optimizer.lr': [1e-3]},
    }
    (here / 's.yaml').write_text(yaml.safe_dump(study, sort_keys=False))
    assert main(['study', 's.yaml', '--plan']) == 0
    out = capsys.readouterr().out
    before = 'LDPNet(width=16, activation=relu, residual=false, pan=repeated)'
    assert f'    model.generator: {before} -> PNN()\n' in out
    assert '    optim_wrapper.optimizer.lr: 0.0001 -> 0.001\n' in out
    assert '    parameters: 107,445 -> 87,776\n' in out
    assert '    MACs: 2,399,557,280 -> ' in out
    assert re.search(r'pnn, .*lr=0.001 +seed 0 +to do +87.8 k parameters', out)
    assert re.search(r'every run\n    .*lr: 0.0001 -> 0.001\n', out)
    assert not (here / 'work').exists()


def test_data_that_is_not_there_is_said_by_the_plan_and_starts_nothing(here, capsys, monkeypatch):
    monkeypatch.setenv('TOOLKIT_DATA', str(here / 'nowhere'))
    (here / 's.yaml').write_text(yaml.safe_dump({**SYNTHETIC, 'base': 'ldpnet/ldpnet_2022'}))
    assert main(['study', 's.yaml', '--plan']) == 0
    assert 'cannot be started yet' in capsys.readouterr().out
    assert main(['study', 's.yaml']) == 2
    error = capsys.readouterr().err
    assert 'nowhere, which is not a folder; set TOOLKIT_DATA' in error
    assert error.count('\n') == 1
    assert not (here / 'work').exists()


def test_data_that_does_not_fit_the_system(here):
    found = plan(
        here,
        open_data=True,
        common={
            'test_dataloader.dataset.scene': {'type': 'SyntheticScene', 'bands': 8, 'size': 256}
        },
    )
    assert 'bands' in str(found.find_data_problems()[0])


def test_data_are_opened_once_and_other_data_are_seen(here, monkeypatch):
    opened, released = [], []

    def counted(dataset):
        opened.append(dataset)
        return open_(dataset)

    open_ = fingerprint._open
    monkeypatch.setattr(fingerprint, '_open', counted)
    monkeypatch.setattr(Patches, 'release', lambda self: released.append(self))
    other = {'test_dataloader.dataset.scene.seed': 5}
    found = plan(
        here,
        open_data=True,
        common={'val_dataloader': None, 'val_evaluator': None},
        variants={'full': {}, 'no_kl': {'model.losses.kl': None}, 'other': other},
        seeds=[0, 1],
    )
    assert found.find_data_problems() == []
    # Training and test, of two scenes.
    assert len(opened) == 4
    assert len(released) == 2
    data = {run.id: run.fingerprint.data for run in found.runs}
    assert data['full-s0'] == data['full-s1'] == data['no_kl-s0']
    assert data['other-s0'] == data['other-s1'] != data['full-s0']


def test_a_plans_costs_are_those_of_the_bench(here):
    found = plan(here, open_data=True, seeds=[0])
    (run,) = found.runs
    whole = measure_costs(fill_checked(found.configs[run.id]).model)[0]
    assert (run.parameters, run.macs) == (whole.parameters, whole.macs)
    assert run.macs > 0


def test_each_system_is_built_once(tmp_path, monkeypatch):
    """Folds and seeds share a system; its inspection and its costs do, too."""
    built = []

    class Counted(SystemBuilder):
        def build(self, text, model):
            return super().build(text, lambda: built.append(text) or model())

    monkeypatch.setattr(plan_module, 'SystemBuilder', Counted)
    variants = {'full': {}, 'wide': {'model.width': 16}, 'wider': {'model.width': 32}}
    found = make_plan(read_study(studies.write(tmp_path, variants=variants)), open_data=False)
    assert len(built) == len(set(built)) == 3
    costs = {run.variant: run.parameters for run in found.runs}
    assert costs['full'] < costs['wide'] < costs['wider']


def test_keys_know_config_code_and_data(here):
    plugin = here / 'own.py'

    def renamed(text):
        for name in ('TinySystem', 'Constant', 'TinyData', 'SquaredError', 'Errors'):
            text = re.sub(rf'\b{name}\b', f'Own{name}', text)
        return text.replace(str(studies.TINY), 'own.py')

    plugin.write_text(renamed(studies.TINY.read_text()))

    def keys(**changes):
        file = studies.write(here, **{'seeds': [0], **changes})
        (here / 'base.yaml').write_text(renamed((here / 'base.yaml').read_text()))
        return [run.fingerprint.key for run in make_plan(read_study(file)).runs]

    before = keys()
    assert keys() == before
    assert keys(variants={'renamed': {}, 'wide': {'model.width': 16}}) == before
    assert keys(common={'+extra': {'note': 'x'}}) == before
    assert not set(keys(seeds=[1])) & set(before)
    assert not set(keys(common={'test_dataloader.dataset.length': 9})) & set(before)
    plugin.write_text(plugin.read_text() + '\n# edited\n')
    assert not set(keys()) & set(before)


@pytest.mark.parametrize(
    ('plugin', 'helper', 'line', 'named'),
    [
        ('rates.py', 'rates_beside.py', 'import rates_beside', ['rates.py', 'rates_beside.py']),
        ('rate_pack/__init__.py', 'rate_pack/beside.py', 'from .beside import X', ['rate_pack']),
    ],
)
def test_keys_know_what_a_plugin_imports_that_registers_nothing(here, plugin, helper, line, named):
    (here / plugin).parent.mkdir(exist_ok=True)
    (here / plugin).write_text(
        'from mmengine.hooks import Hook\n'
        'from toolkit.registry import HOOKS\n\n\n'
        '@HOOKS.register\n'
        'class Rates(Hook):\n'
        '    def __init__(self) -> None:\n'
        f'        {line}\n'
    )

    def hash_code(text, unused=''):
        (here / helper).write_text(f'X = {text}\n')
        (here / helper).with_name('of_nobody.py').write_text(unused)
        file = studies.write(here, seeds=[0], variants={'full': {}})
        base = yaml.safe_load((here / 'base.yaml').read_text())
        base['plugins'] += named
        base['custom_hooks'] = {'rates': {'type': 'Rates'}}
        (here / 'base.yaml').write_text(yaml.safe_dump(base))
        return [run.fingerprint.code for run in make_plan(read_study(file)).runs]

    before = hash_code('1')
    assert hash_code('1') == before
    assert hash_code('1', unused='X = 3') == before
    assert hash_code('2') != before


def test_keys_know_the_content_of_every_file_that_a_config_names(here):
    """Weights above all: an overwritten file makes another run."""
    (here / 'names_file.py').write_text(
        'from mmengine.hooks import Hook\n'
        'from toolkit.registry import HOOKS\n\n\n'
        '@HOOKS.register\n'
        'class NamesFile(Hook):\n'
        '    def __init__(self, path: str) -> None:\n'
        '        self.path = path\n'
    )

    def keys(text):
        (here / 'weights.pth').write_text(text)
        file = studies.write(here, seeds=[0], variants={'full': {}})
        base = yaml.safe_load((here / 'base.yaml').read_text())
        base['plugins'].append('names_file.py')
        base['custom_hooks'] = {'names_a_file': {'type': 'NamesFile', 'path': 'weights.pth'}}
        (here / 'base.yaml').write_text(yaml.safe_dump(base))
        return [run.fingerprint for run in make_plan(read_study(file)).runs]

    (before,), (same_again,), (after,) = keys('a'), keys('a'), keys('b')
    assert before == same_again
    assert before.config == after.config
    assert before.data != after.data
    assert before.train != after.train


def test_keys_know_the_content_of_files_that_a_component_reads_without_a_path(here):
    (here / 'hub.py').write_text(
        'from pathlib import Path\n'
        'from mmengine.hooks import Hook\n'
        'from toolkit.registry import HOOKS\n\n\n'
        '@HOOKS.register\n'
        'class ReadsHub(Hook):\n'
        '    def __init__(self, model: str) -> None:\n'
        '        self.model = model\n\n'
        '    @classmethod\n'
        '    def list_files(cls, arguments):\n'
        '        if arguments["model"] == "absent":\n'
        '            raise ValueError("the hub has no such model")\n'
        '        return [Path(f"cache_{arguments[\'model\']}")]\n'
    )

    def found(text, model='a'):
        (here / 'cache_a').write_text(text)
        file = studies.write(here, seeds=[0], variants={'full': {}})
        base = yaml.safe_load((here / 'base.yaml').read_text())
        base['plugins'].append('hub.py')
        base['custom_hooks'] = {'reads': {'type': 'ReadsHub', 'model': model}}
        (here / 'base.yaml').write_text(yaml.safe_dump(base))
        return make_plan(read_study(file))

    before, same, after = (found(text).runs[0].fingerprint for text in ('a', 'a', 'b'))
    assert before == same
    assert (before.config, before.code) == (after.config, after.code)
    assert before.data != after.data
    assert before.train != after.train
    (problem,) = found('a', 'absent').find_data_problems()
    assert 'base.yaml:' in str(problem)
    assert 'the hub has no such model' in str(problem)

    other = {'custom_hooks.reads.model': 'absent'}
    base = yaml.safe_load((here / 'base.yaml').read_text().replace('model: absent', 'model: a'))
    file = studies.write(here, seeds=[0], variants={'full': {}, 'other': other})
    (here / 'base.yaml').write_text(yaml.safe_dump(base))
    planned = make_plan(read_study(file))
    (problem,) = planned.find_data_problems()
    assert str(problem).endswith('the hub has no such model (in other)')
    full = [run for run in planned.runs if run.variant == 'full']
    assert planned.find_data_problems(full) == []  # so `--only full` can be started


def test_a_file_of_the_working_folder_counts_beside_one_of_the_data(here, monkeypatch):
    (here / 'data').mkdir()
    monkeypatch.setenv('TOOLKIT_DATA', str(here / 'data'))
    files = [here / 'weights.pth', here / 'data' / 'weights.pth']
    for file in files:
        file.write_text(str(file))
    found = dict(fingerprint._find_files({'model': {'weights': 'weights.pth'}}))
    assert {file.resolve() for file in found.values()} == set(files)


def test_a_plan_knows_the_files_that_its_runs_read(here):
    files = [here / name for name in ('people.csv', 'start.pth')]
    for file in files:
        file.write_text('before')
    common = {'+train_dataloader.dataset.people': ['people.csv'], '+load_from': 'start.pth'}
    file = studies.write(here, common=common, seeds=[0, 1], variants={'full': {}})
    inputs = make_plan(read_study(file)).inputs
    assert inputs.find_changes() == {}
    for changed in (*files, here / 'base.yaml'):
        content = changed.read_text()
        changed.write_text('after')
        assert inputs.find_changes() == dict.fromkeys(('full-s0', 'full-s1'), (str(changed),))
        changed.write_text(content)


@pytest.mark.parametrize('package', ['torch', 'timm', 'torchvision', 'scipy', 'rasterio'])
def test_keys_know_the_versions_of_the_packages_that_compute(here, monkeypatch, package):
    def keys():
        return [run.fingerprint.code for run in plan(here, open_data=False).runs]

    before = keys()
    real = source_code.version
    monkeypatch.setattr(
        source_code, 'version', lambda name: '0.0.1' if name == package else real(name)
    )
    assert not set(keys()) & set(before)


@pytest.mark.slow
def test_two_hundred_runs_are_checked_in_time(here):
    """The limit is 20 s; of the processor's time, so that other processes do not count."""
    begun = time.process_time()
    found = plan(
        here,
        open_data=True,
        variants={'full': {}, 'no_kl': {'model.losses.kl': None}},
        axes={
            'model.generator.width': [8, 16, 24, 32, 48],
            'optim_wrapper.optimizer.lr': [1e-4, 2e-4, 5e-4, 1e-3, 2e-3],
            'model.reblur.kernel_size': [9, 21],
        },
        seeds=[0, 1],
    )
    assert len(found.runs) == 200
    assert time.process_time() - begun < 20
