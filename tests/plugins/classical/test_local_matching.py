"""RCS and LMVM against their formulas, and where they divide by zero."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import uniform_filter

from plugins.classical.local_matching import LMVM, RCS


def draw(*shape: int) -> torch.Tensor:
    return 0.2 + torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def average(image: np.ndarray, radius: int) -> np.ndarray:
    return uniform_filter(image, 2 * radius + 1, mode='nearest')


def test_formulas() -> None:
    e, pan = draw(1, 3, 40, 48), draw(1, 1, 40, 48) * 2
    band, p = e[0, 1].numpy(), pan[0, 0].numpy()
    expected = band * p / average(p, 9)
    assert RCS()(e, pan)[0, 1].numpy() == pytest.approx(expected, rel=1e-9)
    means, deviations = [], []
    for image in (band, p):
        means.append(average(image, 3))
        deviations.append(np.sqrt(average(image**2, 3) - means[-1] ** 2))
    expected = means[0] + (p - means[1]) * deviations[0] / deviations[1]
    assert LMVM()(e, pan)[0, 1].numpy() == pytest.approx(expected, rel=1e-6)
    single = LMVM()(e.float(), pan.float())
    assert single.dtype == torch.float32
    assert float((single - LMVM()(e, pan)).abs().max()) < 1e-5


def test_flat_images_give_the_upsampled_one_or_its_mean() -> None:
    e, flat = draw(1, 2, 24, 24), torch.full((1, 1, 24, 24), 0.3, dtype=torch.float64)
    assert torch.allclose(RCS()(e, flat), e)
    assert torch.allclose(RCS()(e, flat * 0), e)
    expected = average(e[0, 0].numpy(), 3)
    assert LMVM()(e, flat)[0, 0].numpy() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize('method', [RCS, LMVM])
def test_radius(method: type) -> None:
    assert method(radius=2).halo == 2
    with pytest.raises(ValueError, match='radius must be at least 1'):
        method(radius=0)
