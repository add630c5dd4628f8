from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.pansharpening.losses import (
    BandCorrelation,
    BlockQuality,
    Consistency,
    Cycle,
    GrayCorrelation,
    PanGradient,
    QualityTransfer,
)
from plugins.pansharpening.metrics.functional.no_reference import d_rho
from plugins.pansharpening.metrics.functional.quality_index import q


def images(bands: int = 3, height: int = 24, width: int = 20) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.rand(2, bands, height, width), torch.rand(2, 1, height, width)


@pytest.mark.parametrize('loss', [Consistency, Cycle])
def test_differences_by_hand(loss: type) -> None:
    image = torch.zeros(1, 1, 1, 2)
    other = torch.tensor([[[[0.1, -0.3]]]])
    assert loss()(other, image) == pytest.approx(0.2)
    assert loss(norm='l2')(other, image) == pytest.approx(0.05)


@pytest.mark.parametrize('loss', [Consistency, Cycle, PanGradient])
def test_refuses_norm(loss: type) -> None:
    with pytest.raises(ValueError, match="l1 or l2, found 'max'"):
        loss(norm='max')


def test_gradient_by_hand() -> None:
    """Two by two, one pixel 0.4 above: of four differences two are 0.4, whatever is added."""
    pan = torch.rand(1, 1, 2, 2)
    gray = pan + 0.7
    assert PanGradient()(gray, pan) == pytest.approx(0, abs=1e-7)
    gray[0, 0, 0, 0] += 0.4
    assert PanGradient()(gray, pan) == pytest.approx(0.2)
    assert PanGradient(norm='l2')(gray, pan) == pytest.approx(0.08)
    assert PanGradient()(gray[..., :1, :1], pan[..., :1, :1]) == 0


@given(gain=st.floats(0.1, 10), offset=st.floats(-2, 2), size=st.sampled_from([3, 5, 9]))
@settings(max_examples=10, deadline=None)
def test_correlation_does_not_see_gain_and_offset(gain: float, offset: float, size: int) -> None:
    hrms, pan = images()
    loss = BandCorrelation(size=size)
    expected = loss(hrms, pan).item()
    assert loss(gain * hrms + offset, pan).item() == pytest.approx(expected, abs=1e-3)
    assert loss(-hrms, pan).item() == pytest.approx(2 - expected, abs=1e-3)
    assert loss(gain * pan.expand(-1, 3, -1, -1) + offset, pan).item() == pytest.approx(0, abs=1e-3)


def test_gray_and_band_correlation_are_one_of_a_single_band() -> None:
    hrms, pan = images(bands=1)
    assert GrayCorrelation()(hrms, pan) == BandCorrelation()(hrms, pan)


def test_correlation_goes_with_the_index() -> None:
    """Noise on detail is seen by the loss as it is by D_rho."""
    pan = torch.rand(1, 1, 64, 64)
    steps = [pan + noise * torch.rand(1, 1, 64, 64) for noise in (0.0, 0.3, 1.0, 3.0)]
    losses = [BandCorrelation()(step, pan).item() for step in steps]
    indices = [d_rho(step, pan, 4).item() for step in steps]
    assert losses == sorted(losses)
    assert indices == sorted(indices)
    assert losses == pytest.approx(indices, abs=0.05)


def test_correlation_refuses_size() -> None:
    with pytest.raises(ValueError, match='odd and at least 3, found 4'):
        BandCorrelation(size=4)


def test_quality_by_hand() -> None:
    """On one block: correlation times equality of means and of contrasts."""
    torch.manual_seed(0)
    pan, up = torch.rand(1, 1, 8, 8), torch.rand(1, 2, 8, 8)
    hrms = torch.rand(1, 2, 8, 8)
    values = []
    for band in range(2):
        x, p, u = (image.flatten() for image in (hrms[0, band], pan[0, 0], up[0, band]))
        y = (p - p.mean()) / p.std() * u.std() + u.mean()
        rho = torch.corrcoef(torch.stack([x, y]))[0, 1]
        level = 2 * x.mean() * y.mean() / (x.mean() ** 2 + y.mean() ** 2)
        contrast = 2 * x.std() * y.std() / (x.var() + y.var())
        values.append((rho * level * contrast).item())
    expected = 1 - sum(values) / 2
    assert BlockQuality(size=8)(hrms, pan, up).item() == pytest.approx(expected, abs=1e-4)
    assert BlockQuality(size=32)(hrms, pan, up).item() == pytest.approx(expected, abs=1e-4)


