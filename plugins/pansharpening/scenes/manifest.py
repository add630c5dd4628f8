"""Manifests of scenes: tables with one row for each scene, checked before an image is opened."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from plugins.pansharpening.scenes.open_scene import get_suffix, open_scene
from plugins.pansharpening.scenes.rasters.raster_layout import ChosenSamples
from plugins.pansharpening.scenes.scene import Scene, check_bit_depth
from plugins.pansharpening.scenes.sensors import Sensor, get_sensor
from plugins.pansharpening.scenes.with_reference import ReferencedScene
from toolkit.errors import ToolkitError, did_you_mean
from toolkit.io.data_paths import find_data_file
from toolkit.io.tables.manifest_reader import ManifestReader
from toolkit.io.verification.hashing import hash_json

REQUIRED = ('name', 'ms', 'sensor')
OPTIONAL = (
    'pan',
    'reference',
    'bit_depth',
    'ratio',
    'bands',
    'samples',
    'group',
    'split',
    'weight',
)
COLUMNS = (*REQUIRED, *OPTIONAL)
# Extensions of files that hold arrays.
ARRAYS = ('.mat', '.npz', '.npy')
# Separates the files of one MS whose bands have a file each.
SEPARATOR = ';'


@dataclass(frozen=True)
class SceneRow:
    """One scene of a manifest.

    Attributes:
        location: `FILE:LINE`, for messages.
        name: unique in its manifest.
        ms: absolute paths of the MS, or of its bands.
        pan: absolute path; None where one file holds both.
        sensor: name of the sensor.
        reference: absolute path of the true image at PAN's resolution, if there is one.
        bit_depth: bits of the digital numbers; None for the sensor's.
        ratio: ratio that the images must have; None for the one they have.
        bands: number of bands that the MS must have; None for the number it has.
        samples: see `RasterScene`.
        split: split that the manifest puts the scene into; '' for none.
        weight: weight with which patches are drawn from the scene.
        values: text of all columns.
        outside: a VRT may name files outside its folder and on the network.
    """

    location: str
    name: str
    ms: tuple[str, ...]
    pan: str | None
    sensor: str
    reference: str | None = None
    bit_depth: int | None = None
    ratio: int | None = None
    bands: int | None = None
    samples: ChosenSamples = 'auto'
    split: str = ''
    weight: float = 1.0
    values: dict[str, str] = field(default_factory=dict)
    outside: bool = False

    def open(self) -> Scene:
        """Opens the scene.

        Raises:
            ToolkitError: it cannot be opened, or its bands or ratio are not those of the row.
        """
        try:
            # Only rasters name other files.
            leaves = self.outside and get_suffix(self.ms[0]) not in ARRAYS
            scene = open_scene(
                self.ms,
                self.pan,
                self.sensor,
                self.bit_depth,
                self.ratio,
                self.samples,
                **({'outside': True} if leaves else {}),
            )
            if self.reference is not None:
                scene = ReferencedScene(scene, self.reference)
            # Many products name their files alike, so the row's name replaces that of the file.
            scene.name = self.name
            for name, expected, found in (
                ('bands', self.bands, scene.bands),
                ('ratio', self.ratio, scene.ratio),
            ):
                if expected not in (None, found):
                    raise ToolkitError(
                        f'{self.name} has {name} {found}, the manifest states {expected}'
                    )
        except ToolkitError as error:
            raise type(error)(f'{self.location}: {error}') from error
        return scene


@dataclass(frozen=True)
class SceneManifest:
    """The scenes of a manifest.

    Attributes:
        path: path of the file.
        rows: scenes in the order of the file.
        columns: names of all columns.
        digest: hash of the values, which line ends and quotes of the file do not change.
    """

    path: Path
    rows: tuple[SceneRow, ...]
    columns: tuple[str, ...]
    digest: str

    def rows_of_split(self, name: str) -> tuple[SceneRow, ...]:
        """Returns the rows that the column `split` puts into a split.

        Raises:
            ToolkitError: there is no such column or split.
        """
        if 'split' not in self.columns:
            raise ToolkitError(
                f'{self.path} has no column split, so the scenes of {name!r} are not known; add '
                f'it, or make splits (toolkit split {self.path}) and name their file in `splits`'
            )
        return self.select_rows({row.name: row.split for row in self.rows}, name)

    def select_rows(self, split_of: Mapping[str, str], name: str) -> tuple[SceneRow, ...]:
        """Returns the rows of a split.

        Args:
            split_of: split by name of the scene.
            name: name of the split.
        Raises:
            ToolkitError: the split has no scene.
        """
        rows = tuple(row for row in self.rows if split_of.get(row.name) == name)
        if not rows:
            known = sorted({split for split in split_of.values() if split})
            raise ToolkitError(
                f'no scene of {self.path} is in the split {name!r}{did_you_mean(name, known)}; '
                f'there are: {", ".join(known) or "none"}'
            )
        return rows


def read_manifest(path: str | Path, outside: bool = False) -> SceneManifest:
    """Reads a manifest of scenes.

    Args:
        path: path of the CSV or Parquet file: absolute, or below $TOOLKIT_DATA, or below the
            current folder.
        outside: allow paths that leave the folder of the manifest.
    Raises:
        ToolkitError: the manifest has mistakes; lists all, a line each: `FILE:LINE: mistake`.
    """
    return _SceneReader(find_data_file(path), outside).read()


class _SceneReader(ManifestReader[SceneRow]):
    noun = 'scene'

    def read(self) -> SceneManifest:
        columns, rows = self.read_rows(COLUMNS)
        self.report_repeated(rows, lambda row: row.name, lambda row: f'the name {row.name!r}')
        # Compares resolved paths, so that a link counts as the file it leads to.
        self.report_repeated(
            rows,
            lambda row: tuple(map(os.path.realpath, row.ms)),
            lambda row: f'the MS {row.ms[0]}',
        )
        self._check_groups(rows)
        self.raise_mistakes()
        scenes = tuple(row for _, row in rows)
        values = [{k: v for k, v in sorted(row.values.items()) if v} for row in scenes]
        return SceneManifest(self.path, scenes, columns, hash_json(values))

    def check_columns(self, line: int, columns: Sequence[str]) -> None:
        missing = [name for name in REQUIRED if name not in columns]
        for name in columns:
            # Columns that are unlike all known ones are the user's own.
            if name not in COLUMNS and (near := did_you_mean(name, COLUMNS)):
                self.add_mistake(line, f'no column is named {name!r}{near}')
        if missing and not self.has_mistake():
            self.add_mistake(
                line,
                f'no column {" and ".join(missing)}; found {", ".join(columns)}, expected '
                f'{", ".join(REQUIRED)} and, where needed, {", ".join(OPTIONAL)}',
            )

    def parse_row(self, line: int, cells: Mapping[str, str]) -> SceneRow | None:
        for name in ('name', 'sensor'):
            if not cells[name]:
                self.add_mistake(line, f'{name} is empty')
        names = [name.strip() for name in cells['ms'].split(SEPARATOR)]
        ms = tuple(str(self.resolve_file(line, 'ms', name)) for name in names)
        pan, reference = (
            str(self.resolve_file(line, name, cells[name])) if cells.get(name) else None
            for name in ('pan', 'reference')
        )
        if not self.has_mistake(line) and pan is None and not _holds_pan(ms):
            self.add_mistake(
                line, f'pan is empty; only a .mat or .npz holds both, found {cells["ms"]}'
            )

        def convert(column: str, parse: Callable[[str], Any], default: Any = None) -> Any:
            return self.convert(line, column, cells.get(column, ''), parse, default)

        def find_sensor(text: str) -> Sensor:
            own = text.lower().endswith(('.yaml', '.yml'))
            return get_sensor(str(self.resolve_file(line, 'sensor', text)) if own else text)

        sensor = convert('sensor', find_sensor)
        row = SceneRow(
            location=f'{self.path}:{line}',
            name=cells['name'],
            ms=ms,
            pan=pan,
            sensor=sensor.name if sensor else '',
            reference=reference,
            bit_depth=convert('bit_depth', lambda text: check_bit_depth(_parse_count(text))),
            ratio=convert('ratio', _parse_count),
            bands=convert('bands', _parse_count),
            samples=convert('samples', _parse_samples, 'auto'),
            split=cells.get('split', ''),
            weight=convert('weight', _parse_weight, 1.0),
            values=dict(cells),
            outside=self.outside,
        )
        return None if self.has_mistake(line) else row

    def _check_groups(self, rows: Sequence[tuple[int, SceneRow]]) -> None:
        """Adds a mistake for each scene whose group is in another split too."""
        first: dict[str, tuple[int, str]] = {}
        for line, row in rows:
            group = row.values.get('group', '')
            if not group or not row.split:
                continue
            other_line, other_split = first.setdefault(group, (line, row.split))
            if other_split != row.split:
                self.add_mistake(
                    line,
                    f'the group {group!r} is in the split {row.split!r} here and in '
                    f'{other_split!r} in line {other_line}; put it into one',
                )


def _holds_pan(ms: tuple[str, ...]) -> bool:
    return len(ms) == 1 and ms[0].lower().endswith(('.mat', '.npz'))


def _parse_count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f'expected a whole number from 1, found {text!r}')
    return int(text)


def _parse_weight(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise ValueError(f'expected a number of 0 or more, found {text!r}')
    return value


def _parse_samples(text: str) -> ChosenSamples:
    known = get_args(ChosenSamples)
    if text not in known:
        raise ValueError(
            f'expected {" or ".join(known)}, found {text!r}{did_you_mean(text, known)}'
        )
    return text
