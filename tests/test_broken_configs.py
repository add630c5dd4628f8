"""Broken configs: each mistake is said in one line with its place and the right hint."""

from __future__ import annotations

import re

import pytest

from toolkit.cli import main

BASE = '_base_: ldpnet/ldpnet_2022_synthetic\n'  # line 1 of every config below

# name: (what follows BASE, the lines that must be said: 'LINE: path: what it must contain')
CASES = {
    # typos at every level
    'top_key': ('parm_scheduler: {}\n', ["2: parm_scheduler: .*did you mean 'param_scheduler'"]),
    'top_key_far': ('banana: 1\n', ["2: banana: unknown key 'banana'; there are: model, train_da"]),
    'section_key': (
        'train_cfg: {max_epoch: 3}\n',
        ["2: train_cfg.max_epoch: unknown key 'max_epoch'; did you mean 'max_epochs'"],
    ),
    'loader_key': (
        'train_dataloader:\n  batchsize: 4\n',
        ["3: train_dataloader.batchsize: .*did you mean 'batch_size'"],
    ),
    'part_argument': (
        'model:\n  generator:\n    widht: 8\n',
        ["4: model.generator.widht: LDPNet has no argument 'widht'; did you mean 'width'"],
    ),
    'loss_argument': (
        'model: {losses: {kl: {wieght: 1}}}\n',
        ["2: model.losses.kl.wieght: .*did you mean 'weight'"],
    ),
    'optimizer_argument': (
        'optim_wrapper: {optimizer: {learning_rate: 1}}\n',
        ["2: optim_wrapper.optimizer.learning_rate: Adam has no argument 'learning_rate'"],
    ),
    'optimizer_argument_near': (
        'optim_wrapper: {optimizer: {weight_decy: 1}}\n',
        ["2: optim_wrapper.optimizer.weight_decy: .*did you mean 'weight_decay'"],
    ),
    'scheduler_argument': (
        'param_scheduler: {decay: {gama: 1}}\n',
        ["2: param_scheduler.decay.gama: .*did you mean 'gamma'"],
    ),
    'hook_argument': (
        'default_hooks: {log: {intervall: 1}}\n',
        ["2: default_hooks.log.intervall: .*did you mean 'interval'"],
    ),
    'metric_argument': (
        'test_evaluator: {metrics: {SAM: {imge: hrms}}}\n',
        ["2: test_evaluator.metrics.SAM.imge: .*did you mean 'image'"],
    ),
    'dataset_argument': (
        'train_dataloader: {dataset: {sise: 64}}\n',
        ["2: train_dataloader.dataset.sise: .*did you mean 'size'"],
    ),
    'deep_argument': (
        'test_dataloader:\n  dataset:\n    scene:\n      sedd: 1\n',
        ["5: test_dataloader.dataset.scene.sedd: SyntheticScene has .*did you mean 'seed'"],
    ),
    'runtime_key': (
        'runtime: {chanels_last: true}\n',
        ["2: runtime.chanels_last: .*did you mean 'channels_last'"],
    ),
    'clip_key': (
        'optim_wrapper: {clip_grad: {max_nrom: 1}}\n',
        ["2: optim_wrapper.clip_grad.max_nrom: .*did you mean 'max_norm'"],
    ),
    'seed_key': ('randomness: {sed: 1}\n', ["2: randomness.sed: .*did you mean 'seed'"]),
    'type_key': (
        'model: {generator: {_delete_: true, tpye: LDPNet}}\n',
        ['2: model.generator: no `type`: which generator.*type'],
    ),
    # parts that are not there
    'unknown_generator': (
        'model: {generator: {type: LDPnet}}\n',
        ["2: model.generator.type: no generator is named 'LDPnet'; did you mean 'LDPNet'"],
    ),
    'unknown_system': (
        'model: {type: Pansharpner}\n',
        ["2: model.type: no system is named 'Pansharpner'; did you mean 'Pansharpener'"],
    ),
    'unknown_loss': (
        'model: {losses: {new: {type: LDPSpatialHihg}}}\n',
        ["2: model.losses.new.type: .*did you mean 'LDPSpatialHigh'"],
    ),
    'unknown_optimizer': (
        'optim_wrapper: {optimizer: {type: Adan}}\n',
        ["2: optim_wrapper.optimizer.type: no optimizer is named 'Adan'; did you mean 'Adam'"],
    ),
    'unknown_scheduler': (
        'param_scheduler: {decay: {type: StepLr}}\n',
        ["2: param_scheduler.decay.type: no scheduler .*did you mean 'StepLR'"],
    ),
    'unknown_hook': (
        'default_hooks: {progress: {type: Progres}}\n',
        ["2: default_hooks.progress.type: .*did you mean 'Progress'"],
    ),
    'refused_hook': (
        'custom_hooks: {ema: {type: EMAHook}}\n',
        ['2: custom_hooks.ema.type: EMAHook .*not used here: use EMA.*type: EMA'],
    ),
    'unknown_metric': (
        'val_evaluator: {metrics: {ERGAS: {type: ergas}}}\n',
        ["2: val_evaluator.metrics.ERGAS.type: .*did you mean 'ERGAS'"],
    ),
    'unknown_scene': (
        'test_dataloader: {dataset: {scene: {type: SynteticScene}}}\n',
        ["2: test_dataloader.dataset.scene.type: .*did you mean 'SyntheticScene'"],
    ),
    'wrong_kind': (
        'model: {generator: {type: ConvReblur}}\n',
        ["2: model.generator.type: no generator is named 'ConvReblur'; .* is a degradation"],
    ),
    'wrong_kind_loss': (
        'model: {reblur: {type: LDPNet}}\n',
        ["2: model.reblur.type: no degradation is named 'LDPNet'; 'LDPNet' is a generator"],
    ),
    'metric_as_loss': (
        'model: {losses: {sam: {type: SAM}}}\n',
        ["2: model.losses.sam.type: no loss is named 'SAM'; 'SAM' is a metric"],
    ),
    # wrong types
    'word_for_integer': (
        'train_dataloader: {batch_size: many}\n',
        ["2: train_dataloader.batch_size: found 'many' .a string., expected an integer"],
    ),
    'float_for_integer': (
        'train_cfg: {max_epochs: 1.5}\n',
        ['2: train_cfg.max_epochs: found 1.5, expected an integer'],
    ),
    'truth_for_integer': (
        'train_cfg: {max_epochs: true}\n',
        ['2: train_cfg.max_epochs: found true, expected an integer'],
    ),
    'string_number': (
        "optim_wrapper: {optimizer: {lr: '1e-3'}}\n",
        ["2: optim_wrapper.optimizer.lr: found '1e-3' .a string., expected a number"],
    ),
    'on_is_a_string': (
        'runtime: {compile: on}\n',
        ["2: runtime.compile: found 'on' .a string., expected true or false"],
    ),
    'choice': (
        'runtime: {precision: bf61}\n',
        ["2: runtime.precision: found 'bf61'.*one of fp32, tf32, bf16, fp16; did .*'bf16'"],
    ),
    'choice_of_a_part': (
        'model: {upsample: bicubics}\n',
        ["2: model.upsample: found 'bicubics'.*did you mean 'bicubic'"],
    ),
    'list_for_mapping': (
        'model: {losses: [{type: LDPSpatialHigh}]}\n',
        ['2: model.losses: found a list, expected a mapping by name; name each entry'],
    ),
    'word_for_part': (
        'model: {generator: LDPNet}\n',
        ["2: model.generator: found 'LDPNet' .a string., .*; write {type: LDPNet}"],
    ),
    'number_for_part': (
        'model: {generator: 3}\n',
        ['2: model.generator: found 3, expected a generator with a `type`'],
    ),
    'number_for_type': (
        'model: {generator: {type: 3}}\n',
        ['2: model.generator.type: found 3, expected the name of a generator'],
    ),
    'list_for_number': (
        'model: {losses: {kl: {weight: [1]}}}\n',
        ['2: model.losses.kl.weight: found a list, expected a number'],
    ),
    'mapping_for_number': (
        'model: {bands: {n: 4}}\n',
        ['2: model.bands: found a mapping, expected an integer'],
    ),
    'short_list': (
        'optim_wrapper: {optimizer: {betas: [0.9]}}\n',
        ['2: optim_wrapper.optimizer.betas: found a list, expected a list of 2'],
    ),
    'word_for_section': (
        'train_cfg: long\n',
        ["2: train_cfg: found 'long' .a string., expected a mapping"],
    ),
    'null_for_integer': (
        'model: {bands: null}\n',
        ['2: model.bands: found null, expected an integer'],
    ),
    'plugins_is_a_word': (
        'plugins: my_plugin\n',
        ["2: plugins: found 'my_plugin' .a string., expected a list"],
    ),
    # missing, contradicting, supplied by the parent
    'missing_type': (
        'custom_hooks: {mine: {interval: 3}}\n',
        ['2: custom_hooks.mine: no `type`: which hook'],
    ),
    'missing_argument': (
        'train_dataloader: {dataset: {_delete_: true, type: ScenePatches}}\n',
        ["2: train_dataloader.dataset: ScenePatches needs the argument 'scene' .a scene."],
    ),
    'missing_model': ('model: null\n', ['2: model: found null, expected .*']),
    'injected': (
        'model:\n  generator: {bands: 4}\n',
        ["3: model.generator.bands: 'bands' is supplied by the parent; remove it"],
    ),
    'both_lengths': (
        'train_cfg: {max_iters: 100}\n',
        ['2: train_cfg.max_iters: give either max_epochs or max_iters'],
    ),
    'half_a_training': ('optim_wrapper: null\n', ['train_dataloader needs optim_wrapper too']),
    'loader_without_evaluator': (
        'test_evaluator: null\n',
        ['val_dataloader and val_evaluator are given together or not at all'],
    ),
    'no_batch': (
        'train_dataloader: {batch_size: 0}\n',
        ['2: train_dataloader.batch_size: batch_size must be at least 1, found 0'],
    ),
    'leftover_argument': (
        'model: {reblur: {type: ChannelGray}}\n',
        ['model.reblur.kernel_size: ChannelGray has no argument.*`_delete_: true` beside'],
    ),
    # what is wrong with the file itself
    'duplicate_key': (
        'train_cfg:\n  max_epochs: 1\n  max_epochs: 2\n',
        ["4: train_cfg.max_epochs: duplicate key 'max_epochs'; it stands on line 3 already"],
    ),
    'duplicate_top_key': (
        'runtime: {}\nmodel: {}\nruntime: {}\n',
        ["4: runtime: duplicate key 'runtime'; it stands on line 2 already"],
    ),
    'tab': ('model:\n\tbands: 4\n', ['3: a tab is used for indentation; use spaces']),
    'unclosed': ('model: {bands: 4\n', ['3: is not YAML']),
    'colon': ('extra: {}\nmodel: generator: x\n', ['3: is not YAML: mapping values are not all']),
    'code': (
        'extra: !!python/object/apply:os.system ["echo unsafe"]\n',
        ["2: extra: the tag '!!python/object/apply:os.system' is refused"],
    ),
    'code_deep': (
        'model:\n  generator:\n    width: !!python/name:os.system\n',
        ["4: model.generator.width: the tag '!!python/name:os.system' is refused"],
    ),
    'missing_reference': (
        'randomness: {seed: "${extra.seed}"}\n',
        ["2: randomness.seed: \\${extra.seed}: no key 'extra'"],
    ),
    'near_reference': (
        'extra: {bands: "${model.band}"}\n',
        ["2: extra.bands: \\${model.band}: no key 'model.band'; did you mean 'model.bands'"],
    ),
    'circular_reference': ('extra: {a: "${extra.b}", b: "${extra.a}"}\n', ['2: extra.a: ']),
    'missing_plugin': (
        'plugins: [./nowhere.py]\n',
        ['2: plugins.0: no plugin file .*nowhere.py'],
    ),
    'unreadable_plugin': (
        'plugins: [/proc/self/mem]\n',
        ['2: plugins.0: the plugin /proc/self/mem cannot be read: '],
    ),
    'missing_plugin_module': (
        'plugins: [no_such_module]\n',
        ["2: plugins.0: no plugin module 'no_such_module' can be imported"],
    ),
    # several at once
    'four_at_once': (
        'model:\n  generator: {widht: 8}\n  bands: four\nrunntime: {}\n'
        'optim_wrapper: {optimizer: {type: Adma}}\n',
        [
            "3: model.generator.widht: .*did you mean 'width'",
            "4: model.bands: found 'four'",
            "5: runntime: .*did you mean 'runtime'",
            "6: optim_wrapper.optimizer.type: .*did you mean .*'Adam'",
        ],
    ),
}


