"""Test-time augmentation: means over views made by hand, in tests, tables and metrics.json."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from plugins.classification.data.feature_cache import FeatureCache
from plugins.classification.inference.export.onnx_export import ExportedNetwork
from plugins.classification.prediction_views import CroppedViews, FlippedViews
from tests.plugins.classification.test_batch_mixing import system
from tests.support.patch_classifier import TASKS, PatchImages, classifier, clinical_metrics, run_of
from toolkit import cli

NO_PICTURES = {'pictures': {'type': 'Pictures', 'count': 0}}


def test_views_are_those_made_by_hand() -> None:
    image = torch.rand(2, 3, 16, 24)
    numbers = image.numpy()
    found = FlippedViews(True, True)(image)
    expected = [numbers, numbers[..., ::-1], numbers[:, :, ::-1], numbers[:, :, ::-1, ::-1]]
    assert [np.array_equal(a.numpy(), b) for a, b in zip(found, expected, strict=True)] == [
        True
    ] * 4
    assert len(FlippedViews()(image)) == len(FlippedViews(False, True)(image)) == 2
    crops = CroppedViews(0.75)(image)
    assert len(crops) == 6 and torch.equal(crops[0], image)
    corner = F.interpolate(image[..., 4:, 6:], (16, 24), mode='bilinear')
    torch.testing.assert_close(crops[4], corner)
    centre = F.interpolate(image[..., 2:14, 3:21], (16, 24), mode='bilinear')
    torch.testing.assert_close(crops[5], centre)


def test_a_prediction_is_the_mean_of_the_logits() -> None:
    plain, data = classifier().eval(), PatchImages()
    images = torch.stack([data.pool_image(i) for i in range(8)])
    viewed = classifier().eval()
    viewed.views = FlippedViews()
    with torch.no_grad():
        found = viewed.predict({'image': images})
        for name in TASKS:
            one, other = (plain.tensor({'image': x})[name] for x in (images, images.flip(-1)))
            torch.testing.assert_close(found['logits'][name], (one + other) / 2)
            chances = plain.calibration.probabilities(name, (one + other) / 2)
            torch.testing.assert_close(found['probabilities'][name], chances)
            assert name == 'pathology' or not torch.allclose(one, other)
        # The exported network carries the views.
        exported = ExportedNetwork(viewed)(images)
    torch.testing.assert_close(exported[0], found['probabilities']['pathology'])
    torch.testing.assert_close(exported[-1], found['logits']['shape'])


def test_tests_and_tables_name_and_use_the_views(tmp_path: Path) -> None:
    made = {}
    for name, change in (('plain', []), ('viewed', ['+model.views={type: FlippedViews}'])):
        folder = tmp_path / name
        folder.mkdir()
        metrics = {'metrics': clinical_metrics()}
        run = run_of(folder, *change, default_hooks=NO_PICTURES, test_evaluator=metrics)
        made[name] = json.loads((run / 'metrics.json').read_text())
        output = folder / 'said.csv'
        assert cli.main(['predict', '--run', str(run), '--output', str(output)]) == 0
        said = [
            float(row['pathology_probability_malignant']) for row in csv.DictReader(output.open())
        ]
        rows = made[name]['rows']['pathology']
        assert said == pytest.approx([row['probabilities'][1] for row in rows])
    assert 'prediction' not in made['plain']
    assert made['viewed']['prediction'] == {'views': 'FlippedViews', 'averaged': 'logits'}
    probabilities = [made[n]['rows']['shape'][0]['probabilities'] for n in made]
    assert probabilities[0] != probabilities[1]


@pytest.mark.parametrize('option', ['views', 'mixing'])
def test_what_is_refused(option: str) -> None:
    given: dict[str, Any] = {'mixing': None, option: FlippedViews}
    with pytest.raises(ValueError, match=f'{option} needs images, and cache keeps features'):
        system(cache=FeatureCache(), **given)
    with pytest.raises(ValueError, match='neither horizontal nor vertical'):
        FlippedViews(False)
    with pytest.raises(ValueError, match='share must be above 0 and below 1'):
        CroppedViews(1.0)
