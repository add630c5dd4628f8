"""A landscape seen from above, painted procedurally: fields, a river, roads, houses, trees.

Lengths are in pixels of some 0.6 m. Districts are the cells of a Voronoi diagram and their borders
are the main roads; each has a direction of its own along which it is divided into parcels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from plugins.pansharpening.synthetic.districts import INDUSTRY, VILLAGE, WOOD, Districts
from plugins.pansharpening.synthetic.noise import mix, noise, unit
from plugins.pansharpening.synthetic.spectra import Palette, landscape_palette

SUN = np.array([0.55, 0.30, 0.78])  # towards the sun: down the image, right, up
SUN = SUN / np.linalg.norm(SUN)
LONGEST_SHADOW = 16


@dataclass
class Landscape:
    """A painted landscape for the sensor model, as arrays (size, size).

    Attributes:
        rows: row of the palette for each pixel.
        texture: zero-mean, unit variance: where an object differs from its mean.
        light: direct light on each surface relative to flat ground, without shadows.
        shadow: share of direct light that is blocked.
        palette: the spectra.
    """

    rows: np.ndarray
    texture: np.ndarray
    light: np.ndarray
    shadow: np.ndarray
    palette: Palette


def paint(rng: np.random.Generator, size: int) -> Landscape:
    """Paints a landscape of size x size pixels."""
    return _Painter(rng, size).paint()


class _Painter:
    """Layers from the ground up; each overwrites `rows`, `light` and `height` where it lies."""

    def __init__(self, rng: np.random.Generator, size: int) -> None:
        self.rng, self.size = rng, size
        self.palette = landscape_palette(rng)
        axis = np.arange(size, dtype=np.float32)
        self.y, self.x = np.meshgrid(axis, axis, indexing='ij')
        self.light = np.ones((size, size), np.float32)
        self.height = np.zeros((size, size), np.float32)  # of objects, for their shadows
        self.trees = np.zeros((size, size), np.float32)  # density
        self.rows = np.zeros((size, size), np.int32)
        self.salt = int(rng.integers(1 << 30))

    def paint(self) -> Landscape:
        rng, size = self.rng, self.size
        coarse = noise(rng, size, 1.6)
        texture = 0.75 * noise(rng, size, 0.8, 0.6) + 0.66 * coarse
        self.districts = Districts(rng, self.y, self.x, self.salt)
        self._fields(coarse)
        self._village()
        self._industry()
        self._wood(coarse)
        self._river()
        self._roads()
        self._plant_trees()
        relief = noise(rng, size, 3.0, 12.0)
        light = self.light * (1 + 0.03 * relief)
        return Landscape(self.rows, texture, light, cast_shadows(self.height), self.palette)

    # -- covers --------------------------------------------------------------------------------

    def _fields(self, coarse: np.ndarray) -> None:
        parcels = self.districts.divide_into_parcels(95, 62, 0.35)
        key = parcels.key
        self.rows = self.palette.rows('field', key >> 8)
        # Sowing rows along one side; tramlines where the tractor drives through the crop.
        turned = unit(key, 4) < 0.35
        across = np.where(turned, parcels.v, parcels.u) + 0.6 * coarse
        period = 3.2 + 4.5 * unit(key, 5)
        strength = 0.16 * unit(key, 6) ** 2
        self.light *= 1 + strength * np.sin(2 * np.pi / period * across)
        spacing = 22 + 14 * unit(key, 7)
        wheel = np.abs(across % spacing - spacing / 2)
        self.light *= 1 - 0.22 * ((wheel > 1.2) & (wheel < 2.4) & (unit(key, 8) < 0.5))
        edge = parcels.edge
        margin = edge < 1.6
        self.rows[margin] = self.palette.rows('verge', key[margin])
        track = (parcels.u < 3.0) & (unit(mix(parcels.column), 9) < 0.35)
        self.rows[track] = self.palette.rows('track', key[track])
        hedge = (edge < 3.5) & (unit(key, 10) < 0.3) & ~track
        self.trees = np.where(hedge, 0.75, 0.0).astype(np.float32)

    def _village(self) -> None:
        here = self.districts.find_use(VILLAGE)
        lots = self.districts.divide_into_parcels(34, 30, 0.18)
        key = lots.key
        self.rows[here] = self.palette.rows('garden', key)[here]
        self.light[here] = 1
        self.trees[here] = (0.10 + 0.42 * unit(key, 11) ** 2)[here]
        street = here & (lots.u < 5.5) & (lots.column % 2 == 0)
        path = here & (lots.u < 7.5) & (lots.column % 2 == 0) & ~street
        drive = here & (np.abs(lots.v - 4 - 4 * unit(key, 12)) < 1.6) & (lots.u < 16)
        self._pave(drive, 'gravel', key)
        self._pave(path, 'concrete', key)
        self._pave(street, 'asphalt', key)
        pool = here & (unit(key, 13) < 0.10)
        pool &= ((lots.u - lots.width + 6) / 3.4) ** 2 + ((lots.v - 7) / 2.4) ** 2 < 1
        self._pave(pool, 'pool', key)
        half_u, half_v = 5.5 + 3.5 * unit(key, 14), 4.5 + 3.0 * unit(key, 15)
        u = lots.u - (0.56 + 0.08 * unit(key, 16)) * lots.width
        v = lots.v - (0.50 + 0.14 * unit(key, 17)) * lots.height
        house = here & (np.abs(u) < half_u) & (np.abs(v) < half_v) & (unit(key, 18) < 0.92)
        turned = half_v > half_u
        self._gable(house, u, v, half_u, half_v, turned, key)

    def _gable(
        self,
        house: np.ndarray,
        u: np.ndarray,
        v: np.ndarray,
        half_u: np.ndarray,
        half_v: np.ndarray,
        turned: np.ndarray,
        key: np.ndarray,
    ) -> None:
        """Roofs with a ridge along the longer side; `u`, `v` from the house's middle."""
        self.rows[house] = self.palette.rows('roof', key)[house]
        slope = 0.45 + 0.25 * unit(key, 19)
        side = np.sign(np.where(turned, u, v))
        # The slope's outward direction in the image: the district's axes turned by its angle.
        down = np.where(turned, self.districts.sin, self.districts.cos) * side
        right = np.where(turned, self.districts.cos, -self.districts.sin) * side
        facing = (slope * (down * SUN[0] + right * SUN[1]) + SUN[2]) / np.sqrt(1 + slope**2)
        across = np.where(turned, half_u - np.abs(u), half_v - np.abs(v))
        self.light[house] = (facing / SUN[2])[house]
        self.height[house] = (5.0 + slope * across)[house]
        self.trees[house] = 0

    def _industry(self) -> None:
        here = self.districts.find_use(INDUSTRY)
        lots = self.districts.divide_into_parcels(92, 74, 0.2)
        key = lots.key
        self._pave(here, 'yard', key)
        lawn = here & (lots.edge < 5)
        self.rows[lawn] = self.palette.rows('verge', key)[lawn]
        self.trees[lawn] = 0.25
        self._pave(here & (lots.u < 6), 'asphalt', key)
        inside = lots.edge - 12
        hall = here & (inside > 0) & (lots.v < (0.45 + 0.3 * unit(key, 20)) * lots.height)
        self._pave(hall, 'hall', key)
        ribs = 1 + 0.05 * np.sign(np.sin(lots.u * (0.5 + 0.5 * unit(key, 21))))
        self.light[hall] = ribs[hall]
        self.height[hall] = (8 + 5 * unit(key, 22))[hall]
        box = mix(key + (lots.u // 9).astype(np.int64) * 17 + (lots.v // 9).astype(np.int64) * 31)
        plant = hall & (unit(box, 23) < 0.10) & (lots.u % 9 < 4) & (lots.v % 9 < 4)
        self._pave(plant, 'concrete', box)
        self.height[plant] += 2
        park = here & ~hall & (inside > -6) & (unit(key, 24) < 0.8)
        across, along = (lots.u // 4).astype(np.int64), (lots.v // 9).astype(np.int64)
        space = mix(key + across * 37 + along * 41)
        line = park & (lots.v % 18 < 14) & (lots.u % 4 < 0.7)
        self._pave(line, 'marking', key)
        car = park & (lots.v % 18 < 14) & (lots.u % 4 > 1.2) & (lots.v % 9 < 6.5)
        car &= unit(space, 25) < 0.55
        self._pave(car, 'car', space)
        self.height[car] = 1.8

    def _wood(self, coarse: np.ndarray) -> None:
        here = self.districts.find_use(WOOD)
        self.rows[here] = self.palette.rows('floor', self.districts.district)[here]
        self.light[here] = 1
        clearing = coarse > 1.3
        self.trees[here] = np.where(clearing, 0.12, 0.97)[here]

    def _river(self) -> None:
        rng, size = self.rng, self.size
        turn = rng.uniform(-0.5, 0.5)
        along = np.cos(turn) * self.x + np.sin(turn) * self.y
        across = np.cos(turn) * self.y - np.sin(turn) * self.x
        course = np.zeros_like(along)
        for wavelength, swing in ((420, 38), (190, 13), (80, 3)):
            phase = rng.uniform(0, 2 * np.pi)
            course += swing * np.sin(2 * np.pi * along / wavelength + phase)
        width = 13 + 4 * np.sin(along / 67 + rng.uniform(0, 6))
        distance = np.abs(across - course - size * rng.uniform(0.14, 0.26)) - width
        key = np.zeros((size, size), np.int64)
        bank = distance < 9
        self.rows[bank] = self.palette.rows('verge', key)[bank]
        self.light[bank], self.height[bank] = 1, 0
        self.trees[bank] = np.where(distance > 3, 0.55, 0.0)[bank]
        self._pave((distance < 2.0) & (np.sin(along / 31) > -0.2), 'sand', key)
        self._pave(distance < 0, 'river', key)

    def _roads(self) -> None:
        # Both sides must agree on what lies between them.
        low = np.minimum(self.districts.district, self.districts.neighbour)
        high = np.maximum(self.districts.district, self.districts.neighbour)
        count = int(high.max()) + 1
        key = mix(np.arange(count * count) + self.salt)[low.astype(np.int64) * count + high]
        rank = unit(key, 27)
        # `border` grows by two for each pixel away from the road's middle.
        width = np.where(rank < 0.40, 8.5, np.where(rank < 0.80, 5.6, 3.6)).astype(np.float32)
        tarred = rank < 0.80
        wide = self.districts.border < width + 16
        self.trees[wide] = np.minimum(self.trees[wide], 0.25)
        cut = self.districts.border < width + 6  # nothing stands on the verge
        self.height[cut] = 0
        verge = cut & (self.rows != self.palette.rows('river', 0))
        self.rows[verge] = self.palette.rows('verge', key)[verge]
        self.light[cut], self.trees[cut] = 1, 0
        self._pave(self.districts.border < width + 1.6, 'shoulder', key)
        self._pave((self.districts.border < width) & tarred, 'asphalt', key)
        self._pave((self.districts.border < width) & ~tarred, 'gravel', key)
        dash = (self.districts.border < 1.0) & ((self.x + self.y) % 13 < 6) & (rank < 0.40)
        self._pave(dash, 'marking', key)
        lane = (self.districts.border > 2.8) & (self.districts.border < 6.4) & (rank < 0.40)
        place = (self.x // 5).astype(np.int64) * 7919 + (self.y // 5).astype(np.int64)
        car = lane & (unit(mix(place + self.salt), 26) < 0.035)
        self._pave(car, 'car', place)
        self.height[car] = 1.8

    def _pave(self, mask: np.ndarray, cover: str, choice: np.ndarray) -> None:
        """Level ground without trees."""
        self.rows[mask] = self.palette.rows(cover, choice[mask])
        self.light[mask], self.height[mask], self.trees[mask] = 1, 0, 0

    # -- trees ---------------------------------------------------------------------

    def _plant_trees(self) -> None:
        """Crowns as lit domes around the points of a jittered grid."""
        rng, size, pitch = self.rng, self.size, 7
        cells = size // pitch + 3
        grid = np.stack(np.meshgrid(np.arange(cells), np.arange(cells), indexing='ij'))
        cy, cx = (grid - 1 + rng.uniform(0.05, 0.95, (2, cells, cells))) * pitch
        iy, ix = (np.clip(c.astype(int), 0, size - 1) for c in (cy, cx))
        grows = rng.random((cells, cells)) < self.trees[iy, ix]
        radius = np.where(grows, rng.uniform(2.4, 5.4, (cells, cells)), 0)
        kind = rng.integers(1 << 16, size=(cells, cells))
        row, col = ((c // pitch).astype(np.int64) + 1 for c in (self.y, self.x))
        top = np.zeros((size, size), np.float32)
        light, rows = self.light.copy(), self.rows.copy()
        cy, cx, radius = (a.astype(np.float32) for a in (cy, cx, radius))
        spectra = self.palette.rows('crown', kind)
        free = (self.trees > 0) | (self.height == 0)
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                index = (row + dy) * cells + col + dx
                r = radius.ravel()[index]
                away_y, away_x = self.y - cy.ravel()[index], self.x - cx.ravel()[index]
                rest = r * r - away_y**2 - away_x**2
                dome = np.sqrt(np.maximum(rest, 0))
                crown = (rest > 0) & (dome + 0.8 * r > top) & free
                top[crown] = (dome + 0.8 * r)[crown]
                facing = (away_y * SUN[0] + away_x * SUN[1] + dome * SUN[2]) / np.maximum(r, 1)
                light[crown] = np.maximum(0.45 + 0.75 * facing, 0.25)[crown]
                rows[crown] = spectra.ravel()[index][crown]
        self.rows, self.light = rows, light
        self.height = np.maximum(self.height, top)


def cast_shadows(height: np.ndarray) -> np.ndarray:
    """Computes the share of direct light that taller objects block at each pixel.

    Args:
        height: (size, size), in pixels above the ground.
    Returns:
        (size, size), from 0 (full light) to 1.
    """
    # March from each pixel towards the sun and see whether anything rises above the ray.
    rows, cols = height.shape
    level = np.hypot(SUN[0], SUN[1])
    step, climb = SUN[:2] / level, SUN[2] / level
    blocked = np.zeros_like(height)
    padded = np.pad(height, LONGEST_SHADOW)
    for t in range(1, LONGEST_SHADOW):
        row, col = (round(LONGEST_SHADOW + t * s) for s in step)
        taller = padded[row : row + rows, col : col + cols] - np.float32(t * climb) - height
        np.maximum(blocked, taller, out=blocked)
    return np.clip(blocked, 0, 1)
