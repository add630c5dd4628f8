"""Losses of networks that train on the one scene that they sharpen.

In the docstrings F is the sharpened image.
"""

from __future__ import annotations

import torch
from torch import Tensor

from plugins.pansharpening.imaging.autocast import full, without_autocast
from plugins.pansharpening.losses import FLAT, NormedLoss, compute_difference
from toolkit.interfaces import Loss
from toolkit.registry import LOSSES


@LOSSES.register
class ReducedScale(NormedLoss):
    """Difference between LR and the fusion of both images degraded by the ratio.

    The multispectral image is its own reference one scale down, as in the protocol of Wald; beside
    losses without a reference, a network so trains at both resolutions at once.

    Args:
        norm: 'l1' mean absolute or 'l2' mean squared difference.
    Shape: lrms_again (B, C, h', w'), lrms (B, C, h, w) -> scalar; h' and w' are the largest
        multiples of the ratio in h and w.
    Raises:
        ValueError: an unknown norm.
    Source: Xie et al., "ZSBP: zero-shot semi-supervised learning for blind pansharpening", IEEE
        JSTARS 18, 2025, doi 10.1109/JSTARS.2025.3597784.
    """

    def forward(self, lrms_again: Tensor, lrms: Tensor) -> Tensor:
        height, width = lrms_again.shape[-2:]
        return compute_difference(lrms_again, lrms[..., :height, :width], self.norm)


@LOSSES.register
class Guidance(NormedLoss):
    """Difference between F and the image of a frozen generator, `model.guide`.

    Args:
        norm: 'l1' mean absolute or 'l2' mean squared difference.
    Shape: hrms (B, C, H, W), guide (B, C, H, W) -> scalar.
    Raises:
        ValueError: an unknown norm.
    Source: "Fast model-guided instance-wise adaptation framework for real-world pansharpening with
        fidelity constraints", arXiv 2604.08903, 2026, where a pretrained network guides.
    """

    def forward(self, hrms: Tensor, guide: Tensor) -> Tensor:
        return compute_difference(hrms, guide, self.norm)


@LOSSES.register
class PanRegression(Loss):
    """Share of the PAN's variance that a regression on the bands of F leaves, 1 - R^2.

    The regression has a constant and is one for each patch; the mean over patches counts. It is the
    spatial factor of RQNR, for which `Consistency` is the spectral one. D_sR measures much the
    same over the whole scene, without a constant; after training with this loss, judge by others.

    Shape: hrms (B, C, H, W), pan (B, 1, H, W) -> scalar from 0 to 1.
    Source: Restaino, "Pansharpening techniques: optimizing the loss function for convolutional
        neural networks", Remote Sensing 17(1):16, 2025 (RQNR as a loss); Alparone, Garzelli and
        Vivone, IGARSS 2018 (the index).
    """

    def forward(self, hrms: Tensor, pan: Tensor) -> Tensor:
        with without_autocast(hrms):
            # Bands are nearly dependent: float32 would leave the normal equations few digits.
            bands, target = (full(i).double().flatten(2) for i in (hrms, pan))  # (B, C or 1, N)
            bands, target = (i - i.mean(2, keepdim=True) for i in (bands, target))
            pixels = bands.shape[2]
            gram = bands @ bands.transpose(1, 2) / pixels  # (B, C, C)
            cross = bands @ target.transpose(1, 2) / pixels  # (B, C, 1)
            flat = FLAT * torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device)
            factor, _ = torch.linalg.cholesky_ex(gram + flat)
            weights = torch.cholesky_solve(cross, factor)  # (B, C, 1)
            variance = target.square().mean(2)  # (B, 1)
            explained = (cross * weights).sum(1)  # (B, 1)
            return (1 - (explained + FLAT) / (variance + FLAT)).mean().to(hrms.dtype)
