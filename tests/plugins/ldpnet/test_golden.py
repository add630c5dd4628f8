"""The published network's outputs, loss terms and gradients, with its weights, to 1e-5 and 1e-4."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from plugins.ldpnet.published_weights import get_published_state
from plugins.pansharpening import system as system_module
from plugins.pansharpening.imaging.resample import upsample
from plugins.pansharpening.system import Pansharpener
from tests.support import ldpnet_golden

OUTPUTS = ('hrms', 'hrms_reblurred', 'hrms_gray', 'pan_reblurred', 'lrms_up_gray')
RECORDED_TERMS = {
    'spatial_high': 'loss_spatial_high_mse',
    'spatial_low': 'loss_spatial_low_mse',
    'spectral_low': 'loss_spectral_low_mse',
    'spectral_high': 'loss_spectral_high_mse',
    'kl': 'loss_kl_sum',
}


def batch() -> dict[str, Tensor]:
    recorded = ldpnet_golden.recorded()
    return {'lrms': recorded['in_lrms'], 'pan': recorded['in_pan']}


@pytest.fixture(params=['direct', 'fft'])
def system(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Pansharpener:
    """With the recorded upsampled image, since the record's upsampling is not the system's."""
    lrms, lrms_up = ldpnet_golden.recorded()['in_lrms'], ldpnet_golden.recorded()['in_lrms_up']
    monkeypatch.setattr(
        system_module,
        'upsample',
        lambda image, *rest: lrms_up if image is lrms else upsample(image, *rest),
    )
    return ldpnet_golden.published_system(method=request.param)


def relative_error(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).abs().max() / expected.abs().max()).item()


@pytest.mark.parametrize('name', OUTPUTS)
def test_outputs(system: Pansharpener, name: str) -> None:
    with torch.no_grad():
        found = system.tensor(batch())[name]
    expected = ldpnet_golden.recorded()[f'out_{name}']
    assert found.shape == expected.shape
    assert relative_error(found, expected) < 1e-5


@pytest.mark.parametrize('key', RECORDED_TERMS)
def test_loss_terms(system: Pansharpener, key: str) -> None:
    with torch.no_grad():
        value = system.loss(batch())[key]
    expected = ldpnet_golden.recorded()[RECORDED_TERMS[key]] * ldpnet_golden.TERMS[key][1]
    assert value.item() == pytest.approx(expected.item(), rel=1e-5)


def test_total(system: Pansharpener) -> None:
    with torch.no_grad():
        total = sum(system.loss(batch()).values())
    assert total.item() == pytest.approx(ldpnet_golden.recorded()['loss_total'].item(), rel=1e-5)


def test_gradients(system: Pansharpener) -> None:
    sum(system.loss(batch()).values()).backward()
    own = dict(zip(get_published_state(system), system.parameters()))
    recorded = ldpnet_golden.recorded()
    expected = {k.split('/')[1]: v for k, v in recorded.items() if k.startswith('grad/')}
    assert set(own) == set(expected)
    for name, gradient in expected.items():
        assert relative_error(own[name].grad, gradient) < 1e-4, name


@pytest.mark.parametrize(
    ('bands', 'width', 'count'), [(4, 16, 107_445), (8, 16, 131_221), (4, 64, 1_585_005)]
)
def test_parameter_counts(bands: int, width: int, count: int) -> None:
    with torch.device('meta'):
        system = ldpnet_golden.system(bands, width)
    assert sum(p.numel() for p in system.parameters()) == count
