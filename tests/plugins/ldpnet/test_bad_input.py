"""Scenes that say little, and losses that blow up: nothing breaks without a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from plugins.pansharpening.data_init import DataInitialized
from toolkit.cli import main
from toolkit.config import load
from toolkit.registry import SYSTEMS
from toolkit.registry.build import build


def batch(kind: str, bands: int) -> dict[str, Any]:
    torch.manual_seed(0)
    images = {'lrms': torch.rand(2, bands, 8, 8), 'pan': torch.rand(2, 1, 32, 32)}
    if kind == 'constant PAN':
        images['pan'].fill_(0.3)
    elif kind == 'saturated':
        images = {name: torch.ones_like(image) for name, image in images.items()}
    elif kind == 'nearly empty':
        images = {name: torch.zeros_like(image) for name, image in images.items()}
        images['pan'][0, 0, 5, 5] = 1 / 2047
    return images


@pytest.mark.parametrize('kind', ['constant PAN', 'saturated', 'nearly empty'])
@pytest.mark.parametrize('name', ['ldpnet_2022', 'ldpnet_plus'])
def test_scenes_that_say_little(name: str, kind: str) -> None:
    """Terms and weights stay finite over some steps, and a constant PAN injects nothing."""
    torch.manual_seed(0)
    model = load(f'ldpnet/{name}').tree['model']
    system = build(model, SYSTEMS, 'model')
    given = batch(kind, 4)
    if isinstance(system.gray, DataInitialized):
        pan = given['pan'][..., 2::4, 2::4].flatten()
        system.gray.fit(given['lrms'].movedim(1, -1).flatten(0, -2), pan)
    optimizer = torch.optim.Adam(system.parameters(), lr=1e-3)
    for _ in range(3):
        terms = system.loss(given)
        assert all(torch.isfinite(term) for term in terms.values()), terms
        optimizer.zero_grad()
        sum(terms.values()).backward()
        optimizer.step()
    assert all(torch.isfinite(p).all() for p in system.parameters())
    assert torch.isfinite(system.predict(given)['hrms']).all()


SMALL = [
    'test_dataloader.dataset.scene={type: SyntheticScene, bands: 4, size: 128, seed: 0}',
    'test_dataloader.dataset.protocol=full',
    'train_dataloader.dataset.size=32',
    'train_dataloader.dataset.length=40',
    'train_dataloader.batch_size=1',
    'val_dataloader=null',
    'val_evaluator=null',
]


def test_a_loss_that_blows_up_stops_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The step after the one that spoilt the weights; the term is named, the last good one kept."""
    rate = [
        'train_cfg={max_iters: 30}',
        'optim_wrapper.optimizer.lr=1e30',
        'default_hooks.checkpoint.interval=1',
    ]
    run = str(tmp_path / 'run')
    status = main(['train', 'ldpnet/ldpnet_2022', *SMALL, *rate, '--work-dir', run])
    assert status not in (0, 2)
    said = capsys.readouterr().err
    assert "the loss 'spatial_high' is nan at iteration 2" in said
    assert 'Traceback' not in said
    state = torch.load(tmp_path / 'run' / 'checkpoints' / 'last.pth', weights_only=True)
    assert state['loop']['iter'] == 1


@pytest.mark.parametrize(
    ('override', 'message'),
    [
        ('model.reblur={type: MTFReblur, sensor: WV2}', 'WorldView-2 has 8 bands'),
        ('model.reblur={type: MTFReblur, sensor: WV9}', "no sensor is named 'WV9'"),
        (
            'model.reblur={type: MTFReblur, kernel_size: 20}',
            'must be at least 1 and odd and at most 9999, found 20',
        ),
        ('model.ratio=3', 'cannot enlarge by 3'),
        ('model.gray=null', "takes 'hrms_gray', which needs gray"),
    ],
)
def test_parts_that_cannot_be_are_named(
    override: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ['--work-dir', str(tmp_path / 'run')]
    assert main(['train', 'ldpnet/ldpnet_2022', *SMALL, override, *run]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert 'Traceback' not in said
    assert not (tmp_path / 'run').exists()
