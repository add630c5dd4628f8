"""Losses that depend on how processes share a batch are named as a run goes on with others."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.toolkit.run.test_resume import run_in
from toolkit.config.schema import Runtime
from toolkit.engine import checkpoint
from toolkit.engine.training.batch_sharing import find_shared_losses


class Samples:
    """The requests themselves as samples."""

    def __getitems__(self, requests: list[int]) -> list[dict[str, Tensor]]:
        return [{'x': torch.tensor([float(n), 1.0])} for n in requests]


class Terms(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(2)
        self.drop = nn.Dropout(0.5)

    def forward(self, batch: dict[str, Tensor], mode: str) -> dict[str, Tensor]:
        x = batch['x']  # (B, 2)
        return {
            'mean': x.square().mean(),
            'sum': x.square().sum(),
            'root': x.square().mean().sqrt(),
            'norm': (self.norm(x) * x).mean(),
            'drop': self.drop(x).mean(),
        }


@pytest.mark.parametrize('size', [1, 4, 5])
def test_terms_that_are_no_means_over_samples_are_found(size: int) -> None:
    sampler = SimpleNamespace(get_requests=lambda step: [size * step + n for n in range(size)])
    loader = SimpleNamespace(batch_sampler=sampler, dataset=Samples())
    system = Terms()
    runner: Any = SimpleNamespace(
        iter=3,
        train_loop=SimpleNamespace(dataloader=loader),
        system=system,
        runtime=Runtime(),
        device=torch.device('cpu'),
    )
    before = torch.get_rng_state()
    if size == 1:  # BatchNorm cannot be trained with one sample
        system.norm.eval()
        system.norm.train = lambda mode=True: system.norm  # type: ignore[method-assign]
    found = find_shared_losses(runner)
    assert set(found) == {'sum', 'root', 'drop'} | ({'norm'} if size > 1 else set())
    assert int(system.norm.num_batches_tracked) == 0
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize('dropout', [0.0, 0.2])
def test_a_run_goes_on_with_a_warning(
    tree: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], dropout: float
) -> None:
    config = tree(model__norm=False, model__dropout=dropout, train_cfg={'max_iters': 5})
    run_in(tmp_path, config)
    last = checkpoint.get_folder(tmp_path) / checkpoint.LAST
    content = checkpoint.load(last)
    for key in ('randomness', 'gradients', 'losses'):
        content[key] *= 2  # as two processes leave it
    checkpoint.save(content, last)
    capsys.readouterr()
    run_in(tmp_path, {**config, 'train_cfg': {'max_iters': 7}}, resume=True)
    warned = 'share a batch: fit (' in capsys.readouterr().out
    assert warned == (dropout > 0)
