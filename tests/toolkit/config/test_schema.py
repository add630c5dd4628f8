"""Values that no training can use are refused by `check`, with file and line."""

from __future__ import annotations

import re

import pytest

from toolkit.config import load
from toolkit.config.checks.check import check

BASE = 'ldpnet/ldpnet_2022_synthetic'


@pytest.mark.parametrize(
    ('text', 'place', 'message'),
    [
        (
            'optim_wrapper:\n  paramwise_cfg:\n    custom_keys:\n      gen.x: {lr_mul: 0.1}',
            'c.yaml:5: optim_wrapper.paramwise_cfg.custom_keys.gen.x.lr_mul',
            r"Adam has no option 'lr_mul'.*did you mean 'lr_mult'",
        ),
        (
            'optim_wrapper:\n  clip_grad: {max_norm: -1}',
            'c.yaml:3: optim_wrapper.clip_grad.max_norm',
            'above 0, found -1',
        ),
        (
            'param_scheduler:\n  decay: {gamma: -0.1}',
            'c.yaml:3: param_scheduler.decay.gamma',
            'above 0, found -0.1',
        ),
        ('runtime: {threads: 0}', 'c.yaml:2: runtime.threads', 'at least 1 .*found 0'),
        (
            'randomness: {seed: 100000000000000000000}',
            'c.yaml:2: randomness.seed',
            'found 1000000',
        ),
        (
            'train_dataloader: {prefetch_factor: -1}',
            'c.yaml:2: train_dataloader.prefetch_factor',
            'at least 1 and at most 4096, found -1',
        ),
        (
            'train_cfg: {max_epochs: 2}\nparam_scheduler:\n  decay: {begin: 2, end: 2}',
            'c.yaml:4: param_scheduler.decay.begin',
            r'ends at 2.*begins at 2.*train_cfg\.max_epochs.* 3 or more.*begin to 1 or less',
        ),
        (
            'param_scheduler:\n  decay: {begin: 4, end: 3}',
            'c.yaml:3: param_scheduler.decay.end',
            'ends at 3.*begins at 4',
        ),
    ],
)
def test_values_out_of_range_have_a_place(text, place, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'c.yaml').write_text(f'_base_: {BASE}\n{text}\n')
    found = [str(problem) for problem in check(load('c.yaml'))]
    assert len(found) == 1 and found[0].startswith(f'{place}: '), found
    assert re.search(message, found[0]), found


@pytest.mark.parametrize('epochs', [1, 2])
def test_a_training_shorter_than_its_warm_up_is_refused_before_it_starts(epochs):
    found = [str(p) for p in check(load('csasn/csasn_small', [f'train_cfg.max_epochs={epochs}']))]
    assert len(found) == 1
    wanted = r'param_scheduler\.cosine\.begin: .*begins at 2.*max_epochs to 3'
    assert re.search(wanted, found[0]), found
