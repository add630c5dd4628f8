"""The audit on real data: everything that is known to be wrong with them is found."""

from __future__ import annotations

import csv
import json
from collections import defaultdict

import pytest

from toolkit.cli import main

pytestmark = pytest.mark.slow


@pytest.fixture
def found(data_root, tmp_path):
    def audit(*arguments):
        path = tmp_path / 'found.json'
        assert main(['audit', *map(str, arguments), '--json', str(path)]) == 0
        return json.loads(path.read_text())

    return audit


def straddling(found, *subsets):
    leak = next(leak for leak in found['leaks'] if set(leak['subsets']) == set(subsets))
    return len(leak['clusters']), leak['images']


def test_ddti(data_root, found):
    options = ('--columns', 'patient=case_id', 'id=image_id', '--task', 'malignancy=malignant')
    folder = data_root / 'ddti'
    audit = found(folder / 'labels.csv', *options, '--annotations', folder / 'xml')
    cut = {f'{number}.xml' for number in (54, 127, 165, 166, 176, 197, 203, 205)}
    assert audit['annotations'].keys() == cut
    assert audit['equal_files'] == audit['equal_pixels']
    assert {tuple(cluster) for cluster in audit['equal_files']} == {
        ('150_1', '233_2', '323_1', '326_1', '349_1'),
        ('353_2', '396_1'),
        ('1_1', '1_2'),
        ('92_3', '92_4'),
        ('213_1', '213_2'),
        ('230_1', '230_2'),
    }
    # Beside these only two pairs, each of one case.
    assert [pair['images'] for pair in audit['pairs']] == [['234_2', '234_3'], ['294_2', '294_3']]
    assert audit['classes']['malignancy'] == {'1': 288, '(missing)': 131, '0': 61}
    assert [name for name, _ in audit['boxes_outside']] == ['338_2']


BUSI = ('--columns', 'patient=', 'id=image_id', '--task', 'label')


def test_busi_by_the_correlation_of_its_notes(data_root, found):
    labels = data_root / 'busi' / 'labels.csv'
    audit = found(labels, *BUSI, '--split-column', 'breastmnist_split', '--detail', 1)
    known = defaultdict(list)
    with labels.open() as file:
        for row in csv.DictReader(file):
            known[row['near_dup_group']].append(row['image_id'])
    assert {tuple(c) for c in audit['near']} == {tuple(c) for c in known.values() if len(c) > 1}
    assert audit['summary']['clusters of nearly the same images'] == 131
    assert audit['summary']['images in these'] == 292
    assert len(audit['conflicts']['label']) == 7
    clusters, images = straddling(audit, 'train', 'test')
    assert (clusters, images['test']) == (47, 48)
    assert audit['equal_pixels'] == [['benign_433', 'malignant_145']]


def test_details_find_more_in_busi(data_root, found):
    """Looked at: the same pictures, cropped or compressed otherwise."""
    labels = data_root / 'busi' / 'labels.csv'
    audit = found(labels, *BUSI, '--split-column', 'breastmnist_split')
    assert len(audit['near']) == 139
    assert len(audit['conflicts']['label']) == 8
    assert straddling(audit, 'train', 'test') == (52, {'train': 66, 'test': 53})
    more = {tuple(pair['images']) for pair in audit['pairs'] if pair['correlation'] <= 0.98}
    assert ('benign_406', 'malignant_094') in more
    assert len(more) == 15


def test_breastmnist_leaks(data_root, found):
    audit = found(data_root / 'breastmnist28' / 'breastmnist.npz')
    assert audit['equal_pixels'] == [['train-115', 'test-76']]
    clusters, images = straddling(audit, 'train', 'test')
    # At 28 pixels more is alike than in the pictures that these were made of (52).
    assert (clusters, images['test']) == (58, 60)
    assert audit['classes']['label'] == {'1': 570, '0': 210}
