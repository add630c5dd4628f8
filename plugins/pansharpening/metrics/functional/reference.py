"""Indices of the difference from a reference: SAM, ERGAS, RMSE, PSNR, SSIM, SCC."""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from plugins.pansharpening.imaging.masks import Image, blank, by_strips, inner_windows, mean, pair

Border = Literal['zero', 'interior']
Average = Literal['image', 'bands']
Peak = Literal['scale', 'reference']

SSIM_SIZE, SSIM_SIGMA = 11, 1.5  # the Gaussian window of the paper


def sam(image: Image, reference: Image, mask: Image | None = None) -> Tensor:
    """Spectral angle mapper: mean angle between the two spectra of each pixel, in degrees.

    Pixels with a spectrum of zeros are left out; NaN if all have one. Lower is better, 0 is best.

    Source: Yuhas, Goetz and Boardman, 1992.
    """
    x, y, _, lead = pair(image, reference, mask)  # masked pixels are zero, hence left out
    dot = (x * y).sum(1)
    norm = (x.square().sum(1) * y.square().sum(1)).sqrt()  # (B, H, W)
    seen = norm != 0  # NaN is seen, and is the result
    angle = torch.acos((dot / norm.where(seen, torch.ones_like(norm))).clamp(-1, 1))
    total = angle.where(seen, torch.zeros_like(angle)).sum((1, 2))
    return torch.rad2deg(total / seen.sum((1, 2))).reshape(lead)


def ergas(image: Image, reference: Image, ratio: int, mask: Image | None = None) -> Tensor:
    """Relative dimensionless global error: 100 / ratio sqrt(mean_b(MSE_b / mean_b(reference)^2)).

    Lower is better, 0 is best; infinite or NaN if a band of the reference has mean 0.

    Source: Wald, "Data Fusion", 2002.
    """
    x, y, valid, lead = pair(image, reference, mask)
    relative = mean((x - y).square(), valid) / mean(y, valid).square()  # (B, C)
    return (100 / ratio * relative.mean(1).sqrt()).reshape(lead)


def rmse(image: Image, reference: Image, mask: Image | None = None) -> Tensor:
    """Root of the mean squared error over pixels and bands, in the images' unit; 0 is best."""
    x, y, valid, lead = pair(image, reference, mask)
    return mean((x - y).square(), valid).mean(1).sqrt().reshape(lead)


def psnr(
    image: Image,
    reference: Image,
    peak: float | None,
    mask: Image | None = None,
    average: Average = 'image',
) -> Tensor:
    """Peak signal-to-noise ratio 20 log10(peak / RMSE), in decibels.

    Args:
        peak: the largest possible value, 2047 for digital numbers of 11 bits; None for the largest
            value of the reference.
        average: 'image' takes one RMSE over all bands together, 'bands' the mean of each band's
            ratio, which is the higher of both unless all bands have the same error.
    Returns:
        Higher is better; infinite for identical images.
    """
    x, y, valid, lead = pair(image, reference, mask)
    error = mean((x - y).square(), valid)  # (B, C)
    highest: Tensor | float
    if peak is None:
        highest = y.flatten(1).amax(1, keepdim=True)  # (B, 1); invalid pixels are zero
    else:
        highest = _check_peak(peak)
    if average == 'image':
        error = error.mean(1, keepdim=True)
    return (20 * torch.log10(highest / error.sqrt())).mean(1).reshape(lead)


def ssim(image: Image, reference: Image, peak: float, mask: Image | None = None) -> Tensor:
    """Structural similarity, mean over windows inside the image and over bands; 1 is best.

    Gaussian windows of 11 x 11 pixels with sigma 1.5, K1 = 0.01, K2 = 0.03, population variances.

    Args:
        peak: the largest possible value, 2047 for digital numbers of 11 bits.
        mask: windows that touch an invalid pixel are left out.
    Raises:
        ValueError: the images have fewer than 11 rows or columns, or the peak is not positive.

    Source: Wang, Bovik, Sheikh and Simoncelli, IEEE TIP 13(4), 2004.
    """
    x, y, valid, lead = pair(image, reference, mask)
    if min(x.shape[-2:]) < SSIM_SIZE:
        raise ValueError(
            f'SSIM needs at least {SSIM_SIZE} x {SSIM_SIZE} pixels, found {tuple(x.shape[-2:])}'
        )
    c1, c2 = (0.01 * _check_peak(peak)) ** 2, (0.03 * peak) ** 2
    values = by_strips(lambda a, b: _map_ssim(a, b, c1, c2), x, y, SSIM_SIZE)
    return mean(values, inner_windows(valid, SSIM_SIZE)).mean(1).reshape(lead)


