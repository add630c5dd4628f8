"""The command `toolkit evaluate`: scores a sharpened image written by any tool."""

from __future__ import annotations

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from plugins.pansharpening.imaging.registration import Registration, register
from plugins.pansharpening.metrics.score_image import (
    NO_REFERENCE,
    REFERENCE,
    REPROJECTION,
    get_directions,
    read_batch,
    score_image,
)
from plugins.pansharpening.scenes.open_scene import ImageFile, open_scene, read_image
from plugins.pansharpening.scenes.rasters.alignment import RasterGrid, align
from plugins.pansharpening.scenes.rasters.raster import ChosenSamples
from plugins.pansharpening.scenes.rasters.raster_names import find_raster
from plugins.pansharpening.scenes.scene import Scene, check_finite
from plugins.pansharpening.scenes.scene_arguments import add_scene_arguments, get_scene_options
from plugins.pansharpening.scenes.sensors import SENSORS
from plugins.pansharpening.scenes.window import Window
from toolkit.commands.arguments import add_plugins
from toolkit.errors import DataError
from toolkit.io.json_values import write_json
from toolkit.io.output_path import check_outputs
from toolkit.registry import COMMANDS, METRICS, plugin_index
from toolkit.registry.command import Command


@COMMANDS.register(name='evaluate')
class Evaluate(Command):
    """Score a sharpened image made by any tool.

    Compares it with its MS and PAN and, if one is given, with a reference; prints a table and
    writes JSON. As in the toolbox, the indices take MS sample i to lie at PAN pixel
    ratio * i + ratio // 2, half a pixel off its centre; georeferenced files are read so. The shift
    that the MS still has against the PAN is measured and printed.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add('--fused', required=True, metavar='F', help='the image to score: raster, .npy or .mat')
        add('--ms', required=True, nargs='+', metavar='M', help='MS, or the files of its bands')
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
        add_plugins(parser)
        add('--json', type=Path, metavar='FILE', help='write the scores here too')
        add('--overwrite', action='store_true', help='replace the file of --json if it exists')

    def run(self, arguments: argparse.Namespace) -> int:
        for plugin in arguments.plugin:
            plugin_index.add(plugin)
        for name in arguments.metric:
            METRICS.get(name)
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
            scene, arguments.fused, arguments.reference, arguments.metric, arguments.outside
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


def evaluate(
    scene: Scene,
    fused: str,
    reference: str | None = None,
    further: Sequence[str] = (),
    outside: bool = False,
) -> dict[str, Any]:
    """Scores an image by every index that the files allow, on the pixels valid in all of them.

    The indices are the registered metrics of these names, computed in float64 on the whole image.

    Args:
        scene: the MS and the PAN of the image.
        fused: path of the image, in digital numbers, on the PAN's pixels.
        reference: path of the true image, likewise; None to leave its indices out.
        further: names of registered metrics that are computed too.
        outside: a VRT may name files outside its folder and on the network.
    Returns:
        `scores` by name (NaN if an index is not defined), `better` ('higher' or 'lower') by name,
        their inputs `fused`, `reference`, `scene`, `sensor`, `bit_depth`, `ratio`, `bands`,
        `window` (row, column, height, width in the scene's PAN pixels), `valid` (share of pixels
        with data), `registration` (shift of the MS against the PAN, see `Registration`), and
        `warnings` (missing scores with the reason, and a shift that is large).
    Raises:
        DataError: the files cannot be read or do not match, hold NaN or infinite values, or have
            no valid pixel in common.
    """
    images = {'fused': read_image(fused, scene.bands, outside)}
    if reference is not None:
        images['reference'] = read_image(reference, scene.bands, outside)
    paths = {'fused': fused, 'reference': reference}
    regions = {name: _locate(image, scene, str(paths[name])) for name, image in images.items()}
    window = _intersect([region for region, _ in regions.values()], scene, fused)
    valid = scene.read_mask(window)
    crops = {}
    for name, image in images.items():
        region, origin = regions[name]
        part = window.relative_to(region).shift(*origin)
        values = part.cut(image.values)
        check_finite(values, str(paths[name]))
        crops[name] = values.astype(np.float64) / scene.scale
        if image.valid is not None:
            own = part.cut(image.valid)
            valid = own if valid is None else valid & own
    if valid is not None and not valid.any():
        raise DataError(f'{fused}: found no pixel that is valid in all files')
    if valid is not None and valid.all():
        valid = None
    batch = read_batch(scene, window, valid)
    if 'reference' in crops:
        batch['hrms'] = torch.from_numpy(crops['reference'])[None]
    ms = batch['lrms'][0].numpy()
    warnings = _warn_of_units(crops['fused'], ms, valid, fused, scene.scale)
    names = (*(REFERENCE if reference is not None else ()), *NO_REFERENCE, *REPROJECTION, *further)
    warnings += scene.notes
    if scene.holds_fractions:
        warnings.append(scene.describe_fractions())
    if scene.sensor.assumed:
        warnings.append(scene.sensor.describe_assumption())
    scores, messages = score_image(names, crops['fused'], batch)
    warnings += messages
    registration = register(scene)
    warnings += registration.list_warnings(scene.name)
    return {
        'scores': scores,
        'better': get_directions(names),
        'fused': fused,
        'reference': reference,
        'scene': scene.name,
        'sensor': scene.sensor.name,
        'bit_depth': scene.bits,
        'ratio': scene.ratio,
        'bands': scene.bands,
        'window': list(window),
        'valid': 1.0 if valid is None else float(valid.mean()),
        'registration': registration._asdict(),
        'warnings': warnings,
    }


def _locate(image: ImageFile, scene: Scene, name: str) -> tuple[Window, tuple[int, int]]:
    """Finds the part of the PAN grid that the image covers, and its first row and column there."""
    georeference = scene.georeference
    size = image.grid[:2]
    if georeference is None or not image.grid.located:
        if size != scene.pan_shape:
            height, width = scene.pan_shape
            raise DataError(
                f'{name}: found {size[0]} x {size[1]} pixels without georeference, the PAN has '
                f'{height} x {width}; expected the same size, or georeferences in all files'
            )
        return Window(0, 0, *size), (0, 0)
    pan = RasterGrid(*scene.pan_shape, *georeference)
    try:
        found = align(image.grid, pan, 1, name)
    except DataError as error:
        raise _misaligned(name, image.grid, pan) from error
    if found.ms_origin is None or image.grid.crs != pan.crs:
        raise _misaligned(name, image.grid, pan)
    return Window(*found.pan_origin, *found.shape), found.ms_origin


def _misaligned(name: str, image: RasterGrid, pan: RasterGrid) -> DataError:
    return DataError(
        f'{name}: found pixels of {image.pixel()} that do not lie on those of the PAN, '
        f'{pan.pixel()}; expected an image on the PAN grid, in its coordinate system'
    )


def _intersect(windows: list[Window], scene: Scene, name: str) -> Window:
    """Intersects windows, cropped to whole MS pixels."""
    ratio = scene.ratio
    shared = functools.reduce(Window.intersect, windows).covered(ratio).enlarged(ratio)
    if not shared.pixels:
        raise DataError(f'{name}: found no MS pixel that all files cover')
    return shared


def _warn_of_units(
    fused: np.ndarray, ms: np.ndarray, valid: np.ndarray | None, name: str, scale: int
) -> list[str]:
    """Returns a warning if the image seems to have other units than the MS."""
    mean = float(fused.mean() if valid is None else fused[:, valid].mean())
    expected = float(ms[:, (ms > 0).any(0)].mean()) if ms.any() else 0.0
    if expected == 0 or 0.5 <= mean / expected <= 2:
        return []
    return [
        f'{name} has the mean {mean * scale:.4g} and the MS {expected * scale:.4g}; the scores '
        'mean something only if both are in the same digital numbers'
    ]


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
    Console().print(table)
