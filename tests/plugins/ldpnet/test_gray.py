from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.ldpnet.gray import ChannelGray, MeanGray, RegressionGray


@pytest.mark.parametrize('size', [(12, 10), (1, 7), (2, 1)])
def test_weights_are_those_of_the_convolutions(size: tuple[int, int]) -> None:
    """As published: both convolutions over the image, then their mean."""
    torch.manual_seed(0)
    gray = ChannelGray(3).double()
    torch.nn.init.normal_(gray.conv1.bias)
    image = torch.rand(2, 3, *size, dtype=torch.float64)
    features = gray.conv2(F.conv2d(image, gray.conv1.weight, gray.conv1.bias, padding=1))
    scores = gray.fc(features.mean((2, 3)))
    torch.testing.assert_close(gray.compute_weights(image), scores.sigmoid().softmax(1))


def test_gray_keeps_precision_under_autocast() -> None:
    torch.manual_seed(0)
    gray, image = ChannelGray(4), torch.rand(1, 4, 16, 16)
    with torch.autocast('cpu', torch.bfloat16):
        found = gray(image)
    assert torch.equal(found, gray(image))


def test_mean_gray() -> None:
    image = torch.rand(1, 3, 5, 6)
    torch.testing.assert_close(MeanGray(3)(image), image.mean(1, keepdim=True))


@pytest.mark.parametrize('learned', [False, True])
@pytest.mark.parametrize('sign', ['any', 'non-negative'])
def test_regression_finds_the_weights(learned: bool, sign: str) -> None:
    torch.manual_seed(0)
    ms = torch.rand(500, 4)
    weights, offset = torch.tensor([0.1, 0.0, 0.5, 0.3]), -0.02
    gray = RegressionGray(4, learned, sign)
    before = gray(ms.T[None, :, :, None])
    torch.testing.assert_close(before[0, 0, :, 0], ms.mean(1))
    said = gray.fit(ms, ms @ weights + offset)
    assert said.startswith('PAN is 0.100, ')
    assert said.endswith('of the bands and -0.0200')
    assert bool(gray.fitted)
    # What is learned as a square starts a little above zero.
    tolerance = 2e-4 if learned or sign == 'non-negative' else 1e-6
    torch.testing.assert_close(gray.compute_weights(before)[0], weights, atol=tolerance, rtol=0)
    assert len(list(gray.parameters())) == (2 if learned else 0)


def test_negative_weights_only_where_they_may_be() -> None:
    torch.manual_seed(0)
    ms = torch.rand(500, 2)
    pan = ms @ torch.tensor([1.2, -0.4])
    for sign, lowest in (('any', -0.41), ('non-negative', 0.0)):
        gray = RegressionGray(2, sign=sign, offset=False)
        gray.fit(ms, pan)
        assert gray.offset is None
        assert gray.compute_weights(ms[:1])[0].min() == pytest.approx(lowest, abs=0.015)


@pytest.mark.parametrize('kind', ['any', 'constant', 'equal bands', 'few'])
@pytest.mark.parametrize('sign', ['any', 'non-negative'])
def test_regression_on_what_says_little(kind: str, sign: str) -> None:
    """A constant PAN, constant or equal bands, fewer pixels than bands: the PAN comes out."""
    ms = {
        'any': torch.rand(50, 3),
        'constant': torch.full((50, 3), 0.2),
        'equal bands': torch.rand(50, 1).expand(-1, 3),
        'few': torch.rand(2, 3),
    }[kind]
    gray = RegressionGray(3, sign=sign)
    pan = torch.full((len(ms),), 0.4)
    gray.fit(ms, pan)
    found = gray(ms.T[None, :, :, None])[0, 0, :, 0]
    torch.testing.assert_close(found, pan, atol=2e-3, rtol=0)


def test_refuses_sign() -> None:
    with pytest.raises(ValueError, match="any or non-negative, found 'positive'"):
        RegressionGray(4, sign='positive')


@pytest.mark.parametrize(('bands', 'lowest', 'highest'), [(4, 0.109, 0.475), (8, 0.050, 0.280)])
def test_sigmoid_bounds_the_gray_weights(bands: int, lowest: float, highest: float) -> None:
    """With one score driven up or down without end, the weight stays within the stated bounds."""
    gray = ChannelGray(bands)
    assert lowest == pytest.approx(1 / (1 + (bands - 1) * math.e), abs=5e-4)
    assert highest == pytest.approx(math.e / (math.e + bands - 1), abs=5e-4)
    found = extreme_weights(gray, bands)
    assert found[0] == pytest.approx(lowest, abs=5e-4)
    assert found[1] == pytest.approx(highest, abs=5e-4)


@pytest.mark.parametrize('bands', [4, 8])
def test_without_sigmoid_a_band_can_be_switched_off(bands: int) -> None:
    lowest, highest = extreme_weights(ChannelGray(bands, sigmoid=False), bands)
    assert lowest == pytest.approx(0, abs=1e-6)
    assert highest == pytest.approx(1, abs=1e-6)


def extreme_weights(gray: ChannelGray, bands: int) -> tuple[float, float]:
    """The weights of band 0 when its score is far below, and far above, all others."""
    found = []
    for sign in (-1, 1):
        with torch.no_grad():
            gray.conv2.weight.zero_()
            gray.conv2.bias.fill_(1)
            gray.fc[0].weight.fill_(1)
            gray.fc[2].weight.fill_(-20 * sign)
            gray.fc[2].weight[0] = 20 * sign
            found.append(gray.compute_weights(torch.rand(1, bands, 8, 8))[0, 0].item())
    return found[0], found[1]


@given(seed=st.integers(0, 1000), bands=st.integers(1, 8), sigmoid=st.booleans())
@settings(max_examples=25, deadline=None)
def test_gray_lies_between_the_bands(seed: int, bands: int, sigmoid: bool) -> None:
    torch.manual_seed(seed)
    image = torch.rand(2, bands, 12, 10)
    gray = ChannelGray(bands, sigmoid)(image)
    assert gray.shape == (2, 1, 12, 10)
    assert (gray >= image.amin(1, keepdim=True) - 1e-6).all()
    assert (gray <= image.amax(1, keepdim=True) + 1e-6).all()
