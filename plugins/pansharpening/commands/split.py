"""`toolkit split`: splits the scenes of a manifest and saves the split."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from plugins.pansharpening.data.splits import make_split, save_split
from plugins.pansharpening.scenes.manifest import SceneManifest, read_manifest
from toolkit.errors import ToolkitError
from toolkit.registry import COMMANDS
from toolkit.registry.command import Command

SUFFIX = '.splits.json'


@COMMANDS.register(name='split')
class SplitCommand(Command):
    """Split the scenes of a manifest into training, validation and test.

    Assigns whole scenes, those of each sensor in the same proportions if there are enough of them,
    and writes a file that datasets take as `splits`. The file holds a hash of the manifest, and
    datasets refuse it once the manifest has changed.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add('manifest', metavar='MANIFEST', help='CSV or Parquet file with one row for each scene')
        add(
            '--fractions',
            default='train=0.7,val=0.15,test=0.15',
            metavar='F',
            help='NAME=SHARE of each split, with commas between (default: %(default)s)',
        )
        add('--seed', type=int, default=0, metavar='N', help='seed of the shuffle (default: 0)')
        add('--group', metavar='COLUMN', help='scenes with the same value stay together')
        add('--output', type=Path, metavar='FILE', help=f'default: beside MANIFEST, {SUFFIX}')
        add('--overwrite', action='store_true', help='replace an existing file')
        add('--outside', action='store_true', help='allow paths outside the folder of MANIFEST')

    def run(self, arguments: argparse.Namespace) -> int:
        fractions = parse_fractions(arguments.fractions)
        if arguments.seed < 0:
            raise ToolkitError(f'--seed must be 0 or more, found {arguments.seed}')
        manifest = read_manifest(arguments.manifest, arguments.outside)
        output = arguments.output or manifest.path.with_name(manifest.path.stem + SUFFIX)
        if output.exists() and not arguments.overwrite:
            raise ToolkitError(
                f'{output} is there already; keep it, since results depend on it, or replace it '
                'with --overwrite'
            )
        if 'split' in manifest.columns:
            raise ToolkitError(f'{manifest.path} has a column split already; remove one of them')
        splits = make_split(manifest.rows, fractions, arguments.seed, arguments.group)
        options = {'fractions': fractions, 'seed': arguments.seed, 'group': arguments.group}
        digest = save_split(output, manifest, splits, options)
        _print_table(manifest, splits)
        print(f'wrote {output} ({digest[:16]})')
        return 0


def parse_fractions(text: str) -> dict[str, float]:
    """Parses `train=.7,val=.3` into shares by name.

    Raises:
        ToolkitError: the text has another form, or the sum of the shares is not 1.
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


def _print_table(manifest: SceneManifest, splits: Mapping[str, Sequence[str]]) -> None:
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
