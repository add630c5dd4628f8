"""The benches of classifiers run and say what they compare."""

from __future__ import annotations

import pytest

from tests.support.embedded_images import embedded_images
from toolkit.cli import main
from toolkit.config import load

TINY = ['model.size=64', 'model.branches.cnn.model=test_efficientnet', '--repeats', '1']


def test_a_step_beside_a_plain_loop(capsys):
    argv = ['csasn/csasn_small', *TINY, '--batch-size', '4', '--device', 'cpu']
    assert main(['bench', 'classifier', *argv]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split('  ')[0] for line in lines[1:4]] == [
        'plain loop, fp32',
        'this system, fp32',
        'this system, bf16 and channels_last',
    ]
    assert lines[1].split()[-1] == '1.00'


def test_an_epoch_with_and_without_kept_features(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv('TOOLKIT_CACHE', str(tmp_path / 'cache'))
    changes = embedded_images(load('baselines/linear_busi').tree, tmp_path)
    changes += ['train_dataloader.batch_size=4', 'model.branches.cnn=null']
    changes = [text for text in changes if not text.startswith('model.branches.cnn.')]
    argv = ['baselines/linear_busi', *changes, '--repeats', '1', '--device', 'cpu']
    assert main(['bench', 'features', *argv]) == 0
    out = capsys.readouterr().out
    assert 'with cached features' in out and 'computing the features once took' in out


@pytest.mark.parametrize(
    ('argv', 'said'),
    [
        (['classifier', 'ldpnet/ldpnet_2022_synthetic'], 'is not a config of a Classifier'),
        (
            ['classifier', 'csasn/csasn_small', '--repeats', '0'],
            '--repeats must be at least 1, found 0',
        ),
    ],
)
def test_what_cannot_be_compared_is_said(argv, said, capsys):
    assert main(['bench', *argv]) == 2
    assert said in capsys.readouterr().err
