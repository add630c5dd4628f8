"""Kept features are those that the branch gives, computed once, whoever asks first."""

from __future__ import annotations

import os
from contextlib import nullcontext, suppress
from functools import partial

import pytest
import torch

from plugins.classification.data import feature_store
from plugins.classification.data.feature_cache import FeatureCache
from plugins.classification.data.feature_store import BranchFeatures
from plugins.classification.heads import LinearHead
from plugins.classification.system import Classifier
from tests.support.failing_disk import FailingDisk
from tests.support.fake_branches import TASKS, Noise, TinyBranch, records
from toolkit.errors import RunError, ToolkitError


def classifier(cache, frozen=True, second=False, seed=0):
    torch.manual_seed(seed)
    branches = {'cnn': partial(TinyBranch, frozen=frozen)}
    neck = None
    if second:
        branches['tuned'] = TinyBranch
        neck = Join
    return Classifier(TASKS, branches, LinearHead, neck=neck, cache=cache, size=16).eval()


class Join(torch.nn.Module):
    def __init__(self, in_channels, strides):
        super().__init__()
        self.out_channels = sum(in_channels.values())

    def forward(self, features):
        return torch.cat(list(features.values()), 1)


def prepare(system, lines=None, **datasets):
    say = (lines if lines is not None else []).append
    system.prepare(datasets, device=torch.device('cpu'), context=nullcontext, say=say)


def batch(dataset, *indices):
    samples = [dataset[i] for i in indices]
    names = samples[0]['features']
    return {'features': {n: torch.stack([s['features'][n] for s in samples]) for n in names}}


def test_kept_features_are_the_branch_s(tmp_path):
    system, data = classifier(FeatureCache(str(tmp_path))), Noise(records(70), TASKS, views=3)
    prepare(system, val=data)
    branch = system.branches['cnn']
    for index in (0, 33, 69):
        sample = data[index]
        assert 'image' not in sample
        image = data.pool_image(index, sample['meta']['view'])[None]
        assert torch.allclose(sample['features']['cnn'], branch(image)[0], atol=1e-6)
    seen = branch.seen
    logits = system(batch(data, 0, 33), 'tensor')
    assert {k: v.shape for k, v in logits.items()} == {'kind': (2, 2), 'shape': (2, 3)}
    assert branch.seen == seen


def test_what_is_kept_is_not_computed_again(tmp_path):
    first, second = (classifier(FeatureCache(str(tmp_path))) for _ in range(2))
    pool = records(70)
    lines = []
    prepare(first, lines, val=Noise(pool, TASKS, positions=list(range(40))))
    assert len(lines) == 1 and str(tmp_path) in lines[0]
    assert first.branches['cnn'].seen == 1 + 64  # what its shape is, and two blocks of 32
    prepare(second, lines, val=Noise(pool, TASKS, positions=list(range(30, 70))))
    assert second.branches['cnn'].seen == 1 + 6
    prepare(classifier(FeatureCache(str(tmp_path))), lines, val=Noise(pool, TASKS))
    assert len(lines) == 2


def test_other_weights_have_other_features(tmp_path):
    data = [Noise(records(8), TASKS) for _ in range(2)]
    for seed in range(2):
        prepare(classifier(FeatureCache(str(tmp_path)), seed=seed), val=data[seed])
    assert not torch.equal(data[0][0]['features']['cnn'], data[1][0]['features']['cnn'])


def test_what_a_file_holds_does_not_depend_on_who_asked(tmp_path):
    pool, found = records(50), []
    for folder, positions in (('a', list(range(50))), ('b', [33, 7, 49])):
        data = Noise(pool, TASKS, positions=positions)
        prepare(classifier(FeatureCache(str(tmp_path / folder))), val=data)
        found.append(data.features(33, 0)['cnn'])
    assert torch.equal(*found)


def test_a_tuned_branch_still_gets_its_images(tmp_path):
    system = classifier(FeatureCache(str(tmp_path)), second=True)
    data = Noise(records(8), TASKS)
    prepare(system, val=data)
    sample = data[3]
    assert set(sample['features']) == {'cnn'} and 'image' in sample
    whole = system({'image': sample['image'][None]}, 'tensor')
    given = {'image': sample['image'][None], 'features': {'cnn': sample['features']['cnn'][None]}}
    assert torch.allclose(system(given, 'tensor')['kind'], whole['kind'], atol=1e-6)


