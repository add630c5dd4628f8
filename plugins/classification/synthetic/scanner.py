"""Simulated ultrasound scanner: speckle, attenuation, log compression, geometry and frame.

Speckle is the response of a point spread function to very many scatterers: complex Gaussian noise
with the strength of the tissue, blurred along and across the beam, more strongly outside the focus.
The image is the logarithm of the envelope.

Source: Wagner et al., IEEE Trans. Sonics Ultrason. 30(3), 1983, for the statistics of speckle.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

HEIGHT, WIDTH = 240, 288  # of the frame in pixels
DEPTH = 42.0  # of the image in mm
SAMPLES, LINES = 224, 192  # samples of a line and lines of the field, before scan conversion
VERSION = 1  # of the simulation: part of every fingerprint


@dataclass(frozen=True)
class Scanner:
    """Machine of a centre and its settings.

    Attributes:
        name: name of the centre.
        model: name of the machine.
        spread: half the angle of a sector in degrees; 0 for a linear probe.
        half_width: half the width of a linear image, or of the probe of a sector, in mm.
        gain: gain in decibels.
        span: decibels between black and white.
        axial: standard deviation of the point spread function along the beam, in samples.
        lateral: standard deviation across the beam in the focus, in lines.
        focus: depth of the focus in mm.
        attenuation: attenuation after the machine's correction, in decibels per mm.
        noise: noise of the electronics relative to the gland, in decibels.
        blur: standard deviation of the blur of the image, in pixels.
        area: area of the image in the frame: top, left, bottom, right.
        overlay: elements outside the image: any of 'ticks', 'bar' and 'text'.
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
def compute_positions(scanner: Scanner) -> tuple[np.ndarray, np.ndarray]:
    """Computes x and z in mm of each sample of each line, (SAMPLES, LINES) float32."""
    along = np.linspace(0, DEPTH, SAMPLES, dtype=np.float32)[:, None]
    across = np.linspace(-1, 1, LINES, dtype=np.float32)[None]
    if not scanner.spread:
        return np.broadcast_to(across * scanner.half_width, (SAMPLES, LINES)), np.broadcast_to(
            along, (SAMPLES, LINES)
        )
    apex = _get_apex_distance(scanner)
    angle = across * np.float32(np.radians(scanner.spread))
    return (apex + along) * np.sin(angle), (apex + along) * np.cos(angle) - apex


def _get_apex_distance(scanner: Scanner) -> np.float32:
    """Returns the distance above the skin at which a sector's lines meet."""
    return np.float32(scanner.half_width / np.sin(np.radians(scanner.spread)))


def to_pixel(scanner: Scanner, x: float, z: float) -> tuple[float, float]:
    """Converts a position in mm to column and row in the frame."""
    top, left, bottom, right = scanner.area
    scale, origin = _get_scale(scanner)
    return (left + right) / 2 + x * scale, top + (z - origin) * scale


def _get_scale(scanner: Scanner) -> tuple[float, float]:
    """Computes the pixels per mm and the depth of the first row of the image."""
    top, left, bottom, right = scanner.area
    x, z = compute_positions(scanner)
    low = float(z.min())
    return min((bottom - top) / (DEPTH - low), (right - left) / (2 * float(x.max()))), low


@functools.lru_cache(maxsize=len(SCANNERS))
def _compute_scan_conversion(scanner: Scanner) -> tuple[np.ndarray, np.ndarray]:
    """Computes sample and line (2, HEIGHT, WIDTH) of each pixel, and the mask of the image."""
    top, left, bottom, right = scanner.area
    scale, origin = _get_scale(scanner)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32) + np.float32(0.5)
    x, z = (columns - (left + right) / 2) / scale, (rows - top) / scale + origin
    if scanner.spread:
        apex = _get_apex_distance(scanner)
        along = np.hypot(x, z + apex) - apex
        across = np.arctan2(x, z + apex) / np.radians(scanner.spread)
    else:
        along, across = z, x / scanner.half_width
    mask = (along >= 0) & (along <= DEPTH) & (np.abs(across) <= 1)
    mask &= (rows > top) & (rows < bottom) & (columns > left) & (columns < right)
    lines = (across + 1) / 2 * (LINES - 1)
    return np.stack([along / DEPTH * (SAMPLES - 1), lines]).astype(np.float32), mask


def render_image(
    rng: np.random.Generator, scanner: Scanner, strength: np.ndarray, attenuation: np.ndarray
) -> np.ndarray:
    """Renders the image of a scanner.

    Args:
        rng: random generator for speckle, noise and gain.
        scanner: the scanner.
        strength: strength of each sample of each line (SAMPLES, LINES), in decibels.
        attenuation: additional attenuation at each sample (SAMPLES, LINES), in decibels.
    Returns:
        (HEIGHT, WIDTH) uint8.
    """
    _, depth = compute_positions(scanner)
    # Attenuation acts on all samples behind it; the limits keep some signal.
    level = strength - np.clip(np.cumsum(attenuation, 0), -9, 24) - scanner.attenuation * depth
    amplitude = 10 ** (level / 20)
    field = rng.standard_normal((2, SAMPLES, LINES), dtype=np.float32) * amplitude
    field = ndimage.gaussian_filter1d(field, scanner.axial, axis=1)
    narrow = ndimage.gaussian_filter1d(field, scanner.lateral, axis=2)
    wide = ndimage.gaussian_filter1d(field, 2.4 * scanner.lateral, axis=2)
    # Blurring lowers the power of noise; the factors restore it for both fields.
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
    samples, mask = _compute_scan_conversion(scanner)
    image = ndimage.map_coordinates(shade, samples, order=1, mode='nearest')
    if scanner.blur:
        image = ndimage.gaussian_filter(image, scanner.blur)
    frame = np.where(mask, np.clip(image, 0, 1), 0)
    _draw_overlay(rng, scanner, frame)
    return np.rint(frame * 255).astype(np.uint8)


def _draw_overlay(rng: np.random.Generator, scanner: Scanner, frame: np.ndarray) -> None:
    """Draws depth marks, a gray bar and lines that look like text, in place."""
    top, left, bottom, right = scanner.area
    if 'ticks' in scanner.overlay:
        step = _get_scale(scanner)[0] * 10
        for number in range(int((bottom - top) / step) + 1):
            row = min(HEIGHT - 1, int(top + number * step))
            frame[row, left - 9 : left - (3 if number % 2 else 1)] = 0.8
    if 'bar' in scanner.overlay:
        frame[70:170, 4:9] = np.linspace(1, 0, 100)[:, None]
    if 'text' in scanner.overlay:
        for row in range(10, 52, 7):
            dots = rng.random((4, int(rng.integers(10, 26)))) < 0.55
            frame[row : row + 4, WIDTH - 4 - dots.shape[1] : WIDTH - 4][dots] = 0.75
