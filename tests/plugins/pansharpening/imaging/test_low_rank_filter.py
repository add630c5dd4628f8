from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.pansharpening.imaging.lazy_image import LazyImage
from plugins.pansharpening.imaging.low_rank_filter import LowRankFilter, decompose
from plugins.pansharpening.imaging.mtf import mtf_kernel
from plugins.pansharpening.scenes.window import Window


@pytest.mark.parametrize('ratio', [2, 4])
@pytest.mark.parametrize('gain', [0.1, 0.3, 0.5])
def test_no_image_has_an_error_of_a_hundredth_of_a_digital_number(gain: float, ratio: int) -> None:
    """The image of full and no light that is worst for the kernel at its middle pixel."""
    kernel = mtf_kernel(gain, ratio).numpy()
    parts = [sign * np.outer(vector, vector) for sign, vector in decompose(kernel, 4.8e-6)]
    worst = torch.from_numpy(kernel - sum(parts) > 0)[None, None].double()
    expected = float((worst[0, 0].numpy() * kernel).sum())
    for image, error in ((worst, 1e-12), (worst.float(), 0.01 / 2047)):
        found = LowRankFilter(kernel[None]).of(LazyImage.of(image)).read(Window(20, 20, 1, 1))
        assert float(found) == pytest.approx(expected, rel=0, abs=error)
    assert len(parts) <= 4  # of a kernel with 41 rows


@settings(max_examples=15, deadline=None)
@given(
    row=st.integers(0, 12), col=st.integers(0, 10), side=st.integers(1, 9), bands=st.integers(1, 2)
)
def test_windows_hold_the_bits_of_the_whole(row: int, col: int, side: int, bands: int) -> None:
    image = torch.rand(2, 1, 84, 76, generator=torch.Generator().manual_seed(row))
    kernels = np.stack([mtf_kernel(gain, 4).numpy() for gain in (0.3, 0.25)[:bands]])
    filtered = LowRankFilter(kernels, stride=4).of(LazyImage.of(image))
    window = Window(row, col, side, side)
    assert torch.equal(filtered.read(window), window.cut(filtered.read(filtered.whole)))
