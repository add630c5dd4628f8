from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.pansharpening.imaging.streaming_statistics import (
    Counter,
    Moments,
    Percentile,
    lower_bits,
    upper_bits,
)


def pieces(image: torch.Tensor, rows: int, cols: int) -> list[torch.Tensor]:
    return [
        image[..., r : r + rows, c : c + cols]
        for r in range(0, image.shape[2], rows)
        for c in range(0, image.shape[3], cols)
    ]


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(1, 20), cols=st.integers(1, 20), seed=st.integers(0, 99), masked=st.booleans()
)
def test_moments_of_blocks_are_those_of_the_whole(rows, cols, seed, masked):
    generator = torch.Generator().manual_seed(seed)
    image = 1000 + torch.rand(2, 3, 20, 17, generator=generator, dtype=torch.float64)
    valid = torch.rand(2, 1, 20, 17, generator=generator) > (0.5 if masked else -1)
    valid[..., 0, 0] = True
    parts = zip(pieces(image, rows, cols), pieces(valid, rows, cols), strict=True)
    total = Moments.join([Moments.of(part, mask if masked else None) for part, mask in parts])
    for b in range(2):
        chosen = image[b][:, valid[b, 0]].numpy()
        np.testing.assert_allclose(total.mean[b], chosen.mean(1), rtol=1e-14)
        expected = np.cov(chosen, ddof=0) if chosen.shape[1] > 1 else np.zeros((3, 3))
        np.testing.assert_allclose(
            total.covariance(slice(None), slice(None))[b], expected, atol=1e-12
        )


def test_a_constant_has_no_variance_at_all():
    image = torch.full((1, 2, 50, 40), 0.1)
    parts = image[..., :7, :], image[..., 7:9, :], image[..., 9:, :]
    total = Moments.join([Moments.of(part) for part in parts])
    assert (total.comoment == 0).all()
    assert (total.mean == np.float32(0.1).astype(float)).all()


@pytest.mark.parametrize('corner', [0.0, 1.0, -4.9])
@pytest.mark.parametrize('masked', [False, True])
def test_float32_keeps_its_digits_whatever_the_first_pixel_is(corner: float, masked: bool):
    image = 0.3 + 1e-3 * torch.randn(1, 2, 64, 512, generator=torch.Generator().manual_seed(0))
    image[..., 0, 0] = corner
    valid = torch.ones(1, 1, 64, 512, dtype=torch.bool)
    valid[..., 0, 0] = not masked
    found, expected = (Moments.of(i, valid if masked else None) for i in (image, image.double()))
    torch.testing.assert_close(found.mean, expected.mean, rtol=0, atol=1e-9)
    torch.testing.assert_close(found.comoment, expected.comoment, rtol=1e-6, atol=1e-7)


def test_blocks_without_data_change_nothing():
    image = torch.rand(1, 2, 8, 8)
    nothing = Moments.of(image, torch.zeros(1, 1, 8, 8, dtype=torch.bool))
    some = Moments.of(image + 1)
    for parts in ([nothing, some], [some, nothing]):
        for found, expected in zip(Moments.join(parts), some, strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert torch.isfinite(Moments.join([nothing, nothing]).mean).all()


def test_images_one_by_one_have_the_moments_of_all_together():
    image = torch.rand(2, 3, 9, 8)
    for found, expected in zip(
        Moments.of([image[:, :1], image[:, 1:]]), Moments.of(image), strict=True
    ):
        assert torch.equal(found, expected)


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=60),
    percent=st.sampled_from([0.0, 1.0, 25.0, 50.0, 99.9, 100.0]),
    cut=st.integers(1, 59),
)
def test_percentiles_are_those_of_matlab(values, percent, cut):
    image = torch.tensor(values, dtype=torch.float32).view(1, 1, 1, -1)
    parts = [part for part in (image[..., :cut], image[..., cut:]) if part.numel()]
    upper, lower = Counter(), Counter()
    for part in parts:
        upper.add(upper_bits(part))
    percentile = Percentile(percent, upper.total().view(1, 1, -1))
    for part in parts:
        lower.add(lower_bits(part, percentile.upper))
    found = percentile.value(lower.total().view(1, 1, 2, -1))
    # MATLAB's prctile: sorted value i of n is the percentile 100 (i - 1/2) / n.
    expected = np.percentile(np.array(values, np.float32).astype(float), percent, method='hazen')
    np.testing.assert_allclose(float(found), expected, rtol=1e-12, atol=1e-30)
