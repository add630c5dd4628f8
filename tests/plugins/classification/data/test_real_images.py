"""The shipped parts of configs over real data, and their counts."""

import os
from pathlib import Path

import pytest

from plugins.classification.data.manifests.manifest import read_manifest
from toolkit.config import load
from toolkit.errors import ToolkitError
from toolkit.registry import DATASETS
from toolkit.registry.build import build

ROOT = Path(os.environ.get('TOOLKIT_DATA', 'none'))
PARTS = Path(__file__).parents[4] / 'configs/_base_/data'
COUNTS = {
    'breastmnist': {'pathology': [210, 570]},
    'busi': {'pathology': [437, 210, 133]},
    'busi_official': {'pathology': [209, 565]},
    'ddti': {
        'malignancy': [61, 288],
        'composition': [136, 50, 30],
        'echogenicity': [40, 92, 84],
        'margins': [241, 54, 52],
        'calcifications': [107, 199, 44],
    },
}
FILES = {
    'breastmnist': 'breastmnist28/breastmnist.npz',
    'busi': 'busi/labels.csv',
    'busi_official': 'busi/labels.csv',
    'ddti': 'ddti/labels.csv',
}


def needs(name):
    if not (ROOT / FILES[name]).is_file():
        pytest.skip('needs real data')


@pytest.mark.parametrize('name', COUNTS)
def test_subsets_of_configs_hold_all_that_is_labelled(name):
    needs(name)
    tree = load(PARTS / f'{name}.yaml').tree
    parts = [
        build({**tree[f'{part}_dataloader']['dataset'], 'verify': 'header'}, DATASETS)
        for part in ('train', 'val', 'test')
    ]
    for task, expected in COUNTS[name].items():
        assert sum(part.class_counts(task) for part in parts).tolist() == expected
    patients = [{record.patient for record in part.records} for part in parts]
    assert sum(map(len, patients)) == len(set().union(*patients))
    sample = parts[0][0]
    assert sample['image'].shape == (tree['model']['in_channels'], *[tree['model']['size']] * 2)
    assert 0 <= sample['image'].min() < sample['image'].max() <= 1


def test_the_official_split_of_busi_leaks_and_can_be_mended():
    needs('busi')
    dataset = load(PARTS / 'busi_official.yaml').tree['train_dataloader']['dataset']
    dataset |= {'columns': {**dataset['columns'], 'patient': 'near_dup_group'}, 'verify': 'header'}
    with pytest.raises(ToolkitError, match='is in two subsets of the split by column'):
        build(dataset, DATASETS)
    dataset['split'] = {**dataset['split'], 'shared': 'drop'}
    assert len(build(dataset, DATASETS)) < 543


def test_boxes_lie_inside_their_images():
    needs('ddti')
    manifest = read_manifest('ddti/labels.csv', {}, {'id': 'image_id', 'patient': 'case_id'})
    assert len({record.patient for record in manifest.records}) == 390
    beyond = [
        record.id
        for record in manifest.records
        if any(box[2] > 560 or box[3] > 360 for box in record.boxes)
    ]
    assert beyond == ['338_2']  # its outline ends 34 pixels below the image
