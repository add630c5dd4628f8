"""A drawn ultrasound scanner: speckle, attenuation, log compression, geometry, and its frame.

Speckle is what a point spread function makes of countless scatterers: complex Gaussian noise, as
strong as the tissue, blurred along the beam and across it, the more so the farther from the focus.
The image is the logarithm of its envelope.

Source: Wagner et al., IEEE Trans. Sonics Ultrason. 30(3), 1983, for the statistics of speckle.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

HEIGHT, WIDTH = 240, 288  # of the frame in pixels
DEPTH = 42.0  # mm that are seen
SAMPLES, LINES = 224, 192  # of the field before it is laid out
VERSION = 1  # of the drawing: part of every fingerprint


@dataclass(frozen=True)
class Scanner:
    """A centre's machine and how it is set.

    Attributes:
        name: of the centre.
        model: of the machine.
        spread: half the angle of a sector in degrees; 0 for a linear probe.
        half_width: of what a linear probe sees, or of a sector's probe, mm.
        gain: decibels.
        span: decibels between black and white.
        axial: deviation of the point spread function along the beam, in samples.
        lateral: across it in the focus, in lines.
        focus: depth of it, mm.
        attenuation: that is left after the machine's correction, decibels per mm.
        noise: of the electronics against the gland, decibels.
        blur: of the picture, in pixels.
        area: of the picture in the frame: top, left, bottom, right.
        overlay: what stands around it: 'ticks', 'bar', 'text' or a mixture.
    """

    name: str
    model: str
    spread: float
    half_width: float
    gain: float
    span: float
    axial: float
    lateral: float
    focus: float
    attenuation: float
    noise: float
    blur: float
    area: tuple[int, int, int, int]
    overlay: str


SCANNERS = (
    Scanner(
        'north', 'L12', 0, 21, 0, 56, 0.9, 1.3, 20, 0.35, -46, 0.3, (14, 34, 228, 258), 'ticks'
    ),
    Scanner(
        'south', 'C9', 24, 14, 5, 52, 1.3, 1.9, 16, 0.6, -38, 0.7, (6, 10, 234, 278), 'bar text'
    ),
    Scanner('east', 'L9', 0, 24, -4, 66, 1.1, 1.6, 24, 0.45, -42, 0.9, (0, 0, 240, 288), ''),
    Scanner(
        'west', 'V8', 17, 17, 2, 56, 0.8, 1.5, 18, 0.65, -36, 0.5, (22, 26, 222, 264), 'ticks bar'
    ),
)


@functools.lru_cache(maxsize=len(SCANNERS))
def places(scanner: Scanner) -> tuple[np.ndarray, np.ndarray]:
    """x and z in mm of each sample of each line, (SAMPLES, LINES) float32."""
    along = np.linspace(0, DEPTH, SAMPLES, dtype=np.float32)[:, None]
    across = np.linspace(-1, 1, LINES, dtype=np.float32)[None]
    if not scanner.spread:
        return np.broadcast_to(across * scanner.half_width, (SAMPLES, LINES)), np.broadcast_to(
            along, (SAMPLES, LINES)
        )
    start = _start(scanner)
    angle = across * np.float32(np.radians(scanner.spread))
    return (start + along) * np.sin(angle), (start + along) * np.cos(angle) - start


def _start(scanner: Scanner) -> np.float32:
    """Returns the distance above the skin at which a sector's lines meet."""
    return np.float32(scanner.half_width / np.sin(np.radians(scanner.spread)))


def pixel_of(scanner: Scanner, x: float, z: float) -> tuple[float, float]:
    """Column and row in the frame of a place in mm."""
    top, left, bottom, right = scanner.area
    scale, origin = _scale(scanner)
    return (left + right) / 2 + x * scale, top + (z - origin) * scale


def _scale(scanner: Scanner) -> tuple[float, float]:
    """Pixels per mm, and the depth of the picture's first row."""
    top, left, bottom, right = scanner.area
    x, z = places(scanner)
    low = float(z.min())
    return min((bottom - top) / (DEPTH - low), (right - left) / (2 * float(x.max()))), low


