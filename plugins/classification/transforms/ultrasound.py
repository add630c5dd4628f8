"""Augmentation as ultrasound scanners differ: in speckle, gain, depth, dynamic range and focus.

Rows are depth: the probe is at the top.
"""

from __future__ import annotations

import math

import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from plugins.classification.transforms.arguments import amount, chance, interval, uniform
from plugins.classification.transforms.pipeline import ImageTransform, PixelTransform, Sample
from toolkit.registry import TRANSFORMS


@TRANSFORMS.register
class Speckle(PixelTransform):
    """Multiplies an image by grains of noise, the same in all channels.

    Args:
        strength: standard deviation of the factor, to draw from.
        grain: standard deviation in pixels of the Gaussian that smooths the noise, to draw from;
            the grains are twice as wide as they are deep, as a scanner's lateral resolution is the
            poorer one.
    Raises:
        ValueError: a range that is none.
    """

    def __init__(
        self,
        strength: tuple[float, float] = (0.05, 0.2),
        grain: tuple[float, float] = (0.3, 1.0),
    ) -> None:
        self.strength = interval('strength', strength)
        self.grain = interval('grain', grain, 0, 20)

    def apply(self, image: Tensor) -> Tensor:
        strength, grain = uniform(*self.strength), uniform(*self.grain)
        noise = torch.randn(1, *image.shape[-2:])
        noise = blurred(noise, down=grain, across=2 * grain)
        return image * (1 + strength * noise / noise.std().clamp(min=1e-6))


@TRANSFORMS.register
class DepthGain(PixelTransform):
    """Multiplies rows by a smooth curve of depth, as the sliders of time gain compensation do.

    Args:
        gain: at each slider a factor from 1 - gain to 1 + gain.
        sliders: how many, evenly from the top to the bottom; 1 for the same gain everywhere.
    Raises:
        ValueError: a gain outside 0 to 1, no slider.
    """

    def __init__(self, gain: float = 0.3, sliders: int = 5) -> None:
        self.gain = amount('gain', gain, 1)
        if sliders < 1:
            raise ValueError(f'sliders must be at least 1, found {sliders}')
        self.sliders = sliders

    def apply(self, image: Tensor) -> Tensor:
        factors = 1 + self.gain * (2 * torch.rand(1, 1, self.sliders) - 1)
        curve = functional.interpolate(
            factors, image.shape[-2], mode='linear', align_corners=True
        )  # (1, 1, H)
        return image * curve[0, 0, :, None]


@TRANSFORMS.register
class DepthCrop(ImageTransform):
    """Cuts off what lies deep, as a scan of less depth; what is marked by a box is never cut.

    Args:
        keep: part of the depth that is kept, to draw from.
    Raises:
        ValueError: a range that is none, or outside 0 to 1.
    """

    native = True

    def __init__(self, keep: tuple[float, float] = (0.75, 1.0)) -> None:
        self.keep = interval('keep', keep, 0.05, 1)

    def __call__(self, sample: Sample) -> Sample:
        height = sample['image'].shape[-2]
        deepest = max((box[3] for box in sample['boxes']), default=0)
        rows = max(round(uniform(*self.keep) * height), math.ceil(deepest), 1)
        return {**sample, 'image': sample['image'][:, :rows]}


@TRANSFORMS.register
class DynamicRange(PixelTransform):
    """Shows echoes with another dynamic range.

    A scanner shows an echo of amplitude A as 1 + 20 log10(A) / D for a dynamic range of D dB, so
    with another one a pixel p becomes 1 - (1 - p) r with r the ratio of the two. What is black
    stays so: how faint it was is not known.

    Args:
        ratio: r, to draw from; above 1 echoes that are faint become darker.
    Raises:
        ValueError: a range that is none.
    """

    def __init__(self, ratio: tuple[float, float] = (0.8, 1.3)) -> None:
        self.ratio = interval('ratio', ratio, 0.05, 20)

    def apply(self, image: Tensor) -> Tensor:
        shown = 1 - (1 - image) * uniform(*self.ratio)
        return torch.where(image > 0, shown, image)


@TRANSFORMS.register
class ProbeBlur(PixelTransform):
    """Blurs away from the depth of focus, across more than along the beam.

    Args:
        lateral: standard deviation in pixels across the beam far from the focus, to draw from.
        axial: the same along the beam.
        focus: depth of the focus in parts of the image's height, to draw from.
        probability: that it is done.
    Raises:
        ValueError: a range that is none, or a probability that is none.
    """

    def __init__(
        self,
        lateral: tuple[float, float] = (0.5, 2.0),
        axial: tuple[float, float] = (0.0, 0.7),
        focus: tuple[float, float] = (0.2, 0.8),
        probability: float = 0.5,
    ) -> None:
        self.lateral, self.axial = (
            interval('lateral', lateral, 0, 20),
            interval('axial', axial, 0, 20),
        )
        self.focus = interval('focus', focus, 0, 1)
        self.probability = chance('probability', probability)

    def apply(self, image: Tensor) -> Tensor:
        drawn, lateral = uniform(0, 1), uniform(*self.lateral)
        axial, focus = uniform(*self.axial), uniform(*self.focus)
        if drawn >= self.probability:
            return image
        depth = torch.linspace(0, 1, image.shape[-2])[:, None]
        weight = ((depth - focus).abs() / max(focus, 1 - focus)).clamp(max=1)  # (H, 1)
        return torch.lerp(image, blurred(image, down=axial, across=lateral), weight)


def blurred(image: Tensor, down: float, across: float) -> Tensor:
    """An image (C, H, W) under a Gaussian, whose edges are repeated outwards.

    Args:
        image: float32.
        down: standard deviation in pixels along columns.
        across: the same along rows.
    """
    # Of a single image SciPy's is several times faster than a convolution of torch.
    smooth = ndimage.gaussian_filter(image.numpy(), (0, down, across), mode='nearest', truncate=3)
    return torch.from_numpy(smooth)
