"""Losses of networks that train on one scene."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from plugins.pansharpening.zero_shot_losses import Guidance, PanRegression, ReducedScale


@pytest.mark.parametrize('norm', ['l1', 'l2'])
def test_differences_by_hand(norm: str) -> None:
    lrms = torch.zeros(1, 1, 3, 3)
    lrms[..., 2, :], lrms[..., :, 2] = 9, 9  # left over by the ratio 2
    again = torch.tensor([[[[0.1, -0.3], [0.0, 0.0]]]])
    expected = {'l1': 0.1, 'l2': 0.025}[norm]
    assert ReducedScale(norm=norm)(again, lrms) == pytest.approx(expected)
    assert Guidance(norm=norm)(again, lrms[..., :2, :2]) == pytest.approx(expected)


@pytest.mark.parametrize('loss', [ReducedScale, Guidance])
def test_refuses_norm(loss: type) -> None:
    with pytest.raises(ValueError, match="l1 or l2, found 'max'"):
        loss(norm='max')


def test_regression_is_that_of_numpy() -> None:
    """One for each patch, with a constant; bands that are nearly equal keep their digits."""
    torch.manual_seed(0)
    hrms, pan = torch.rand(2, 3, 20, 16), torch.rand(2, 1, 20, 16)
    hrms[:, 1] = hrms[:, 0] + 1e-3 * torch.rand(2, 20, 16)
    pan = 0.5 * pan + hrms[:, :1] + 0.2
    shares = []
    for bands, target in zip(hrms.double().numpy(), pan.double().numpy()):
        columns = np.concatenate([bands.reshape(3, -1), np.ones((1, target.size))]).T
        rest = np.linalg.lstsq(columns, target.ravel(), rcond=None)[0]
        shares.append(np.var(target.ravel() - columns @ rest) / np.var(target))
    assert PanRegression()(hrms, pan) == pytest.approx(np.mean(shares), abs=1e-3)
    pan = 0.3 * hrms[:, :1] - 0.1 * hrms[:, 2:] + 0.4
    assert PanRegression()(hrms, pan) == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize('part', ['bands', 'pan'])
def test_regression_of_constants_has_finite_gradients(part: str) -> None:
    hrms, pan = torch.rand(1, 3, 8, 8), torch.rand(1, 1, 8, 8)
    (hrms if part == 'bands' else pan).fill_(0.3)
    hrms.requires_grad_()
    value = PanRegression()(hrms, pan)
    value.backward()
    assert value.item() == pytest.approx(1 if part == 'bands' else 0, abs=1e-3)
    assert torch.isfinite(hrms.grad).all()
