"""Districts of a painted landscape, and the parcels into which they are divided."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from plugins.pansharpening.synthetic.noise import mix, noise, unit

DISTRICT = 200  # mean distance between districts' centres
FARM, VILLAGE, WOOD, INDUSTRY = range(4)


@dataclass
class Parcels:
    """Position of each pixel in its parcel, with the extent and a key of the parcel."""

    u: np.ndarray
    v: np.ndarray
    width: np.ndarray
    height: np.ndarray
    column: np.ndarray
    key: np.ndarray

    @property
    def edge(self) -> np.ndarray:
        """Distance to the border of the parcel."""
        across = np.minimum(self.u, self.width - self.u)
        return np.minimum(across, np.minimum(self.v, self.height - self.v))


class Districts:
    """Cells of a Voronoi diagram, each with a use and a direction of its own.

    Args:
        rng: generator of the landscape.
        y: row of each pixel, (size, size).
        x: column of each pixel, (size, size).
        salt: of the hashes that give parcels their properties.
    Attributes:
        district: (size, size) number of each pixel's district.
        neighbour: (size, size) number of the next nearest district.
        border: (size, size) twice the distance to the border between the two.
        use: of each district: FARM, VILLAGE, WOOD or INDUSTRY.
        cos: (size, size) cosine of the district's direction.
        sin: (size, size) its sine.
    """

    def __init__(self, rng: np.random.Generator, y: np.ndarray, x: np.ndarray, salt: int) -> None:
        self.salt = salt
        size = len(y)
        spacing = min(DISTRICT, size / 2.2)
        cells = int(np.ceil(size / spacing)) + 2
        grid = np.stack(np.meshgrid(np.arange(cells), np.arange(cells), indexing='ij'), -1)
        centres = (grid.reshape(-1, 2) - 0.5 + rng.uniform(-0.36, 0.36, (cells**2, 2))) * spacing
        warp = 7.0 * np.stack([noise(rng, size, 3.0, 20.0) for _ in range(2)])
        y, x = y + warp[0], x + warp[1]
        first = np.full((size, size), 2 * size, np.float32)
        second = np.full((size, size), 2 * size, np.float32)
        district = np.zeros((size, size), np.int32)
        neighbour = district.copy()
        reach = 2.2 * spacing
        for index, (cy, cx) in enumerate(centres):
            box = tuple(
                slice(max(int(c - reach), 0), max(min(int(c + reach), size), 0)) for c in (cy, cx)
            )
            distance = np.hypot(y[box] - np.float32(cy), x[box] - np.float32(cx))
            nearest = distance < first[box]
            closer = nearest | (distance < second[box])
            second[box] = np.where(nearest, first[box], np.minimum(second[box], distance))
            neighbour[box] = np.where(nearest, district[box], neighbour[box])
            neighbour[box][closer & ~nearest] = index
            first[box] = np.where(nearest, distance, first[box])
            district[box][nearest] = index
        self.district, self.neighbour = district, neighbour
        apart = np.hypot(*(centres[:, None] - centres[None]).transpose(2, 0, 1)).astype(np.float32)
        apart[apart == 0] = spacing  # a corner that one centre alone reaches
        # Twice the distance to the line between the two, whatever lies between their centres.
        self.border = (second**2 - first**2) / apart[district, neighbour]
        count = len(centres)
        self.use = rng.choice(4, size=count, p=(0.56, 0.24, 0.12, 0.08))
        # Whatever the seed: some houses near the middle, and all kinds in a picture of this size.
        middle = np.argsort(np.hypot(*(centres - size * np.array([0.45, 0.6])).T))
        self.use[middle[:4]] = (VILLAGE, FARM, INDUSTRY, WOOD)
        angle = rng.uniform(-0.7, 0.7, count).astype(np.float32)[district]
        self.cos, self.sin = np.cos(angle), np.sin(angle)
        self.across = self.cos * x + self.sin * y
        self.along = self.cos * y - self.sin * x

    def divide_into_parcels(self, width: float, height: float, vary: float) -> Parcels:
        """Divides each district into columns along its direction, and those into parcels."""
        d = self.district
        wide = width * (1 + vary * (2 * self._uniform(d, salt=1) - 1))
        column = np.floor(self.across / wide).astype(np.int64)
        key = mix(d.astype(np.int64) * 8191 + column + self.salt)
        high = height * (1 + vary * (2 * unit(key, 2) - 1))
        v = self.along + 1000 * unit(key, 3)
        row = np.floor(v / high).astype(np.int64)
        u = self.across - column * wide
        return Parcels(u, v - row * high, wide, high, column, mix(key + row * 131))

    def _uniform(self, keys: np.ndarray, salt: int) -> np.ndarray:
        """Uniform numbers by district, looked up."""
        count = int(keys.max()) + 1
        return unit(mix(np.arange(count) + self.salt), salt)[keys]

    def find_use(self, use: int) -> np.ndarray:
        """Finds the pixels of districts with a use."""
        return self.use[self.district] == use
