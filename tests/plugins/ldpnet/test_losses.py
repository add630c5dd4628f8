from __future__ import annotations

import math

import pytest
import torch

from plugins.ldpnet.losses import (
    LDPDetailKL,
    LDPSpatialHigh,
    LDPSpatialLow,
    LDPSpectralHigh,
    LDPSpectralLow,
)
from plugins.pansharpening.imaging.resample import imresize_by


def test_terms_vanish_where_the_paper_wants_them_to() -> None:
    torch.manual_seed(0)
    pan, ms = torch.rand(2, 1, 16, 16), torch.rand(2, 4, 16, 16)
    flat = torch.full((2, 4, 16, 16), 0.3)
    assert LDPSpatialHigh()(pan, pan) == 0
    assert LDPSpatialLow()(pan.expand(-1, 4, -1, -1), pan) == 0
    assert LDPSpectralHigh()(ms, ms) == 0
    # Only inside: the zero padding of the smoothing darkens the border.
    assert LDPSpectralLow()(flat, torch.full((2, 4, 4, 4), 0.3)) < LDPSpectralLow()(flat, flat * 2)
    # The same detail over different gray versions.
    assert LDPDetailKL()(ms + pan, pan, ms + 0.5, pan * 0 + 0.5) == pytest.approx(0, abs=1e-5)


def test_spectral_low_follows_the_size_of_the_given_image() -> None:
    torch.manual_seed(0)
    hrms = torch.rand(1, 2, 40, 60)
    for low in ((10, 15), (20, 30), (7, 9)):
        assert LDPSpectralLow()(hrms, torch.zeros(1, 2, *low)) > 0


def test_spectral_low_by_hand() -> None:
    """2 x 2 of a 4 x 4 image: with aligned corners these are the means around its corners."""
    hrms = torch.zeros(1, 1, 4, 4)
    hrms[0, 0, 0, 0], hrms[0, 0, 1, 1], hrms[0, 0, 3, 3] = 9, 18, 27
    low = torch.tensor([[[[(9 + 18) / 9, 0.0], [0.0, 27 / 9]]]])
    assert LDPSpectralLow()(hrms, low) == pytest.approx(0, abs=1e-10)


def test_kl_by_hand() -> None:
    """One row of two pixels: P = (3/4, 1/4) fused, Q = (1/2, 1/2) given."""
    hrms = torch.tensor([[[[math.log(3), 0.0]]]])
    zeros = torch.zeros(1, 1, 1, 2)
    expected = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    found = LDPDetailKL()(hrms, zeros, zeros, zeros)
    assert found == pytest.approx(expected, rel=1e-6)


def test_kl_sum_grows_with_the_patch_and_mean_does_not() -> None:
    torch.manual_seed(0)
    hrms, pan, up, gray = (torch.rand(1, c, 8, 32) for c in (4, 1, 4, 1))
    larger = [x.repeat(3, 1, 2, 1) for x in (hrms, pan, up, gray)]
    total, mean = LDPDetailKL(), LDPDetailKL(reduction='mean')
    assert total(*larger) == pytest.approx(6 * total(hrms, pan, up, gray).item(), rel=1e-5)
    assert mean(*larger) == pytest.approx(mean(hrms, pan, up, gray).item(), rel=1e-5)
    assert total(hrms, pan, up, gray) == pytest.approx(
        mean(hrms, pan, up, gray).item() * 4 * 8, rel=1e-5
    )


def test_kl_refuses_reduction() -> None:
    with pytest.raises(ValueError, match="sum or mean, found 'none'"):
        LDPDetailKL(reduction='none')


def test_spectral_low_without_smoothing_and_bicubic() -> None:
    torch.manual_seed(0)
    hrms = torch.rand(1, 2, 16, 16)
    corners = hrms[..., ::15, ::15]  # with aligned corners 2 x 2 samples are the image's own
    assert LDPSpectralLow(smooth=False)(hrms, corners) == pytest.approx(0, abs=1e-12)
    low = imresize_by(hrms, 4)
    assert LDPSpectralLow(smooth=False, down='bicubic')(hrms, low) == pytest.approx(0, abs=1e-12)
    assert LDPSpectralLow(down='bicubic')(hrms, low) > 1e-4


def test_spectral_low_refuses_down() -> None:
    with pytest.raises(ValueError, match="bilinear or bicubic, found 'area'"):
        LDPSpectralLow(down='area')


def test_kl_over_the_image_by_hand() -> None:
    """Two rows of two pixels as one distribution: (1/2, 1/4, 1/8, 1/8) and the even one."""
    shares = torch.tensor([0.5, 0.25, 0.125, 0.125])
    zeros = torch.zeros(1, 1, 2, 2)
    expected = (shares * (shares * 4).log()).sum().item()
    for reduction in ('sum', 'mean'):  # of one
        loss = LDPDetailKL(reduction=reduction, over='image')
        found = loss(shares.log().view(1, 1, 2, 2), zeros, zeros, zeros)
        assert found == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize('over', ['row', 'image'])
def test_scale_free_kl_does_not_change_with_the_scale(over: str) -> None:
    torch.manual_seed(0)
    images = [torch.rand(2, c, 8, 12) for c in (4, 1, 4, 1)]
    free, bound = (LDPDetailKL(over=over, scale_free=free) for free in (True, False))
    # By less than a tenth of a thousandth, what a constant detail is taken to spread.
    assert free(*(2 * i for i in images)).item() == pytest.approx(free(*images).item(), rel=2e-3)
    assert bound(*(2 * i for i in images)).item() > 2 * bound(*images).item()


def test_kl_refuses_what_it_goes_over() -> None:
    with pytest.raises(ValueError, match="row or image, found 'column'"):
        LDPDetailKL(over='column')