@functools.lru_cache(maxsize=len(SCANNERS))
def _layout(scanner: Scanner) -> tuple[np.ndarray, np.ndarray]:
    """Sample and line (2, HEIGHT, WIDTH) that each pixel shows, and where there is a picture."""
    top, left, bottom, right = scanner.area
    scale, origin = _scale(scanner)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32) + np.float32(0.5)
    x, z = (columns - (left + right) / 2) / scale, (rows - top) / scale + origin
    if scanner.spread:
        start = _start(scanner)
        along = np.hypot(x, z + start) - start
        across = np.arctan2(x, z + start) / np.radians(scanner.spread)
    else:
        along, across = z, x / scanner.half_width
    shown = (along >= 0) & (along <= DEPTH) & (np.abs(across) <= 1)
    shown &= (rows > top) & (rows < bottom) & (columns > left) & (columns < right)
    lines = (across + 1) / 2 * (LINES - 1)
    return np.stack([along / DEPTH * (SAMPLES - 1), lines]).astype(np.float32), shown


def picture(
    rng: np.random.Generator, scanner: Scanner, strength: np.ndarray, lost: np.ndarray
) -> np.ndarray:
    """Computes the image of a scanner.

    Args:
        rng: of speckle, noise and the hand that sets the gain.
        scanner: which.
        strength: of each sample of each line (SAMPLES, LINES), decibels.
        lost: likewise.
    Returns:
        (HEIGHT, WIDTH) uint8.
    """
    _, depth = places(scanner)
    # What is lost counts for all behind it; no gland swallows everything.
    level = strength - np.clip(np.cumsum(lost, 0), -9, 24) - scanner.attenuation * depth
    amplitude = 10 ** (level / 20)
    field = rng.standard_normal((2, SAMPLES, LINES), dtype=np.float32) * amplitude
    field = ndimage.gaussian_filter1d(field, scanner.axial, axis=1)
    narrow = ndimage.gaussian_filter1d(field, scanner.lateral, axis=2)
    wide = ndimage.gaussian_filter1d(field, 2.4 * scanner.lateral, axis=2)
    # Blurring evens noise out; both keep the power that they would have had without.
    off = np.abs(np.linspace(0, DEPTH, SAMPLES, dtype=np.float32) - scanner.focus) / scanner.focus
    share = np.clip(off, 0, 1)[:, None]
    power = 2 * np.sqrt(np.pi) * np.sqrt(scanner.axial * 2 * np.sqrt(np.pi) * scanner.lateral)
    power = np.float32(power / np.sqrt(2))
    field = power * ((1 - share) * narrow + share * np.float32(np.sqrt(2.4)) * wide)
    field += rng.standard_normal(field.shape, dtype=np.float32) * np.float32(
        10 ** (scanner.noise / 20)
    )
    envelope = np.hypot(field[0], field[1])
    gain = scanner.gain + float(rng.normal(0, 2))
    shade = (20 * np.log10(envelope + 1e-6) + gain) / scanner.span + 0.52
    places_, shown = _layout(scanner)
    laid = ndimage.map_coordinates(shade, places_, order=1, mode='nearest')
    if scanner.blur:
        laid = ndimage.gaussian_filter(laid, scanner.blur)
    frame = np.where(shown, np.clip(laid, 0, 1), 0)
    _draw_overlay(rng, scanner, frame)
    return np.rint(frame * 255).astype(np.uint8)


def _draw_overlay(rng: np.random.Generator, scanner: Scanner, frame: np.ndarray) -> None:
    """Depth marks, a grey bar and lines of what looks like text, in place."""
    top, left, bottom, right = scanner.area
    if 'ticks' in scanner.overlay:
        step = _scale(scanner)[0] * 10
        for number in range(int((bottom - top) / step) + 1):
            row = min(HEIGHT - 1, int(top + number * step))
            frame[row, left - 9 : left - (3 if number % 2 else 1)] = 0.8
    if 'bar' in scanner.overlay:
        frame[70:170, 4:9] = np.linspace(1, 0, 100)[:, None]
    if 'text' in scanner.overlay:
        for row in range(10, 52, 7):
            dots = rng.random((4, int(rng.integers(10, 26)))) < 0.55
            frame[row : row + 4, WIDTH - 4 - dots.shape[1] : WIDTH - 4][dots] = 0.75
