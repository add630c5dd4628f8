"""`toolkit split` for manifests of scenes."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.table import Table

from plugins.pansharpening.data.splits import make_split, save_split
from plugins.pansharpening.scenes.manifest import SceneManifest, read_manifest
from toolkit.errors import ToolkitError
from toolkit.interfaces import Splitter
from toolkit.io.output_path import check_outputs
from toolkit.io.tables.shown_console import ShownConsole
from toolkit.registry import SPLITTERS


@SPLITTERS.register
class SceneSplitter(Splitter):
    """Assigns whole scenes to subsets.

    Scenes of each sensor are in the same proportions if there are enough of them. Datasets take
    the file as `splits`; it holds a hash of the manifest.
    """

    items = 'scenes'
    columns = ('ms', 'pan')
    suffix = '.splits.json'

    @classmethod
    def add_arguments(cls, parser: argparse._ArgumentGroup) -> None:
        """Declares `--fractions` and `--group`."""
        parser.add_argument(
            '--fractions',
            default='train=0.7,val=0.15,test=0.15',
            metavar='F',
            help='NAME=SHARE of each subset, with commas between (default: %(default)s)',
        )
        parser.add_argument(
            '--group', metavar='COLUMN', help='scenes with the same value stay together'
        )

    def split(self, manifest: Path, output: Path, arguments: argparse.Namespace) -> str:
        """Splits the scenes at random, those of a group together; see `make_split`."""
        fractions = parse_fractions(arguments.fractions)
        scenes = read_manifest(manifest, arguments.outside)
        if 'split' in scenes.columns:
            raise ToolkitError(f'{scenes.path} has a column split already; remove one of them')
        images = [path for row in scenes.rows for path in (*row.ms, row.pan, row.reference) if path]
        check_outputs([output], images, overwrite=True)
        subsets = make_split(scenes.rows, fractions, arguments.seed, arguments.group)
        options = {'fractions': fractions, 'seed': arguments.seed, 'group': arguments.group}
        digest = save_split(output, scenes, subsets, options)
        _print_table(scenes, subsets)
        return digest


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
    ShownConsole().print(table)
