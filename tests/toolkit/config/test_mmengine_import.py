"""A Python config of mmengine becomes YAML without being run, and says what was not taken."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
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
        'train_cfg.type:',
        'train_cfg.by_epoch:',
        'default_hooks.timer:',
        'default_hooks.logger.type:',
        'default_hooks.checkpoint.type:',
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


# A key of its own in each section, beside those that are known, and what could hide another.
EVERY = """
model = dict(type='A', part=dict(type='B', sizes=[11, dict(a=12)]))
train_dataloader = dict(type='L', batch_size=13, dataset=dict(type='C', a=14), more=15)
val_dataloader = dict(num_workers=16, sampler=dict(type='D', a=17))
test_dataloader = None
train_cfg = dict(type='IterBasedTrainLoop', by_epoch=False, max_iters=18, val_interval=19, a=20)
val_cfg = dict(type='ValLoop', fp16=True)
optim_wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=21), loss_scale=22)
param_scheduler = [dict(type='F1', a=23), dict(type='F1', a=24), dict(a=25), 26, ['x']]
val_evaluator = [dict(type='F1', a=27), dict(type='x.F1', a=28), dict(type='F12')]
test_evaluator = None
custom_hooks = dict(type='EMAHook', a=29)
custom_imports = dict(imports='mine', allow_failed_imports=False)
randomness = dict(seed=30, diff_rank_seed=True)
load_from = 'weights.pth'
default_hooks = dict(
    logger=dict(type='LoggerHook', interval=31, a=32), again=dict(type='LoggerHook', interval=33),
    checkpoint=dict(type='CheckpointHook', interval=34, save_best='auto', max_keep_ckpts=35, a=36),
    second=dict(type='CheckpointHook', interval=37), timer=None)
other = dict(a=[38])
"""


def walk(node: object, path: str = '') -> Iterator[tuple[str, object]]:
    """Walks the leaves: `a.b[0].c` and the value."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from walk(value, f'{path}.{key}'.lstrip('.'))
    elif isinstance(node, list):
        for position, value in enumerate(node):
            yield from walk(value, f'{path}[{position}]')
    else:
        yield path, node


@pytest.mark.parametrize('text', [EVERY, BASE])
def test_every_key_is_taken_or_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / 'every.py'
    file.write_text(text)
    found = import_config(file)
    notes = [line.split()[3][:-1] for line in found.splitlines() if '# not taken: ' in line]
    leaves = list(walk(read_python_config(file).values))
    taken = [
        (path, value)
        for path, value in leaves
        if not any(path == n or path.startswith((f'{n}.', f'{n}[')) for n in notes)
    ]
    written = Counter(repr(value) for _, value in walk(yaml.safe_load(found)))
    missing = Counter(repr(value) for _, value in taken) - written
    assert not missing, [leaf for leaf in taken if repr(leaf[1]) in missing]
    assert len(set(notes)) == len(notes) and len(taken) > 10


@pytest.mark.parametrize(
    ('loop', 'hook', 'kept'),
    [
        ('max_epochs=9', '', True),
        ('max_epochs=9', ', by_epoch=False', False),
        ('max_iters=9', ', by_epoch=False', True),
        ('max_iters=9', '', False),  # mmengine's hook counts epochs unless it says otherwise
    ],
)
def test_an_interval_in_another_unit_is_not_taken(
    tmp_path: Path, loop: str, hook: str, kept: bool
) -> None:
    file = tmp_path / 'a.py'
    file.write_text(
        f"train_cfg = dict({loop})\ndefault_hooks = dict(c=dict(type='CheckpointHook', interval=7"
        f'{hook}))'
    )
    found = import_config(file)
    assert yaml.safe_load(found)['default_hooks']['checkpoint'].get('interval') == (
        7 if kept else None
    )
    assert ('not taken: default_hooks.c.interval: 7 ' in found) is not kept


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
