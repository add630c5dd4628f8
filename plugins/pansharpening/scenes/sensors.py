"""Sensors: bands, bit depth, and MTF gains at the Nyquist frequency.

Gains as in Vivone et al., "A critical comparison among pansharpening algorithms", IEEE TGRS 2015,
and the DLPan toolbox (Deng et al., IEEE GRSM 2022).
"""

from __future__ import annotations

from dataclasses import dataclass

from toolkit.errors import DataError, did_you_mean

BGRN = ('blue', 'green', 'red', 'nir')
WORLDVIEW = ('coastal', 'blue', 'green', 'yellow', 'red', 'red edge', 'nir1', 'nir2')


@dataclass(frozen=True)
class Sensor:
    """A multispectral and panchromatic sensor.

    Args:
        name: short name, as in configs.
        title: full name.
        bits: bit depth of the digital numbers.
        ms_gains: MTF amplitude of each band at the Nyquist frequency of the MS grid, in the order
            of `band_names`; one value if all bands have the same.
        pan_gain: MTF amplitude of the PAN at the Nyquist frequency of the PAN grid.
        band_names: names in the order of delivery; empty if the order varies among products.
    Raises:
        ValueError: gains or a bit depth out of range.
    """

    name: str
    title: str
    bits: int
    ms_gains: tuple[float, ...]
    pan_gain: float
    band_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        gains = (*self.ms_gains, self.pan_gain)
        if not self.ms_gains or not all(0 < gain < 1 for gain in gains):
            raise ValueError(
                f'{self.name}: MTF gains at Nyquist lie between 0 and 1, at least one of the '
                f'MS bands and one of the PAN; found {list(self.ms_gains)} and {self.pan_gain}'
            )
        if not 1 <= self.bits <= 32:
            raise ValueError(f'{self.name}: a bit depth of 1 to 32 was expected, found {self.bits}')

    def gains(self, bands: int) -> tuple[float, ...]:
        """Returns the MTF gains of an image of `bands` bands.

        Raises:
            DataError: the sensor has another number of bands and their gains differ.
        """
        if len(set(self.ms_gains)) == 1:
            return self.ms_gains[:1] * bands
        if len(self.ms_gains) != bands:
            raise DataError(
                f'{self.title} has {len(self.ms_gains)} bands with MTF gains of their own, '
                f'found an image of {bands}; name the sensor that took it'
            )
        return self.ms_gains

    def names(self, bands: int) -> tuple[str, ...]:
        """Returns the band names of an image of `bands` bands; 'band 1', ... if unknown."""
        if len(self.band_names) == bands:
            return self.band_names
        return tuple(f'band {i + 1}' for i in range(bands))

    def rgb(self, bands: int) -> tuple[int, int, int]:
        """Returns the indices of the bands that are shown as red, green and blue."""
        if len(self.band_names) == bands:
            red, green, blue = (self.band_names.index(c) for c in ('red', 'green', 'blue'))
            return red, green, blue
        if bands == 3:
            return 0, 1, 2
        # Unknown products of four and more bands mostly go from blue to red.
        return (2, 1, 0) if bands > 3 else (0, 0, 0)


SENSORS: dict[str, Sensor] = {
    sensor.name: sensor
    for sensor in (
        Sensor('QB', 'QuickBird', 11, (0.34, 0.32, 0.30, 0.22), 0.15, BGRN),
        Sensor('IKONOS', 'IKONOS', 11, (0.26, 0.28, 0.29, 0.28), 0.17, BGRN),
        Sensor('GE1', 'GeoEye-1', 11, (0.23,) * 4, 0.16, BGRN),
        Sensor('WV4', 'WorldView-4', 11, (0.23,) * 4, 0.16, BGRN),
        Sensor('WV2', 'WorldView-2', 11, (0.35,) * 7 + (0.27,), 0.11, WORLDVIEW),
        Sensor(
            'WV3',
            'WorldView-3',
            11,
            (0.325, 0.355, 0.360, 0.350, 0.365, 0.360, 0.335, 0.315),
            0.14,
            WORLDVIEW,
        ),
        Sensor('GF2', 'GaoFen-2', 10, (0.30,) * 4, 0.15, BGRN),
        Sensor('Pleiades', 'Pleiades', 12, (0.30,) * 4, 0.15),
        Sensor('Landsat', 'Landsat 8 or 9 OLI', 16, (0.30,), 0.15),
        Sensor('generic', 'a sensor with common gains', 16, (0.30,), 0.15),
    )
}


def get_sensor(name: str) -> Sensor:
    """Returns the sensor with this name.

    Raises:
        ValueError: no such sensor; the message lists the known ones.
    """
    if name in SENSORS:
        return SENSORS[name]
    raise ValueError(
        f'no sensor is named {name!r}{did_you_mean(name, SENSORS)} (there are: '
        f'{", ".join(SENSORS)})'
    )


def add_sensor(new: Sensor) -> Sensor:
    """Registers a sensor by its name, for configs and the command line.

    Call it in a plugin: `add_sensor(Sensor('Mine', 'My camera', 12, (0.3, 0.28, 0.3), 0.15))`.

    Returns:
        The sensor itself.
    Raises:
        ValueError: another sensor has that name.
    """
    if SENSORS.setdefault(new.name, new) != new:
        raise ValueError(f'a sensor named {new.name!r} is there already; choose another name')
    return new