def scc(
    image: Image, reference: Image, border: Border = 'zero', mask: Image | None = None
) -> Tensor:
    """Spatial correlation: sum(G_x G_y) / sqrt(sum G_x^2 sum G_y^2) of the Sobel magnitudes G.

    Over all pixels and bands together; the magnitudes are not centred.

    Args:
        border: 'zero' crops one pixel and pads with zeros before the gradient, as the toolbox does;
            the strong edges that this makes along the border bias the value. 'interior' takes only
            the gradients of whole neighbourhoods.
        mask: gradients that touch an invalid pixel are left out.
    Returns:
        Between 0 and 1, higher is better; NaN if an image has no gradient.

    Source: Zhou, Civco and Silander, IJRS 19(4), 1998; Sobel as in the DLPan toolbox.
    """
    if border not in get_args(Border):
        raise ValueError(f"border must be 'zero' or 'interior', found {border!r}")
    x, y, valid, lead = pair(image, reference, mask)
    if min(x.shape[-2:]) < 3:
        raise ValueError(f'SCC needs at least 3 x 3 pixels, found {tuple(x.shape[-2:])}')
    inside = inner_windows(valid, 3)  # (B, 1, H - 2, W - 2), as the gradients in either variant
    sums = x.new_zeros(3, x.shape[0])
    for bands in zip(x.split(1, 1), y.split(1, 1)):
        gx, gy = (blank(_compute_sobel(band, border), inside).flatten(1) for band in bands)
        sums += torch.stack([(gx * gy).sum(1), gx.square().sum(1), gy.square().sum(1)])
    return (sums[0] / (sums[1] * sums[2]).sqrt()).reshape(lead)


def _compute_sobel(image: Tensor, border: Border) -> Tensor:
    """Computes the gradient magnitude: (B, C, H, W) -> (B, C, H - 2, W - 2)."""
    if border == 'zero':
        image = F.pad(image[..., 1:-1, 1:-1], (1, 1, 1, 1))
    down = image[..., 2:, :] - image[..., :-2, :]
    down = down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:]
    right = image[..., 2:] - image[..., :-2]
    right = right[..., :-2, :] + 2 * right[..., 1:-1, :] + right[..., 2:, :]
    return torch.hypot(down, right)


def _map_ssim(x: Tensor, y: Tensor, c1: float, c2: float) -> Tensor:
    """Computes SSIM in all windows: (B, 1, H, W) twice -> (B, 1, H - 10, W - 10)."""
    mean_x, mean_y = _average_gaussian(x), _average_gaussian(y)
    product, squares = mean_x * mean_y, mean_x.square() + mean_y.square()
    covariance = _average_gaussian(x * y) - product
    variances = _average_gaussian(x.square() + y.square()) - squares
    return (2 * product + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2))


def _average_gaussian(image: Tensor) -> Tensor:
    """Averages windows by SSIM's Gaussian: (B, C, H, W) -> (B, C, H - 10, W - 10)."""
    offset = torch.arange(SSIM_SIZE, dtype=torch.float64, device=image.device) - SSIM_SIZE // 2
    weight = torch.exp(-offset.square() / (2 * SSIM_SIGMA**2))
    weight = weight / weight.sum()
    # By FFT: for float64 on a CPU five times faster than convolutions.
    height, width = image.shape[-2:]
    response = torch.fft.fft(weight, height)[:, None] * torch.fft.rfft(weight, width)
    means = torch.fft.irfft2(torch.fft.rfft2(image) * response, s=(height, width))
    return means[..., SSIM_SIZE - 1 :, SSIM_SIZE - 1 :]


def _check_peak(peak: float) -> float:
    if not 0 < peak < float('inf'):
        raise ValueError(f'peak must be positive and finite, found {peak}')
    return peak
