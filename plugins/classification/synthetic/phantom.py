"""Phantom of a neck: strength of the ultrasound echoes of its layers, gland and nodule.

Lengths are in millimetres: `x` is the lateral position, 0 in the middle, and `z` the depth below
the skin. Strengths are in decibels relative to the gland.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

PATHOLOGY = ('benign', 'papillary', 'follicular', 'medullary')
COMPOSITION = ('solid', 'mixed', 'cystic')
MARGIN = ('smooth', 'lobulated', 'spiculated')
CALCIFICATION = ('none', 'punctate', 'coarse')
SHARES = (0.6, 0.25, 0.1, 0.05)  # share of each pathology
FLUID = -34.0


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


@dataclass(frozen=True)
class Anatomy:
    """Tissue around a nodule: depths of the borders between layers, and their waves."""

    skin: float
    fat: float
    muscle: float
    gland: float
    waves: np.ndarray  # amplitude, length and phase for each border
    carotid: tuple[float, float, float]
    side: int  # side of the carotid: -1 left, 1 right
    patches: np.ndarray  # regions of other strength: x, z, radius, strength
    strands: np.ndarray  # connective tissue: x, z, half length, tilt


def sample_anatomy(rng: np.random.Generator) -> Anatomy:
    """Samples the neck of a patient."""
    skin = float(rng.uniform(1.2, 2))
    fat = skin + float(rng.uniform(1.5, 4))
    muscle = fat + float(rng.uniform(3, 5))
    side = int(rng.choice((-1, 1)))
    waves = np.stack([rng.uniform(0.2, 0.9, 5), rng.uniform(25, 60, 5), rng.uniform(0, 7, 5)], 1)
    patches = [
        rng.uniform(-24, 24, 16),
        rng.uniform(2, 40, 16),
        rng.uniform(1.5, 7, 16),
        rng.normal(0, 3.5, 16),
    ]
    strands = [
        rng.uniform(-20, 20, 12),
        rng.uniform(5, 40, 12),
        rng.uniform(1, 6, 12),
        rng.normal(0, 0.12, 12),
    ]
    carotid = (
        side * float(rng.uniform(17, 20)),
        float(rng.uniform(15, 20)),
        float(rng.uniform(2.6, 3.6)),
    )
    return Anatomy(
        skin,
        fat,
        muscle,
        float(rng.uniform(28, 33)),
        waves.astype(np.float32),
        carotid,
        side,
        np.stack(patches, 1).astype(np.float32),
        np.stack(strands, 1).astype(np.float32),
    )


def compute_strengths(
    anatomy: Anatomy, nodule: Nodule, x: np.ndarray, z: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Computes scattering strength and attenuation at each position, both in decibels.

    Args:
        anatomy: tissue around the nodule.
        nodule: the nodule or a section of it.
        x: lateral position, (H, W).
        z: depth, (H, W).
    Returns:
        Strength (H, W) and additional attenuation (H, W) at each position. The attenuation is below
        0 in fluid and acts on all positions behind it.
    """
    shape = [
        amplitude * np.sin(2 * np.pi * x / length + phase)
        for amplitude, length, phase in anatomy.waves
    ]
    borders = (anatomy.skin, anatomy.fat, anatomy.muscle, anatomy.gland)
    depth = [z - border - wave for border, wave in zip(borders, shape)]
    # The gland is a lobe that is thinner at both sides.
    bulge = (x / 22) ** 2
    depth[2], depth[3] = depth[2] - 2 * bulge, depth[3] + 7 * bulge
    # Fat has septa and muscle has fibres, both along the layers.
    septa = 7 * np.maximum(0, np.sin(2.4 * (z + shape[0]) + 0.25 * x)) ** 6
    fibres = 9 * np.maximum(0, np.sin(4.2 * (z + shape[1]) + 0.18 * x + shape[4])) ** 4
    field = np.where(depth[0] < 0, np.float32(4), -9 + septa)
    field = np.where(depth[1] > 0, -14 + fibres, field)
    field = np.where(depth[2] > 0, np.float32(0), field)
    field = np.where(depth[3] > 0, -13 + 0.8 * fibres, field)
    for border, strength in zip((*depth[:3], depth[3]), (9, 7, 10, 9)):
        field = field + strength * np.exp(-((border / 0.35) ** 2))
    for px, pz, radius, strength in anatomy.patches:
        field = field + strength * np.exp(-((x - px) ** 2 + (z - pz) ** 2) / radius**2)
    for px, pz, length, tilt in anatomy.strands:
        away = np.abs(z - pz - tilt * (x - px)) / 0.3 + np.maximum(0, np.abs(x - px) - length)
        field = field + 8 * np.exp(-(away**2))
    attenuation = np.zeros_like(field)
    cx, cz, cr = anatomy.carotid
    away = np.hypot(x - cx, z - cz) - cr
    field = np.where(away < 0, FLUID, field + 8 * np.exp(-((away / 0.5) ** 2)))
    attenuation -= 0.35 * (away < 0)
    # The trachea on the other side: its wall is bright, and behind it there are only artifacts.
    tx, tz, tr = -anatomy.side * 25.0, 23.0, 9.0
    away = np.hypot(x - tx, z - tz) - tr
    field = np.where(away < 0, -22.0, field) + 12 * np.exp(-((away / 0.6) ** 2))
    attenuation += 1.2 * (away < 0)
    return _add_nodule(field, attenuation, nodule, x, z)


def _add_nodule(
    field: np.ndarray, attenuation: np.ndarray, nodule: Nodule, x: np.ndarray, z: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    u, v = (x - nodule.x) / (nodule.width / 2), (z - nodule.z) / (nodule.height / 2)
    rim = np.hypot(u, v)
    near = rim < 2
    edge = np.full_like(field, 2.0)
    edge[near] = rim[near] / nodule.compute_radius(np.arctan2(v[near], u[near]))
    softness = {'smooth': 0.03, 'lobulated': 0.05, 'spiculated': 0.09}[nodule.margin]
    inside = 1 / (1 + np.exp(np.clip((edge - 1) / softness, -30, 30)))
    fluid = np.zeros_like(field)
    for hu, hv, radius in nodule.holes:
        hole = np.hypot(u - hu, v - hv) if len(nodule.holes) > 1 else edge
        fluid = np.maximum(fluid, 1 / (1 + np.exp(np.clip((hole - radius) / 0.03, -30, 30))))
    fluid = fluid * inside
    body = nodule.strength + (FLUID - nodule.strength) * fluid
    field = field * (1 - inside) + body * inside
    field = field + nodule.halo * np.exp(-(((edge - 1.02) / 0.07) ** 2))
    if nodule.margin == 'smooth':
        field = field + 5 * np.exp(-(((edge - 1.08) / 0.04) ** 2))
    attenuation = attenuation - 0.5 * fluid
    for gu, gv, size in nodule.grains:
        away = np.hypot(x - nodule.x - gu * nodule.width / 2, z - nodule.z - gv * nodule.height / 2)
        grain = np.exp(-((away / size) ** 2))
        field = np.maximum(field, 20 * grain + field * (1 - grain))
        # Large calcifications cast a shadow, small ones almost none.
        attenuation = attenuation + (1.3 if size > 0.6 else 0.2) * (away < size)
    return field, attenuation
