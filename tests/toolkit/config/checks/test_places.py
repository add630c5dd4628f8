"""Problems are placed in the user's lines, and told all at once."""

from __future__ import annotations

import re

import pytest

from toolkit.config import ConfigError, load
from toolkit.config.checks.check import check, load_whole
from toolkit.errors import list_names

BASE = '_base_: ldpnet/ldpnet_2022_synthetic\n'


@pytest.fixture
def problems(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def find(text, *overrides):
        (tmp_path / 'c.yaml').write_text(BASE + text)
        return [str(problem) for problem in check(load('c.yaml', overrides))]

    return find


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        (
            'model:\n  reblur: {type: ChannelGray}\n',
            'c.yaml:3: model.reblur.kernel_size: .*another',
        ),
        (
            'train_dataloader:\n  dataset: {type: ManifestPatches}\n',
            "c.yaml:3: train_dataloader.dataset: .* needs the argument 'manifest'",
        ),
        ('test_evaluator: null\n', 'c.yaml:2: val_evaluator: .*together or not at all'),
        ('optim_wrapper: null\n', 'c.yaml:2: optim_wrapper: .*needs optim_wrapper too'),
        ('model: {generator: null}\n', 'c.yaml:2: model.generator: found null, expected a generat'),
        ('model: null\n', 'c.yaml:2: model: found null, expected a system'),
    ],
)
def test_a_shipped_line_that_is_right_is_not_blamed(problems, text, message):
    found = problems(text)
    assert any(re.match(message, line) for line in found), found
    assert all(line.startswith('c.yaml:') for line in found), found
    assert 'Slot' not in ''.join(found)


def test_only_an_argument_of_a_base_with_another_type_comes_from_there(problems, tmp_path):
    """The type stands in the base, or before it, or in the user's own file."""
    wrong = 'model: {gray: {zzz: 1}}\n'
    (found,) = problems(wrong)
    assert "has no argument 'zzz'; it has: " in found and 'base' not in found
    (found,) = problems('', '+model.gray.zzz=1')
    assert "has no argument 'zzz'; it has: " in found and 'base' not in found
    (tmp_path / 'base.yaml').write_text(BASE + wrong)
    for text, stale in (('', False), ('model: {gray: {type: MeanGray}}\n', True)):
        (tmp_path / 'd.yaml').write_text('_base_: base.yaml\n' + text)
        told = ' '.join(str(problem) for problem in check(load('d.yaml')) if 'zzz' in str(problem))
        assert ('it comes from a base with another `type`' in told) == stale, told
        assert "no argument 'zzz'" in told


def test_equal_mistakes_on_the_command_line_are_lines_of_their_own(problems):
    keys = ['model.losses.spatial_high.weight', 'model.losses.kl.weight', 'train_dataloader.seed']
    given = [f'{"+" if key.endswith("seed") else ""}{key}=-1' for key in keys]
    assert len(problems('', *given)) == 3
    with pytest.raises(ConfigError) as caught:
        load('c.yaml', ['model.bandz=1', 'model.bandz=2', 'train_cfg=[1', 'a.b=3'])
    assert str(caught.value).count('\n') == 3


def test_a_component_of_a_replaced_type_is_at_its_type(problems):
    """Whatever it does wrong is no fault of the base that had another component there."""
    problems('model:\n  generator:\n    type: FusionNet\n')
    config = load('c.yaml')
    assert config.place('model.generator') == 'c.yaml:4'
    assert config.place('model.gray') == config.place('model.gray.type')
    assert config.place('model.gray').startswith('configs/_base_/models/')


def test_shipped_files_are_named_from_their_folder(problems):
    problems('')
    config = load('c.yaml')
    assert config.place('model.generator.type').startswith(
        'configs/_base_/models/ldpnet_2022.yaml:'
    )


def test_a_long_list_of_names_is_cut():
    assert list_names('abc') == 'a, b, c'
    assert list_names([f'n{i}' for i in range(100)]).endswith('n19, ... (80 more)')


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{type: OneCycleLR, eta_max: 0}', 'new.eta_max: eta_max must be above 0, found 0'),
        (
            '{type: CosineRestartLR, periods: [5], restart_weights: [1, 2], eta_min: 0}',
            'new: CosineRestartLR: periods and restart_weights should have the same length',
        ),
        (
            '{type: ReduceOnPlateauLR, monitor: x, rule: y}',
            'new: ReduceOnPlateauLR: mode y is unknown',
        ),
        ('{type: ExponentialLR, gamma: 0.9, begin: 5000}', 'new.begin: .*begins at 5000, but the'),
    ],
)
def test_impossible_schedules_are_refused(problems, text, message):
    (found,) = problems(f'param_scheduler: {{new: {text}}}\n')
    assert re.match(f'c.yaml:2: param_scheduler.{message}', found), found


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('{custom_keys: [1]}', 'custom_keys: found a list, expected a mapping'),
        ('{custom_keys: {gen: 3}}', 'custom_keys.gen: found an integer, expected a mapping'),
        ('{custom_keys: {gen: {lr_mult: x}}}', 'custom_keys.gen.lr_mult: found a string, expected'),
        ('{custom_keys: {gen: {lr_mult: -1}}}', 'custom_keys.gen.lr_mult: lr_mult must be at leas'),
        ('{custom_keys: {gen: {betas: [1]}}}', 'custom_keys.gen.betas: found a list, expected a l'),
        (
            '{custom_keys: {gen: {betas: [0.5, 2]}}}',
            'custom_keys.gen.betas: betas must be at least',
        ),
        ('{norm_decay_mult: .nan}', 'norm_decay_mult: norm_decay_mult must be a finite number'),
        ('{layer_decay: 2}', 'layer_decay: layer_decay must be above 0 and at most 1, found 2'),
    ],
)
def test_wrong_rules_of_parameters_are_refused(problems, text, message):
    (found,) = problems(f'optim_wrapper: {{paramwise_cfg: {text}}}\n')
    assert re.match(f'c.yaml:2: optim_wrapper.paramwise_cfg.{message}', found), found


def test_a_validation_that_begins_after_the_end_is_refused(problems):
    (found,) = problems('', 'train_cfg={max_epochs: 3, val_begin: 4}')
    assert 'train_cfg.val_begin: val_begin must be at most 3' in found


def test_mistakes_of_overrides_and_of_the_file_are_told_at_once(problems, tmp_path):
    problems('model:\n  reblur: {type: ChannelGray}\n  generator: {widht: 3}\n')
    given = ['model.bandz=1', 'train_cfg=[1', 'model.losses.kl.weight=-1']
    with pytest.raises(ConfigError) as caught:
        load_whole(lambda overrides: load('c.yaml', overrides), given)
    places = [str(problem).partition(' ')[0] for problem in caught.value.problems]
    assert places[0] == 'command' and 'bandz' in str(caught.value.problems[0])
    assert 'c.yaml:4:' in places and 'c.yaml:3:' in places, places
    assert 'model.losses.kl.weight' in str(caught.value)


def test_a_file_that_cannot_be_read_is_told_once(problems, tmp_path):
    (tmp_path / 'c.yaml').write_text('model: [\n')
    with pytest.raises(ConfigError) as caught:
        load_whole(lambda overrides: load('c.yaml', overrides), ['model.bandz=1'])
    assert len(caught.value.problems) == 1
