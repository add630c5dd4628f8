"""Indices at full resolution, without a reference: the QNR family, D_sR and D_rho.

`fused` is the sharpened image (C, H, W) and `pan` the panchromatic one (1, H, W); `lrms_up` is the
multispectral image, upsampled to the PAN's size by `interp23tap`. All may have a batch axis in
front. They are in digital numbers, since D_lambda_K rounds to integers as the toolbox does.

QNR and HQNR rank plain interpolation above sharp results: read them beside D_rho or D_sR, which see
the missing detail.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from plugins.pansharpening.imaging.masks import (
    Image,
    batch,
    blank,
    mean,
    pair,
    shrink,
    valid_pixels,
)
from plugins.pansharpening.imaging.mtf import KERNEL_SIZE, Variant, mtf_filter
from plugins.pansharpening.metrics.functional.cache import cached
from plugins.pansharpening.metrics.functional.local_correlation import (
    compute_local_correlation,
    compute_local_detail,
)
from plugins.pansharpening.metrics.functional.quality_index import compare_bands, q2n
from plugins.pansharpening.metrics.functional.upsampling import (
    get_interpolation_reach,
    get_upsampled_mask,
    reduce_and_upsample,
)


@cached
def d_lambda(fused: Image, lrms_up: Image, block: int = 32, mask: Image | None = None) -> Tensor:
    """Spectral distortion: change of the quality index between each two bands.

    Mean over the pairs of bands of |Q(F_i, F_j) - Q(E_i, E_j)| on distinct blocks.

    Args:
        mask: valid pixels of both images, see `get_upsampled_mask`; blocks that hold an invalid
            one are left out.
    Returns:
        0 is best; 0 for an image of one band.

    Source: Alparone et al., "Multispectral and panchromatic data fusion assessment without
    reference", PE&RS 74(2), 2008.
    """
    x, y, valid, lead = pair(fused, lrms_up, mask)
    fused_q, lrms_q = (compare_bands(image, None, block, valid) for image in (x, y))
    changed = fused_q - lrms_q  # (B, C, C)
    first, second = torch.triu_indices(x.shape[1], x.shape[1], 1, device=x.device)
    if first.numel() == 0:
        return x.new_zeros(lead)
    return changed[:, first, second].abs().mean(1).reshape(lead)


@cached
def d_s(
    fused: Image,
    lrms_up: Image,
    pan: Image,
    ratio: int,
    block: int = 32,
    mask: Image | None = None,
) -> Tensor:
    """Spatial distortion: change of the quality index between bands and PAN.

    Mean over bands of |Q(F_b, P) - Q(E_b, P_low)| on distinct blocks; P_low is the PAN reduced by
    `imresize` and upsampled by `interp23tap` (by `imresize` for a ratio that is not a power of 2,
    for which the toolbox gives no figures).

    Args:
        ratio: PAN pixels per multispectral pixel.
        mask: valid pixels of `fused` and `pan`. Blocks are left out if an invalid pixel has entered
            P_low, and hence E, there.
    Returns:
        0 is best.

    Source: as for `d_lambda`.
    """
    x, y, valid, lead = pair(fused, lrms_up, mask)
    p = blank(_as_pan_batch(pan, x), valid)
    p_low = reduce_and_upsample(p, ratio)
    # Pixels of P_low that are mixed with invalid ones are left out on both sides.
    kept = shrink(valid, (2 + get_interpolation_reach(ratio)) * ratio)
    changed = compare_bands(x, p, block, kept) - compare_bands(y, p_low, block, kept)  # (B, C, 1)
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
    spectral = d_lambda(fused, lrms_up, block, get_upsampled_mask(mask, fused, ratio))
    return (1 - spectral) * (1 - d_s(fused, lrms_up, pan, ratio, block, mask))


@cached
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
        mask: valid pixels of both images, see `get_upsampled_mask`; blocks are left out if the
            filter has mixed an invalid pixel into them.
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
    """Hybrid QNR, (1 - D_lambda_K)(1 - D_s); 1 is best. Arguments as for both, the mask of `d_s`.

    Source: Aiazzi et al., "Full scale assessment of pansharpening methods and data products",
    SPIE 9244, 2014.
    """
    seen = get_upsampled_mask(mask, fused, ratio)
    spectral = d_lambda_k(fused, lrms_up, gains, ratio, variant, block, seen)
    return (1 - spectral) * (1 - d_s(fused, lrms_up, pan, ratio, block, mask))


def hqnr_rho(
    fused: Image,
    lrms_up: Image,
    pan: Image,
    gains: Sequence[float],
    ratio: int,
    variant: Variant = 'toolbox',
    block: int = 32,
    mask: Image | None = None,
) -> Tensor:
    """HQNR times 1 - D_rho; 1 is best. Arguments as for `hqnr`."""
    quality = hqnr(fused, lrms_up, pan, gains, ratio, variant, block, mask)
    return quality * (1 - d_rho(fused, pan, ratio, mask))


@cached
def d_sr(fused: Image, pan: Image, mask: Image | None = None) -> Tensor:
    """Regression-based spatial distortion: share of the PAN's variance that the bands leave.

    1 - R^2 of the PAN regressed on the fused bands, without intercept; least squares over all
    (valid) pixels of the scene.

    Returns:
        0 is best; NaN for a constant PAN.

    Source: Alparone, Garzelli and Vivone, "Spatial consistency for full-scale assessment of
    pansharpening", IGARSS 2018.
    """
    x = batch(fused, 'fused')
    valid = valid_pixels(mask, x)
    x, p = blank(x, valid), blank(_as_pan_batch(pan, x), valid)
    columns, target = x.flatten(2), p.flatten(2)  # (B, C, N), (B, 1, N)
    gram = columns @ columns.transpose(1, 2)
    finite = gram.isfinite().all(2, keepdim=True).all(1, keepdim=True)
    # The pseudo-inverse, since bands may be constant or equal. It raises an error for NaN, for
    # which the index is NaN.
    inverse = torch.linalg.pinv(gram.where(finite, torch.zeros_like(gram)), hermitian=True)
    weights = inverse @ (columns @ target.transpose(1, 2))
    residual = target - weights.transpose(1, 2) @ columns
    counted = None if valid is None else valid.flatten(2).unsqueeze(1)
    spread = _compute_variance(residual, counted) / _compute_variance(target, counted)
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
    """Regression-based QNR, (1 - D_lambda_K)(1 - D_sR); 1 is best. Arguments as for `hqnr`.

    Source: as for `d_sr`.
    """
    seen = get_upsampled_mask(mask, fused, ratio)
    spectral = d_lambda_k(fused, lrms_up, gains, ratio, variant, block, seen)
    return (1 - spectral) * (1 - d_sr(fused, pan, mask))


@cached
def d_rho(fused: Image, pan: Image, ratio: int, mask: Image | None = None) -> Tensor:
    """Spatial distortion by local correlation: mean over pixels and bands of 1 - rho(F_b, PAN).

    Args:
        ratio: PAN pixels per multispectral pixel; the window has the next even size.
        mask: pixels whose window holds an invalid one are left out.
    Returns:
        0 is best, at most 2; 1 if there is no detail.

    Source: Scarpa and Ciotola, "Full-resolution quality assessment for pansharpening", Remote
    Sensing 14(8), 2022.
    """
    x = batch(fused, 'fused')
    valid = valid_pixels(mask, x)
    x, p = blank(x, valid), blank(_as_pan_batch(pan, x), valid)
    reach = -(-ratio // 2)
    p, energy = compute_local_detail(p, reach)
    # Band by band: the whole image's sums would not stay in the processor's cache.
    maps = [compute_local_correlation(band, p, energy, reach) for band in x.split(1, 1)]
    kept = shrink(valid, 2 * reach)
    values = torch.cat([mean(1 - rho.clamp(-1, 1), kept) for rho in maps], 1)  # (B, C)
    return values.mean(1).reshape(tuple(fused.shape[:-3]))


def _as_pan_batch(pan: Image, fused: Tensor) -> Tensor:
    p = batch(pan, 'pan', 1)
    if p.shape[0] != fused.shape[0] or p.shape[-2:] != fused.shape[-2:]:
        raise ValueError(
            f'a PAN must have the size of the fused image, found {tuple(p.shape)} and '
            f'{tuple(fused.shape)}'
        )
    return p


def _compute_variance(values: Tensor, counted: Tensor | None) -> Tensor:
    """Computes the variance over the last axis of (B, 1, N); the divisor cancels out in ratios."""
    centre = mean(values.unsqueeze(1), counted)  # (B, 1): mean over (1, N)
    spread = (values - centre.unsqueeze(-1)).square()
    return mean(spread.unsqueeze(1), counted).reshape(-1)
