"""The published loss goes down, from the config, on a small synthetic scene."""

from __future__ import annotations

import torch

from plugins.pansharpening.data.patches import ScenePatches
from plugins.pansharpening.synthetic.scene import SyntheticScene
from toolkit.config import load
from toolkit.registry import SYSTEMS
from toolkit.registry.build import build


def test_losses_fall() -> None:
    torch.manual_seed(0)
    tree = load('ldpnet/ldpnet_2022_synthetic').tree
    system = build(tree['model'], SYSTEMS, 'model')
    data = ScenePatches(SyntheticScene(bands=4, size=128, seed=0), size=64, length=2)
    system.check_data(data)
    optimizer = torch.optim.Adam(system.parameters(), lr=1e-3)  # ten times the published rate
    history = []
    for _ in range(25):
        samples = [data[i] for i in range(2)]
        batch = {name: torch.stack([s[name] for s in samples]) for name in ('lrms', 'pan')}
        terms = system(batch, 'loss')
        total = sum(terms.values())
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        history.append({key: term.item() for key, term in terms.items()})
    start, end = (
        {key: sum(step[key] for step in steps) / len(steps) for key in history[0]}
        for steps in (history[:3], history[-3:])
    )
    assert sum(end.values()) < 0.5 * sum(start.values())
    assert end['spectral_low'] < 0.5 * start['spectral_low']
    assert end['spatial_high'] < start['spatial_high']
