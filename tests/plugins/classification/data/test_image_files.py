import logging

import numpy as np
import pytest
import torch
from PIL import Image

from plugins.classification.data.image_files import ManifestImages
from plugins.classification.data.split import SplitSpec
from plugins.classification.transforms.class_balanced import ClassBalanced
from plugins.classification.transforms.general import BoxCrop, RandomFlip
from tests.support.images_on_disk import TASKS, break_images, write_image, write_set
from toolkit.errors import DataError

SPLIT = SplitSpec(by='folds', folds=3, val=0.25, empty='allow')


@pytest.fixture(scope='module')
def manifest(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp('set'), boxes=True)


def dataset(manifest, **options):
    return ManifestImages(manifest, TASKS, **{'size': 8, **options})


def test_a_sample_is_what_the_contract_says(manifest):
    data = dataset(manifest, size=10)
    sample = data[3]
    assert sample['image'].shape == (3, 10, 10)
    assert sample['image'].dtype == torch.float32
    assert 0 <= sample['image'].min() < sample['image'].max() <= 1
    assert sample['labels']['kind'].dtype == torch.int64
    assert sample['meta'] == {
        'item': 'i3',
        'id': 'i3',
        'patient': 'p1',
        'centre': 'c1',
        'view': 0,
        'attributes': {'age': '43'},
    }
    assert data.class_counts('kind').tolist() == [8, 4]
    assert dataset(manifest, channels=1)[0]['image'].shape == (1, 8, 8)


@pytest.mark.parametrize('fit', ['squash', 'pad', 'crop'])
def test_an_image_is_fitted(tmp_path, fit):
    path = write_set(tmp_path, count=6)
    values = write_image(tmp_path / 'images/0.png', 0, (8, 16)) / 255
    image = dataset(path, size=8, fit=fit).pool_image(0)[0].numpy()
    if fit == 'crop':
        np.testing.assert_allclose(image, values[:, 4:12], atol=1e-6)
    elif fit == 'pad':
        assert (image[:2] == 0).all() and (image[6:] == 0).all()
        assert (image[2:6] > 0).any(axis=0).all()
    else:
        assert image.mean() == pytest.approx(values.mean(), abs=0.02)


def test_subsets_share_no_patient_and_leave_none_out(manifest):
    subsets = [dataset(manifest, subset=subset, split=SPLIT) for subset in ('train', 'val', 'test')]
    patients = [{record.patient for record in subset.records} for subset in subsets]
    assert sum(map(len, patients)) == len(set().union(*patients)) == 6
    assert sorted(p for subset in subsets for p in subset.positions) == list(range(12))
    assert len({subset.image_fingerprint() for subset in subsets}) == 1
    assert len({subset.fingerprint() for subset in subsets}) == 3


def test_a_patient_in_two_subsets_stops(tmp_path):
    path = write_set(tmp_path)
    lines = (tmp_path / 'manifest.csv').read_text().splitlines()
    subsets = ['subset', *('test' if i in (1, 4, 5) else 'train' for i in range(12))]
    (tmp_path / 'manifest.csv').write_text('\n'.join(map(','.join, zip(lines, subsets))))
    spec = SplitSpec(by='column', column='subset', val=0)
    with pytest.raises(DataError, match='patient p0 is in two subsets'):
        dataset(path, subset='train', split=spec)


# -- boxes -----------------------------------------------------------------------------------------


def test_images_that_are_given_back_are_read_again(manifest):
    data, room = dataset(manifest), dataset(manifest, cache=1)._room
    before = data[3]['image']
    data.release()
    assert not data._kept
    assert torch.equal(data[3]['image'], before)
    assert list(data._kept) == [data.positions[3]]
    small = dataset(manifest, cache=1)
    small.release()
    small._prepare(0)
    assert len(small._kept) == 1
    assert small._room > room


def test_boxes_are_cropped_to_before_fitting(tmp_path):
    path = write_set(tmp_path, count=6, boxes=True)
    values = write_image(tmp_path / 'images/0.png', 0) / 255
    crop = BoxCrop(margin=0, square=False)
    data = dataset(path, size=7, transforms={'box': crop}, fit='pad')
    np.testing.assert_allclose(data.pool_image(0)[0, :6], values[2:8, 2:9], atol=1e-6)


def test_an_image_without_a_box_is_named(tmp_path):
    path = write_set(tmp_path, count=6)
    with pytest.raises(DataError, match=r'images/0.png: it has no box to crop to.*missing: whole'):
        dataset(path, transforms={'box': BoxCrop()})
    whole = dataset(path, transforms={'box': BoxCrop(missing='whole')})
    assert torch.equal(whole.pool_image(0), dataset(path).pool_image(0))


def test_only_classes_of_the_subset_count(manifest):
    def chances(**options):
        balanced = ClassBalanced('kind', {'flip': RandomFlip()}, chance=(0.1, 0.8), power=1)
        data = dataset(manifest, transforms={'rare': balanced}, **options)
        numbers = data.class_counts('kind').double()
        expected = (0.8 * numbers[numbers > 0].min() / numbers.clamp(min=1)).clamp(0.1, 0.8)
        assert balanced.chances == pytest.approx(expected.tolist())
        return balanced.chances

    assert chances() == pytest.approx([0.4, 0.8])
    chances(subset='train', split=SPLIT)
    chances(subset='test', split=SPLIT)
    with pytest.raises(ValueError, match="there is no task 'kid'"):
        dataset(manifest, transforms={'rare': ClassBalanced('kid', {'flip': RandomFlip()})})


