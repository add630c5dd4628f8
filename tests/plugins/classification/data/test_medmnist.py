import numpy as np
import pytest
import torch

from plugins.classification.data.medmnist import MedMNIST
from plugins.classification.data.split import SplitSpec
from plugins.classification.tasks import Task
from toolkit.errors import DataError, ToolkitError

TASKS = {'kind': Task(('malignant', 'benign'), 'malignant')}
COUNTS = {'train': 6, 'val': 2, 'test': 4}


def arrays(colour=False, columns=None):
    rng = np.random.default_rng(0)
    found = {}
    for subset, count in COUNTS.items():
        shape = (count, 28, 28, 3) if colour else (count, 28, 28)
        found[f'{subset}_images'] = rng.integers(0, 256, shape, dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 2
        found[f'{subset}_labels'] = labels if columns is None else np.stack([labels] * columns, 1)
    return found


def written(tmp_path, **found):
    np.savez(tmp_path / 'a.npz', **found)
    return str(tmp_path / 'a.npz')


@pytest.mark.parametrize('columns', [None, 1])
def test_the_official_split(tmp_path, columns):
    found = arrays(columns=columns)
    path = written(tmp_path, **found)
    for subset, count in COUNTS.items():
        data = MedMNIST(path, TASKS, subset=subset, size=28, channels=1)
        assert len(data) == count
        assert data.labels('kind').tolist() == [i % 2 for i in range(count)]
        expected = torch.from_numpy(found[f'{subset}_images'][1]) / 255
        torch.testing.assert_close(data[1]['image'][0], expected)
        assert data[1]['meta']['id'] == f'{subset}-1'


def test_another_split_may_be_made(tmp_path):
    spec = SplitSpec(by='folds', folds=2, val=0)
    data = MedMNIST(written(tmp_path, **arrays()), TASKS, subset='test', split=spec, size=28)
    assert len(data) == 6


def test_colour_and_several_tasks(tmp_path):
    path = written(tmp_path, **arrays(colour=True, columns=2))
    data = MedMNIST(path, {'a': TASKS['kind'], 'b': Task(('x', 'y'))}, subset='val', size=28)
    assert data[1]['labels'] == {'a': 1, 'b': 1}
    assert not torch.equal(data[0]['image'][0], data[0]['image'][1])


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'val_labels': np.array([0, 2])}, 'val_labels of kind are from 0 to 2, but its 2 classes'),
        ({'val_labels': np.array([0])}, r'val_labels are int64 \(1,\)'),
        ({'val_labels': np.zeros((2, 3), int)}, 'has labels for 3 tasks, and 1 are named'),
        ({'val_images': np.zeros((2, 28, 28))}, r'val_images are float64 \(2, 28, 28\)'),
        ({'val_images': np.zeros((2, 28, 28, 28), np.uint8)}, r'expected uint8 of \(n, H, W\)'),
        ({'val_images': None}, 'has no val_images; found train_images'),
    ],
)
def test_other_files_are_refused(tmp_path, change, message):
    found = {k: v for k, v in {**arrays(), **change}.items() if v is not None}
    with pytest.raises(ToolkitError, match=f'a.npz.*{message}'):
        MedMNIST(written(tmp_path, **found), TASKS, subset='val')


def test_cut_files(tmp_path):
    path = tmp_path / 'a.npz'
    written(tmp_path, **arrays())
    content = path.read_bytes()
    for length in (0, 100, len(content) // 2):
        path.write_bytes(content[:length])
        with pytest.raises(DataError, match='a.npz cannot be read'):
            MedMNIST(str(path), TASKS)
    np.save(tmp_path / 'b.npy', np.zeros(3))
    with pytest.raises(DataError, match='b.npy is no .npz'):
        MedMNIST(str(tmp_path / 'b.npy'), TASKS)


def test_images_that_are_given_back_are_read_again(tmp_path):
    data = MedMNIST(written(tmp_path, **arrays()), TASKS, subset='test', size=28)
    before, fingerprint = data[2]['image'], data.fingerprint()
    data.release()
    assert '_images' not in vars(data)
    assert torch.equal(data[2]['image'], before)
    assert data.fingerprint() == fingerprint


APART = SplitSpec(by='column', column='subset', val=0, shared='drop')


def write_groups(tmp_path, rows):
    path = tmp_path / 'groups.csv'
    path.write_text('\n'.join(['id,group', *rows]) + '\n')
    return str(path)


def list_rows(**joined):
    ids = [f'{subset}-{i}' for subset, count in COUNTS.items() for i in range(count)]
    return [f'{name},{joined.get(name.replace("-", ""), name)}' for name in ids]


def test_groups_of_an_audit_leave_the_training(tmp_path):
    path = written(tmp_path, **arrays())
    groups = write_groups(tmp_path, list_rows(test1='train-0', val0='train-3'))
    with pytest.raises(DataError, match='patient train-3 is in two subsets.*split.shared: drop'):
        MedMNIST(path, TASKS, subset='train', groups=groups, size=28)
    kept = {
        subset: MedMNIST(path, TASKS, subset=subset, split=APART, groups=groups, size=28)
        for subset in COUNTS
    }
    assert [r.id for r in kept['train'].records] == [f'train-{i}' for i in (1, 2, 4, 5)]
    assert (len(kept['val']), len(kept['test'])) == (2, 4)
    # A group is named after its first image, and is known by that name all the same.
    official = MedMNIST(path, TASKS, subset='train', size=28)
    assert not official.identities()['patient'].labels
    assert 'train-0' in kept['test'].identities()['patient'].labels


@pytest.mark.parametrize(
    ('rows', 'message'),
    [
        (list_rows()[:-1], 'no group of 1 of 12 images, such as test-3'),
        ([*list_rows(), 'test-0,x'], ":14: 'test-0' is named twice"),
        ([*list_rows(), 'test-9,x'], ":14: 'test-9' is no image of the archive"),
        (list_rows(test3=''), ':13: expected an id and its group'),
    ],
)
def test_groups_of_other_images_are_refused(tmp_path, rows, message):
    groups = write_groups(tmp_path, rows)
    with pytest.raises(DataError, match=f'groups.csv.*{message}'):
        MedMNIST(written(tmp_path, **arrays()), TASKS, groups=groups, size=28)


def test_a_table_without_groups_is_refused(tmp_path):
    (tmp_path / 'groups.csv').write_text('id,patient\ntrain-0,a\n')
    with pytest.raises(DataError, match='found the columns id, patient, expected id and group'):
        MedMNIST(written(tmp_path, **arrays()), TASKS, groups=str(tmp_path / 'groups.csv'))