def test_half_precision_rounds(tmp_path):
    data = Noise(records(8), TASKS)
    system = classifier(FeatureCache(str(tmp_path), 'float16'))
    prepare(system, val=data)
    kept, exact = data[2]['features']['cnn'], system.branches['cnn'](data.pool_image(2, 0)[None])[0]
    assert kept.dtype == torch.float32
    assert 0 < (kept - exact).abs().max() < 1e-3


def test_a_broken_run_leaves_no_wrong_features(tmp_path, monkeypatch):
    def full(path, place, content):
        if path.name == 'features.bin':
            raise OSError(28, os.strerror(28))

    cache = FeatureCache(str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr(feature_store, '_write_at', full)
        with pytest.raises(RunError, match='cannot keep features in .*No space left on device'):
            prepare(classifier(cache), val=Noise(records(8), TASKS))
    data, system = Noise(records(8), TASKS), classifier(cache)
    prepare(system, val=data)
    assert system.branches['cnn'].seen == 1 + 8
    assert data[0]['features']['cnn'].abs().sum() > 0


def test_values_that_are_not_finite_are_refused(tmp_path):
    kept = BranchFeatures(tmp_path / 'f', 1, 2, (3,), 'float16')
    with pytest.raises(RunError, match='not finite as float16.*float32'):
        kept.put(0, 0, torch.full((2, 3), 1e6))


def test_views_without_number_are_refused(tmp_path):
    data = Noise(records(8), TASKS, views=None)
    with pytest.raises(ToolkitError, match='train_dataloader.dataset.views to such as 8'):
        prepare(classifier(FeatureCache(str(tmp_path))), train=data)


def test_nothing_frozen_is_refused(tmp_path):
    with pytest.raises(ToolkitError, match='none is frozen'):
        prepare(classifier(FeatureCache(str(tmp_path)), frozen=False), val=Noise(records(8), TASKS))


def test_folder_by_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv('TOOLKIT_CACHE', str(tmp_path))
    assert FeatureCache().path() == tmp_path / 'features'
    monkeypatch.delenv('TOOLKIT_CACHE')
    monkeypatch.setenv('HOME', '/home/x')
    assert str(FeatureCache().path()) == '/home/x/.cache/ablakit/features'


def test_damaged_features_are_noticed_and_computed_anew(tmp_path):
    pool, lines = records(70), []
    whole = Noise(pool, TASKS)
    prepare(classifier(FeatureCache(str(tmp_path))), val=whole)
    wanted = whole.features(40, 0)['cnn']
    (file,) = tmp_path.rglob('features.bin')
    content = bytearray(file.read_bytes())
    content[len(content) * 40 // 70 + 2] ^= 64
    file.write_bytes(content)
    again = Noise(pool, TASKS)
    system = classifier(FeatureCache(str(tmp_path)))
    prepare(system, lines, val=again)
    assert 'features.bin is damaged in 1 blocks, the first of version 0, block 1' in lines[0]
    assert system.branches['cnn'].seen == 1 + 32
    assert torch.equal(again.features(40, 0)['cnn'], wanted)
    file.write_bytes(bytes(content[:100]))  # cut off
    prepare(classifier(FeatureCache(str(tmp_path))), val=Noise(pool, TASKS))
    assert torch.equal(again.features(40, 0)['cnn'], wanted)


@pytest.mark.parametrize('short', [False, True])
def test_features_that_a_failing_disk_has_not_kept_are_computed_again(tmp_path, short):
    first, second = torch.rand(feature_store.BLOCK, 3), torch.rand(feature_store.BLOCK, 3)

    def fill(folder, features):
        kept = BranchFeatures(folder, 1, feature_store.BLOCK, (3,), 'float32')
        kept.put(0, 0, features)

    with FailingDisk(tmp_path).mounted() as disk:
        fill(tmp_path / 'calm', first)
    for number in range(1, len(disk.operations) + 1):
        folder = tmp_path / f'hurt{number}'
        for features in (first, second):  # into an empty folder, and over what is there
            with FailingDisk(folder, number, short=short).mounted(), suppress(RunError, OSError):
                fill(folder, features)
            kept = BranchFeatures(folder, 1, feature_store.BLOCK, (3,), 'float32')
            if not kept.missing({0}, range(1)):
                found = torch.stack([kept.get(i, 0) for i in range(feature_store.BLOCK)])
                assert torch.equal(found, first) or torch.equal(found, second), number
            kept.put(0, 0, features)
            assert kept.missing({0}, range(1)) == []
