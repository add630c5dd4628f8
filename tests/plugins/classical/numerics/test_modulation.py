"""Quotients of bands and low-pass images that come near zero."""

from __future__ import annotations

import pytest
import torch

from plugins.classical.numerics.modulation import (
    estimate_gain,
    modulate,
    regress_band,
    solve_damping,
)
from plugins.pansharpening.imaging.resample import interp23tap
from tests.support.classical_golden import method

RATIOS = ['Brovey', 'BT-H', 'AWLP', 'PRACS', 'MTF-GLP-HPM', 'MTF-GLP-HPM-R', 'MTF-GLP-HPM-H']


def statistics(slope: float, noise: float) -> dict[str, torch.Tensor]:
    return solve_damping(*(torch.full((1, 1, 1, 1), v) for v in (slope, noise)))


def test_gain_is_the_quotient_in_bright_pixels_and_the_slope_in_dark_ones() -> None:
    low = torch.tensor([100.0, 0.0, -0.1, 1e-4]).view(1, 1, 1, 4)
    gain = estimate_gain(
        torch.tensor([300.0, 0.7, 0.5, 0.9]).view(1, 1, 1, 4), low, statistics(2, 1)
    )
    assert gain.flatten().tolist() == pytest.approx([3, 2, 1.73, 2], abs=0.01)


def test_details_are_never_turned_over() -> None:
    band, low = torch.tensor([[[[-5.0, 5.0]]]]), torch.tensor([[[[5.0, -5.0]]]])
    assert torch.equal(modulate(band, low + 3, low, statistics(1, 1), True), band)


def test_gain_has_the_least_error_of_all_dampings() -> None:
    """Over bands that are drawn as the estimate assumes: g = 1 +- 1 around a slope of 1."""
    generator = torch.Generator().manual_seed(0)
    low, own, noise = torch.randn(3, 1, 1, 200, 200, generator=generator, dtype=torch.float64)
    true, deviation = 1 + own, 0.5
    band = true * low + deviation * noise
    errors = {}
    for factor in (0.01, 0.2, 1, 5, 100):
        found = solve_damping(torch.ones(1), torch.full((1,), factor * deviation**2))
        raw = (band * low + found['pull']) / (low * low + found['damping'])
        errors[factor] = float((raw - true).square().mean())
    assert min(errors, key=errors.get) == 1


def test_regression_leaves_what_the_low_pass_does_not_explain() -> None:
    low = torch.randn(1000, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    own = torch.randn(1000, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    band = 3 * low + 0.5 * own
    cov = torch.cov(torch.stack([band, low]))
    slope, rest = regress_band(*(cov[i].view(1, 1, 1, 1) for i in ((0, 1), (1, 1), (0, 0))))
    assert float(slope) == pytest.approx(3, abs=0.05)
    assert float(rest) == pytest.approx(float((band - float(slope) * low).var()), rel=1e-9)


@pytest.mark.parametrize('name', RATIOS)
def test_no_method_leaves_the_range_where_its_divisor_crosses_zero(name: str) -> None:
    """Dark pixels and a PAN around zero, as after haze was subtracted; the toolbox leaves it."""
    generator = torch.Generator().manual_seed(3)
    ms = torch.rand(1, 4, 32, 32, generator=generator) * 0.2 - 0.08
    ms[..., 16:] += 0.7
    e = interp23tap(ms, 4)
    pan = e.mean(1, keepdim=True) + 0.05 * torch.randn(1, 1, 128, 128, generator=generator)
    built = method(name)
    spread = {}
    for border in ('replicate', 'wrap'):
        built.border = border
        spread[border] = float((built(e, pan) - e).abs().max() / (pan - e).abs().max())
    assert spread['replicate'] < 6
    assert spread['wrap'] > 50 * spread['replicate']
