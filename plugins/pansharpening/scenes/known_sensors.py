"""Table of the sensors that are known by name.

Gains of the MTF are those of the field's toolbox (Vivone et al., "A critical comparison among
pansharpening algorithms", IEEE TGRS 53(5), 2015; Deng et al., IEEE GRSM 10(3), 2022, `genMTF` and
`MTF_PAN`) for QB, IKONOS, GE1, WV2, WV3 and WV4. For all others none was found that is published
band by band: they have the toolbox's gains of any other sensor, 0.30 for the MS and 0.15 for the
PAN, and are marked as assumed. Bit depths and bands were looked up for SPOT (12 bits:
dinamis.data-terra.org/en/spot-6-7-imagery), KOMPSAT-3A (14 bits, its data sheet) and PlanetScope
(16-bit files: support.planet.com, articles/35928274738333); the others are as commonly stated. What
a file or `--bit-depth` says goes before them. Files in whole reflectances (Sentinel-2, Landsat,
Planet's surface reflectance) use 16 bits.
"""

from __future__ import annotations

from typing import Any, NamedTuple

BGRN = ('blue', 'green', 'red', 'nir')
WORLDVIEW = ('coastal', 'blue', 'green', 'yellow', 'red', 'red edge', 'nir1', 'nir2')
# Bands of 20 m: B5, B6, B7, B8A, B11, B12.
SENTINEL = ('red edge 1', 'red edge 2', 'red edge 3', 'narrow nir', 'swir1', 'swir2')
ASSUMED_MS, ASSUMED_PAN = 0.30, 0.15


class SensorRow(NamedTuple):
    """A row of the table; see `sensors.Sensor`.

    Attributes:
        gains: of the MS bands and of the PAN; None where they are assumed.
        bands: order of delivery; empty if products differ.
        family: words by which the family is asked for, without spaces and signs.
    """

    name: str
    title: str
    bits: int
    gains: tuple[tuple[float, ...], float] | None
    bands: tuple[str, ...]
    family: tuple[str, ...]


WV = ('worldview', 'wv', 'digitalglobe', 'maxar', 'vantor')
GF = ('gaofen', 'gf')
AIRBUS = ('pleiades', 'phr', 'pneo', 'neo')
PLANET = ('planet', 'planetscope', 'dove', 'superdove', 'skysat', 'ps', 'psb')

ROWS = (
    SensorRow('QB', 'QuickBird', 11, ((0.34, 0.32, 0.30, 0.22), 0.15), BGRN, ('quickbird', 'qb')),
    SensorRow('IKONOS', 'IKONOS', 11, ((0.26, 0.28, 0.29, 0.28), 0.17), BGRN, ('ikonos', 'ik')),
    SensorRow('GE1', 'GeoEye-1', 11, ((0.23,) * 4, 0.16), BGRN, ('geoeye', 'ge')),
    SensorRow('WV4', 'WorldView-4', 11, ((0.23,) * 4, 0.16), BGRN, WV),
    SensorRow('WV2', 'WorldView-2', 11, ((0.35,) * 7 + (0.27,), 0.11), WORLDVIEW, WV),
    SensorRow(
        'WV3',
        'WorldView-3',
        11,
        ((0.325, 0.355, 0.360, 0.350, 0.365, 0.360, 0.335, 0.315), 0.14),
        WORLDVIEW,
        WV,
    ),
    SensorRow('GF1', 'Gaofen-1', 10, None, BGRN, GF),
    SensorRow('GF2', 'Gaofen-2', 10, None, BGRN, GF),
    SensorRow('GF6', 'Gaofen-6 (2 m by 8 m)', 12, None, BGRN, GF),
    SensorRow('ZY3', 'Ziyuan-3', 10, None, BGRN, ('ziyuan', 'zy')),
    SensorRow('Pleiades', 'Pleiades', 12, None, (), AIRBUS),
    SensorRow('PleiadesNeo', 'Pleiades Neo', 12, None, (), AIRBUS),
    SensorRow('SPOT6', 'SPOT-6', 12, None, (), ('spot',)),
    SensorRow('SPOT7', 'SPOT-7', 12, None, (), ('spot',)),
    SensorRow('KOMPSAT3', 'KOMPSAT-3', 14, None, BGRN, ('kompsat', 'k', 'arirang')),
    SensorRow('KOMPSAT3A', 'KOMPSAT-3A', 14, None, BGRN, ('kompsat', 'k', 'arirang')),
    SensorRow('PlanetScope', 'PlanetScope, 4 or 8 bands', 16, None, (), PLANET),
    SensorRow('SkySat', 'SkySat', 16, None, BGRN, PLANET),
    SensorRow('Landsat', 'Landsat 8 or 9 OLI', 16, None, (), ('landsat', 'oli', 'lc', 'l')),
    SensorRow(
        'Sentinel2',
        'Sentinel-2 MSI, 20 m by 10 m',
        16,
        None,
        SENTINEL,
        ('sentinel', 's', 'msi', 'copernicus'),
    ),
    SensorRow('generic', 'a sensor with common gains', 16, None, (), ('any', 'other', 'unknown')),
)


def get_rows() -> dict[str, dict[str, Any]]:
    """Returns the arguments of `Sensor` by name."""
    return {
        row.name: {
            'name': row.name,
            'title': row.title,
            'bits': row.bits,
            'ms_gains': row.gains[0] if row.gains else (ASSUMED_MS,) * (len(row.bands) or 1),
            'pan_gain': row.gains[1] if row.gains else ASSUMED_PAN,
            'band_names': row.bands,
            'assumed': row.gains is None,
            'family': row.family,
        }
        for row in ROWS
    }
