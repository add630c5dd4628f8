"""Grad-CAM and attention of a network whose reasons are known."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional

from plugins.classification.data.image_files import ManifestImages
from plugins.classification.heads import LinearHead
from plugins.classification.inference.grad_cam import attention_maps, grad_cam
from plugins.classification.inference.item_images import FRAME, ImageVisualizer, overlay, to_picture
from plugins.classification.system import Classifier
from tests.support.patch_classifier import (
    SIDE,
    TASKS,
    CellMeans,
    PatchImages,
    classifier,
    draw,
    patch,
    save,
)
from toolkit.interfaces import Backbone


def batch(*shapes):
    images = [torch.from_numpy(draw(shape, 1, shape)).expand(3, -1, -1) for shape in shapes]
    return {'image': torch.stack(images)}


@pytest.mark.parametrize('attention', [True, False])
def test_grad_cam_lights_the_patch_that_decides(attention):
    system = classifier(attention)
    with torch.no_grad():  # as within a test
        features = system.branch_features(batch(0, 1, 2))
        found = grad_cam(system, features, 'shape', torch.tensor([0, 1, 2]))
    assert found.keys() == {'joint', 'cells'}
    for where in found.values():
        assert where.shape == (3, 1, 4, 4) and not where.requires_grad
        for shape in range(3):
            row, column = patch(shape)
            assert where[shape, 0].argmax() == 4 * row + column
            assert where[shape, 0, row, column] == 1
            assert where[shape, 0].sum() == pytest.approx(1, abs=0.05)  # nothing else
    assert all(p.grad is None for p in system.parameters())


def test_nothing_lights_up_for_a_class_without_evidence():
    system = classifier()
    features = system.branch_features(batch(0))
    found = grad_cam(system, features, 'shape', torch.tensor([1]))
    assert found['joint'].abs().max() == 0


def test_brightness_is_what_speaks_for_malignancy():
    system = classifier()
    features = system.branch_features(batch(2))
    cam = grad_cam(system, features, 'pathology', torch.tensor([1]))['joint'][0, 0]
    row, column = patch(2)
    assert cam.argmax() == 4 * row + column


class Vector(Backbone):
    def __init__(self, in_channels, size):
        super().__init__()
        self.out_channels, self.stride = 4, None
        self.linear = nn.Linear(in_channels, 4)

    def forward(self, image):
        return self.linear(image.mean((2, 3)))


def test_vectors_have_no_places():
    system = Classifier(TASKS, {'v': Vector}, partial(LinearHead), size=SIDE).eval()
    features = system.branch_features(batch(0))
    assert grad_cam(system, features, 'shape', torch.tensor([0])) == {}
    assert attention_maps(system, features) == {}


class Tokens(CellMeans):
    """The cells of `CellMeans` as tokens after five that are no places: 4 + 5 = 9 fill a square."""

    prefix_tokens = 5

    def forward(self, image):
        cells = functional.adaptive_avg_pool2d(super().forward(image), 2)
        tokens = cells.flatten(2).transpose(1, 2)
        return torch.cat([torch.ones_like(tokens[:, :1]).expand(-1, 5, -1), tokens], 1)


def test_grad_cam_of_tokens_leaves_the_prefix_out():
    system = Classifier(TASKS, {'cells': Tokens}, partial(LinearHead), size=SIDE).eval()
    features = system.branch_features(batch(0, 1))
    assert features['cells'].shape[1] == 9
    found = grad_cam(system, features, 'shape', torch.tensor([0, 1]))
    assert {name: cam.shape for name, cam in found.items()} == {
        'joint': (2, 1, 2, 2),
        'cells': (2, 1, 2, 2),
    }


def test_the_attention_of_parts_is_read_where_they_look():
    system = classifier()
    features = system.branch_features(batch(1))
    found = attention_maps(system, features)
    assert found.keys() == {'joint spatial', 'joint channel'}
    row, column = patch(1)
    assert found['joint spatial'][0, 0].argmax() == 4 * row + column
    branch = Classifier(
        TASKS,
        {'cells': CellMeans},
        partial(LinearHead),
        branch_attention={'cells': type(system.attention)},
        size=SIDE,
    )
    assert attention_maps(branch, features).keys() == {'cells spatial', 'cells channel'}


# -- pictures --------------------------------------------------------------------------------------


def given(cached, system, index=5):
    data = PatchImages()
    sample = data[index]
    if cached:
        with torch.no_grad():
            features = system.branch_features({'image': sample['image'][None]})
        data.features = lambda position, view: {name: x[0] for name, x in features.items()}
        sample = data[index]
    batch = {
        key: {k: torch.stack([v, v]) for k, v in value.items()}
        if isinstance(value, dict)
        else torch.stack([value, value])
        for key, value in sample.items()
        if key != 'meta'
    }
    return data, {**batch, 'meta': [sample['meta']] * 2}


@pytest.mark.parametrize('cached', [False, True], ids=['images', 'features'])
def test_pictures_of_an_item(tmp_path, cached):
    system = classifier()
    data, batch = given(cached, system)
    assert ('image' in batch) is not cached
    system.prepare({'test': data}, device=torch.device('cpu'))
    with torch.no_grad():
        outputs = system.predict(batch)
    ImageVisualizer().write_images(system, outputs, batch, 1, tmp_path, 'image05')
    record = json.loads((tmp_path / 'image05.json').read_text())
    assert [layer['name'] for layer in record['layers']] == [
        'image',
        'Grad-CAM pathology',
        'Grad-CAM shape',
        'attention joint spatial',
        'attention joint channel',
    ]
    assert record['tasks']['shape']['label'] == 'irregular'
    assert record['tasks']['shape']['prediction'] == 'irregular'
    assert record['tasks']['pathology']['class'] == 'malignant'
    assert record['tasks']['pathology']['threshold'] == 0.4
    sizes = {Image.open(tmp_path / layer['file']).size for layer in record['layers']}
    assert sizes == {(320, 320)}
    image, cam = (
        np.asarray(Image.open(tmp_path / record['layers'][i]['file'])).astype(float) for i in (0, 2)
    )
    # The image itself is shown, whether it came along or not, and the map changes the patch alone.
    row, column = patch(5 % 3)
    cells = np.abs(cam - image).mean(-1).reshape(4, 80, 4, 80).mean((1, 3))
    assert cells.argmax() == 4 * row + column
    assert image.reshape(4, 80, 4, 80, 3).mean((1, 3, 4)).argmax() == 4 * row + column
    assert cells[3 - row, 3 - column] < 0.05 * cells.max()
    assert sorted(p.suffix for p in tmp_path.iterdir()) == ['.json'] + ['.png'] * 6


def test_boxes_are_framed_where_the_fitted_image_has_them(tmp_path):
    manifest = save(tmp_path / 'data', 6)
    system = classifier()
    for fit in ('squash', 'pad'):
        data = ManifestImages(str(manifest), TASKS, size=SIDE, fit=fit)
        system.prepare({'test': data}, device=torch.device('cpu'))
        sample = data[4]
        batch = {'image': sample['image'][None], 'meta': [sample['meta']]}
        with torch.no_grad():
            outputs = system.predict(batch)
        ImageVisualizer().write_images(system, outputs, batch, 0, tmp_path / fit, 'x')
        shown = np.asarray(Image.open(tmp_path / fit / 'x-image.png'))
        framed = (shown == FRAME).all(-1)
        down, across = np.nonzero(framed)
        row, column = patch(4 % 3)
        # The patch is 80 pixels wide here, and the frame lies around it.
        assert (down.min(), down.max()) == (80 * row - 2, 80 * row + 81)
        assert (across.min(), across.max()) == (80 * column - 2, 80 * column + 81)
        assert not framed[80 * row : 80 * row + 80, 80 * column : 80 * column + 80].any()


def test_maps_over_images_of_any_channels():
    for channels in (1, 2, 3, 4):
        picture = to_picture(torch.rand(channels, 20, 30), 60)
        assert picture.size == (90, 60)
        assert overlay(picture, torch.zeros(2, 2)).tobytes() == picture.tobytes()
    assert to_picture(torch.rand(1, 400, 500)).size == (500, 400)
