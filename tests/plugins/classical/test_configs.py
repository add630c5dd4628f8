"""Each shipped config gives the reference's figures for the whole scene at reduced resolution."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from toolkit.config import load
from toolkit.config.schema import RunConfig
from toolkit.registry.build import fill

# SAM, ERGAS and Q2n on IKONOS, 320 x 320 pixels.
FIGURES = {
    'brovey': (3.486377, 2.900163, 0.780288),
    'bt_h': (3.290409, 2.280123, 0.867351),
    'gihs': (3.604066, 2.928324, 0.771722),
    'pca': (4.441002, 3.411258, 0.718320),
    'gs': (3.593921, 2.901895, 0.774220),
    'gsa': (3.306079, 2.172677, 0.875602),
    'bdsd': (3.411757, 2.186165, 0.881632),
    'bdsd_pc': (3.412024, 2.186453, 0.881539),
    'pracs': (3.360869, 2.736070, 0.801521),
    'hpf': (3.320575, 2.372583, 0.851096),
    'sfim': (3.272545, 2.341729, 0.853780),
    'atwt': (3.309529, 2.266188, 0.863527),
    'mf': (3.261946, 2.263958, 0.865873),
    'awlp': (3.233531, 2.253070, 0.876654),
    'mtf_glp': (3.318333, 2.389521, 0.863881),
    'mtf_glp_fs': (3.312315, 2.165948, 0.876506),
    'mtf_glp_cbd': (3.310670, 2.166435, 0.876584),
    'mtf_glp_hpm': (3.248014, 2.326269, 0.869198),
    'mtf_glp_hpm_h': (3.292558, 2.261928, 0.870957),
    'mtf_glp_hpm_r': (3.259650, 2.125342, 0.881231),
    'tv': (3.111009, 2.261860, 0.867557),
    'sr_d': (3.255672, 2.246763, 0.866500),
}


@pytest.mark.parametrize('name', FIGURES)
def test_scores_of_the_shipped_baseline(name: str, data_root: Path) -> None:
    run = fill(RunConfig, load(f'baselines/{name}').tree)
    system, dataset = run.model(), run.test_dataloader.dataset()
    system.check_data(dataset)
    batch = {k: [v] if k == 'meta' else v[None] for k, v in dataset[0].items()}
    with torch.no_grad():
        outputs = system(batch, 'predict')
    found = []
    for key in ('SAM', 'ERGAS', 'Q2n'):
        (row,) = run.test_evaluator.metrics[key]().measure(outputs, batch)
        found.append(row[key])
    assert found == pytest.approx(FIGURES[name], rel=0, abs=1e-4)
