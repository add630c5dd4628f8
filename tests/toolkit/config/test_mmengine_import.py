"""A Python config of mmengine becomes YAML without being run, and says what was not taken."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from toolkit import cli
from toolkit.config.mmengine_import.literals import read_python_config
from toolkit.config.mmengine_import.translate import import_config
from toolkit.errors import ToolkitError

BASE = """
model = dict(type='ImageClassifier', backbone=dict(type='ResNet', depth=50), head=dict(a=1))
data_root = 'data/'
train_dataloader = dict(
    batch_size=8, dataset=dict(type='ImageNet', root=data_root + 'x'), collate_fn=dict(type='c'),
    sampler=dict(type='DefaultSampler', shuffle=True))
train_cfg = dict(type='EpochBasedTrainLoop', by_epoch=True, max_epochs=2 * 50, val_interval=10)
default_hooks = dict(
    timer=dict(type='IterTimerHook'), logger=dict(type='LoggerHook', interval=50),
    checkpoint=dict(type='CheckpointHook', interval=1, save_best='auto', max_keep_ckpts=3))
"""
OWN = '''
"""A config."""
_base_ = ['base/base.py']
lr = 1e-3
model = dict(backbone=dict(depth=18), head=dict(_delete_=True, type='LinearHead'))
optim_wrapper = dict(type='AmpOptimWrapper', optimizer=dict(type='SGD', lr=lr, momentum=0.9))
param_scheduler = [dict(type='LinearLR', end=5), dict(type='MultiStepLR', milestones=(30, 60)),
                   dict(type='LinearLR', begin=9)]
val_evaluator = dict(type='Accuracy', topk=(1, 5))
custom_hooks = [dict(type='EMAHook', momentum=-1e-4)]
custom_imports = dict(imports=['mine'])
env_cfg = {'cudnn_benchmark': True, **dict(a=None)}
'''


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / 'base').mkdir()
    (tmp_path / 'base' / 'base.py').write_text(BASE)
    (tmp_path / 'own.py').write_text(OWN)
    return tmp_path / 'own.py'


def test_sections_are_taken_and_the_rest_is_named(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(['import', str(config)]) == 0
    text = capsys.readouterr().out
    assert yaml.safe_load(text) == {
        'model': {
            'type': 'ImageClassifier',
            'backbone': {'type': 'ResNet', 'depth': 18},
            'head': {'type': 'LinearHead'},
        },
        'train_dataloader': {'dataset': {'type': 'ImageNet', 'root': 'data/x'}, 'batch_size': 8},
        'train_cfg': {'max_epochs': 100, 'val_interval': 10},
        'default_hooks': {
            'progress': {'type': 'Progress'},
            'log': {'type': 'MetricsLog', 'interval': 50},
            'checkpoint': {'type': 'Checkpoint', 'interval': 1, 'keep': 3},
        },
        'optim_wrapper': {'optimizer': {'type': 'SGD', 'lr': 0.001, 'momentum': 0.9}},
        'param_scheduler': {
            'linearlr': {'type': 'LinearLR', 'end': 5},
            'multisteplr': {'type': 'MultiStepLR', 'milestones': [30, 60]},
            'linearlr2': {'type': 'LinearLR', 'begin': 9},
        },
        'val_evaluator': {'metrics': {'accuracy': {'type': 'Accuracy', 'topk': [1, 5]}}},
        'custom_hooks': {'ema': {'type': 'EMAHook', 'momentum': -0.0001}},
        'plugins': ['mine'],
    }
    notes = [line for line in text.splitlines() if line.startswith('# not taken: ')]
    assert [note.split()[3] for note in notes] == [
        'data_root:',
        'train_dataloader.collate_fn:',
        'train_dataloader.sampler:',
        'default_hooks.timer:',
        'default_hooks.checkpoint.save_best:',
        'lr:',
        'optim_wrapper.type:',
        'env_cfg:',
    ]
    for name in ('ImageClassifier', 'ResNet', 'ImageNet', 'Accuracy'):
        assert f'# no component is named {name!r}' in text
    assert "'LinearHead'" not in text and "'SGD'" not in text
    line = next(line for line in text.splitlines() if line.startswith('optim_wrapper:'))
    assert line.endswith(f'# {config}:6')


@pytest.mark.parametrize(
    ('line', 'says'),
    [
        ("import os; open('ran', 'w')", "own.py:1: 'import os'"),
        ("x = open('ran', 'w')", 'known only by running'),
        ("x = dict(a=__import__('os').getcwd())", 'known only by running'),
        ('x = [i for i in (1, 2)]', 'known only by running'),
        ('x = {{_base_.model}}', 'known only by running'),
        ("x = dict(a='{{ _base_.model }}')", 'known only by running'),
        ("x = dict(a='{{$HOME:}}/data')", 'known only by running'),
        ('x = 9' + '9' * 400 + ' / 3', 'known only by running'),
        ('x = 99\n' + 'x = x * x\n' * 40, 'known only by running'),
        ('x = dict(a=1)\nx["a"] = 2', 'own.py:2: '),
        ("x = f'{1}'", 'known only by running'),
        ('x = y', "own.py:1: 'y'"),
        ('x = 1 / 0', 'known only by running'),
        ("x = 'a' * 10**9", 'known only by running'),
        ('x = dict([(1, 2)])', 'known only by running'),
        ('with read_base():\n    from .base import *', 'own.py:1: '),
        ('x = 1 +', 'own.py:1: no Python'),
        ('x = ' + '-' * 5000 + '1', 'own.py'),
        ('a = [1]\n' + 'a = a + a\n' * 40, 'more than 100,000 values'),
        ('a = [1]\n' + 'a = [a, a]\n' * 40, 'more than 100,000 values'),
        ("_base_ = 'own.py'", 'its own base'),
        ("_base_ = 'mmpretrain::x.py'", 'in another package'),
        ("_base_ = 'no.py'", 'cannot read'),
        ("_base_ = 'no.yaml'", 'is no Python config'),
    ],
)
def test_what_must_be_run_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'own.py').write_text(line)
    with pytest.raises(ToolkitError, match=says.replace('(', r'\(')) as error:
        import_config(tmp_path / 'own.py')
    assert '\n' not in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ['own.py']


def test_values_are_those_of_mmengine(config: Path) -> None:
    mmengine = pytest.importorskip('mmengine')
    expected = mmengine.Config.fromfile(str(config), import_custom_modules=False).to_dict()
    assert yaml.safe_load(yaml.safe_dump(plain(expected))) == read_python_config(config).values


def plain(value: object) -> object:
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value
