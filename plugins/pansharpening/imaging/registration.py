"""Measures the shift between an MS and its PAN by the correlation of their details."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage
from skimage.registration import phase_cross_correlation

from plugins.pansharpening.imaging.mtf import mtf_filter
from plugins.pansharpening.imaging.resample import Method, polyphase, upsample
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.scenes.window import Window
from toolkit.errors import DataError

# PAN pixels: side of the pieces that are compared, and how many of them.
SIDE, PIECES = 512, 9
# MS pixels: details are what lies between Gaussians of these deviations.
FINE, COARSE = 0.5, 3.0
# The peak of the correlation is found to this share of a pixel.
STEPS = 50
# Below this correlation of details an MS and a PAN show different grounds, or nothing.
LEAST_SIMILARITY = 0.6
# PAN pixels: shifts above these are named, and doubted.
NOTABLE, IMPLAUSIBLE = 0.5, 8.0
GAIN = 0.3  # of the low-passed PAN at the Nyquist frequency of the MS
FLAT = 1e-9  # deviation of an image in [0, 1] that is but rounding
LEAST_VALID = 0.5  # share of a piece with data


class Registration(NamedTuple):
    """Shift of an MS against its PAN.

    Attributes:
        rows: PAN pixels by which the MS lies too low.
        cols: PAN pixels by which it lies too far to the right.
        spread: largest deviation of half of the pieces from that, in PAN pixels; 0 for one piece.
        similarity: correlation of the details after the shift.
        pieces: number of pieces that were compared; 0 if none shows any detail.
    """

    rows: float
    cols: float
    spread: float
    similarity: float
    pieces: int

    @property
    def distance(self) -> float:
        """Length of the shift in PAN pixels."""
        return math.hypot(self.rows, self.cols)

    @property
    def belongs(self) -> bool:
        """True if the MS and the PAN show the same details."""
        return self.similarity >= LEAST_SIMILARITY

    def check(self, name: str) -> None:
        """Refuses a measurement that says nothing.

        Raises:
            DataError: the images show no common details.
        """
        if not (self.pieces and self.belongs):
            raise DataError(
                f'{name}: the details of the MS and the PAN correlate by {self.similarity:.2f} at '
                f'most, expected {LEAST_SIMILARITY} or more to register them; check that both show '
                'the same ground on the same day, or leave register out'
            )

    def list_warnings(self, name: str) -> list[str]:
        """Lists what a user should know about a scene of this name."""
        if not self.pieces:
            return [
                f'{name}: the MS and the PAN show no detail by which their position can be checked'
            ]
        if not self.belongs:
            return [
                f'{name}: the details of the MS and the PAN correlate by {self.similarity:.2f} at '
                f'most, expected {LEAST_SIMILARITY} or more; check that both show the same ground '
                'on the same day'
            ]
        if self.distance <= NOTABLE:
            return []
        found = f'{name}: the MS lies {self}'
        if self.distance > IMPLAUSIBLE:
            found += '; check that both are of one product'
        return [
            f'{found}; correct it with register=phase among the inputs of predict, '
            '--register phase of pansharpen, or a RegisteredScene in a config'
        ]

    def __str__(self) -> str:
        vertical = 'below' if self.rows >= 0 else 'above'
        horizontal = 'right' if self.cols >= 0 else 'left'
        return (
            f'{abs(self.rows):.2f} PAN pixels {vertical} and {abs(self.cols):.2f} {horizontal} of '
            f'the PAN (spread {self.spread:.2f}, correlation of details {self.similarity:.2f})'
        )


def register(scene: Scene) -> Registration:
    """Measures how far the MS of a scene lies from its PAN, in pieces spread over the scene.

    The MS is interpolated as its samples are read (`interp23tap`; or bicubic where they are read at
    the centres, and for ratios that are no power of two), its bands are combined to what fits the
    low-passed PAN best, and the peak of the correlation of both details is found.

    Raises:
        DataError: the scene cannot be read.
    """
    windows = _choose_pieces(scene.ms_shape, scene.ratio)
    return _combine([p for window in windows if (p := _compare(scene, window))], scene.ratio)


def _combine(found: list[Registration], ratio: int) -> Registration:
    """Combines the shifts of pieces."""
    if not found:
        return Registration(0.0, 0.0, 0.0, 0.0, 0)
    shifts = np.array([[piece.rows, piece.cols] for piece in found])
    similar = np.array([piece.similarity for piece in found])
    # Pieces of water or forest at noon have no peak: the better half decides.
    best = similar >= np.median(similar)
    rows, cols = np.median(shifts[best], axis=0)
    spread = float(np.median(np.hypot(*(shifts[best] - (rows, cols)).T)))
    # Pieces that each find another shift have found nothing.
    agree = np.hypot(*(shifts[best] - (rows, cols)).T) <= ratio
    similarity = float(np.median(similar[best])) * float(agree.mean())
    return Registration(float(rows), float(cols), spread, similarity, len(found))


def register_images(
    fixed: np.ndarray, moving: np.ndarray, valid: np.ndarray, ratio: int
) -> Registration:
    """Measures how far an image lies from another one, in the pieces that `register` takes.

    Args:
        fixed: (H, W).
        moving: (H, W).
        valid: (H, W) bool, pixels with data.
        ratio: pixels per MS pixel, the size of the details.
    """
    height, width = fixed.shape
    found = []
    for window in _choose_pieces((height // ratio, width // ratio), ratio):
        inside = window.cut(valid)
        if inside.mean() >= LEAST_VALID:
            weight = _taper(inside, ratio)
            rows, cols, alike = measure_shift(window.cut(fixed), window.cut(moving), weight, ratio)
            if alike:
                found.append(Registration(rows, cols, 0.0, alike, 1))
    return _combine(found, ratio)


def measure_shift(
    fixed: np.ndarray, moving: np.ndarray, weight: np.ndarray, ratio: int
) -> tuple[float, float, float]:
    """Measures by how many rows and columns an image lies below and right of another.

    Args:
        fixed: (H, W).
        moving: (H, W).
        weight: (H, W), 0 where there are no data.
        ratio: pixels per MS pixel, the size of the details.
    Returns:
        Rows, columns, and the correlation of the details after the shift.
    """
    a, b = (_extract_details(image, weight, ratio) for image in (fixed, moving))
    if not a.any() or not b.any():
        return 0.0, 0.0, 0.0
    shift, _, _ = phase_cross_correlation(a, b, upsample_factor=STEPS, normalization=None)
    rows, cols = (-float(distance) for distance in shift)
    moved = ndimage.shift(b, shift, order=1, mode='constant')
    norm = float(np.sqrt((a * a).sum() * (moved * moved).sum()))
    return rows, cols, float((a * moved).sum()) / norm if norm else 0.0


def _extract_details(image: np.ndarray, weight: np.ndarray, ratio: int) -> np.ndarray:
    fine, coarse = (ndimage.gaussian_filter(image, share * ratio) for share in (FINE, COARSE))
    return (fine - coarse) * weight


def _compare(scene: Scene, window: Window) -> Registration | None:
    """Compares one piece; None if it holds too little data or no detail."""
    ratio, shape = scene.ratio, window.shape
    mask = scene.read_mask(window)
    valid = np.ones(shape, bool) if mask is None else mask
    if valid.mean() < LEAST_VALID:
        return None
    ms = torch.from_numpy(scene.read_ms(window.reduced(ratio)))[None].double()
    bands = upsample(ms, ratio, _get_method(scene))[0].numpy()
    pan = torch.from_numpy(scene.read_pan(window)).double()
    low = mtf_filter(pan, (GAIN,), ratio)[0].numpy()
    weight = _taper(valid, ratio)
    spread = np.std(bands[:, valid], axis=1)
    spread[spread < FLAT] = 0
    if not spread.any() or np.std(low[valid]) < FLAT:
        return None
    # At first all bands count alike; once they lie on the PAN, the sum that fits it best.
    intensity = np.mean([band / s for band, s in zip(bands, spread) if s], axis=0)
    found = measure_shift(low, intensity, weight, ratio)
    moved = np.stack(
        [ndimage.shift(b, [-d for d in found[:2]], order=1, mode='nearest') for b in bands]
    )
    columns = np.column_stack([_extract_details(band, weight, ratio).ravel() for band in moved])
    target = _extract_details(low, weight, ratio).ravel()
    factors = np.linalg.lstsq(columns, target, rcond=None)[0]
    again = measure_shift(low, np.tensordot(factors, bands, 1), weight, ratio)
    rows, cols, similarity = max(found, again, key=lambda result: result[2])
    return Registration(rows, cols, 0.0, similarity, 1)


def _taper(valid: np.ndarray, ratio: int) -> np.ndarray:
    """Weights pixels: 0 near those without data, falling off towards the border of the piece."""
    inside = ndimage.binary_erosion(valid, iterations=2 * ratio, border_value=1)
    soft = ndimage.gaussian_filter(inside.astype(float), 2 * ratio) * inside
    rows, cols = (np.hanning(extent + 2)[1:-1] for extent in valid.shape)
    return soft * np.sqrt(np.outer(rows, cols))


def _choose_pieces(ms_shape: tuple[int, int], ratio: int) -> list[Window]:
    """Chooses pieces in PAN pixels, on whole MS pixels, spread evenly over the scene."""
    side = max(SIDE // ratio, 1)
    steps = math.isqrt(PIECES)
    starts = []
    for extent in ms_shape:
        count = min(steps, max(extent // side, 1))
        starts.append({round(place) for place in np.linspace(0, max(extent - side, 0), count)})
    height, width = (min(side, extent) for extent in ms_shape)
    return [
        Window(row, col, height, width).enlarged(ratio)
        for row in sorted(starts[0])
        for col in sorted(starts[1])
    ]


def _get_method(scene: Scene) -> Method:
    if scene.samples == 'centre':
        return 'bicubic'
    try:
        polyphase(scene.ratio)
    except ValueError:
        return 'bicubic'
    return 'interp23tap'
