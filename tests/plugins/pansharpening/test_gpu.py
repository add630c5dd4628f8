"""What a GPU computes, beside the CPU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from plugins.pansharpening.commands.bench_metrics import read_images
from plugins.pansharpening.commands.bench_scene import sharpener
from plugins.pansharpening.inference.scene_inference import InferenceSettings, infer_scene
from plugins.pansharpening.interfaces import GENERATORS
from plugins.pansharpening.metrics.score_image import NO_REFERENCE, REFERENCE, REPROJECTION
from plugins.pansharpening.synthetic.scene import SyntheticScene
from tests.plugins.pansharpening.inference.test_scene_inference import opened, read, write_scene
from tests.test_parts import names
from toolkit.registry import METRICS

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU'),
]


@pytest.fixture(autouse=True)
def full_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cuda.matmul, 'allow_tf32', False)
    monkeypatch.setattr(torch.backends.cudnn, 'allow_tf32', False)


@pytest.mark.parametrize('name', (*REFERENCE, *NO_REFERENCE, *REPROJECTION))
def test_indices_of_a_gpu_are_those_of_the_cpu(name: str) -> None:
    scene = SyntheticScene(bands=4, size=256, seed=0)
    metric = METRICS.get(name)()
    rows = [metric.measure(*read_images(scene, torch.device(d)))[0] for d in ('cpu', 'cuda')]
    for key in metric.directions:
        assert float(rows[1][key]) == pytest.approx(float(rows[0][key]), rel=0, abs=1e-4)


@pytest.mark.parametrize('name', names(GENERATORS))
def test_scenes_of_a_gpu_are_those_of_the_cpu(name: str, tmp_path: Path) -> None:
    """To a digital number, which rounding may decide."""
    write_scene(tmp_path, low=(60, 52))
    scene = opened(tmp_path)
    found = []
    for device in ('cpu', 'cuda'):
        settings = InferenceSettings(tile=128, device=torch.device(device))
        infer_scene(sharpener(name, scene), scene, tmp_path / f'{device}.tif', settings)
        found.append(read(tmp_path / f'{device}.tif').astype(int))
    difference = np.abs(found[0] - found[1])
    assert difference.max() <= 2
    assert difference.mean() < 0.02
