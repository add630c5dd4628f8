from __future__ import annotations

import time
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from plugins.classification.data.split import SplitSpec
from plugins.classification.synthetic import phantom, scanner
from plugins.classification.synthetic.dataset import CLASSES, SyntheticUltrasound
from plugins.classification.synthetic.nodule import sample_nodule
from plugins.classification.tasks import Task

TASKS = {name: Task(classes) for name, classes in CLASSES.items()}


def drawn(**arguments):
    return SyntheticUltrasound(**{'tasks': TASKS, 'patients': 120, 'size': 64, **arguments})


def test_images_depend_only_on_the_seed():
    first, second, other = (drawn(subset='test', seed=seed, size=48) for seed in (3, 3, 4))
    assert [r.id for r in first.records] == [r.id for r in second.records]
    assert first.fingerprint() == second.fingerprint() != other.fingerprint()
    assert first.image_fingerprint() == second.image_fingerprint() != other.image_fingerprint()
    for index in (0, len(first) - 1):
        image = first[index]['image']
        assert torch.equal(image, second[index]['image'])
        assert image.shape == (3, 48, 48)
        assert image.dtype == torch.float32
        assert 0 <= image.min() < 0.1 < 0.4 < image.max() <= 1
    assert not torch.equal(first[0]['image'], first[1]['image'])


def test_the_choice_of_tasks_changes_no_pixel_and_no_split():
    whole, one = drawn(subset='test'), drawn(subset='test', tasks={'margin': TASKS['margin']})
    assert one.pool[5].labels.get('margin') == whole.pool[5].labels.get('margin')
    assert torch.equal(one.pool_image(5), whole.pool_image(5))


def test_counts_of_patients_centres_labels_and_rare_classes():
    data = drawn(subset='all', patients=200, missing=0.3, centres=4)
    by_patient: dict[str, set] = {}
    for record in data.pool:
        by_patient.setdefault(record.patient, set()).add(
            (record.centre, tuple(record.attributes.items()), tuple(record.labels.items()))
        )
    assert len(by_patient) == 200
    assert all(len(told) == 1 for told in by_patient.values())
    whole = drawn(subset='all', patients=200, missing=0, centres=4)
    truth = Counter({r.patient: r.labels['pathology'] for r in whole.pool}.values())
    assert truth == {'benign': 120, 'papillary': 50, 'follicular': 20, 'medullary': 10}
    images = Counter(r.patient for r in data.pool)
    assert set(images.values()) == {1, 2, 3, 4}
    assert {r.centre for r in data.pool} == {'north', 'south', 'east', 'west'}
    for task in TASKS:
        known = sum(task in dict(next(iter(told))[2]) for told in by_patient.values())
        assert abs(known / 200 - 0.7) < 0.1
    for record in data.pool:
        if {'pathology', 'malignancy'} <= record.labels.keys():
            benign = record.labels['pathology'] == 'benign'
            assert (record.labels['malignancy'] == 'benign') == benign


def test_boxes_contain_the_nodule():
    data = drawn(subset='all', missing=0)
    cysts = 0
    for position, record in enumerate(data.pool):
        x0, y0, x1, y1 = record.boxes[0]
        assert 0 <= x0 < x1 <= scanner.WIDTH
        assert 0 <= y0 < y1 <= scanner.HEIGHT
        if record.labels['composition'] == 'cystic' and record.centre == 'north':
            pixels, _ = data.read(position)
            assert pixels.shape == (scanner.HEIGHT, scanner.WIDTH)
            height, width = (y1 - y0) / 4, (x1 - x0) / 4
            inner = pixels[int(y0 + height) : int(y1 - height), int(x0 + width) : int(x1 - width)]
            # Fluid: dark within, and much brighter around.
            assert inner.mean() < 0.5 * pixels[int(y0) - 8 : int(y0) - 3, int(x0) : int(x1)].mean()
            cysts += 1
    assert cysts > 3


@pytest.mark.parametrize('machine', scanner.SCANNERS, ids=lambda machine: machine.name)
def test_the_image_has_speckle(machine):
    """For uniform tissue, mean / deviation of the envelope is that of a Rayleigh law, 1.91."""
    uniform = np.zeros((scanner.SAMPLES, scanner.LINES), np.float32)
    image = scanner.render_image(np.random.default_rng(0), machine, uniform, uniform)
    left, top = scanner.to_pixel(machine, -6, machine.focus - 4)
    right, bottom = scanner.to_pixel(machine, 6, machine.focus + 4)
    patch = image[int(top) : int(bottom), int(left) : int(right)] / 255 * machine.span
    envelope = 10 ** (patch / 20)
    # Blur after the logarithm makes it smoother.
    assert 1.6 < envelope.mean() / envelope.std() < (2.4 if machine.blur < 0.4 else 5)


def test_calcifications_cast_a_shadow_and_fluid_brightens_tissue_behind_it():
    rng = np.random.default_rng(0)
    nodule, anatomy = sample_nodule(rng, 'benign'), phantom.sample_anatomy(rng)
    x, z = scanner.compute_positions(scanner.SCANNERS[0])
    bare = {'holes': np.zeros((0, 3)), 'grains': np.zeros((0, 3))}

    def total_attenuation(**change):
        made = replace(nodule, **{**bare, **change})
        return phantom.compute_strengths(anatomy, made, x, z)[1].sum()

    plain = total_attenuation()
    assert total_attenuation(grains=np.array([[0, 0, 1.2]])) > plain + 10
    assert total_attenuation(holes=np.array([[0, 0, 0.97]])) < plain - 10


def test_nodules_of_a_pathology_overlap_with_others():
    """Each single sign separates them better than chance, but far from perfectly."""
    rng = np.random.default_rng(0)
    shape = {
        name: [
            (n.height / n.width, n.strength) for n in (sample_nodule(rng, name) for _ in range(300))
        ]
        for name in ('benign', 'papillary')
    }
    for sign in (0, 1):
        benign, papillary = (np.array(shape[name])[:, sign] for name in shape)
        auc = (papillary[:, None] > benign[None]).mean()
        assert 0.75 < max(auc, 1 - auc) < 0.97


def test_simulation_is_fast():
    data = drawn(subset='all', cache=0)
    data.read(0)
    start = time.process_time()
    for position in range(1, 9):
        data.read(position)
    assert (time.process_time() - start) / 8 < 0.1  # 15 ms on a free core


def test_every_fold_has_every_class():
    tested = Counter()
    for fold in range(5):
        spec = SplitSpec(fold=fold)
        tested.update(r.id for r in drawn(subset='test', split=spec).records)
        assert all(drawn(subset='val', split=spec).class_counts('pathology') > 0)
    assert set(tested.values()) == {1}


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'patients': 3}, 'patients must be at least 20, found 3'),
        ({'centres': 9}, 'centres must be from 1 to 4, found 9'),
        ({'missing': 1.0}, r'missing must be a share in \[0, 1\), found 1.0'),
        ({'tasks': {'margins': TASKS['margin']}}, "there is no task 'margins'; did you mean"),
        ({'tasks': {'margin': Task(('a', 'b'))}}, 'tasks.margin: found the classes a, b, expected'),
    ],
)
def test_invalid_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        drawn(**arguments)
