import numpy as np
import pytest
from PIL import Image

from plugins.classification.data.image_folder import ImageFolder
from plugins.classification.tasks import Task
from tests.support.images_on_disk import KINDS, TASKS, write_image
from toolkit.errors import DataError, ToolkitError


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
    ('names', 'subsets'),
    [
        ('train valid test', 'train val test'),
        ('Train Validation Test', 'train val test'),
        ('training val testing', 'train val test'),
        ('train valid', 'train val'),
    ],
)
def test_folders_of_subsets_have_the_names_that_users_give_them(tmp_path, names, subsets):
    for number, name in enumerate(names.split()):
        for kind in KINDS:
            write_image(tmp_path / name / kind / f'{number}.png', number)
    for name, subset in zip(names.split(), subsets.split(), strict=True):
        data = ImageFolder(str(tmp_path), TASKS, subset=subset, size=8)
        assert [r.id.split('/')[0] for r in data.records] == [name, name]
    assert len(ImageFolder(str(tmp_path), TASKS, subset='all', size=8)) == 2 * len(names.split())


def test_a_folder_that_is_named_after_a_class_is_no_subset(tmp_path):
    tasks = {'quality': Task(('valid', 'invalid'))}
    for number in range(4):
        write_image(tmp_path / ('valid' if number % 2 else 'invalid') / f'{number}.png', number)
    assert ImageFolder(str(tmp_path), tasks, size=8).class_counts('quality').tolist() == [2, 2]


@pytest.mark.parametrize(
    ('unused', 'message', 'options'),
    [
        ('dev/benign/x.png', r'dev: its images \(1\) are of no subset', {'classes': {'dev': None}}),
        ('benign/x.png', r'benign: its images \(1\) are of no subset', {'exclude': 'benign/*'}),
        ('x.png', r'such as x.png are in no folder of a subset and class', {'exclude': 'x.png'}),
        ('train/x.png', r'train: images \(1\) such as x.png are in no', {'exclude': 'train/x.png'}),
        ('valid/benign/x.png', 'val and valid are both of the sub', {'classes': {'valid': None}}),
    ],
)
def test_images_that_no_subset_has_are_told(tmp_path, unused, message, options):
    for number, subset in enumerate(('train', 'val', 'test')):
        for kind in KINDS:
            write_image(tmp_path / subset / kind / f'{number}.png', number)
    write_image(tmp_path / unused, 9)
    with pytest.raises(ToolkitError, match=message):
        ImageFolder(str(tmp_path), TASKS, size=8)
    assert len(ImageFolder(str(tmp_path), TASKS, subset='all', size=8, **options)) == 6


def test_images_beside_the_folders_of_classes_are_told(folders):
    write_image(folders / 'overview.png', 9)
    with pytest.raises(ToolkitError, match=r'such as overview.png are in no folder of a class'):
        ImageFolder(str(folders), TASKS, size=8)
    assert len(ImageFolder(str(folders), TASKS, size=8, exclude='overview.png')) == 6


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
