"""Images and patients by which training, validation and test are compared."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from plugins.classification.audit.known_images import find_known_images
from plugins.classification.data.image_files import ManifestImages
from plugins.classification.data.image_folder import ImageFolder
from plugins.classification.data.split import SplitSpec
from plugins.classification.synthetic.dataset import CLASSES, SyntheticUltrasound
from plugins.classification.tasks import Task
from toolkit.engine.overlap import collect_identities, find_overlaps

TASKS = {'kind': Task(('a', 'b'), 'b')}


class Learner:
    def may_share(self, group):
        return False


def overlaps(train, test, content=True):
    held = {'train': collect_identities(train, content), 'test': collect_identities(test, content)}
    return {o.group: o.names for o in find_overlaps(held, Learner(), True)}


def simulated(subset, **split):
    tasks = {'margin': Task(CLASSES['margin'])}
    return SyntheticUltrasound(
        tasks, 40, subset=subset, size=8, split=SplitSpec(empty='allow', **split)
    )


def test_folds_and_seeds_of_a_split_are_compared():
    train = simulated('train')
    assert overlaps(train, simulated('test')) == {}
    for other in (simulated('test', fold=1), simulated('test', seed=1), simulated('train')):
        found = overlaps(train, other)
        assert found['image'] and found['patient']
    assert len(found['image']) == len(train)


@pytest.fixture
def table(tmp_path):
    """Writes a manifest of images with their patients; returns its data set."""

    def write(name: str, rows: dict[str, str]) -> ManifestImages:
        folder = tmp_path / name
        folder.mkdir()
        lines = ['image,patient,kind']
        for number, (image, patient) in enumerate(rows.items()):
            pixels = np.full((9, 9), sum(map(ord, image)) % 256, np.uint8)
            Image.fromarray(pixels).save(folder / image)
            lines.append(f'{image},{patient},{"ab"[number % 2]}')
        (folder / 'm.csv').write_text('\n'.join(lines) + '\n')
        return ManifestImages(str(folder / 'm.csv'), TASKS, size=8)

    return write


def test_two_manifests_are_compared_by_patient_and_by_content(table, tmp_path):
    first = table('first', {'x.png': 'p1', 'y.png': 'p2'})
    assert overlaps(first, table('second', {'v.png': 'p3', 'w.png': 'p4'})) == {}
    assert overlaps(first, table('third', {'v.png': 'p2', 'w.png': 'p4'})) == {'patient': ('p2',)}
    shutil.copy(tmp_path / 'first' / 'x.png', tmp_path / 'second' / 'w.png')
    copied = ManifestImages(str(tmp_path / 'second' / 'm.csv'), TASKS, size=8)
    assert overlaps(first, copied) == {'image': ('w.png',)}
    assert overlaps(first, copied, content=False) == {}


@pytest.mark.parametrize(
    ('trained', 'tested'),
    [('001', '1'), ('1', '1.0'), ('P1', 'p1'), ('P 1', 'P1'), ('v.png', 'v.png')],
)
def test_a_patient_of_two_manifests_is_known_in_any_spelling(table, trained, tested):
    """The last is named after an image of theirs, as `toolkit audit --groups` names groups."""
    first = table('first', {'x.png': trained, 'y.png': 'p2'})
    second = table('second', {'v.png': tested, 'w.png': tested})
    assert overlaps(first, second) == {'patient': (tested,)}
    known, gaps = find_known_images(second, {'train': first})
    assert [(image.id, image.reason) for image in known] == [
        ('v.png', 'patient'),
        ('w.png', 'patient'),
    ]
    assert gaps == []


def test_patients_who_are_different_as_written_stay_so(table):
    first = table('first', {'x.png': 'p1', 'y.png': 'p2'})
    lines = first.manifest.path.read_text().replace('p2', 'P1')
    first.manifest.path.write_text(lines)
    both = ManifestImages(str(first.manifest.path), TASKS, size=8, patients='as_written')
    assert len(both.identities()['patient'].labels) == 2
    second = table('second', {'v.png': 'P1', 'w.png': 'p3'})
    both.positions, both.records = (1,), both.pool[1:]  # a training without p1
    assert overlaps(both, second) == {'patient': ('P1',)}


def test_a_file_is_found_by_its_path_under_another_name(table, tmp_path: Path):
    first = table('first', {'x.png': 'p1', 'y.png': 'p2'})
    for label in 'ab':
        (tmp_path / 'sorted' / label).mkdir(parents=True)
    (tmp_path / 'sorted' / 'a' / 'new.png').symlink_to(tmp_path / 'first' / 'x.png')
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / 'sorted' / 'b' / 'old.png')
    linked = ImageFolder(str(tmp_path / 'sorted'), TASKS, size=8)
    for content in (True, False):
        assert overlaps(first, linked, content) == {'image': ('a/new.png',)}
