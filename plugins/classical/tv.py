"""TV: the image of least total variation that agrees with the bands and the PAN."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor

from plugins.classical.numerics.bilinear_resize import downsample, upsample
from plugins.classical.numerics.filters import pad_to_multiple
from plugins.pansharpening.imaging.autocast import without_autocast
from plugins.pansharpening.imaging.lazy_image import Border
from plugins.pansharpening.imaging.resample import decimate
from plugins.pansharpening.interfaces import GENERATORS, Generator
from plugins.pansharpening.scenes.sensors import SensorSpec, get_sensor
from toolkit.errors import DataError
from toolkit.ranges import PositiveFloat, PositiveInt

Variant = Literal['toolbox', 'paper']

# Values of all bands in a strip of rows, so that they fit a processor's cache.
STRIP = 2**18
# The toolbox reads the differences along columns of band k at position k + 4, after those along
# rows, for any number of bands.
TOOLBOX_BANDS = 4


@dataclass(frozen=True)
class Preset:
    """Values of the toolbox for a sensor, for images in digital numbers of 11 bits.

    Args:
        weights: of the bands in the PAN.
        regularization: weight of the total variation, in digital numbers.
        step: divisor of the residuals in each iteration.
        iterations: their number.
    """

    weights: tuple[float, ...]
    regularization: float
    step: float
    iterations: int


LEVELS = 2047  # digital numbers of 11 bits
IKONOS = Preset((0.1091, 0.2127, 0.2928, 0.3854), 0.47106, 1.064, 10)
GEOEYE = Preset((0.1552, 0.3959, 0.2902, 0.1587), 157.8954, 0.75, 50)
WORLDVIEW = Preset((0.0657, 0.1012, 0.1537, 0.1473, 0.1245, 0.1545, 0.1338, 0.1192), 1e-3, 0.75, 50)
PRESETS = {
    'IKONOS': IKONOS,
    'GE1': GEOEYE,
    'WV4': GEOEYE,
    'WV2': WORLDVIEW,  # the toolbox has none; its published figures are made with those of WV3
    'WV3': WORLDVIEW,
}


@GENERATORS.register
class TV(Generator):
    """Total variation: argmin over x of |M - down(x)|^2 + |P - w . x|^2 + regularization TV(x).

    M are the samples of `lrms_up`, P the PAN, down is the bilinear `imresize` with antialiasing, up
    is `imresize` by the ratio, which replaces the adjoint, and TV(x) is the sum of |grad x_k| over
    pixels and bands. Majorization-minimization from x = z = 0, with D the forward differences:
    b = step x + up(M - down(x)) + w (P - w . x), then
    z = (D b + (constant - D D^T) z) / (2 step / regularization |D x| + constant), then
    x = (b - D^T z) / step.

    The variant 'toolbox' repeats two deviations of the DLPan toolbox: D D^T z instead of
    (constant - D D^T) z, and, for more than four bands, a D^T that uses the differences along
    columns of another band (see TOOLBOX_BANDS).

    Every step is local, so that a pixel depends only on its `halo`. The total variation depends on
    the unit: the images are in [0, 1].

    Args:
        sensor: for the toolbox's values of the arguments below that are None: IKONOS, GE1, WV4,
            WV3, and WV2 with those of WV3. Other sensors take those of IKONOS and equal weights.
        weights: w, one for each band.
        regularization: above 0, for images in [0, 1].
        step: above 0; converges if it is above (1 + |w|^2) / 2.
        constant: above 0; converges if it is at least 8, the largest eigenvalue of D D^T.
        iterations: at least 1; the halo grows by some ten pixels with each.
        variant: 'toolbox' or 'paper'.
    Attributes:
        border: 'wrap' takes M where the toolbox does, half a PAN pixel below and right of where
            down(x) has it, which moves the colours up and left by a third of a PAN pixel; others
            take M at the centres of its pixels. Injected by the system.
    Raises:
        ValueError: no such sensor, or a number out of range.
        DataError: the sensor has another number of bands.
    Source: Palsson, Sveinsson and Ulfarsson, "A new pansharpening algorithm based on total
        variation", IEEE GRSL 11(1), 2014; values of the DLPan toolbox (Deng et al., IEEE GRSM
        2022).
    """

    border: Border = 'replicate'
    exports: ClassVar[bool] = False  # torch.export did not finish within 9 minutes

    def __init__(
        self,
        bands: int,
        ratio: int,
        sensor: SensorSpec = 'generic',
        weights: list[float] | None = None,
        regularization: PositiveFloat | None = None,
        step: PositiveFloat | None = None,
        constant: PositiveFloat = 8.0,
        iterations: PositiveInt | None = None,
        variant: Variant = 'toolbox',
    ) -> None:
        super().__init__()
        if bands < 1 or ratio < 1:
            raise ValueError(f'bands and ratio must be at least 1, found {bands} and {ratio}')
        if variant not in get_args(Variant):
            raise ValueError(f"variant must be 'toolbox' or 'paper', found {variant!r}")
        preset = PRESETS.get(get_sensor(sensor).name)
        if weights is None:
            weights = [1 / bands] * bands if preset is None else list(preset.weights)
            if len(weights) != bands:
                raise DataError(
                    f'{get_sensor(sensor).name} has {len(weights)} bands in the PAN of TV, found '
                    f'an image of {bands}; name the sensor that took it, or state weights'
                )
        elif len(weights) != bands:
            raise ValueError(f'weights are one for each of {bands} bands, found {len(weights)}')
        if not all(math.isfinite(weight) for weight in weights):
            raise ValueError(f'weights must be finite numbers, found {weights}')
        preset = preset or IKONOS
        if regularization is None:
            regularization = preset.regularization / LEVELS
        step = preset.step if step is None else step
        iterations = preset.iterations if iterations is None else iterations
        numbers = {'regularization': regularization, 'step': step, 'constant': constant}
        for name, value in numbers.items():
            if not 0 < value < float('inf'):
                raise ValueError(f'{name} must be above 0, found {value}')
        if iterations < 1:
            raise ValueError(f'iterations must be at least 1, found {iterations}')
        self.ratio, self.weights, self.variant = ratio, weights, variant
        self.regularization, self.step = regularization, step
        self.constant, self.iterations = constant, iterations
        self.halo, self.stride = _compute_reach(ratio, iterations), ratio

    def forward(self, lrms_up: Tensor, pan: Tensor) -> Tensor:
        height, width = pan.shape[2:]
        with without_autocast(pan):
            dtype = torch.promote_types(lrms_up.dtype, torch.float32)
            pan = pad_to_multiple(pan.to(dtype), self.ratio)
            wide = pad_to_multiple(lrms_up.to(dtype), self.ratio)
            places = 'interp23tap' if self.border == 'wrap' else 'bicubic'
            ms = decimate(wide, self.ratio, places)  # (B, C, h, w)
            x = pan.new_zeros((*lrms_up.shape[:2], *pan.shape[2:]))  # (B, C, H, W)
            state = IterationState(x, x, x[..., 1:], x[:, :, 1:])
            for _ in range(self.iterations):
                low = downsample(downsample(state.x, 2, self.ratio), 3, self.ratio)  # (B, C, h, w)
                state = self._iterate(state, upsample(ms - low, 2, self.ratio), pan)
            return state.x[..., :height, :width].to(lrms_up.dtype)

    def _iterate(self, state: IterationState, residual: Tensor, pan: Tensor) -> IterationState:
        """Computes one iteration, strip by strip.

        Shape: residual (B, C, H, w), pan (B, 1, H, W).
        """
        batch, bands, height, width = state.x.shape
        rows = max(STRIP // (batch * bands * width), 1)
        strips = [
            self._iterate_strip(state, residual, pan, top, min(top + rows, height))
            for top in range(0, height, rows)
        ]
        return IterationState(*(torch.cat(parts, 2) for parts in zip(*strips)))

    def _iterate_strip(
        self, state: IterationState, residual: Tensor, pan: Tensor, top: int, bottom: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Computes the next state in the rows from `top` to before `bottom`."""
        # D^T z in the strip needs z of the row before it, and z needs the row after the strip.
        first, size = max(top - 1, 0), bottom - top
        rows, inside, count = slice(first, bottom + 1), top - first, bottom - first
        x, unseen = state.x[:, :, rows], pan[:, :, rows]
        for k, weight in enumerate(self.weights):
            unseen = unseen - weight * x[:, k : k + 1]  # (B, 1, R, W)
        b = self.step * x
        b += upsample(residual[:, :, rows], 3, self.ratio)
        b += x.new_tensor(self.weights)[:, None, None] * unseen
        old = state.divergence[:, :, rows]
        along, down = _take_differences(b + old if self.variant == 'toolbox' else b - old, count)
        if self.variant == 'paper':
            along = along + self.constant * state.along[:, :, first:bottom]
            down = down + self.constant * state.down[:, :, first:bottom]
        bound = self._compute_bound(*_take_differences(x, count))
        along = along / bound[..., :-1]
        down = down / bound[:, :, : down.shape[2]]

        divergence = torch.zeros_like(x[:, :, inside : inside + size])
        divergence[..., :-1] -= along[:, :, inside:]
        divergence[..., 1:] += along[:, :, inside:]
        for bands, z in self._select_differences(along, down):
            part = divergence[:, bands, :, : z.shape[3]]
            part[:, :, : z.shape[2] - inside] -= z[:, :, inside:]
            part[:, :, 1 - inside :] += z[:, :, : size - 1 + inside]
        x = (b[:, :, inside : inside + size] - divergence) / self.step
        if self.variant == 'toolbox':  # which does not use the old z
            along, down = along[:, :, :0], down[:, :, :0]
        return x, divergence, along[:, :, inside:], down[:, :, inside:]

    def _compute_bound(self, along: Tensor, down: Tensor) -> Tensor:
        """Computes 2 step / regularization |D x| + constant from the differences of x."""
        slope = down.new_zeros((*along.shape[:3], down.shape[3]))
        slope[:, :, : down.shape[2]] += down.square()
        slope[..., :-1] += along.square()
        # Above zero, since the gradient of the root is infinite there.
        slope = slope.clamp_(min=torch.finfo(slope.dtype).tiny).sqrt()
        return 2 * self.step / self.regularization * slope + self.constant

    def _select_differences(self, along: Tensor, down: Tensor) -> list[tuple[slice, Tensor]]:
        """Selects for each band the differences that D^T takes as those along columns."""
        bands = along.shape[1]
        if self.variant == 'paper' or bands <= TOOLBOX_BANDS:
            return [(slice(bands), down)]
        wrong = bands - TOOLBOX_BANDS
        return [
            (slice(wrong), along[:, TOOLBOX_BANDS:, : down.shape[2]]),
            (slice(wrong, bands), down[:, :TOOLBOX_BANDS]),
        ]


