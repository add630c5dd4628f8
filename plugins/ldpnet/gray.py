"""Graying: multispectral -> PAN-like, as a weighted sum of the bands."""

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
# Roots of weights start no lower than this: a root of zero would never learn.
LEAST_ROOT = 1e-2


@DEGRADATIONS.register
class ChannelGray(Degradation):
    """A weighted sum of the bands as PAN, one weight per band and image, predicted by a small net.

    The weights are positive and sum to 1. They come from the image's global average, so they are
    constants within an image and move with its content.

    Args:
        bands: C. Injected by the parent.
        sigmoid: whether a sigmoid comes before the softmax, as published. It bounds each weight to
            [1 / (1 + (C - 1) e), e / (e + C - 1)], .109 to .475 with 4 bands and .050 to .280
            with 8: no band can be switched off. Without it every mixture can be reached.
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
            return _mixed(image, self.weights(image))  # (B, 1, H, W)

    def weights(self, image: Tensor) -> Tensor:
        """Each band's share of the gray image: (B, C, H, W) -> (B, C), positive, summing to 1."""
        # Of both convolutions only the mean is wanted, and that of a linear layer needs no more
        # than the means of its input, shifted as its taps are.
        means = (
            _shifted_sums(image.to(self.conv1.weight.dtype)) / image[0, 0].numel()
        )  # (B, C, 3, 3)
        features = torch.einsum('bcyx,ocyx->bo', means, self.conv1.weight) + self.conv1.bias
        features = features @ self.conv2.weight[..., 0, 0].T + self.conv2.bias  # (B, C)
        scores = self.fc(features)  # (B, C)
        return torch.softmax(scores.sigmoid() if self.sigmoid else scores, 1)


@DEGRADATIONS.register
class MeanGray(Degradation):
    """The plain mean of the bands as PAN; nothing is learned.

    Args:
        bands: C. Injected by the parent.
    Shape: (B, C, H, W) -> (B, 1, H, W).
    """

    out_bands: ClassVar[Literal['same', 1]] = 1

    def __init__(self, bands: int) -> None:
        super().__init__()

    def forward(self, image: Tensor) -> Tensor:
        return image.mean(1, keepdim=True)  # (B, 1, H, W)


@DEGRADATIONS.register
class RegressionGray(Degradation, DataInitialized):
    """A weighted sum of the bands and an offset as PAN, the same for all images.

    The weights are those of the regression of PAN, at the scale of the multispectral image, on its
    bands, found before a training starts; until then all are 1 / C.

    Args:
        bands: C. Injected by the parent.
        learned: whether training goes on from there, or the weights stay.
        sign: 'any', or 'non-negative': weights are squares of what is learned, and can be zero.
        offset: whether there is one.
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
            gray = _mixed(image, self.weights(image))  # (B, 1, H, W)
            return gray if self.offset is None else gray + self.offset

    def weights(self, image: Tensor) -> Tensor:
        """Each band's weight: (B, C, H, W) -> (B, C), the same for each image."""
        weight = self.weight.square() if self.sign == 'non-negative' else self.weight
        return weight.expand(len(image), -1)

    def learn(self, ms: Tensor, pan: Tensor) -> str:
        """Least squares; of bands that say the same each gets its share."""
        if self.offset is not None:
            ms = torch.cat([ms, torch.ones_like(ms[:, :1])], 1)  # (N, C + 1)
        lowest = [0.0 if self.sign == 'non-negative' else -np.inf] * len(self.weight)
        free = [-np.inf] * (ms.shape[1] - len(self.weight))
        # The normal equations' factor: as many rows as unknowns, however many pixels there are.
        triangle = torch.linalg.qr(torch.cat([ms, pan[:, None]], 1), mode='r').R.numpy(force=True)
        bounds = (np.array(lowest + free), np.inf)
        solution = lsq_linear(triangle[:, :-1], triangle[:, -1], bounds).x
        weight = torch.from_numpy(solution[: len(self.weight)])
        with torch.no_grad():
            root = weight.clamp(min=0).sqrt().clamp(min=LEAST_ROOT)
            self.weight.copy_(root if self.sign == 'non-negative' else weight)
            if self.offset is not None:
                self.offset.fill_(float(solution[-1]))
        shares = ', '.join(f'{share:.3f}' for share in weight.tolist())
        return f'PAN is {shares} of the bands' + (
            '' if self.offset is None else f' and {solution[-1]:+.4f}'
        )


def _mixed(image: Tensor, weights: Tensor) -> Tensor:
    """(B, C, H, W) and (B, C) -> (B, 1, H, W)."""
    return torch.einsum('bc,bchw->bhw', weights, image.to(weights.dtype))[:, None]


def _shifted_sums(image: Tensor) -> Tensor:
    """Sums over an image of what each tap of a 3x3 kernel sees of it, zeros beyond the border.

    (B, C, H, W) -> (B, C, 3, 3).
    """
    rows = image.sum(-1)  # (B, C, H)
    rows = torch.stack([rows - image[..., -1], rows, rows - image[..., 0]], -1)  # (B, C, H, 3)
    sums = rows.sum(2)  # (B, C, 3)
    return torch.stack([sums - rows[:, :, -1], sums, sums - rows[:, :, 0]], 2)
