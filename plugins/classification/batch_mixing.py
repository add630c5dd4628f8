"""Mixing of the images of a training batch with each other: MixUp and CutMix."""

from __future__ import annotations

import torch
from torch import Tensor

from plugins.classification.interfaces import BATCH_MIXINGS, BatchMixing
from toolkit.ranges import PositiveFloat, Probability


@BATCH_MIXINGS.register
class MixUp(BatchMixing):
    """Averages each image with another one of the batch: s x_i + (1 - s) x_j.

    The share s is drawn once for each batch from Beta(alpha, alpha).

    Args:
        alpha: of the Beta distribution; small values leave most batches nearly as they are.
        probability: share of the batches that are mixed.
    Shape: (B, C, H, W) -> (B, C, H, W), partners (B,), share ().
    Raises:
        ValueError: alpha is not above 0, or the probability is outside [0, 1].
    Source: Zhang et al., "mixup: beyond empirical risk minimization", ICLR 2018, arXiv 1710.09412.
    """

    def __init__(self, alpha: PositiveFloat = 0.2, probability: Probability = 1.0) -> None:
        super().__init__()
        _check_arguments(alpha, probability)
        self.alpha, self.probability = alpha, probability

    def mix(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        share = _draw_share(image, self.alpha, self.probability)
        partner = torch.randperm(len(image)).to(image.device)
        return share * image + (1 - share) * image[partner], partner, share


@BATCH_MIXINGS.register
class CutMix(BatchMixing):
    """Replaces a rectangle of each image by that of another image of the batch.

    The rectangle has the image's proportions, the area 1 - s with s from Beta(alpha, alpha), and a
    random centre; the share of the own label is the area that is left after clipping.

    Args:
        alpha: of the Beta distribution; 1 for any area alike.
        probability: share of the batches that are mixed.
    Shape: (B, C, H, W) -> (B, C, H, W), partners (B,), share ().
    Raises:
        ValueError: alpha is not above 0, or the probability is outside [0, 1].
    Source: Yun et al., "CutMix: regularization strategy to train strong classifiers with
        localizable features", ICCV 2019, arXiv 1905.04899.
    """

    def __init__(self, alpha: PositiveFloat = 1.0, probability: Probability = 1.0) -> None:
        super().__init__()
        _check_arguments(alpha, probability)
        self.alpha, self.probability = alpha, probability

    def mix(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        share = _draw_share(image, self.alpha, self.probability)
        partner = torch.randperm(len(image)).to(image.device)
        inside = torch.ones((), dtype=torch.bool, device=image.device)
        for axis in (-2, -1):
            side = image.shape[axis]
            length = (side * (1 - share).sqrt()).floor()
            centre = (torch.rand(()).to(share) * side).floor()
            places = torch.arange(side, device=image.device, dtype=share.dtype)
            start = centre - (length / 2).floor()
            own = (places >= start) & (places < start + length)
            inside = inside & (own[:, None] if axis == -2 else own[None, :])  # (H, W)
        mixed = torch.where(inside, image[partner], image)
        return mixed, partner, 1 - inside.to(share.dtype).mean()


def _check_arguments(alpha: float, probability: float) -> None:
    if not 0 < alpha < float('inf'):
        raise ValueError(f'alpha must be above 0, found {alpha}')
    if not 0 <= probability <= 1:
        raise ValueError(f'probability must be between 0 and 1, found {probability}')


def _draw_share(image: Tensor, alpha: float, probability: float) -> Tensor:
    """Draws the share of the own image, on the CPU, whose random state resumes bit by bit."""
    share = torch.distributions.Beta(alpha, alpha).sample()
    mixed = torch.rand(()) < probability
    return torch.where(mixed, share, torch.ones(())).to(image)
