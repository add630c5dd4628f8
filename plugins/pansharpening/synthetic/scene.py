"""Synthetic scenes with a reference: a landscape as a sensor images it."""

from __future__ import annotations

import functools
import hashlib
from typing import Annotated, Literal

import numpy as np
import torch

from plugins.pansharpening.imaging.mtf import mtf_degrade, mtf_filter
from plugins.pansharpening.scenes.scene import SCENES, Scene
from plugins.pansharpening.scenes.sensors import Sensor, SensorSpec, get_sensor
from plugins.pansharpening.scenes.window import Window
from plugins.pansharpening.synthetic import landscape
from plugins.pansharpening.synthetic.spectra import BAND_NODES, NODES
from toolkit.ranges import Ge, NonNegativeInt, PositiveInt

VERSION = 1  # of the simulation: part of the fingerprint

# Nodes of the spectrum that each band covers: narrow bands of WorldView-2, wide ones of IKONOS.
NARROW = tuple((node,) for node in BAND_NODES)
WIDE = (
    (NODES.index(480), NODES.index(512)),
    (NODES.index(512), NODES.index(545), NODES.index(575)),
    (NODES.index(660),),
    (NODES.index(775), NODES.index(833)),
)
# PAN's response over the nodes: it reaches well into the near infrared and little into the blue.
PAN_WEIGHTS = (0.01, 0.06, 0.08, 0.10, 0.12, 0.13, 0.14, 0.12, 0.10, 0.08, 0.05, 0.01)
SKY = (0.26, 0.22, 0.20, 0.18, 0.165, 0.15, 0.13, 0.12, 0.11, 0.10, 0.085, 0.07)
HAZE = (0.095, 0.076, 0.064, 0.052, 0.046, 0.040, 0.031, 0.027, 0.023, 0.019, 0.015, 0.011)
GAIN = 1.35  # reflectance and haze to digital numbers in [0, 1]
MS_NOISE = (0.8, 0.010)  # digital numbers: constant, and growing with the square root of the signal
PAN_NOISE = (1.2, 0.030)


@SCENES.register
class SyntheticScene(Scene):
    """Fields, roads, houses, woods and a river, simulated; with the true HRMS as `reference`.

    The truth is seen through PAN's MTF; the MS is the truth through the bands' MTF, decimated; both
    get a little noise that grows with the signal and are rounded to digital numbers. The PAN sees
    wavelengths that no band does, so it is no exact sum of bands.

    Args:
        bands: 4 (blue, green, red, NIR) or 8 (those of WorldView-2).
        size: height and width of the PAN in pixels, a multiple of `ratio`.
        seed: of the landscape and the noise; the same arguments give the same bits.
        sensor: whose MTF and bit depth; None for 'IKONOS' with 4 bands and 'WV2' with 8.
        ratio: PAN pixels per MS pixel.
    Raises:
        ValueError: arguments out of range, or a sensor with another number of bands.
    """

    def __init__(
        self,
        bands: Literal[4, 8] = 4,
        size: PositiveInt = 512,
        seed: NonNegativeInt = 0,
        sensor: SensorSpec | None = None,
        ratio: Annotated[int, Ge(2)] = 4,
    ) -> None:
        if bands not in (4, 8):
            raise ValueError(f'a synthetic scene has 4 or 8 bands, found {bands}')
        if ratio < 2:
            raise ValueError(f'ratio must be at least 2, found {ratio}')
        if size % ratio or not 64 <= size <= 8192:
            raise ValueError(
                f'size must be a multiple of the ratio {ratio} from 64 to 8192, found {size}'
            )
        self.sensor = get_sensor(sensor or ('IKONOS' if bands == 4 else 'WV2'))
        if self.sensor.band_names and len(self.sensor.band_names) != bands:
            raise ValueError(
                f'{self.sensor.title} has {len(self.sensor.band_names)} bands, found bands={bands}'
            )
        self.bits = self.sensor.bits
        self.seed = seed
        self.name = f'synthetic_{bands}x{size}_{seed}'
        self._bands, self._size, self._ratio = bands, size, ratio

    @property
    def bands(self) -> int:
        return self._bands

    @property
    def ms_shape(self) -> tuple[int, int]:
        return self._size // self._ratio, self._size // self._ratio

    @property
    def pan_shape(self) -> tuple[int, int]:
        return self._size, self._size

    @property
    def reference(self) -> np.ndarray:
        return self._images()[2]

    def read_ms(self, window: Window | None = None) -> np.ndarray:
        return _cut(self._images()[0], window)

    def read_pan(self, window: Window | None = None) -> np.ndarray:
        return _cut(self._images()[1], window)

    def fingerprint(self) -> str:
        settings = (VERSION, self.sensor, self._bands, self._size, self.seed, self._ratio)
        return hashlib.sha256(repr(settings).encode()).hexdigest()[:16]

    def _images(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return simulate(self.sensor, self._bands, self._size, self.seed, self._ratio)


@functools.lru_cache(maxsize=4)
def simulate(
    sensor: Sensor, bands: int, size: int, seed: int, ratio: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Simulates MS (C, h, w), PAN (1, H, W) and true HRMS (C, H, W), float32 in [0, 1]."""
    rng = np.random.default_rng(seed)
    ground = landscape.paint(rng, size)
    base, texture = ground.palette.base, ground.palette.texture
    seen = NARROW if bands == 8 else WIDE
    truth = np.zeros((bands, size, size), np.float32)
    pan = np.zeros((1, size, size), np.float32)
    for node in range(len(NODES)):
        reflectance = base[:, node][ground.rows]
        reflectance += ground.texture * texture[:, node][ground.rows]
        direct = ground.light * (1 - ground.shadow)
        reflectance *= SKY[node] + (1 - SKY[node]) * direct
        np.maximum(reflectance, 0, out=reflectance)
        radiance = np.float32(GAIN) * (reflectance + np.float32(HAZE[node]))
        pan[0] += np.float32(PAN_WEIGHTS[node]) * radiance
        for band, nodes in enumerate(seen):
            if node in nodes:
                truth[band] += radiance / np.float32(len(nodes))
    pan, truth = (
        mtf_filter(torch.from_numpy(image), (sensor.pan_gain,) * len(image), 1)
        for image in (pan, truth)
    )
    truth.clamp_(0, 1)
    ms = mtf_degrade(truth, sensor.gains(bands), ratio)
    images = (
        _digitised(ms.numpy(), MS_NOISE, sensor.bits, rng),
        _digitised(pan.numpy(), PAN_NOISE, sensor.bits, rng),
        truth.numpy(),
    )
    for image in images:
        image.flags.writeable = False
    return images


def _digitised(
    image: np.ndarray, noise: tuple[float, float], bits: int, rng: np.random.Generator
) -> np.ndarray:
    """Add noise and round to digital numbers of that depth."""
    scale = 2**bits - 1
    # Noise is stated for 11 bits.
    numbers = np.clip(image, 0, 1) * np.float32(2047)
    deviation = np.sqrt(noise[0] ** 2 + noise[1] * numbers)
    numbers = numbers + deviation * rng.standard_normal(image.shape, dtype=np.float32)
    numbers = np.round(numbers * np.float32(scale / 2047))
    return np.clip(numbers, 0, scale).astype(np.float32) / np.float32(scale)


def _cut(image: np.ndarray, window: Window | None) -> np.ndarray:
    # A copy: callers may write into what they read.
    return (window.cut(image) if window else image).copy()
