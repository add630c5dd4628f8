from __future__ import annotations

from pathlib import Path

import pytest
import torch

from plugins.classical.exp import EXP
from plugins.pansharpening.system import Pansharpener
from toolkit.config import load
from toolkit.config.schema import RunConfig
from toolkit.registry.build import ComponentFactory, fill


def test_returns_the_upsampled_image() -> None:
    lrms_up = torch.rand(2, 4, 16, 16)
    assert torch.equal(EXP()(lrms_up, torch.rand(2, 1, 16, 16)), lrms_up)


def test_as_a_system_it_is_its_own_baseline() -> None:
    system = Pansharpener(bands=8, ratio=2, generator=ComponentFactory(EXP, {}))
    assert not list(system.parameters())
    batch = system.example(batch_size=2, size=32)
    batch['lrms'] = torch.rand(2, 8, 16, 16)
    outputs = system.predict(batch)
    assert torch.equal(outputs['hrms'], outputs['lrms_up'])
    assert system.loss(batch) == {}


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('baselines/exp', {'SAM': 3.486377, 'ERGAS': 3.769005, 'Q2n': 0.604880}),
        ('baselines/exp_wv2', {'SAM': 7.715399, 'ERGAS': 7.607753, 'Q2n': 0.663528}),
    ],
)
def test_scores_of_the_shipped_baseline(
    name: str, expected: dict[str, float], data_root: Path
) -> None:
    """The toolbox's figures for its own MTF degradation and interpolation of the same scenes."""
    run = fill(RunConfig, load(name).tree)
    system, dataset = run.model(), run.test_dataloader.dataset()
    system.check_data(dataset)
    batch = {k: [v] if k == 'meta' else v[None] for k, v in dataset[0].items()}
    with torch.no_grad():
        outputs = system(batch, 'predict')
    for key, metric in run.test_evaluator.metrics.items():
        (row,) = metric().measure(outputs, batch)
        base = key.split('/')[0]
        if base in expected:  # EXP scores as the upsampled image, since it is that
            assert row[base] == pytest.approx(expected[base], rel=1e-4), key