def test_quality_is_best_for_the_matched_pan() -> None:
    up, pan = images(height=64, width=64)
    mean, spread = (f(pan, (2, 3)).view(2, 1, 1, 1) for f in (torch.mean, torch.std))
    matched = (pan - mean) / spread * up.std((2, 3), keepdim=True) + up.mean((2, 3), keepdim=True)
    loss = BlockQuality(size=16)
    assert loss(matched, pan, up) == pytest.approx(0, abs=1e-4)
    assert loss(F.avg_pool2d(matched, 3, 1, 1), pan, up) > 0.2


def test_quality_refuses_size() -> None:
    with pytest.raises(ValueError, match='at least 2, found 1'):
        BlockQuality(size=1)


def test_transfer_by_hand() -> None:
    """One block: the index of the fine pair against that of the coarse one."""
    torch.manual_seed(0)
    hrms, pan, up = (torch.rand(1, bands, 8, 8) for bands in (2, 1, 2))
    pan_low = torch.rand(1, 2, 8, 8)
    fine, coarse = (
        [q(x[0, k : k + 1], y[0, k : k + 1], block=8).item() for k in range(2)]
        for x, y in ((hrms, pan.expand(-1, 2, -1, -1)), (up, pan_low))
    )
    expected = sum(abs(a - b) for a, b in zip(fine, coarse)) / 2
    found = QualityTransfer(size=8)(hrms, pan, up, pan_low)
    assert found.item() == pytest.approx(expected, abs=1e-3)


def test_transfer_is_zero_where_the_relation_is_kept() -> None:
    up, pan = images(height=64, width=64)
    loss = QualityTransfer(size=16)
    assert loss(up, pan, up, pan.expand(-1, 3, -1, -1)) == pytest.approx(0, abs=1e-6)
    assert loss(pan.expand(-1, 3, -1, -1), pan, up, pan.expand(-1, 3, -1, -1)) > 0.5


def test_transfer_does_not_train_the_reblur() -> None:
    up, pan = images(height=32, width=32)
    pan_low = torch.rand(2, 3, 32, 32).requires_grad_()
    hrms = torch.rand(2, 3, 32, 32).requires_grad_()
    QualityTransfer()(hrms, pan, up, pan_low).backward()
    assert hrms.grad.abs().max() > 0
    assert pan_low.grad is None


FLAT = {'constant': 0.4, 'empty': 0.0, 'saturated': 1.0}


@pytest.mark.parametrize('kind', FLAT)
@pytest.mark.parametrize('size', [(1, 1), (3, 2), (40, 36)], ids=str)
@pytest.mark.parametrize(
    'loss', [GrayCorrelation, BandCorrelation, BlockQuality, QualityTransfer, PanGradient]
)
def test_flat_images_give_finite_terms_and_gradients(
    loss: type, size: tuple[int, int], kind: str
) -> None:
    """Also where windows and blocks are larger than the image."""
    bands = 1 if loss in (GrayCorrelation, PanGradient) else 3
    hrms = torch.full((1, bands, *size), FLAT[kind]).requires_grad_()
    inputs = [hrms, torch.full((1, 1, *size), FLAT[kind])]
    more = {BlockQuality: 1, QualityTransfer: 2}.get(loss, 0)
    inputs += [torch.full((1, bands, *size), FLAT[kind])] * more
    value = loss()(*inputs)
    value.backward()
    assert torch.isfinite(value)
    assert torch.isfinite(hrms.grad).all()
    assert 0 <= value <= 2


def test_nothing_is_lost_under_autocast() -> None:
    """An image with 11 bits has detail that bfloat16 has not."""
    hrms, pan = (0.5 + image / 100 for image in images())
    for loss, inputs in (
        (BandCorrelation(), (hrms, pan)),
        (BlockQuality(), (hrms, pan, hrms)),
        (QualityTransfer(), (hrms, pan, hrms, hrms + 0.1 * pan)),
    ):
        expected = loss(*inputs)
        with torch.autocast('cpu', torch.bfloat16):
            assert loss(*inputs) == expected
