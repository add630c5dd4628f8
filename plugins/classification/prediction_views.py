"""Test-time augmentation: views of an image over whose logits a prediction is averaged."""

from __future__ import annotations

from typing import Annotated

import torch.nn.functional as F
from torch import Tensor

from plugins.classification.interfaces import PREDICTION_VIEWS, PredictionViews
from toolkit.ranges import Gt, Lt


@PREDICTION_VIEWS.register
class FlippedViews(PredictionViews):
    """The image and its mirror images.

    Args:
        horizontal: mirror left and right.
        vertical: mirror top and bottom, which turns an ultrasound image upside down.
    Shape: (B, C, H, W) -> 2 or 4 of (B, C, H, W).
    Raises:
        ValueError: neither is set.
    """

    def __init__(self, horizontal: bool = True, vertical: bool = False) -> None:
        super().__init__()
        if not horizontal and not vertical:
            raise ValueError('neither horizontal nor vertical is set; leave the views out')
        self.horizontal, self.vertical = horizontal, vertical

    def forward(self, image: Tensor) -> list[Tensor]:
        views = [image]
        if self.horizontal:
            views += [view.flip(-1) for view in views]
        if self.vertical:
            views += [view.flip(-2) for view in views]
        return views


@PREDICTION_VIEWS.register
class CroppedViews(PredictionViews):
    """The image, and its four corners and its centre enlarged to its size.

    Args:
        share: side of a crop, as a share of the image's.
    Shape: (B, C, H, W) -> 6 of (B, C, H, W).
    Raises:
        ValueError: share is outside (0, 1).
    Source: of the five crops, Krizhevsky, Sutskever and Hinton, "ImageNet classification with deep
        convolutional neural networks", NIPS 2012, section 4.1.
    """

    def __init__(self, share: Annotated[float, Gt(0), Lt(1)] = 0.875) -> None:
        super().__init__()
        if not 0 < share < 1:
            raise ValueError(f'share must be above 0 and below 1, found {share}')
        self.share = share

    def forward(self, image: Tensor) -> list[Tensor]:
        height, width = image.shape[-2:]
        h, w = max(1, round(self.share * height)), max(1, round(self.share * width))
        corners = [(0, 0), (0, width - w), (height - h, 0), (height - h, width - w)]
        views = [image]
        for top, left in (*corners, ((height - h) // 2, (width - w) // 2)):
            crop = image[..., top : top + h, left : left + w]
            views.append(F.interpolate(crop, (height, width), mode='bilinear'))
        return views