# -- bad input -------------------------------------------------------------------------------------


@pytest.fixture
def broken(tmp_path):
    return break_images(tmp_path)


def test_images_that_cannot_be_read_stop_before_anything_runs(broken):
    with pytest.raises(DataError) as caught:
        dataset(broken)
    first, *told = str(caught.value).split('\n')
    assert first.startswith('2 of 12 images of all cannot be read; ')
    assert 'on_error: skip' in first
    assert 'images/3.png is empty (0 bytes)' in told[0]
    assert 'images/7.png cannot be read' in told[1]


def test_the_header_alone_shows_what_is_empty(broken, tmp_path):
    with pytest.raises(DataError, match='1 of 12 images of all cannot be read'):
        dataset(broken, verify='header')
    write_image(tmp_path / 'images/3.png', 3)
    data = dataset(broken, verify='header')
    with pytest.raises(DataError, match='images/7.png cannot be read'):
        data[7]


def test_they_are_skipped_and_counted(broken, caplog):
    with caplog.at_level(logging.WARNING):
        data = dataset(broken, on_error='skip')
    assert list(data.skipped) == ['i3', 'i7']
    assert [r.id for r in data.records] == [f'i{i}' for i in range(12) if i not in (3, 7)]
    assert len(data.pool) == 12
    assert caplog.records[0].getMessage().startswith('2 of 12 images of all cannot be read and are')
    assert data.pool_image(3).sum() == 0  # features of the whole pool can be computed


def test_where_none_is_left_skipping_stops_too(tmp_path):
    path = write_set(tmp_path, count=6)
    for i in range(6):
        (tmp_path / f'images/{i}.png').write_text('x')
    with pytest.raises(DataError, match='6 of 6 images of all cannot be read; none is left'):
        dataset(path, on_error='skip')


def test_images_without_any_label_are_left_out_unless_told(tmp_path):
    path = write_set(tmp_path)
    text = (tmp_path / 'manifest.csv').read_text()
    (tmp_path / 'manifest.csv').write_text(text.replace('benign,40', ',40'))
    assert len(dataset(path)) == 11
    data = dataset(path, unlabelled='keep')
    assert (len(data), data[0]['labels']['kind']) == (12, -1)


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        ({'size': 0}, 'size must be at least 1'),
        ({'channels': 4}, 'channels must be 1 or 3, found 4'),
        ({'views': 0}, 'views must be at least 1'),
        ({'cache': -1}, 'cache must be 0 or more'),
        ({'fit': 'stretch'}, 'fit must be one of squash, pad, crop'),
        ({'transforms': {'fit': RandomFlip()}}, "transforms.fit: the name 'fit'"),
        (
            {'transforms': {'a': object()}},
            'transforms.a: expected a transform of images.*found object',
        ),
        ({'tasks': {}}, 'tasks is empty'),
    ],
)
def test_arguments_out_of_range(manifest, options, message):
    with pytest.raises(ValueError, match=message):
        ManifestImages(manifest, **{'tasks': TASKS, **options})


@pytest.mark.parametrize('verify', ['decode', 'header'])
@pytest.mark.parametrize(
    ('dtype', 'bits', 'suffix', 'guess'),
    [(np.uint16, 12, 'png', 4095), (np.int32, 8, 'npy', 255), (np.uint16, 10, 'tif', 1023)],
)
def test_images_that_do_not_use_their_range_are_asked_about(
    tmp_path, verify, dtype, bits, suffix, guess
):
    def save(name, values):
        if suffix == 'npy':
            np.save(tmp_path / name, values.astype(dtype))
        else:
            Image.fromarray(values.astype(dtype)).save(tmp_path / name)

    generator = np.random.default_rng(0)
    lines = ['image,kind']
    for i in range(4):
        values = generator.integers(0, 2**bits // (1 + i % 2), (9, 9))
        values[0, 0] = 2**bits // (1 + i % 2) - 1
        save(f'{i}.{suffix}', values)
        lines.append(f'{i}.{suffix},benign')
    table = tmp_path / 'm.csv'
    table.write_text('\n'.join(lines))
    with pytest.raises(DataError, match=f'4 images of all .*`full_scale: {guess}`'):
        ManifestImages(str(table), TASKS, size=9, verify=verify)
    stated = ManifestImages(str(table), TASKS, size=9, full_scale=guess, verify=verify)
    assert stated.pool_image(0).max() == 1
    as_they_are = ManifestImages(str(table), TASKS, size=9, full_scale=65535, verify=verify)
    assert as_they_are.pool_image(0).max() == pytest.approx((2**bits - 1) / 65535)
    assert stated.image_fingerprint() != as_they_are.image_fingerprint()
    # One bright image shows that the range is used.
    save(f'bright.{suffix}', np.full((9, 9), 60_000))
    table.write_text('\n'.join([*lines, f'bright.{suffix},benign']))
    assert len(ManifestImages(str(table), TASKS, size=9, verify=verify)) == 5
    with pytest.raises(DataError, match=f'60000, above the full scale of {guess}'):
        ManifestImages(str(table), TASKS, size=9, full_scale=guess)
