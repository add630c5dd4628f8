from contextlib import nullcontext

import pytest
import torch
from torch import nn

from plugins.classification.data.feature_cache import FeatureCache, keep
from plugins.classification.data.image_files import ManifestImages
from plugins.classification.data.split import SplitSpec
from plugins.classification.transforms.class_balanced import ClassBalanced
from plugins.classification.transforms.general import BoxCrop, RandomAffine, RandomFlip
from plugins.classification.transforms.ultrasound import DepthCrop, Speckle
from tests.support.fake_branches import TinyBranch
from tests.support.images_on_disk import TASKS, break_images, write_image, write_set
from toolkit.config.schema import Dataloader
from toolkit.engine.collation import unwrap
from toolkit.engine.dataloader import build_loader
from toolkit.registry.build import fill

SPLIT = SplitSpec(by='folds', folds=3, val=0.25, empty='allow')


@pytest.fixture(scope='module')
def manifest(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp('set'), boxes=True)


def random():
    return {'flip': RandomFlip(), 'affine': RandomAffine(), 'speckle': Speckle()}


def dataset(manifest, **options):
    return ManifestImages(manifest, TASKS, **{'size': 8, **options})


def test_without_anything_random_there_is_one_view(manifest):
    data = dataset(manifest, transforms={'box': BoxCrop()}, views=5)
    assert data.views == 1
    assert torch.equal(data.pool_image(2), data.pool_image(2, 0))


def test_a_view_depends_on_the_image_and_its_number_alone(manifest):
    data = dataset(manifest, transforms=random(), views=3)
    views = [data.pool_image(2, view) for view in range(3)]
    torch.manual_seed(5)
    subset = dataset(manifest, subset='train', split=SPLIT, transforms=random(), views=9, cache=0)
    for view in range(3):
        assert torch.equal(subset.pool_image(2, view), views[view])
    assert not torch.equal(views[0], views[1])
    assert not torch.equal(data.pool_image(3, 0), views[0])
    found = {data[2]['meta']['view'] for _ in range(40)}
    assert found == {0, 1, 2}
    sample = data[2]
    assert torch.equal(sample['image'], views[sample['meta']['view']])


def test_a_draw_follows_the_global_seed_and_moves_nothing_else(manifest):
    data = dataset(manifest, transforms=random())
    assert data[0]['meta']['view'] is None
    torch.manual_seed(1)
    first, after = data.pool_image(0), torch.rand(())
    torch.manual_seed(1)
    assert torch.equal(data.pool_image(0), first)
    assert torch.equal(torch.rand(()), after)
    fewer = dataset(manifest, transforms={'flip': RandomFlip()})
    torch.manual_seed(1)
    fewer.pool_image(0)
    assert torch.equal(torch.rand(()), after)
    assert not torch.equal(data.pool_image(0), first)


def test_taking_one_transform_out_leaves_what_the_others_draw(manifest):
    both = {'flip': RandomFlip(), 'none': Speckle(strength=(0, 0))}
    with_it = dataset(manifest, transforms=both)
    without = dataset(manifest, transforms={'flip': RandomFlip()})
    for view in range(6):
        torch.testing.assert_close(with_it.pool_image(0, view), without.pool_image(0, view))


def test_the_view_key_is_of_files_and_transforms(manifest, tmp_path):
    def key(**options):
        return dataset(manifest, **options).image_fingerprint()

    same = {key(transforms=random()), key(transforms=random(), views=4, unlabelled='keep')}
    others = [
        key(),
        key(transforms={**random(), 'speckle': Speckle(strength=(0, 0.3))}),
        key(transforms={'turn': RandomFlip(), **random()}),
        key(transforms=random(), fit='pad'),
        key(transforms=random(), size=9),
        key(transforms=random(), channels=1),
    ]
    assert len(same) == 1
    assert len({*same, *others}) == 1 + len(others)
    path = write_set(tmp_path, boxes=True)
    assert dataset(path).image_fingerprint() == key()
    write_image(tmp_path / 'images/3.png', 99)
    assert dataset(path).image_fingerprint() != key()


