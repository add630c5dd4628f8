"""Indices at full resolution, where there is no reference: the QNR family, D_sR and D_rho.

`fused` is the sharpened image (C, H, W) and `pan` the panchromatic one (1, H, W); `lrms_up` is the
multispectral image brought to the PAN's size by `interp23tap`. All may have a batch axis in front.
They are in digital numbers, for D_lambda_K rounds to integers as the toolbox does.

QNR and HQNR rank plain interpolation above sharp results: read them beside D_rho or D_sR, which see
the missing detail.
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
    mean,
    pair,
    shrink,
    valid_pixels,
    window_sums,
)
from plugins.pansharpening.imaging.mtf import KERNEL_SIZE, Variant, mtf_filter
from plugins.pansharpening.imaging.resample import imresize, imresize_by, interp23tap, polyphase
from plugins.pansharpening.metrics.functional.quality_index import q2n, q_between

FLOOR = 1e-20  # keeps the correlation of constant windows at 0


def d_lambda(fused: Image, lrms_up: Image, block: int = 32, mask: Image | None = None) -> Tensor:
    """Spectral distortion: how much the quality index between each two bands has changed.

    Mean over the pairs of bands of |Q(F_i, F_j) - Q(E_i, E_j)| on distinct blocks.

    Args:
        mask: blocks that hold an invalid pixel are left out.
    Returns:
        0 is best; 0 for an image of one band.

    Source: Alparone et al., "Multispectral and panchromatic data fusion assessment without
    reference", PE&RS 74(2), 2008.
    """
    x, y, valid, lead = pair(fused, lrms_up, mask)
    changed = q_between(x, None, block, valid) - q_between(y, None, block, valid)  # (B, C, C)
    first, second = torch.triu_indices(x.shape[1], x.shape[1], 1, device=x.device)
    if first.numel() == 0:
        return x.new_zeros(lead)
    return changed[:, first, second].abs().mean(1).reshape(lead)


def d_s(
    fused: Image,
    lrms_up: Image,
    pan: Image,
    ratio: int,
    block: int = 32,
    mask: Image | None = None,
) -> Tensor:
    """Spatial distortion: how much the quality index between bands and PAN has changed.

    Mean over bands of |Q(F_b, P) - Q(E_b, P_low)| on distinct blocks; P_low is the PAN brought
    down by `imresize` and up by `interp23tap` (by `imresize` for a ratio that is no power of 2,
    for which the toolbox gives no figures).

    Args:
        ratio: PAN pixels per multispectral pixel.
        mask: blocks where P_low, hence also E, has seen an invalid pixel are left out.
    Returns:
        0 is best.

    Source: as for `d_lambda`.
    """
    x, y, valid, lead = pair(fused, lrms_up, mask)
    p = blank(_pan(pan, x), valid)
    p_low = _coarsened(p, ratio)
    # What P_low has mixed with invalid pixels is left out on both sides.
    kept = shrink(valid, (2 + interpolation_reach(ratio)) * ratio)
    changed = q_between(x, p, block, kept) - q_between(y, p_low, block, kept)  # (B, C, 1)
    return changed.abs().mean((1, 2)).reshape(lead)


def qnr(
    fused: Image,
    lrms_up: Image,
    pan: Image,
    ratio: int,
    block: int = 32,
    mask: Image | None = None,
) -> Tensor:
    """Quality with no reference, (1 - D_lambda)(1 - D_s); 1 is best. Arguments as for `d_s`.

    Source: as for `d_lambda`.
    """
    spatial = d_s(fused, lrms_up, pan, ratio, block, mask)
    return (1 - d_lambda(fused, lrms_up, block, mask)) * (1 - spatial)


def d_lambda_k(
    fused: Image,
    lrms_up: Image,
    gains: Sequence[float],
    ratio: int,
    variant: Variant = 'toolbox',
    block: int = 32,
    mask: Image | None = None,
) -> Tensor:
    """Khan's spectral distortion: 1 - Q2n of the image seen through the MTF, at PAN scale.

    Args:
        gains: the sensor's MTF at Nyquist, one per band; `Sensor.gains`.
        ratio: PAN pixels per multispectral pixel.
        variant: of the MTF kernels, 'toolbox' or 'grip'; they differ by up to .0034.
        mask: blocks where the filter has seen an invalid pixel are left out.
    Returns:
        0 is best.

    Source: Khan, Alparone and Chanussot, "Pansharpening quality assessment using the modulation
    transfer functions of instruments", IEEE TGRS 47(11), 2009.
    """
    x, y, valid, lead = pair(fused, lrms_up, mask)
    seen = mtf_filter(x, gains, ratio, variant)
    return 1 - q2n(seen, y, block, shrink(valid, KERNEL_SIZE // 2)).reshape(lead)


def hqnr(
    fused: Image,
    lrms_up: Image,
    pan: Image,
    gains: Sequence[float],
    ratio: int,
    variant: Variant = 'toolbox',
    block: int = 32,
    mask: Image | None = None,
) -> Tensor:
    """Hybrid QNR, (1 - D_lambda_K)(1 - D_s); 1 is best. Arguments as for both.

    Source: Aiazzi et al., "Full scale assessment of pansharpening methods and data products",
    SPIE 9244, 2014.
    """
    spatial = d_s(fused, lrms_up, pan, ratio, block, mask)
    return (1 - d_lambda_k(fused, lrms_up, gains, ratio, variant, block, mask)) * (1 - spatial)


def d_sr(fused: Image, pan: Image, mask: Image | None = None) -> Tensor:
    """Regression-based spatial distortion: the share of the PAN's variance no mix of bands gives.

    1 - R^2 of the PAN regressed on the fused bands, without intercept; least squares over all
    (valid) pixels of the scene.

    Returns:
        0 is best; NaN for a constant PAN.

    Source: Alparone, Garzelli and Vivone, "Spatial consistency for full-scale assessment of
    pansharpening", IGARSS 2018.
    """
    x = batch(fused, 'fused')
    valid = valid_pixels(mask, x)
    x, p = blank(x, valid), blank(_pan(pan, x), valid)
    columns, target = x.flatten(2), p.flatten(2)  # (B, C, N), (B, 1, N)
    gram = columns @ columns.transpose(1, 2)
    finite = gram.isfinite().all(2, keepdim=True).all(1, keepdim=True)
    # The pseudo-inverse: bands may be constant or equal. It raises for NaN, which is to be NaN.
    inverse = torch.linalg.pinv(gram.where(finite, torch.zeros_like(gram)), hermitian=True)
    weights = inverse @ (columns @ target.transpose(1, 2))
    residual = target - weights.transpose(1, 2) @ columns
    counted = None if valid is None else valid.flatten(2).unsqueeze(1)
    spread = _variance(residual, counted) / _variance(target, counted)
    return spread.reshape(tuple(fused.shape[:-3]))


def rqnr(
    fused: Image,
    lrms_up: Image,
    pan: Image,
    gains: Sequence[float],
    ratio: int,
    variant: Variant = 'toolbox',
    block: int = 32,
    mask: Image | None = None,
) -> Tensor:
    """Regression-based QNR, (1 - D_lambda_K)(1 - D_sR); 1 is best. Arguments as for both.

    Source: as for `d_sr`.
    """
    spectral = d_lambda_k(fused, lrms_up, gains, ratio, variant, block, mask)
    return (1 - spectral) * (1 - d_sr(fused, pan, mask))


def d_rho(fused: Image, pan: Image, ratio: int, mask: Image | None = None) -> Tensor:
    """Spatial distortion by local correlation: mean over pixels and bands of 1 - rho(F_b, PAN).

    Args:
        ratio: PAN pixels per multispectral pixel; the window has the next even size.
        mask: pixels whose window has seen an invalid one are left out.
    Returns:
        0 is best, at most 2; 1 where there is no detail.

    Source: Scarpa and Ciotola, "Full-resolution quality assessment for pansharpening", Remote
    Sensing 14(8), 2022.
    """
    x = batch(fused, 'fused')
    valid = valid_pixels(mask, x)
    x, p = blank(x, valid), blank(_pan(pan, x), valid)
    reach = -(-ratio // 2)
    p, energy = local_detail(p, reach)
    # Band by band: the whole image's sums would not stay in the processor's cache.
    maps = [local_correlation(band, p, energy, reach) for band in x.split(1, 1)]
    kept = shrink(valid, 2 * reach)
    values = torch.cat([mean(1 - rho.clamp(-1, 1), kept) for rho in maps], 1)  # (B, C)
    return values.mean(1).reshape(tuple(fused.shape[:-3]))


def local_detail(image: Tensor, reach: int) -> tuple[Tensor, Tensor]:
    """Pixels less the mean of their window, and the sum of their squares over the window.

    Windows have 2 reach rows and columns, from reach - 1 before a pixel to reach after it; outside
    the image are zeros.  (B, C, H, W) -> twice (B, C, H, W).
    """
    detail = image - _sums_around(image, reach) / (2 * reach) ** 2
    return detail, _sums_around(detail.square(), reach).clamp(min=FLOOR)


def local_correlation(image: Tensor, detail: Tensor, energy: Tensor, reach: int) -> Tensor:
    """Correlation with what `local_detail` has made of another image: (B, C, H, W)."""
    own, own_energy = local_detail(image, reach)
    return _sums_around(own * detail, reach) / ((own_energy * energy).sqrt() + FLOOR)


def upsampled(lrms: Tensor, ratio: int) -> Tensor:
    """`interp23tap`, or MATLAB's bicubic where the ratio is no power of two; (B, C, rh, rw)."""
    if ratio & (ratio - 1):
        return imresize(lrms, (ratio * lrms.shape[-2], ratio * lrms.shape[-1]))
    return interp23tap(lrms, ratio)


