"""Reflectance spectra of the materials that the synthetic scene is painted with.

Typical values after the shapes in public spectral libraries (USGS, ECOSTRESS), at the centres of
WorldView-2's bands; no library's data is included.
"""

from __future__ import annotations

import numpy as np

# Wavelengths in nm: WorldView-2's bands, and between them what only PAN sees.
BAND_CENTRES = (425, 480, 545, 605, 660, 725, 833, 950)
NODES = (425, 480, 512, 545, 575, 605, 660, 695, 725, 775, 833, 950)
BAND_NODES = tuple(NODES.index(centre) for centre in BAND_CENTRES)

REFLECTANCE: dict[str, tuple[float, ...]] = {
    'crop': (0.030, 0.036, 0.074, 0.056, 0.042, 0.200, 0.430, 0.450),
    'grass': (0.040, 0.047, 0.088, 0.080, 0.066, 0.195, 0.330, 0.350),
    'tree': (0.030, 0.037, 0.076, 0.058, 0.042, 0.180, 0.390, 0.410),
    'conifer': (0.025, 0.030, 0.052, 0.042, 0.034, 0.130, 0.270, 0.285),
    'stubble': (0.085, 0.105, 0.165, 0.215, 0.240, 0.280, 0.330, 0.350),
    'brown soil': (0.060, 0.072, 0.102, 0.138, 0.160, 0.185, 0.225, 0.255),
    'pale soil': (0.110, 0.138, 0.190, 0.240, 0.268, 0.295, 0.330, 0.345),
    'gravel': (0.150, 0.172, 0.205, 0.232, 0.246, 0.258, 0.272, 0.280),
    'asphalt': (0.085, 0.092, 0.103, 0.111, 0.115, 0.121, 0.130, 0.136),
    'concrete': (0.190, 0.215, 0.248, 0.272, 0.282, 0.292, 0.302, 0.305),
    'paint': (0.360, 0.400, 0.430, 0.440, 0.445, 0.445, 0.440, 0.435),
    'red tile': (0.055, 0.063, 0.092, 0.165, 0.215, 0.240, 0.270, 0.285),
    'brown tile': (0.060, 0.066, 0.085, 0.115, 0.135, 0.152, 0.175, 0.188),
    'slate': (0.078, 0.082, 0.088, 0.091, 0.092, 0.095, 0.100, 0.104),
    'metal': (0.340, 0.370, 0.395, 0.402, 0.405, 0.405, 0.400, 0.392),
    'blue metal': (0.150, 0.190, 0.170, 0.120, 0.110, 0.150, 0.220, 0.240),
    'green paint': (0.060, 0.075, 0.130, 0.105, 0.085, 0.130, 0.200, 0.220),
    'sand': (0.170, 0.205, 0.265, 0.315, 0.340, 0.360, 0.385, 0.380),
    'river': (0.046, 0.052, 0.062, 0.046, 0.036, 0.026, 0.016, 0.010),
    'pool': (0.200, 0.280, 0.260, 0.130, 0.070, 0.040, 0.022, 0.012),
    'car': (0.210, 0.215, 0.220, 0.225, 0.228, 0.230, 0.232, 0.232),
}


