"""Graying: a PAN-like image as a weighted sum of the multispectral bands."""

from __future__ import annotations

from typing import ClassVar, Literal, get_args

import numpy as np
import torch
from scipy.optimize import lsq_linear
from torch import Tensor, nn

from plugins.pansharpening.data_init import DataInitialized
from plugins.pansharpening.imaging.autocast import without_autocast
from toolkit.interfaces import Degradation
from toolkit.registry import DEGRADATIONS

Sign = Literal['any', 'non-negative']
# The roots of weights start at this value or above, since a root of zero has no gradient.
MIN_ROOT = 1e-2


@DEGRADATIONS.register
class ChannelGray(Degradation):
    """A weighted sum of the bands, whose weights a small network predicts for each image.

    The weights are positive and sum to 1. They depend on the image's global average alone, so that
    they are constant within an image and change with its content.

    Args:
        sigmoid: applies a sigmoid before the softmax, as published. It bounds each weight to
            [1 / (1 + (C - 1) e), e / (e + C - 1)], .109 to .475 with 4 bands and .050 to .280
            with 8, so that no weight can vanish. Without it the weights have no such bounds.
    Shape: (B, C, H, W) -> (B, 1, H, W).
    Source: Ni et al. 2022, doi 10.1109/JSTARS.2022.3188181, graying block.
    """

    out_bands: ClassVar[Literal['same', 1]] = 1

    def __init__(self, bands: int, sigmoid: bool = True) -> None:
        super().__init__()
        self.sigmoid = sigmoid
        self.conv1 = nn.Conv2d(bands, bands, 3, padding=1)
        self.conv2 = nn.Conv2d(bands, bands, 1)
        self.fc = nn.Sequential(
            nn.Linear(bands, 4 * bands, bias=False),
            nn.ReLU(),
            nn.Linear(4 * bands, bands, bias=False),
        )
        for convolution in (self.conv1, self.conv2):
            nn.init.kaiming_normal_(convolution.weight)
            nn.init.zeros_(convolution.bias)

    def forward(self, image: Tensor) -> Tensor:
        with without_autocast(image):
            return _mix_bands(image, self.compute_weights(image))  # (B, 1, H, W)

    def compute_weights(self, image: Tensor) -> Tensor:
        """Computes the weights of the bands: (B, C, H, W) -> (B, C), positive, with a sum of 1."""
        # Only the mean of the convolutions' result is needed. For a linear layer it follows from
        # the mean of its input under each tap.
        sums = _sum_by_tap(image.to(self.conv1.weight.dtype))  # (B, C, 3, 3)
        means = sums / image[0, 0].numel()
        features = torch.einsum('bcyx,ocyx->bo', means, self.conv1.weight) + self.conv1.bias
        features = features @ self.conv2.weight[..., 0, 0].T + self.conv2.bias  # (B, C)
        scores = self.fc(features)  # (B, C)
        return torch.softmax(scores.sigmoid() if self.sigmoid else scores, 1)


@DEGRADATIONS.register
class MeanGray(Degradation):
    """The mean of the bands; nothing is learned.

    Shape: (B, C, H, W) -> (B, 1, H, W).
    """

    out_bands: ClassVar[Literal['same', 1]] = 1

    def __init__(self, bands: int) -> None:
        super().__init__()

    def forward(self, image: Tensor) -> Tensor:
        return image.mean(1, keepdim=True)  # (B, 1, H, W)


@DEGRADATIONS.register
class RegressionGray(Degradation, DataInitialized):
    """A weighted sum of the bands plus an offset, with the same weights for all images.

    Before training starts, the weights are found by a regression of the PAN, at the scale of the
    multispectral image, on the bands. Until then each weight is 1 / C.

    Args:
        learned: trains the weights further; by default they stay fixed.
        sign: of the weights: 'any', or 'non-negative', for which the parameters are their roots.
        offset: adds an offset.
    Shape: (B, C, H, W) -> (B, 1, H, W).
    Raises:
        ValueError: an unknown sign.
    """

    out_bands: ClassVar[Literal['same', 1]] = 1

    def __init__(
        self, bands: int, learned: bool = False, sign: Sign = 'any', offset: bool = True
    ) -> None:
        super().__init__()
        if sign not in get_args(Sign):
            raise ValueError(f'sign must be any or non-negative, found {sign!r}')
        self.sign = sign
        weight = torch.full((bands,), 1 / bands)
        weight = weight.sqrt() if sign == 'non-negative' else weight
        shift = torch.zeros(()) if offset else None
        if learned:
            self.weight = nn.Parameter(weight)
            self.offset = None if shift is None else nn.Parameter(shift)
        else:
            self.register_buffer('weight', weight)
            self.register_buffer('offset', shift)
        self.register_buffer('fitted', torch.tensor(False))

    def forward(self, image: Tensor) -> Tensor:
        with without_autocast(image):
            gray = _mix_bands(image, self.compute_weights(image))  # (B, 1, H, W)
            return gray if self.offset is None else gray + self.offset

    def compute_weights(self, image: Tensor) -> Tensor:
        """Repeats the weights for each image: (B, C, H, W) -> (B, C)."""
        weight = self.weight.square() if self.sign == 'non-negative' else self.weight
        return weight.expand(len(image), -1)

    def learn(self, ms: Tensor, pan: Tensor) -> str:
        """Finds the weights by least squares; linearly dependent bands share a weight."""
        if self.offset is not None:
            ms = torch.cat([ms, torch.ones_like(ms[:, :1])], 1)  # (N, C + 1)
        lowest = [0.0 if self.sign == 'non-negative' else -np.inf] * len(self.weight)
        free = [-np.inf] * (ms.shape[1] - len(self.weight))
        # The factor R has as many rows as unknowns, however many pixels there are.
        triangle = torch.linalg.qr(torch.cat([ms, pan[:, None]], 1), mode='r').R.numpy(force=True)
        bounds = (np.array(lowest + free), np.inf)
        solution = lsq_linear(triangle[:, :-1], triangle[:, -1], bounds).x
        weight = torch.from_numpy(solution[: len(self.weight)])
        with torch.no_grad():
            root = weight.clamp(min=0).sqrt().clamp(min=MIN_ROOT)
            self.weight.copy_(root if self.sign == 'non-negative' else weight)
            if self.offset is not None:
                self.offset.fill_(float(solution[-1]))
        shares = ', '.join(f'{share:.3f}' for share in weight.tolist())
        return f'PAN is {shares} of the bands' + (
            '' if self.offset is None else f' and {solution[-1]:+.4f}'
        )


def _mix_bands(image: Tensor, weights: Tensor) -> Tensor:
    """Sums bands by weights: (B, C, H, W) and (B, C) -> (B, 1, H, W)."""
    return torch.einsum('bc,bchw->bhw', weights, image.to(weights.dtype))[:, None]


def _sum_by_tap(image: Tensor) -> Tensor:
    """Sums the pixels under each tap of a 3x3 kernel that moves over the image, zero-padded.

    Shape: (B, C, H, W) -> (B, C, 3, 3).
    """
    rows = image.sum(-1)  # (B, C, H)
    rows = torch.stack([rows - image[..., -1], rows, rows - image[..., 0]], -1)  # (B, C, H, 3)
    sums = rows.sum(2)  # (B, C, 3)
    return torch.stack([sums - rows[:, :, -1], sums, sums - rows[:, :, 0]], 2)
