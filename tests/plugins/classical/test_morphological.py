from __future__ import annotations

import pytest
import torch

from plugins.classical.morphological import filter_by_pyramid
from plugins.pansharpening.imaging.lazy_image import LazyImage
from plugins.pansharpening.scenes.window import Window


@pytest.mark.parametrize('levels', [1, 2, 3])
@pytest.mark.parametrize('border', ['replicate', 'wrap'])
def test_the_low_pass_lies_in_place_but_in_the_convention_of_the_toolbox(
    levels: int, border: str
) -> None:
    """A ramp is what its pyramid makes of it, moved by as much as its samples are."""
    rows, cols = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing='ij')
    pan = LazyImage.of((rows + 3 * cols)[None, None], border)
    window = Window(40, 40, 16, 16)
    found = filter_by_pyramid(pan, window, levels)
    # The toolbox takes pixel 1 of each 2, 4 or 8 for the one in their middle.
    off = (2**levels - 1) / 2 - 1 if border == 'wrap' else 0
    torch.testing.assert_close(found, pan.read(window) - 4 * off, rtol=0, atol=1e-4)