def test_there_are_sixty():
    assert len(CASES) >= 60


@pytest.mark.parametrize('name', CASES)
def test_broken(name, tmp_path, monkeypatch, capsys):
    text, expected = CASES[name]
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'c.yaml').write_text(BASE + text)
    assert main(['check', 'c.yaml']) == 2
    captured = capsys.readouterr()
    assert captured.out == ''
    said = captured.err.removesuffix('\n').split('\n')
    assert 'Traceback' not in captured.err
    for pattern in expected:
        prefix = '' if not pattern[0].isdigit() else 'c.yaml:'
        assert any(re.search(prefix + pattern, line) for line in said), captured.err
    if all(pattern[0].isdigit() for pattern in expected):
        assert len(said) >= len(expected)
        assert all(re.match(r'\S+:\d+: ', line) for line in said), captured.err


def test_a_circle_of_bases(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'a.yaml').write_text('_base_: b.yaml\n')
    (tmp_path / 'b.yaml').write_text('_base_: a.yaml\n')
    assert main(['check', 'a.yaml']) == 2
    assert capsys.readouterr().err == (
        'b.yaml:1: _base_: the bases go round in a circle: a.yaml -> b.yaml -> a.yaml\n'
    )


@pytest.mark.parametrize('name', ['ldpnet/ldpnet_2023', 'nothing.yaml'])
def test_no_such_config(name, capsys):
    assert main(['check', name]) == 2
    assert capsys.readouterr().err.startswith(f'{name}: no such config')
