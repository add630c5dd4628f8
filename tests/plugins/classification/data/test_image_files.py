import logging
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from plugins.classification.data.feature_cache import FeatureCache, keep
from plugins.classification.data.image_files import ManifestImages
from plugins.classification.data.image_folder import ImageFolder
from plugins.classification.data.split import SplitSpec
from plugins.classification.tasks import Task
from plugins.classification.transforms.class_balanced import ClassBalanced
from plugins.classification.transforms.general import BoxCrop, RandomAffine, RandomFlip
from plugins.classification.transforms.ultrasound import DepthCrop, Speckle
from tests.support.fake_branches import TinyBranch
from tests.support.images_on_disk import KINDS, TASKS, write_image, write_set
from toolkit.config.schema import Dataloader
from toolkit.engine.dataloader import build_loader, unwrap
from toolkit.errors import DataError, ToolkitError
from toolkit.registry.build import fill

SPLIT = SplitSpec(by='folds', folds=3, val=0.25, empty='allow')


@pytest.fixture(scope='module')
def manifest(tmp_path_factory):
    return write_set(tmp_path_factory.mktemp('set'), boxes=True)


def random():
    return {'flip': RandomFlip(), 'affine': RandomAffine(), 'speckle': Speckle()}


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


# -- views -----------------------------------------------------------------------------------------


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


# -- bad input -------------------------------------------------------------------------------------