def test_kept_features_are_given_instead_of_images(manifest):
    class Features:
        def __init__(self, complete):
            self.complete = complete

        def __call__(self, position, view):
            return {'branch': torch.tensor([position, view])}

    data = dataset(manifest, subset='test', split=SPLIT, transforms=random(), views=4)
    data.features = Features(complete=True)
    data.read = None  # not to be called
    sample = data[1]
    assert sample['features']['branch'][0] == data.positions[1]
    assert sample['features']['branch'][1] == sample['meta']['view']
    assert 'image' not in sample
    data = dataset(manifest)
    data.features = Features(complete=False)
    assert set(data[0]) == {'image', 'features', 'labels', 'meta'}


def batches(data, workers, epochs=2):
    config = fill(Dataloader, {'dataset': {'type': 'MedMNIST'}, 'batch_size': 5}, '')
    config.num_workers = workers
    loader = build_loader(config, data, training=True, seed=3, device=torch.device('cpu'))
    loader.batch_sampler.stop = epochs * len(loader.batch_sampler)
    return [unwrap(batch) for batch in loader]


@pytest.mark.parametrize('views', [None, 3])
def test_a_loader_gives_the_same_whatever_its_workers(manifest, views):
    data = dataset(manifest, transforms={**random(), 'depth': DepthCrop()}, views=views)
    alone, shared = batches(data, 0), batches(data, 2)
    assert len(alone) == 6
    for one, other in zip(alone, shared, strict=True):
        assert torch.equal(one['image'], other['image'])
        assert torch.equal(one['labels']['kind'], other['labels']['kind'])
        assert one['meta'] == other['meta']
    assert not torch.equal(alone[0]['image'], alone[3]['image'])


def test_images_without_room_are_the_same_as_kept_ones(manifest):
    kept, fresh = dataset(manifest), dataset(manifest, cache=0)
    assert len(kept._kept) == 12
    assert not fresh._kept
    for position in range(12):
        assert torch.equal(kept.pool_image(position), fresh.pool_image(position))


def test_views_that_depend_on_labels_are_kept_for_those_labels_alone(tmp_path):
    path = write_set(tmp_path)
    text = (tmp_path / 'manifest.csv').read_text()

    def fingerprints():
        balanced = ClassBalanced('kind', {'flip': RandomFlip()})
        return (
            dataset(path, transforms={'flip': RandomFlip()}).image_fingerprint(),
            dataset(path, transforms={'rare': balanced}).image_fingerprint(),
        )

    before = fingerprints()
    lines = text.splitlines()
    # Two labels change places: the counts stay the same.
    first = next(i for i, line in enumerate(lines) if ',benign,' in line)
    second = next(i for i, line in enumerate(lines) if ',malignant,' in line)
    lines[first] = lines[first].replace(',benign,', ',malignant,')
    lines[second] = lines[second].replace(',malignant,', ',benign,')
    (tmp_path / 'manifest.csv').write_text('\n'.join(lines))
    after = fingerprints()
    assert after[0] == before[0] and after[1] != before[1]


def test_features_are_kept_of_views_even_where_images_are_skipped(tmp_path):
    data = dataset(break_images(tmp_path), on_error='skip', transforms=random(), views=2)
    branch = TinyBranch(3, frozen=True)
    keep(
        nn.ModuleDict({'branch': branch}),
        data,
        FeatureCache(str(tmp_path / 'cache')),
        role='train',
        device=torch.device('cpu'),
        context=nullcontext,
        say=lambda line: None,
    )
    images = [data.pool_image(data.positions[4], view) for view in range(2)]
    sample = data[4]
    expected = branch(images[sample['meta']['view']][None])[0]
    torch.testing.assert_close(sample['features']['branch'], expected)
    assert 'image' not in sample
