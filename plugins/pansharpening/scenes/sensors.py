"""Sensors: bands, bit depth, and MTF gains at the Nyquist frequency."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from plugins.pansharpening.scenes.known_sensors import get_rows
from toolkit.config.yaml_file import read_yaml
from toolkit.errors import DataError, did_you_mean
from toolkit.io.data_paths import find_data_file

# A sensor in a config: its name, a YAML file, or its description; see `get_sensor`.
SensorSpec = str | dict
KEYS = ('name', 'title', 'gains', 'pan_gain', 'bands', 'bit_depth')


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
        assumed: true if the gains are those of no sensor in particular, for want of published ones.
        family: words by which users ask for sensors like it, for suggestions.
    Raises:
        ValueError: gains or a bit depth out of range.
    """

    name: str
    title: str
    bits: int
    ms_gains: tuple[float, ...]
    pan_gain: float
    band_names: tuple[str, ...] = ()
    assumed: bool = False
    family: tuple[str, ...] = field(default=(), repr=False, compare=False)

    def __post_init__(self) -> None:
        gains = (*self.ms_gains, self.pan_gain)
        if not self.ms_gains or not all(0 < gain < 1 for gain in gains):
            raise ValueError(
                f'{self.name}: MTF gains at Nyquist lie between 0 and 1, at least one of the '
                f'MS bands and one of the PAN; found {list(self.ms_gains)} and {self.pan_gain}'
            )
        if not 1 <= self.bits <= 32:
            raise ValueError(f'{self.name}: a bit depth of 1 to 32 was expected, found {self.bits}')

    @property
    def spec(self) -> str | dict[str, Any]:
        """The sensor as a config states it: the name of a known one, or its description."""
        if SENSORS.get(self.name) == self:
            return self.name
        return {
            'name': self.name,
            'title': self.title,
            'gains': list(self.ms_gains),
            'pan_gain': self.pan_gain,
            'bands': list(self.band_names),
            'bit_depth': self.bits,
        }

    def describe_assumption(self) -> str:
        """Says that the gains are assumed, and how to state others."""
        return (
            f'no MTF gains of {self.title} are published that are known here: '
            f'{self.ms_gains[0]:g} for the MS and {self.pan_gain:g} for the PAN are assumed; '
            'measured ones go into a YAML file for --sensor'
        )

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

    def describe_colours(self, bands: int) -> str:
        """Names the bands of a picture by number where the sensor does not name them; else ''."""
        if bands < 3 or self._names_colours(bands):
            return ''
        return 'bands ' + ', '.join(str(band + 1) for band in self.rgb(bands))

    def rgb(self, bands: int) -> tuple[int, int, int]:
        """Returns the indices of the bands that are shown as red, green and blue."""
        if self._names_colours(bands):
            red, green, blue = (self.band_names.index(c) for c in ('red', 'green', 'blue'))
            return red, green, blue
        if bands == 3:
            return 0, 1, 2
        # Unknown products of four and more bands mostly go from blue to red.
        return (2, 1, 0) if bands > 3 else (0, 0, 0)

    def _names_colours(self, bands: int) -> bool:
        return len(self.band_names) == bands and {'red', 'green', 'blue'} <= {*self.band_names}


SENSORS: dict[str, Sensor] = {name: Sensor(**row) for name, row in get_rows().items()}
# Sensors of configs and files by name, so that the name alone finds them in this process.
_OWN: dict[str, Sensor] = {}


def get_sensor(spec: SensorSpec | Sensor) -> Sensor:
    """Returns a sensor.

    Args:
        spec: its name, the path of a YAML file (`.yaml`) that describes it, or that description;
            see `read_sensor`.
    Raises:
        ValueError: no such sensor (the message lists the known ones), or a description that
            cannot be used.
        DataError: no such file.
    """
    if isinstance(spec, Sensor):
        return spec
    if isinstance(spec, Mapping):
        return read_sensor(spec, 'sensor')
    if spec.lower().endswith(('.yaml', '.yml')):
        return _read_file(find_data_file(spec))
    if (known := SENSORS.get(spec) or _OWN.get(spec)) is not None:
        return known
    raise ValueError(
        f'no sensor is named {spec!r}{suggest_sensors(spec)} (there are: {", ".join(SENSORS)}; '
        'or give a YAML file with the gains of yours)'
    )