def interpolation_reach(ratio: int) -> int:
    """Samples on each side that `upsampled` mixes."""
    if ratio == 1:
        return 0
    return 3 if ratio & (ratio - 1) else polyphase(ratio).shape[1] // 2


def _coarsened(pan: Tensor, ratio: int) -> Tensor:
    height, width = pan.shape[-2:]
    if height % ratio or width % ratio:
        raise ValueError(
            f'a PAN of {height} x {width} pixels cannot be brought down by {ratio}: cut it to a '
            'multiple'
        )
    return upsampled(imresize_by(pan, ratio), ratio)


def _pan(pan: Image, fused: Tensor) -> Tensor:
    p = batch(pan, 'pan', 1)
    if p.shape[0] != fused.shape[0] or p.shape[-2:] != fused.shape[-2:]:
        raise ValueError(
            f'a PAN has the size of the fused image, found {tuple(p.shape)} and '
            f'{tuple(fused.shape)}'
        )
    return p


def _sums_around(image: Tensor, reach: int) -> Tensor:
    return window_sums(F.pad(image, (reach - 1, reach, reach - 1, reach)), 2 * reach)


def _variance(values: Tensor, counted: Tensor | None) -> Tensor:
    """Variance over the last axis of (B, 1, N); the divisor cancels out in ratios."""
    centre = mean(values.unsqueeze(1), counted)  # (B, 1): mean over (1, N)
    spread = (values - centre.unsqueeze(-1)).square()
    return mean(spread.unsqueeze(1), counted).reshape(-1)
