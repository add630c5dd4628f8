"""Augmentation that simulates other ultrasound scanners: speckle, gain, depth, range and focus.

Rows are depth, with the probe at the top.
"""

from __future__ import annotations

import math

import torch
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from plugins.classification.transforms.arguments import (
    sample_uniform,
    validate_amount,
    validate_probability,
    validate_range,
)
from plugins.classification.transforms.pipeline import ImageTransform, PixelTransform, Sample
from toolkit.ranges import NonNegativeFloat, PositiveFloat, PositiveInt, Probability
from toolkit.registry import TRANSFORMS


@TRANSFORMS.register
class Speckle(PixelTransform):
    """Multiplies an image by smoothed noise, the same in all channels.

    Args:
        strength: range of the standard deviation of the factor.
        grain: range of the standard deviation in pixels of the Gaussian that smooths the noise. The
            grains are twice as wide as deep, because a scanner's lateral resolution is lower.
    Raises:
        ValueError: a range is not valid.
    """

    def __init__(
        self,
        strength: tuple[NonNegativeFloat, NonNegativeFloat] = (0.05, 0.2),
        grain: tuple[NonNegativeFloat, NonNegativeFloat] = (0.3, 1.0),
    ) -> None:
        self.strength = validate_range('strength', strength)
        self.grain = validate_range('grain', grain, 0, 20)

    def apply(self, image: Tensor) -> Tensor:
        strength, grain = sample_uniform(*self.strength), sample_uniform(*self.grain)
        noise = torch.randn(1, *image.shape[-2:])
        noise = blur(noise, down=grain, across=2 * grain)
        return image * (1 + strength * noise / noise.std().clamp(min=1e-6))


@TRANSFORMS.register
class DepthGain(PixelTransform):
    """Multiplies rows by a smooth curve of depth, like time gain compensation.

    Args:
        gain: the factor at each slider is in 1 - gain to 1 + gain.
        sliders: number of sliders, evenly spaced from top to bottom; 1 for one gain everywhere.
    Raises:
        ValueError: gain is not within 0 to 1, or there are no sliders.
    """

    def __init__(self, gain: Probability = 0.3, sliders: PositiveInt = 5) -> None:
        self.gain = validate_amount('gain', gain, 1)
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
    """Removes the deepest rows, like a scan of less depth; boxes are never cut.

    Args:
        keep: range of the share of rows to keep.
    Raises:
        ValueError: the range is not valid or not within 0 to 1.
    """

    native = True
    uses_labels = False

    def __init__(self, keep: tuple[PositiveFloat, PositiveFloat] = (0.75, 1.0)) -> None:
        self.keep = validate_range('keep', keep, 0.05, 1)

    def __call__(self, sample: Sample) -> Sample:
        height = sample['image'].shape[-2]
        deepest = max((box[3] for box in sample['boxes']), default=0)
        rows = max(round(sample_uniform(*self.keep) * height), math.ceil(deepest), 1)
        return {**sample, 'image': sample['image'][:, :rows]}


@TRANSFORMS.register
class DynamicRange(PixelTransform):
    """Changes the dynamic range.

    A scanner shows an echo of amplitude A as 1 + 20 log10(A) / D for a dynamic range of D dB. With
    another dynamic range, a pixel p becomes 1 - (1 - p) r, where r is the ratio of the two. Black
    pixels stay black, because their amplitude is not known.

    Args:
        ratio: range of r; above 1, weak echoes become darker.
    Raises:
        ValueError: a range is not valid.
    """

    def __init__(self, ratio: tuple[PositiveFloat, PositiveFloat] = (0.8, 1.3)) -> None:
        self.ratio = validate_range('ratio', ratio, 0.05, 20)

    def apply(self, image: Tensor) -> Tensor:
        changed = 1 - (1 - image) * sample_uniform(*self.ratio)
        return torch.where(image > 0, changed, image)


@TRANSFORMS.register
class ProbeBlur(PixelTransform):
    """Blurs an image outside the focus, more across the beam than along it.

    Args:
        lateral: range of the standard deviation in pixels across the beam, far from the focus.
        axial: range of the standard deviation in pixels along the beam.
        focus: range of the depth of the focus, relative to the image's height.
        probability: probability of the transform.
    Raises:
        ValueError: a range or a probability is not valid.
    """

    def __init__(
        self,
        lateral: tuple[NonNegativeFloat, NonNegativeFloat] = (0.5, 2.0),
        axial: tuple[NonNegativeFloat, NonNegativeFloat] = (0.0, 0.7),
        focus: tuple[Probability, Probability] = (0.2, 0.8),
        probability: Probability = 0.5,
    ) -> None:
        self.lateral, self.axial = (
            validate_range('lateral', lateral, 0, 20),
            validate_range('axial', axial, 0, 20),
        )
        self.focus = validate_range('focus', focus, 0, 1)
        self.probability = validate_probability('probability', probability)

    def apply(self, image: Tensor) -> Tensor:
        random, lateral = sample_uniform(0, 1), sample_uniform(*self.lateral)
        axial, focus = sample_uniform(*self.axial), sample_uniform(*self.focus)
        if random >= self.probability:
            return image
        depth = torch.linspace(0, 1, image.shape[-2])[:, None]
        weight = ((depth - focus).abs() / max(focus, 1 - focus)).clamp(max=1)  # (H, 1)
        return torch.lerp(image, blur(image, down=axial, across=lateral), weight)


def blur(image: Tensor, down: float, across: float) -> Tensor:
    """Blurs an image (C, H, W) with a Gaussian; edge pixels are repeated outwards.

    Args:
        image: float32.
        down: standard deviation in pixels along columns.
        across: standard deviation in pixels along rows.
    """
    # For a single image SciPy is several times faster than a convolution of torch.
    smooth = ndimage.gaussian_filter(image.numpy(), (0, down, across), mode='nearest', truncate=3)
    return torch.from_numpy(smooth)
