"""Bands by their names: descriptions and colour interpretations beside those of a sensor."""

from __future__ import annotations

import re
from collections.abc import Sequence

from plugins.pansharpening.scenes.sensors import Sensor
from toolkit.errors import DataError

# Names of bands that mean the same, without spaces and signs.
SYNONYMS = {
    'nearinfrared': 'nir',
    'infrared': 'nir',
    'nearir': 'nir',
    'nearinfrared1': 'nir1',
    'nearinfrared2': 'nir2',
    'coastalblue': 'coastal',
    'coastalaerosol': 'coastal',
}
# Colour interpretations of GDAL that name a band.
COLOURS = ('red', 'green', 'blue', 'coastal', 'yellow', 'rededge', 'nir')


def check_order(
    sensor: Sensor,
    names: Sequence[str],
    where: str,
    numbers: Sequence[int] | None = None,
    colours: Sequence[str] = (),
) -> str | None:
    """Compares the bands that a file names with those of a sensor.

    A description counts before a colour interpretation. Explicit `numbers` overrule colour
    interpretations, which GDAL writes unasked.

    Args:
        sensor: expected sensor; one without band names has any.
        names: descriptions of the bands, '' for none; other names than the sensor's do not count.
        where: file, for messages.
        numbers: numbers of these bands in the file, if the user states them; None for 1, 2, ...
        colours: colour interpretations of the bands.
    Returns:
        A note if explicit numbers overrule colour interpretations; else None.
    Raises:
        DataError: a band is named as another one of the sensor; states the order that fits.
    """
    expected = [_reduce(name) for name in sensor.band_names]
    if len(expected) != len(names):
        return None
    described = [_find_known(name, expected) for name in names]
    coloured = [_find_known(c if c in COLOURS else '', expected) for c in (*colours,)]
    coloured = [*coloured, *[''] * (len(names) - len(coloured))]
    found = [name or colour for name, colour in zip(described, coloured)]
    wrong = [i for i, name in enumerate(found) if name and name != expected[i]]
    if not wrong:
        return None
    first = wrong[0]
    kind = 'described' if described[first] else 'tagged'
    text = (
        f'{where}: band {(numbers or range(1, len(found) + 1))[first]} is {kind} as '
        f'{found[first]}, but {sensor.title} has {sensor.band_names[first]} there '
        f'({", ".join(sensor.band_names)})'
    )
    if numbers is not None and not any(described[i] for i in wrong):
        return f'{text}; the stated bands {",".join(map(str, numbers))} count'
    order = _find_order(found, expected, list(numbers or range(1, len(found) + 1)))
    advice = 'name the sensor that took it'
    if order is not None:
        advice = f'set bands: {order} (--bands {",".join(map(str, order))}), or {advice}'
    if kind == 'tagged':
        given = ','.join(str(n) for n in range(1, len(found) + 1))
        advice += f', or overrule the tags, which GDAL writes unasked, with --bands {given}'
    raise DataError(f'{text}; {advice}')


def _find_order(found: list[str], expected: list[str], numbers: list[int]) -> list[int] | None:
    """Finds the order of bands that fits; one band without a name is what is left over."""
    missing = [name for name in expected if name not in found]
    if found.count('') == 1 == len(missing):
        found = [name or missing[0] for name in found]
    if sorted(found) != sorted(expected):
        return None
    return [numbers[found.index(name)] for name in expected]


def _find_known(name: str, expected: Sequence[str]) -> str:
    plain = _reduce(name)
    plain = plain if plain in expected else SYNONYMS.get(plain, plain)
    return plain if plain in expected else ''


def _reduce(name: str) -> str:
    return re.sub('[^a-z0-9]', '', name.lower())
