"""Nodules of the phantom: outline, composition and appearance, drawn by pathology."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

PATHOLOGY = ('benign', 'papillary', 'follicular', 'medullary')
COMPOSITION = ('solid', 'mixed', 'cystic')
MARGIN = ('smooth', 'lobulated', 'spiculated')
CALCIFICATION = ('none', 'punctate', 'coarse')
SHARES = (0.6, 0.25, 0.1, 0.05)  # share of each pathology


@dataclass(frozen=True)
class NoduleAppearance:
    """Appearance of the nodules of a pathology; pathologies overlap, as in patients.

    Attributes:
        aspect: mean and standard deviation of height by width; above 1 is taller than wide.
        strength: mean and standard deviation of the strength of solid parts.
        composition: shares of COMPOSITION.
        margin: shares of MARGIN.
        calcification: shares of CALCIFICATION.
        halo: share of nodules with a dark rim.

    Source: the differences between pathologies follow the ACR TI-RADS lexicon (Tessler et al.,
    JACR 14, 2017); the numbers are ours.
    """

    aspect: tuple[float, float]
    strength: tuple[float, float]
    composition: tuple[float, ...]
    margin: tuple[float, ...]
    calcification: tuple[float, ...]
    halo: float


APPEARANCES = {
    'benign': NoduleAppearance(
        (0.72, 0.13), (-4, 4), (0.35, 0.4, 0.25), (0.75, 0.2, 0.05), (0.85, 0.05, 0.1), 0.2
    ),
    'papillary': NoduleAppearance(
        (1.05, 0.18), (-11, 3), (0.9, 0.1, 0), (0.2, 0.4, 0.4), (0.4, 0.5, 0.1), 0.05
    ),
    'follicular': NoduleAppearance(
        (0.8, 0.13), (-1, 3), (0.8, 0.2, 0), (0.6, 0.35, 0.05), (0.9, 0.05, 0.05), 0.65
    ),
    'medullary': NoduleAppearance(
        (0.95, 0.17), (-9, 3), (0.95, 0.05, 0), (0.35, 0.45, 0.2), (0.4, 0.15, 0.45), 0.05
    ),
}


@dataclass(frozen=True)
class Nodule:
    """A nodule; sections through it differ slightly.

    Attributes:
        x, z: centre.
        width, height: size.
        strength: strength of the solid parts.
        bumps: amplitude, relative to the radius, and phase of the outline by order.
        spicules: angle, height and width of each spike of the outline.
        holes: x, z and radius of each cyst, relative to the half axes.
        grains: x and z, relative to the half axes, and radius in mm of each calcification.
        halo: strength of the rim; 0 without a rim.
    """

    pathology: str
    composition: str
    margin: str
    calcification: str
    x: float
    z: float
    width: float
    height: float
    strength: float
    bumps: np.ndarray
    spicules: np.ndarray
    holes: np.ndarray
    grains: np.ndarray
    halo: float

    def compute_radius(self, angle: np.ndarray) -> np.ndarray:
        """Computes the radius of the outline relative to the ellipse at each angle."""
        orders = np.arange(2, 2 + len(self.bumps), dtype=np.float32)[:, None]
        flat = angle.reshape(1, -1)
        waves = self.bumps[:, :1] * np.cos(orders * (flat - self.bumps[:, 1:]))
        found = 1 + waves.sum(0)
        for position, height, width in self.spicules:
            away = np.abs((flat[0] - position + np.pi) % (2 * np.pi) - np.pi)
            found = found + height * np.maximum(0, 1 - away / width)
        return found.reshape(angle.shape)

    def compute_box(self) -> tuple[float, float, float, float]:
        """Computes the bounding box x0, z0, x1, z1."""
        angle = np.linspace(0, 2 * np.pi, 180, dtype=np.float32)
        radius = self.compute_radius(angle)
        x = self.x + self.width / 2 * radius * np.cos(angle)
        z = self.z + self.height / 2 * radius * np.sin(angle)
        return float(x.min()), float(z.min()), float(x.max()), float(z.max())


def sample_nodule(rng: np.random.Generator, pathology: str) -> Nodule:
    """Samples a nodule of a pathology."""
    appearance = APPEARANCES[pathology]
    composition = str(rng.choice(COMPOSITION, p=appearance.composition))
    margin = str(rng.choice(MARGIN, p=appearance.margin))
    calcification = str(rng.choice(CALCIFICATION, p=appearance.calcification))
    if composition == 'cystic':  # fluid has no calcifications
        calcification = 'none'
    aspect = float(np.clip(rng.normal(*appearance.aspect), 0.4, 1.6))
    area = float(np.clip(rng.lognormal(np.log(12), 0.25), 7.5, 18))
    width, height = area / np.sqrt(aspect), area * np.sqrt(aspect)
    height = min(height, 19.0)
    swing = {'smooth': 0.03, 'lobulated': 0.11, 'spiculated': 0.07}[margin]
    bumps = np.stack([rng.normal(0, swing / (1 + 0.25 * np.arange(6))), rng.uniform(0, 7, 6)], 1)
    count = int(rng.integers(9, 17)) if margin == 'spiculated' else 0
    spicules = np.stack(
        [
            rng.uniform(0, 2 * np.pi, count),
            rng.uniform(0.15, 0.5, count),
            rng.uniform(0.08, 0.2, count),
        ],
        1,
    )
    if composition == 'cystic':
        holes = np.array([[0, 0, 0.97]])
    else:
        count = int(rng.integers(2, 7)) if composition == 'mixed' else 0
        around, out = rng.uniform(0, 7, count), np.sqrt(rng.uniform(0, 0.4, count))
        holes = np.stack(
            [out * np.cos(around), out * np.sin(around), rng.uniform(0.15, 0.45, count)], 1
        )
    count = {'none': 0, 'punctate': int(rng.integers(5, 16)), 'coarse': int(rng.integers(1, 4))}
    number = count[calcification]
    around, out = rng.uniform(0, 7, number), np.sqrt(rng.uniform(0, 0.6, number))
    size = (
        rng.uniform(0.2, 0.4, number)
        if calcification == 'punctate'
        else rng.uniform(0.8, 1.7, number)
    )
    return Nodule(
        pathology,
        composition,
        margin,
        calcification,
        x=float(rng.uniform(-7, 7)),
        z=float(rng.uniform(16, 22)),
        width=float(width),
        height=float(height),
        strength=float(rng.normal(*appearance.strength)),
        bumps=bumps.astype(np.float32),
        spicules=spicules.astype(np.float32),
        holes=holes.astype(np.float32),
        grains=np.stack([out * np.cos(around), out * np.sin(around), size], 1).astype(np.float32),
        halo=-9.0 if rng.random() < appearance.halo else 0.0,
    )


def sample_section(rng: np.random.Generator, nodule: Nodule) -> Nodule:
    """Samples a section through a nodule, which has another position and a slightly other size."""
    scale = float(rng.uniform(0.8, 1.05))
    return replace(
        nodule,
        x=nodule.x + float(rng.normal(0, 2.5)),
        z=nodule.z + float(rng.normal(0, 1.0)),
        width=nodule.width * scale * float(rng.normal(1, 0.05)),
        height=nodule.height * scale * float(rng.normal(1, 0.05)),
        bumps=nodule.bumps + rng.normal(0, 0.01, nodule.bumps.shape).astype(np.float32),
    )