class Palette:
    """Spectra of the objects of a scene, by rows, and their variation inside an object.

    Attributes:
        base: (rows, nodes) reflectance.
        texture: (rows, nodes) change of the reflectance for one unit of the texture.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._base: list[np.ndarray] = []
        self._texture: list[np.ndarray] = []
        self._first: dict[str, tuple[int, int]] = {}

    def add(
        self,
        name: str,
        materials: tuple[str, ...],
        count: int,
        spread: float = 0.1,
        mixture: str | None = None,
        cover: tuple[float, float] = (1.0, 1.0),
        texture: float = 0.05,
    ) -> None:
        """Adds `count` variants of a cover.

        Args:
            name: of the cover.
            materials: one is drawn for each variant.
            count: rows to add.
            spread: standard deviation of the variants' brightness, relative.
            mixture: material between, if `cover` is below 1.
            cover: range of the fraction that the material covers.
            texture: standard deviation of the brightness inside an object, relative.
        """
        self._first[name] = (sum(len(rows) for rows in self._base), count)
        rng = self._rng
        own = np.stack([_spectrum(materials[i]) for i in rng.integers(len(materials), size=count)])
        own = own * self._variation(count)
        fraction = rng.uniform(*cover, size=(count, 1))
        if mixture is None:
            base, change = own, texture * own
        else:
            ground = _spectrum(mixture) * self._variation(count)
            base = fraction * own + (1 - fraction) * ground
            # Inside an object the cover is patchy where it is partial.
            patchy = fraction * (1 - fraction) * (own - ground)
            change = texture * base + patchy
        brightness = np.exp(spread * rng.standard_normal((count, 1)))
        self._base.append(base * brightness)
        self._texture.append(change * brightness)

    def rows(self, name: str, choice: np.ndarray | int) -> np.ndarray:
        """Returns row numbers of variants of a cover, chosen by any integers."""
        first, count = self._first[name]
        return (first + np.asarray(choice) % count).astype(np.int32)

    @property
    def base(self) -> np.ndarray:
        return np.concatenate(self._base).astype(np.float32)

    @property
    def texture(self) -> np.ndarray:
        return np.concatenate(self._texture).astype(np.float32)

    def _variation(self, count: int) -> np.ndarray:
        """Factors (count, nodes): smooth along the spectrum, with a little of each node's own."""
        rng = self._rng
        tilt = rng.standard_normal((count, 1)) * np.linspace(-1, 1, len(NODES))
        bend = rng.standard_normal((count, 1)) * np.cos(np.linspace(0, np.pi * 2, len(NODES)))
        own = rng.standard_normal((count, len(NODES)))
        return np.exp(0.06 * tilt + 0.04 * bend + 0.03 * own)


def _spectrum(material: str) -> np.ndarray:
    return np.interp(NODES, BAND_CENTRES, REFLECTANCE[material])


def landscape_palette(rng: np.random.Generator) -> Palette:
    """Makes the palette of the landscape: covers by name, each in many variants."""
    palette = Palette(rng)
    palette.add(
        'field', ('crop', 'crop', 'grass', 'stubble'), 400, 0.12, 'brown soil', (0.25, 1.0), 0.04
    )
    palette.add('verge', ('grass',), 60, 0.10, 'pale soil', (0.5, 0.95), 0.10)
    palette.add('track', ('pale soil', 'gravel'), 30, 0.10, 'grass', (0.7, 1.0), 0.06)
    palette.add('garden', ('grass',), 200, 0.14, 'brown soil', (0.55, 1.0), 0.10)
    palette.add('floor', ('grass', 'brown soil'), 30, 0.10, 'brown soil', (0.3, 0.7), 0.10)
    palette.add('crown', ('tree', 'tree', 'tree', 'conifer'), 300, 0.16, texture=0.06)
    palette.add('roof', ('red tile', 'red tile', 'brown tile', 'slate', 'concrete'), 200, 0.16)
    palette.add('hall', ('metal', 'metal', 'concrete', 'blue metal', 'slate'), 60, 0.20)
    palette.add('yard', ('asphalt', 'concrete'), 40, 0.12, texture=0.06)
    palette.add('asphalt', ('asphalt',), 60, 0.08, texture=0.05)
    palette.add('shoulder', ('gravel',), 8, 0.08, 'grass', (0.6, 0.8), 0.08)
    palette.add('gravel', ('gravel', 'concrete'), 40, 0.12, texture=0.06)
    palette.add('concrete', ('concrete',), 40, 0.08)
    palette.add('marking', ('paint',), 8, 0.05, 'asphalt', (0.25, 0.4))
    palette.add('pool', ('pool',), 20, 0.10, texture=0.03)
    palette.add('sand', ('sand',), 1, 0.05, 'grass', (0.85, 0.9), 0.06)
    palette.add('river', ('river',), 1, 0.10, texture=0.03)
    palette.add('car', ('car', 'paint', 'slate', 'slate', 'red tile', 'blue metal'), 60, 0.25)
    return palette
