"""Splits of a manifest's scenes into parts, saved with a hash of what they were made of."""

from __future__ import annotations

import argparse
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from plugins.pansharpening.scenes.manifest import read_manifest
from plugins.pansharpening.scenes.manifest_scenes import Manifest, SceneRow, chosen
from plugins.pansharpening.scenes.raster import replacing
from toolkit.errors import ToolkitError, did_you_mean
from toolkit.io.data_paths import data_path, record_digest
from toolkit.registry import COMMANDS
from toolkit.registry.command import Command

SUFFIX = '.splits.json'
FORMAT = 1


def make_splits(
    rows: Sequence[SceneRow],
    fractions: Mapping[str, float],
    seed: int = 0,
    group: str | None = None,
) -> dict[str, list[str]]:
    """Share scenes out at random, each sensor's in the same proportions as far as that is possible.

    Scenes of one group (one town, one flight) stay together.

    Args:
        rows: the scenes.
        fractions: of each split, by name; their sum is 1.
        seed: of the shuffle.
        group: column whose value is a scene's group; a scene without one is its own.
    Returns:
        Names of scenes by split, in the order of the rows.
    Raises:
        ToolkitError: no such column, or fewer groups than splits.
    """
    units = _units(rows, group)
    wanted = [name for name, fraction in fractions.items() if fraction > 0]
    if len(units) < len(wanted):
        what = 'scenes' if group is None else f'groups by {group}'
        raise ToolkitError(
            f'{len(wanted)} splits ({", ".join(wanted)}) need at least as many {what}, found '
            f'{len(units)}'
        )
    order = np.random.default_rng(seed).permutation(len(units))
    # Large groups first, while there is room for them in any split.
    shuffled = sorted((units[i] for i in order), key=len, reverse=True)
    sizes = {key: sum(len(u) for u in units if _stratum(u) == key) for key in map(_stratum, units)}
    given = {name: dict.fromkeys(sizes, 0) for name in wanted}
    members: dict[str, list[list[SceneRow]]] = {name: [] for name in wanted}
    for unit in shuffled:
        key = _stratum(unit)

        def lack(name: str, key: tuple[str, ...] = key) -> float:
            own = fractions[name] * sizes[key] - given[name][key]
            overall = fractions[name] * len(rows) - sum(given[name].values())
            # What is missing overall decides where a sensor has too few scenes to say.
            return round(own, 9) + round(overall, 9)

        best = max(wanted, key=lack)
        members[best].append(unit)
        given[best][key] += len(unit)
    for name in wanted:
        if not members[name]:
            # Rounding left nothing for it: the smallest unit of the split that has most units.
            rich = max(wanted, key=lambda n: len(members[n]))
            members[name].append(members[rich].pop())
    split_of = {row.name: name for name in wanted for unit in members[name] for row in unit}
    return {
        name: [row.name for row in rows if split_of[row.name] == name] if name in wanted else []
        for name in fractions
    }


def save_splits(
    path: Path,
    manifest: Manifest,
    splits: Mapping[str, Sequence[str]],
    how: Mapping[str, Any],
) -> str:
    """Write splits with the manifest's hash and their own; returns the latter.

    Raises:
        RunError: the file cannot be written.
    """
    record: dict[str, Any] = {
        'format': FORMAT,
        'manifest': {'file': manifest.path.name, 'digest': manifest.digest},
        'made': dict(how),
        'splits': {name: list(scenes) for name, scenes in splits.items()},
    }
    record['digest'] = record_digest(record)
    with replacing(path) as partial:
        partial.write_text(json.dumps(record, indent=1, ensure_ascii=False) + '\n', 'utf-8')
    return record['digest']


def load_splits(path: str | Path, manifest: Manifest) -> tuple[dict[str, str], str]:
    """The split of each scene by its name, and the hash of the file, after checking them.

    Args:
        path: absolute, or below $TOOLKIT_DATA, or from here.
        manifest: whose scenes they are.
    Raises:
        ToolkitError: no file of splits, one that was edited, or of another manifest than this.
    """
    file = data_path(path)
    again = f'make them anew: toolkit split {manifest.path} --output {file} --overwrite'
    try:
        record = json.loads(file.read_text('utf-8'))
        splits, digest = record['splits'], record['digest']
        scenes = [(name, split) for split, names in splits.items() for name in names]
        made_of = record['manifest']['digest']
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ToolkitError(
            f'{file} is no file of splits, as `toolkit split` writes them'
        ) from error
    twice = sorted(name for name, count in Counter(n for n, _ in scenes).items() if count > 1)
    if twice:
        raise ToolkitError(f'{file}: {", ".join(twice)} stand in two places; {again}')
    if digest != record_digest(record):
        raise ToolkitError(f'{file} was changed after it was made; restore it, or {again}')
    if made_of != manifest.digest:
        raise ToolkitError(
            f'{manifest.path} is not what {file} was made of{_changes(dict(scenes), manifest)}; '
            f'restore it, or {again}, which may move scenes from one split to another'
        )
    return dict(scenes), digest


