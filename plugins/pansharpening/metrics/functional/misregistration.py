"""Misregistration of a sharpened image: an index that no shift of the PAN can please.

D_s compares the image with the PAN and the MS with the low-passed PAN. Where the PAN is moved, both
similarities fall, and their difference may fall too: D_s rewards a shift by which the error rises.

The image, seen through the sensor's MTF, has an offset a from the low-passed PAN and an offset b
from the MS. By the triangle inequality |a| + |b| is at least the offset between MS and PAN,
wherever a method puts the image, and 0 only if all three lie on each other. The coarsest detail
that an image has of the PAN alone is that at the Nyquist frequency of the MS, with a period of
2 ratio pixels. Displaced by m pixels it correlates with its place by cos(pi m / ratio): the error
that it adds is as large as the detail itself for m = ratio / 3, and for m = ratio / 2 nothing is
left of it. So

    D_reg = 1 - cos(pi min(|a| + |b|, ratio / 2) / ratio).

Details are registered by phase correlation, see `imaging.registration`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from plugins.pansharpening.imaging.masks import Image, batch, blank, valid_pixels
from plugins.pansharpening.imaging.mtf import Variant, mtf_filter
from plugins.pansharpening.imaging.registration import GAIN, register_images
from plugins.pansharpening.metrics.functional.cache import cached
from plugins.pansharpening.metrics.functional.no_reference import hqnr
from plugins.pansharpening.metrics.functional.upsampling import get_upsampled_mask


@cached
def offset(
    fused: Image,
    lrms_up: Image,
    pan: Image,
    gains: Sequence[float],
    ratio: int,
    variant: Variant = 'toolbox',
    mask: Image | None = None,
) -> Tensor:
    """Misregistration in PAN pixels: offset of the image from the PAN plus that from the MS.

    Args:
        gains: the sensor's MTF at Nyquist, one per band; `Sensor.gains`.
        ratio: PAN pixels per multispectral pixel.
        variant: of the MTF kernels.
        mask: valid pixels of `fused` and `pan`.
    Returns:
        0 is best; NaN if the details of the images do not correlate enough to be registered.
    """
    x, y, p = batch(fused, 'fused'), batch(lrms_up, 'lrms_up'), batch(pan, 'pan', 1)
    valid = valid_pixels(mask, x)
    x, p = blank(x, valid), blank(p, valid)
    kept = get_upsampled_mask(mask, x, ratio)
    seen = _average_bands(mtf_filter(x, gains, ratio, variant), kept)
    ms = _average_bands(y, kept)
    low = mtf_filter(p, (GAIN,), ratio)[:, 0].cpu().numpy()
    found = []
    for i in range(len(x)):
        inside = np.ones(x.shape[-2:], bool) if kept is None else kept[i, 0].cpu().numpy()
        shifts = [register_images(fixed, seen[i], inside, ratio) for fixed in (low[i], ms[i])]
        known = all(shift.pieces and shift.belongs for shift in shifts)
        found.append(sum(shift.distance for shift in shifts) if known else math.nan)
    return x.new_tensor(found).reshape(tuple(fused.shape[:-3]))


def d_reg(
    fused: Image,
    lrms_up: Image,
    pan: Image,
    gains: Sequence[float],
    ratio: int,
    variant: Variant = 'toolbox',
    mask: Image | None = None,
) -> Tensor:
    """Loss of detail to misregistration, 1 - cos(pi min(offset, ratio / 2) / ratio).

    Returns:
        0 is best; 1 for an offset of half an MS pixel or more. Arguments as for `offset`.
    """
    distance = offset(fused, lrms_up, pan, gains, ratio, variant, mask)
    return 1 - torch.cos(math.pi / ratio * distance.clamp(max=ratio / 2))


def hqnr_reg(
    fused: Image,
    lrms_up: Image,
    pan: Image,
    gains: Sequence[float],
    ratio: int,
    variant: Variant = 'toolbox',
    block: int = 32,
    mask: Image | None = None,
) -> Tensor:
    """HQNR (1 - D_reg); 1 is best. Arguments as for `hqnr`."""
    quality = hqnr(fused, lrms_up, pan, gains, ratio, variant, block, mask)
    return quality * (1 - d_reg(fused, lrms_up, pan, gains, ratio, variant, mask))


def _average_bands(image: Tensor, valid: Tensor | None) -> np.ndarray:
    """Averages bands that are divided by their deviations: (B, C, H, W) -> (B, H, W)."""
    inside = image if valid is None else image.where(valid, torch.full_like(image, math.nan))
    centre = inside.nanmean((2, 3), keepdim=True)
    deviation = (inside - centre).square().nanmean((2, 3), keepdim=True).sqrt()
    flat = ~(deviation > 0)
    scaled = image / deviation.where(~flat, torch.ones_like(deviation))
    scaled = scaled.where(~flat, torch.zeros_like(scaled))
    return scaled.mean(1).cpu().numpy()