def read_sensor(node: Mapping[str, Any], where: str) -> Sensor:
    """Reads the description of a sensor.

    Args:
        node: `gains` (one, or one for each band) and `pan_gain`: the MTF at the Nyquist frequency;
            optional `name`, `title`, `bands` (their names in order) and `bit_depth` (16).
        where: file or key, for messages.
    Raises:
        ValueError: unknown or missing keys, or values out of range.
    """
    unknown = [key for key in node if key not in KEYS]
    if unknown:
        near = did_you_mean(str(unknown[0]), KEYS) or f'; there are: {", ".join(KEYS)}'
        raise ValueError(f'{where}: a sensor has no key {unknown[0]!r}{near}')
    missing = [key for key in ('gains', 'pan_gain') if key not in node]
    if missing:
        raise ValueError(
            f'{where}: a sensor needs {" and ".join(missing)}, the MTF at Nyquist; 0.3 and 0.15 '
            'are common where none is published'
        )
    gains = node['gains'] if isinstance(node['gains'], list) else [node['gains']]
    bands = node.get('bands') or []
    for key, values, kind in (
        ('gains', gains, (int, float)),
        ('pan_gain', [node['pan_gain']], (int, float)),
        ('bands', bands if isinstance(bands, list) else [None], str),
        ('bit_depth', [node.get('bit_depth', 16)], int),
        ('name', [node.get('name', '')], str),
    ):
        wrong = [v for v in values if not isinstance(v, kind) or isinstance(v, bool)]
        if wrong or not values and key == 'gains':
            raise ValueError(f'{where}: {key} of a sensor cannot be {node.get(key)!r}')
    if bands and len(gains) not in (1, len(bands)):
        raise ValueError(f'{where}: found {len(gains)} gains for {len(bands)} bands')
    name = node.get('name') or 'own'
    gains = gains * len(bands) if len(gains) == 1 and bands else gains
    return _add(
        Sensor(
            name,
            str(node.get('title', name)),
            node.get('bit_depth', 16),
            tuple(map(float, gains)),
            float(node['pan_gain']),
            tuple(str(band).lower() for band in bands),
        )
    )


def suggest_sensors(name: str) -> str:
    """Formats `; did you mean 'x'?` with the sensors of the family that a name belongs to."""
    plain = re.sub(r'[^a-z0-9]', '', name.lower())
    word = plain.rstrip('0123456789ab') or plain
    exact = [n for n, s in SENSORS.items() if plain in (_plain(n), _plain(s.title))]
    family = [
        n
        for n, s in SENSORS.items()
        if any(plain == w or word == w or (len(w) > 3 and plain.startswith(w)) for w in s.family)
    ]
    digits = re.findall(r'[0-9]+', plain)
    numbered = [n for n in family if digits and digits[0] in re.findall(r'[0-9]+', n)]
    found = exact or numbered or family
    if not found:
        return did_you_mean(name, SENSORS)
    return '; did you mean ' + ' or '.join(map(repr, found)) + '?'


def _plain(text: str) -> str:
    return re.sub(r'[^a-z0-9]', '', text.lower())


def _read_file(path: Path) -> Sensor:
    node, _ = read_yaml(path, str(path))
    node = node.get('sensor', node)
    if not isinstance(node, Mapping):
        raise ValueError(f'{path}: expected a mapping with the keys {", ".join(KEYS)}')
    return read_sensor({'name': path.stem, **node}, str(path))


def _add(sensor: Sensor) -> Sensor:
    known = SENSORS.get(sensor.name) or _OWN.setdefault(sensor.name, sensor)
    if known != sensor:
        raise ValueError(
            f'a sensor named {sensor.name!r} is there already with other values; give it another '
            '`name`'
        )
    return sensor