def rows_of(
    manifest: Manifest, splits: str | None, split: str | None
) -> tuple[tuple[SceneRow, ...], str]:
    """The scenes that a dataset asks for, and a hash of why.

    Args:
        manifest: all scenes.
        splits: a file of splits; None for the manifest's own column.
        split: which; None for all scenes.
    Raises:
        ToolkitError: see `load_splits`, or no such split.
    """
    if split is None:
        if splits is not None:
            raise ToolkitError(f'splits {splits} is given; say which `split` of it is used')
        return manifest.rows, manifest.digest
    if splits is None:
        return manifest.split(split), manifest.digest
    if 'split' in manifest.columns:
        raise ToolkitError(
            f'{manifest.path} has a column split, and splits {splits} is given; remove one of them'
        )
    split_of, digest = load_splits(splits, manifest)
    return chosen(manifest, split_of, split), digest


@COMMANDS.register(name='split')
class Split(Command):
    """Split the scenes of a manifest into training, validation and test.

    Shares out whole scenes, each sensor's in the same proportions where there are enough of them,
    and writes a file that datasets take as `splits`. It holds a hash of the manifest, and is
    refused once that has changed.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add('manifest', metavar='MANIFEST', help='CSV file with a scene a row')
        add(
            '--fractions',
            default='train=0.7,val=0.15,test=0.15',
            metavar='F',
            help='NAME=SHARE of each split, with commas between (default: %(default)s)',
        )
        add('--seed', type=int, default=0, metavar='N', help='of the shuffle (default: 0)')
        add('--group', metavar='COLUMN', help='scenes of one value stay in one split')
        add('--output', type=Path, metavar='FILE', help=f'default: beside MANIFEST, {SUFFIX}')
        add('--overwrite', action='store_true', help='replace splits that are there')
        add('--outside', action='store_true', help="paths may leave the manifest's folder")

    def run(self, arguments: argparse.Namespace) -> int:
        fractions = parse_fractions(arguments.fractions)
        if arguments.seed < 0:
            raise ToolkitError(f'--seed must be 0 or more, found {arguments.seed}')
        manifest = read_manifest(arguments.manifest, arguments.outside)
        output = arguments.output or manifest.path.with_name(manifest.path.stem + SUFFIX)
        if output.exists() and not arguments.overwrite:
            raise ToolkitError(
                f'{output} is there already; keep it, as results depend on it, or replace it with '
                '--overwrite'
            )
        if 'split' in manifest.columns:
            raise ToolkitError(f'{manifest.path} has a column split already; remove one of them')
        splits = make_splits(manifest.rows, fractions, arguments.seed, arguments.group)
        how = {'fractions': fractions, 'seed': arguments.seed, 'group': arguments.group}
        digest = save_splits(output, manifest, splits, how)
        _print(manifest, splits)
        print(f'written to {output} ({digest[:16]})')
        return 0


def parse_fractions(text: str) -> dict[str, float]:
    """`train=.7,val=.3` as numbers by name.

    Raises:
        ToolkitError: something else, or numbers whose sum is not 1.
    """
    fractions: dict[str, float] = {}
    for part in text.split(','):
        name, equals, number = (piece.strip() for piece in part.partition('='))
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not name or not equals or not 0 <= value <= 1 or name in fractions:
            raise ToolkitError(
                f'--fractions: found {part.strip()!r}, expected NAME=SHARE with shares from 0 to 1 '
                'and every name once, such as train=.7,val=.15,test=.15'
            )
        fractions[name] = value
    if abs(sum(fractions.values()) - 1) > 1e-6:
        raise ToolkitError(f'--fractions: found a sum of {sum(fractions.values()):g}, expected 1')
    return fractions


def _units(rows: Sequence[SceneRow], group: str | None) -> list[list[SceneRow]]:
    """Scenes that stay together, in the order of their first."""
    if group is not None and rows and group not in rows[0].values:
        columns = list(rows[0].values)
        raise ToolkitError(
            f'--group: no column is named {group!r}{did_you_mean(group, columns)}; there are: '
            f'{", ".join(columns)}'
        )
    units: dict[tuple[str, str], list[SceneRow]] = {}
    for row in rows:
        value = row.values[group] if group is not None else ''
        units.setdefault(('group', value) if value else ('scene', row.name), []).append(row)
    return list(units.values())


def _stratum(unit: Sequence[SceneRow]) -> tuple[str, ...]:
    return tuple(sorted({row.sensor for row in unit}))


def _changes(splits: Mapping[str, str], manifest: Manifest) -> str:
    names = {row.name for row in manifest.rows}
    parts = []
    for what, found in (('new', names - splits.keys()), ('gone', splits.keys() - names)):
        if found:
            few = sorted(found)[:3]
            parts.append(f'{what}: {", ".join(few)}' + (' ...' if len(found) > len(few) else ''))
    return f' ({"; ".join(parts)})' if parts else ' (other values)'


def _print(manifest: Manifest, splits: Mapping[str, Sequence[str]]) -> None:
    sensor_of = {row.name: row.sensor for row in manifest.rows}
    sensors = list(dict.fromkeys(sensor_of.values()))
    table = Table(title=f'{manifest.path.name}: {len(manifest.rows)} scenes', title_justify='left')
    table.add_column('split')
    for column in ('scenes', *sensors):
        table.add_column(column, justify='right')
    for name, scenes in splits.items():
        counts = [sum(sensor_of[scene] == sensor for scene in scenes) for sensor in sensors]
        table.add_row(name, str(len(scenes)), *map(str, counts))
    Console().print(table)
