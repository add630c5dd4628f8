"""Upsamples the multispectral image to the PAN's size as the indices do, with its mask."""

from __future__ import annotations

from torch import Tensor

from plugins.pansharpening.imaging.masks import Image, batch, shrink, valid_pixels
from plugins.pansharpening.imaging.resample import imresize, imresize_by, interp23tap, polyphase
from plugins.pansharpening.metrics.functional.cache import cached


def upsample_lrms(lrms: Tensor, ratio: int) -> Tensor:
    """Upsamples by `interp23tap`, or by MATLAB's bicubic for ratios that are not powers of two.

    Shape: (B, C, h, w) -> (B, C, ratio h, ratio w).
    """
    if ratio & (ratio - 1):
        return imresize(lrms, (ratio * lrms.shape[-2], ratio * lrms.shape[-1]))
    return interp23tap(lrms, ratio)


def get_interpolation_reach(ratio: int) -> int:
    """Returns the number of samples on each side that `upsample_lrms` mixes."""
    if ratio == 1:
        return 0
    return 3 if ratio & (ratio - 1) else polyphase(ratio).shape[1] // 2


@cached
def get_upsampled_mask(mask: Image | None, fused: Image, ratio: int) -> Tensor | None:
    """Removes from a mask the pixels of `lrms_up` that are mixed with an invalid one.

    Args:
        mask: valid pixels of `fused`, or None for all.
        fused: the image of this mask.
        ratio: PAN pixels per multispectral pixel.
    Returns:
        (B, 1, H, W) bool, or None without a mask.
    """
    if mask is None:
        return None
    valid = valid_pixels(mask, batch(fused, 'fused'))
    return shrink(valid, get_interpolation_reach(ratio) * ratio)


def reduce_and_upsample(pan: Tensor, ratio: int) -> Tensor:
    """Reduces a PAN by `imresize` and upsamples it again: (B, 1, H, W) -> (B, 1, H, W).

    Raises:
        ValueError: H or W is no multiple of the ratio.
    """
    height, width = pan.shape[-2:]
    if height % ratio or width % ratio:
        raise ValueError(
            f'a PAN of {height} x {width} pixels cannot be reduced by {ratio}: crop it to a '
            'multiple'
        )
    return upsample_lrms(imresize_by(pan, ratio), ratio)
