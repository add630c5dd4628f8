"""Phantom of a neck: strength of the ultrasound echoes of its layers, gland and nodule.

Lengths are in millimetres: `x` is the lateral position, 0 in the middle, and `z` the depth below
the skin. Strengths are in decibels relative to the gland.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from plugins.classification.synthetic.nodule import Nodule

FLUID = -34.0


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