@dataclass
class IterationState:
    """State between two iterations.

    Args:
        x: the image, (B, C, H, W).
        divergence: D^T z, (B, C, H, W).
        along: z along rows, (B, C, H, W - 1); empty if it is not needed again.
        down: z along columns, (B, C, H - 1, W); likewise.
    """

    x: Tensor
    divergence: Tensor
    along: Tensor
    down: Tensor


def _take_differences(image: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Takes the differences along rows and columns in the first `count` rows."""
    kept = image[:, :, :count]
    below = image[:, :, 1 : count + 1]
    return kept[..., 1:] - kept[..., :-1], below - image[:, :, : below.shape[2]]


def _compute_reach(ratio: int, iterations: int) -> int:
    """Computes the largest distance, along either axis, from a pixel to one that it depends on."""

    # For each pixel in the first cell, the first and the last pixel on which it depends; other
    # cells have the same spans, shifted.
    def shift(spans: list[tuple[int, int]], pixel: int) -> tuple[int, int]:
        cell, phase = divmod(pixel, ratio)
        return spans[phase][0] + cell * ratio, spans[phase][1] + cell * ratio

    def union(spans: list[tuple[int, int]]) -> tuple[int, int]:
        return min(low for low, _ in spans), max(high for _, high in spans)

    half, phases = ratio // 2, range(ratio)
    nothing = (10**9, -(10**9))
    x = divergence = [nothing] * ratio
    for _ in range(iterations):
        samples = []  # the residuals of the cells before, at and after the first
        for start in (-ratio, 0, ratio):
            seen = [shift(x, pixel) for pixel in range(start - half, start + ratio + half)]
            samples.append(union([(start + half, start + half), *seen]))
        b = []
        for phase in phases:
            place = (phase + 0.5) / ratio - 0.5
            used = samples[place >= 0 : 2 + (place > 0)]
            b.append(union([(phase, phase), shift(x, phase), *used]))
        g = [union([b[phase], divergence[phase]]) for phase in phases]
        divergence = [
            union([shift(source, phase + i) for source in (g, x) for i in (-1, 0, 1)])
            for phase in phases
        ]
        x = [union([b[phase], divergence[phase]]) for phase in phases]
    return max(max(phase - low, high - phase) for phase, (low, high) in enumerate(x))
