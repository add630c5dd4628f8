"""The command `toolkit evaluate`: scores sharpened images written by any tool."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any, get_args

from rich.table import Table

from plugins.pansharpening.benchmark.conventions import CONVENTIONS
from plugins.pansharpening.benchmark.evaluation import evaluate
from plugins.pansharpening.commands.evaluate_archive import (
    add_archive_arguments,
    check_archive_arguments,
    evaluate_archive,
)
from plugins.pansharpening.imaging.registration import Registration
from plugins.pansharpening.scenes.open_scene import open_scene
from plugins.pansharpening.scenes.rasters.raster_layout import ChosenSamples
from plugins.pansharpening.scenes.rasters.raster_names import find_raster
from plugins.pansharpening.scenes.scene_arguments import add_scene_arguments, get_scene_options
from plugins.pansharpening.scenes.sensors import SENSORS
from toolkit.commands.arguments import add_plugins
from toolkit.errors import ToolkitError
from toolkit.io.json_values import write_json
from toolkit.io.output_path import check_outputs
from toolkit.io.tables.shown_console import ShownConsole
from toolkit.registry import COMMANDS, METRICS, plugin_index
from toolkit.registry.command import Command


@COMMANDS.register(name='evaluate')
class Evaluate(Command):
    """Score sharpened images made by any tool.

    With --fused, compares one image with its MS and PAN and, if one is given, with a reference;
    prints a table and writes JSON. As in the toolbox, the indices take MS sample i to lie at PAN
    pixel ratio * i + ratio // 2, half a pixel off its centre; georeferenced files are read so. The
    shift that the MS still has against the PAN is measured and printed.

    With --data and --results, compares the results of several methods on an archive of scenes:
    mean and deviation over scenes, and paired tests between the methods.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add('--fused', metavar='F', help='the image to score: raster, .npy or .mat')
        add('--ms', nargs='+', metavar='M', help='MS, or the files of its bands')
        add('--pan', metavar='P', help='PAN; not for a .mat or .npz that holds both')
        add('--reference', metavar='R', help='the true image, on the same pixels')
        add(
            '--sensor',
            default='generic',
            metavar='S',
            help=f'{", ".join(SENSORS)} (the default), or a YAML file',
        )
        add('--bit-depth', type=int, metavar='N', help="of the digital numbers; the sensor's")
        add('--ratio', type=int, metavar='N', help='PAN pixels per MS pixel; found in the files')
        add_scene_arguments(parser)
        add(
            '--samples',
            default='auto',
            choices=get_args(ChosenSamples),
            help="of georeferenced files: 'interp23tap' reads the MS at the place that the indices "
            "assume; 'centre' keeps the grid of the files, as tools do that ignore georeferences; "
            "'auto' (the default) is 'interp23tap' where the ratio is a power of two",
        )
        add(
            '--metric',
            action='append',
            default=[],
            metavar='NAME',
            help='a further metric, as in configs',
        )
        add(
            '--convention',
            action='append',
            default=[],
            choices=list(CONVENTIONS),
            metavar='NAME',
            help='of the evaluation: '
            + '; '.join(f'{c.name}: {c.meaning}' for c in CONVENTIONS.values())
            + '. The default is toolbox; with --data several, to see what they cost',
        )
        add_plugins(parser)
        add('--json', type=Path, metavar='FILE', help='write the scores here too')
        add('--overwrite', action='store_true', help='replace output files that exist')
        add_archive_arguments(parser)

    def run(self, arguments: argparse.Namespace) -> int:
        for plugin in arguments.plugin:
            plugin_index.add(plugin)
        for name in arguments.metric:
            METRICS.get(name)
        check_archive_arguments(arguments)
        if arguments.data is not None:
            return evaluate_archive(arguments)
        return _evaluate_image(arguments)


def _evaluate_image(arguments: argparse.Namespace) -> int:
    if len(arguments.convention) > 1:
        raise ToolkitError('--convention: one for a single image, several for --data')
    convention = CONVENTIONS[(arguments.convention or ['toolbox'])[0]]
    scene = open_scene(
        arguments.ms,
        arguments.pan,
        arguments.sensor,
        arguments.bit_depth,
        arguments.ratio,
        arguments.samples,
        **get_scene_options(arguments),
    )
    if arguments.json is not None:
        named = [arguments.fused, *filter(None, [arguments.reference])]
        images = [path for path in map(find_raster, named) if isinstance(path, Path)]
        check_outputs(
            [arguments.json],
            [*scene.files(), *images],
            overwrite=arguments.overwrite,
            option='--json',
        )
    result = evaluate(
        scene,
        arguments.fused,
        arguments.reference,
        arguments.metric,
        arguments.outside,
        convention,
    )
    for warning in result['warnings']:
        print(f'warning: {warning}', file=sys.stderr)
    if arguments.json is not None:
        write_json(arguments.json, result)
    _print_table(result)
    registration = Registration(**result['registration'])
    if registration.belongs:
        print(f'the MS lies {registration}')
    return 0


def _print_table(result: dict[str, Any]) -> None:
    height, width = result['window'][2:]
    table = Table(
        title=f'{Path(result["fused"]).name}: {height} x {width} PAN pixels, '
        f'{result["bands"]} bands, ratio {result["ratio"]}, {result["sensor"]}',
        title_justify='left',
    )
    for column, justify in (('index', 'left'), ('value', 'right'), ('better', 'left')):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    for name, value in result['scores'].items():
        table.add_row(name, f'{value:.6f}', result['better'][name])
    ShownConsole().print(table)
