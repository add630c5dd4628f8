"""Indices of the fused image reprojected to the multispectral scale, against the given MS.

The fused image is filtered by the sensor's MTF and decimated. Each band starts at the row and
column at which the PAN, filtered and decimated in the same way, correlates best with that band: in
many products the two are a fraction of a multispectral pixel apart, and a method should not be
blamed for it.

`fused` (C, H, W), `lrms` (C, h, w) and `pan` (1, H, W) with H = ratio h, in digital numbers, or all
with a batch axis in front. Masks are at PAN scale.

Source: Scarpa and Ciotola, "Full-resolution quality assessment for pansharpening", Remote Sensing
14(8), 2022, and their evaluation tool, whose figures these reproduce (variant `grip`).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from plugins.pansharpening.imaging.masks import (
    Image,
    batch,
    blank,
    coarse,
    integer_ratio,
    mean,
    shrink,
    valid_pixels,
)
from plugins.pansharpening.imaging.mtf import KERNEL_SIZE, Variant, mtf_filter
from plugins.pansharpening.metrics.functional import quality_index
from plugins.pansharpening.metrics.functional import reference as reference_indices
from plugins.pansharpening.metrics.functional.cache import cached
from plugins.pansharpening.metrics.functional.local_correlation import (
    compute_local_correlation,
    compute_local_detail,
)


def find_alignment(
    lrms: Image,
    pan: Image,
    gain: float,
    ratio: int,
    variant: Variant = 'grip',
    mask: Image | None = None,
) -> Tensor:
    """Finds the row and column, 0 to ratio - 1, at which to start decimating each band.

    The PAN, filtered by an MTF and decimated from there, has the largest mean local correlation
    with the band.

    Args:
        gain: MTF at Nyquist for the PAN; the tool takes that of the first band.
        ratio: PAN pixels per multispectral pixel.
        variant: of the MTF kernel.
        mask: at PAN scale; pixels that are mixed with an invalid one are left out.
    Returns:
        (C, 2) or (B, C, 2) int64.
    """
    ms, p = batch(lrms, 'lrms'), batch(pan, 'pan', 1)
    integer_ratio(p, ms, ratio)
    valid = valid_pixels(mask, p)
    reach = max(ratio // 2, 1)
    kept = shrink(coarse(shrink(valid, KERNEL_SIZE // 2), ratio), 2 * reach)
    p = mtf_filter(blank(p, valid), (gain,), ratio, variant)
    detail, energy = compute_local_detail(blank(ms, coarse(valid, ratio)), reach)
    found = []
    for row in range(ratio):
        for col in range(ratio):
            rho = compute_local_correlation(p[..., row::ratio, col::ratio], detail, energy, reach)
            found.append(mean(rho.clamp(0, 1), kept))  # (B, C)
    best = torch.stack(found).nan_to_num(0).argmax(0)
    starts = torch.stack([best // ratio, best % ratio], -1)
    return starts.reshape(*lrms.shape[:-3], ms.shape[1], 2)


@cached
def reproject(
    fused: Image,
    lrms: Image,
    pan: Image,
    gains: Sequence[float],
    ratio: int,
    variant: Variant = 'grip',
    mask: Image | None = None,
) -> tuple[Tensor, Tensor | None]:
    """Filters and decimates the fused image as the multispectral sensor does, with its mask.

    Args:
        gains: the sensor's MTF at Nyquist, one per band.
        ratio: PAN pixels per multispectral pixel.
        variant: of the MTF kernels.
        mask: (H, W) bool at PAN scale.
    Returns:
        (C, h, w) or (B, C, h, w) float64; (B, 1, h, w) bool, or None without a mask.
    Raises:
        ValueError: the sizes do not fit.
    """
    x, ms = batch(fused, 'fused'), batch(lrms, 'lrms')
    integer_ratio(x, ms, ratio)
    valid = valid_pixels(mask, x)
    starts = find_alignment(ms, batch(pan, 'pan', 1), gains[0], ratio, variant, mask)
    x = mtf_filter(blank(x, valid), gains, ratio, variant)
    low = torch.empty_like(ms)
    for image, bands in enumerate(starts.tolist()):
        for band, (row, col) in enumerate(bands):
            low[image, band] = x[image, band, row::ratio, col::ratio]
    inside = coarse(shrink(valid, KERNEL_SIZE // 2), ratio)
    return low.reshape(lrms.shape), inside


def r_sam(
    fused: Image,
    lrms: Image,
    pan: Image,
    gains: Sequence[float],
    ratio: int,
    variant: Variant = 'grip',
    mask: Image | None = None,
) -> Tensor:
    """`sam` in degrees of the reprojected image; 0 is best. Arguments as for `reproject`."""
    low, valid = reproject(fused, lrms, pan, gains, ratio, variant, mask)
    return reference_indices.sam(low, lrms, valid)


def r_ergas(
    fused: Image,
    lrms: Image,
    pan: Image,
    gains: Sequence[float],
    ratio: int,
    variant: Variant = 'grip',
    mask: Image | None = None,
) -> Tensor:
    """`ergas` of the reprojected image; 0 is best. Arguments as for `reproject`."""
    low, valid = reproject(fused, lrms, pan, gains, ratio, variant, mask)
    return reference_indices.ergas(low, lrms, ratio, valid)


@cached
def r_q2n(
    fused: Image,
    lrms: Image,
    pan: Image,
    gains: Sequence[float],
    ratio: int,
    variant: Variant = 'grip',
    block: int = 32,
    mask: Image | None = None,
) -> Tensor:
    """`q2n` of the reprojected image, not rounded; 1 is best. Arguments as for `reproject`."""
    low, valid = reproject(fused, lrms, pan, gains, ratio, variant, mask)
    return quality_index.q2n(low, lrms, block, valid, rounded=False)


def r_q(
    fused: Image,
    lrms: Image,
    pan: Image,
    gains: Sequence[float],
    ratio: int,
    variant: Variant = 'grip',
    block: int = 32,
    mask: Image | None = None,
) -> Tensor:
    """`q` of the reprojected image; 1 is best. Arguments as for `reproject`."""
    low, valid = reproject(fused, lrms, pan, gains, ratio, variant, mask)
    return compute_wide_q(low, lrms, block, valid)


def d_lambda_align(
    fused: Image,
    lrms: Image,
    pan: Image,
    gains: Sequence[float],
    ratio: int,
    variant: Variant = 'grip',
    block: int = 32,
    mask: Image | None = None,
) -> Tensor:
    """Khan's spectral distortion after alignment, 1 - R-Q2n; 0 is best.

    The alignment is that of `find_alignment`, by whole PAN pixels. Lambda-PNN's own code finds it
    by half multispectral pixels in larger windows, and may differ for misregistered bands.

    Source: Ciotola, Poggi and Scarpa, "Unsupervised deep learning-based pansharpening with jointly
    enhanced spectral and spatial fidelity", IEEE TGRS 61, 2023.
    """
    return 1 - r_q2n(fused, lrms, pan, gains, ratio, variant, block, mask)


def compute_wide_q(image: Image, reference: Image, block: int, mask: Image | None = None) -> Tensor:
    """Computes `q` with the last row and column repeated once, as the evaluation tool does."""
    x, y = (F.pad(batch(t), (0, 1, 0, 1), mode='replicate') for t in (image, reference))
    valid = valid_pixels(mask, batch(image))
    if valid is not None:
        valid = F.pad(valid.to(torch.float32), (0, 1, 0, 1), mode='replicate') > 0
    return quality_index.q(x, y, block, valid).reshape(image.shape[:-3])