@pytest.fixture
def broken(tmp_path):
    path = write_set(tmp_path)
    (tmp_path / 'images/3.png').write_bytes(b'')
    content = (tmp_path / 'images/7.png').read_bytes()
    (tmp_path / 'images/7.png').write_bytes(content[: len(content) // 2])
    return path


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


# -- folders ---------------------------------------------------------------------------------------


@pytest.fixture
def folders(tmp_path):
    for i in range(6):
        write_image(tmp_path / KINDS[i % 2] / f'p{i // 2}_{i}.png', i)
    (tmp_path / 'benign/notes.txt').write_text('x')
    return tmp_path


def test_folders_by_class(folders):
    data = ImageFolder(str(folders), TASKS, patient=r'^(p\d)_', size=8)
    assert [record.id for record in data.records[:2]] == ['benign/p0_0.png', 'benign/p1_2.png']
    assert {record.patient for record in data.records} == {'p0', 'p1', 'p2'}
    assert data.class_counts('kind').tolist() == [3, 3]
    renamed = {'kind': Task(('no', 'yes'))}
    data = ImageFolder(str(folders), renamed, classes={'benign': 'no', 'malignant': 'yes'}, size=8)
    assert data.records[0].labels == {'kind': 'no'}
    only = ImageFolder(str(folders), TASKS, classes={'malignant': None}, size=8)
    assert only.class_counts('kind').tolist() == [3, 0]


def test_folders_of_parts_are_the_split(tmp_path):
    for i, subset in enumerate(('train', 'train', 'val', 'test')):
        for kind in KINDS:
            write_image(tmp_path / subset / kind / f'{i}.png', i)
    sizes = {
        subset: len(ImageFolder(str(tmp_path), TASKS, subset=subset, size=8))
        for subset in ('train', 'val', 'test', 'all')
    }
    assert sizes == {'train': 4, 'val': 2, 'test': 2, 'all': 8}


@pytest.mark.parametrize(
    ('options', 'error', 'message'),
    [
        (
            {'patient': r'^(x)'},
            ToolkitError,
            r"p0_0.png: its name has no patient that matches '\^\(x\)'",
        ),
        ({'patient': r'p'}, ValueError, 'has no group'),
        ({'patient': r'('}, ValueError, 'patient is not a regular expression'),
        ({'classes': {'benign': 'benin'}}, ToolkitError, "'benin' is not a class of kind; did you"),
        ({'tasks': {**TASKS, 'b': TASKS['kind']}}, ValueError, 'one task, found 2 tasks'),
    ],
)
def test_folders_that_say_something_else(folders, options, error, message):
    with pytest.raises(error, match=message):
        ImageFolder(str(folders), **{'tasks': TASKS, 'size': 8, **options})


def test_a_folder_without_images(tmp_path):
    (tmp_path / 'benign').mkdir()
    with pytest.raises(ToolkitError, match='has no images in folders; expected FOLDER/CLASS/IMAGE'):
        ImageFolder(str(tmp_path), TASKS)
    with pytest.raises(ToolkitError, match='no folder'):
        ImageFolder(str(tmp_path / 'none'), TASKS)


# -- features --------------------------------------------------------------------------------------


def test_features_are_kept_of_views_even_where_images_are_skipped(broken, tmp_path):
    data = dataset(broken, on_error='skip', transforms=random(), views=2)
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


def test_spellings_of_a_patient_in_names_of_files_are_refused(tmp_path):
    for number, path in enumerate(('benign/p01_a.png', 'malignant/p1_b.png')):
        write_image(tmp_path / path, number)
    options = {'patient': r'^(p\d+)_', 'size': 8}
    message = r"'p01' \(benign/p01_a.png\), 'p1' \(malignant/p1_b.png\) .*patients: as_written"
    with pytest.raises(ToolkitError, match=message):
        ImageFolder(str(tmp_path), TASKS, **options)
    data = ImageFolder(str(tmp_path), TASKS, patients='as_written', **options)
    assert [record.patient for record in data.records] == ['p01', 'p1']


# -- masks -----------------------------------------------------------------------------------------


def write_mask(path, empty=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    values = np.zeros((32, 32), dtype=np.uint8)
    values[8:20, 10:22] = 0 if empty else 255
    Image.fromarray(values).save(path)


def write_busi(folder, mask='{}_mask.png'):
    """Writes images with their masks, as BUSI lays them out; masks of one class are empty."""
    for kind in KINDS:
        for number in (1, 2):
            write_image(folder / kind / f'{kind} ({number}).png', number, (32, 32))
            write_mask(folder / kind / mask.format(f'{kind} ({number})'), empty=kind == 'benign')
    return str(folder)


def test_masks_beside_images_are_refused_and_named(tmp_path):
    folder = write_busi(tmp_path)
    write_mask(tmp_path / 'malignant/malignant (1)_mask_1.png')
    with pytest.raises(DataError, match=r"5 of 9 images .*exclude: '\*_mask\*'`") as caught:
        ImageFolder(folder, TASKS, size=8)
    told = str(caught.value).split('\n')[1:]
    assert 'benign/benign (1)_mask.png, named after benign/benign (1).png' in told[0]
    assert 'malignant (1)_mask_1.png, named after malignant/malignant (1).png' in told[3]
    data = ImageFolder(folder, TASKS, size=8, exclude='*_mask*')
    assert data.class_counts('kind').tolist() == [2, 2]
    assert not any('mask' in record.id for record in data.records)
    assert len(ImageFolder(folder, TASKS, size=8, masks='as_images')) == 9


@pytest.mark.parametrize(
    ('mask', 'pattern'),
    [
        ('{}-mask.png', '*-mask*'),
        ('{}.seg.png', '*.seg*'),
        ('{}_segmentation.bmp', '*_segmentation*'),
        ('{}_mask.jpg', '*_mask*'),
        ('{}_1.png', '*_1.png'),
        ('masks/{}.png', '*/masks/*'),
    ],
)
def test_masks_of_any_name_are_found(tmp_path, mask, pattern):
    folder = write_busi(tmp_path, mask)
    with pytest.raises(DataError) as caught:
        ImageFolder(folder, TASKS, size=8)
    assert f"exclude: '{pattern}'" in str(caught.value)
    assert len(ImageFolder(folder, TASKS, size=8, exclude=pattern)) == 4


def test_masks_in_folders_of_subsets_are_found(tmp_path):
    for subset in ('train', 'test'):
        write_busi(tmp_path / subset)
    with pytest.raises(DataError, match='8 of 16 images seem to be segmentation masks'):
        ImageFolder(str(tmp_path), TASKS, size=8)


def test_images_named_after_each_other_are_no_masks(tmp_path):
    for name in ('p1.png', 'p1_2.png', 'p1_mask.png', 'second/p1.png'):
        write_image(tmp_path / 'benign' / name, 1)
    assert len(ImageFolder(str(tmp_path), TASKS, size=8)) == 4


def test_binary_images_alone_are_no_masks(tmp_path):
    for name in ('a.png', 'a_2.png', 'b.png'):
        write_mask(tmp_path / 'benign' / name)
    assert len(ImageFolder(str(tmp_path), TASKS, size=8)) == 3


def test_patterns_select_files_by_their_path(folders):
    data = ImageFolder(str(folders), TASKS, include='benign/*', size=8)
    assert data.class_counts('kind').tolist() == [3, 0]
    data = ImageFolder(
        str(folders), TASKS, include=['*/p0_*', '*/p1_*'], exclude=['*_3.png'], size=8
    )
    names = {'benign/p0_0.png', 'malignant/p0_1.png', 'benign/p1_2.png'}
    assert {record.id for record in data.records} == names
    with pytest.raises(ToolkitError, match=r'no images in folders with include: \*\.jpg; expected'):
        ImageFolder(str(folders), TASKS, include='*.jpg')


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
