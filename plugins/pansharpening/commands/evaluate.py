"""Scoring sharpened images that any tool has written."""

from __future__ import annotations

import argparse
import functools
import json
import math
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from plugins.pansharpening.scenes.alignment import RasterGrid, align
from plugins.pansharpening.scenes.open_scene import ImageFile, open_scene, read_image
from plugins.pansharpening.scenes.raster import Samples, replacing
from plugins.pansharpening.scenes.scene import Scene, check_finite
from plugins.pansharpening.scenes.sensors import SENSORS
from plugins.pansharpening.scenes.window import Window
from toolkit.errors import DataError
from toolkit.registry import COMMANDS, METRICS
from toolkit.registry.command import Command

REFERENCE = ('SAM', 'ERGAS', 'SCC', 'Q', 'Q2n', 'PSNR', 'SSIM', 'RMSE')
FULL = ('D_lambda', 'D_s', 'QNR', 'D_lambda_K', 'HQNR', 'D_sR', 'RQNR', 'D_rho')
REPROJECTION = ('R_SAM', 'R_ERGAS', 'R_Q2n', 'R_Q', 'D_lambda_align')


@COMMANDS.register(name='evaluate')
class Evaluate(Command):
    """Score a sharpened image made by any tool.

    Compares it with the MS and the PAN that it was made of and, where there is one, with a
    reference; prints a table and writes JSON. As in the toolbox, the indices take
    MS sample i to lie at PAN pixel ratio * i + ratio // 2, half a pixel off the centre of its own.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add('--fused', required=True, metavar='F', help='the image to score: raster, .npy or .mat')
        add('--ms', required=True, nargs='+', metavar='M', help='MS, or the files of its bands')
        add('--pan', metavar='P', help='PAN; not where M is a .mat or .npz that holds both')
        add('--reference', metavar='R', help='what the sharpened image should be')
        add('--sensor', default='generic', metavar='S', help=f'{", ".join(SENSORS)} (the default)')
        add('--bit-depth', type=int, metavar='N', help="of the digital numbers; the sensor's")
        add('--ratio', type=int, metavar='N', help='PAN pixels per MS pixel; found in the files')
        add(
            '--samples',
            default='centre',
            choices=get_args(Samples),
            help="of georeferenced files: 'interp23tap' lays the MS where the indices take it to "
            "be, for tools that heed the georeference; 'centre' (the default) keeps the grid of "
            'the files',
        )
        add('--json', type=Path, metavar='FILE', help='write the scores here too')

    def run(self, arguments: argparse.Namespace) -> int:
        scene = open_scene(
            arguments.ms,
            arguments.pan,
            arguments.sensor,
            arguments.bit_depth,
            arguments.ratio,
            arguments.samples,
        )
        result = evaluate(scene, arguments.fused, arguments.reference)
        for warning in result['warnings']:
            print(f'warning: {warning}', file=sys.stderr)
        if arguments.json is not None:
            write_json(arguments.json, result)
        _print(result)
        return 0


def evaluate(scene: Scene, fused: str, reference: str | None = None) -> dict[str, Any]:
    """Score an image by every index that the files allow, where all of them have data.

    The indices are those of the registered metrics of these names, computed in float64 on the
    whole image.

    Args:
        scene: the MS and the PAN that the image was made of.
        fused: path of the image, in digital numbers, on the PAN's pixels.
        reference: path of the true image, likewise; None to leave its indices out.
    Returns:
        `scores` by name (NaN where an index is not defined), `better` ('higher' or 'lower') by
        name, and what they were computed on: `fused`, `reference`, `scene`, `sensor`, `bit_depth`,
        `ratio`, `bands`, `window` (row, column, height, width in the scene's PAN pixels), `valid`
        (share of pixels with data) and `warnings` (which scores are missing, and why).
    Raises:
        DataError: files that cannot be read or do not lie on each other, NaN or infinite values,
            no pixel with data in all of them.
    """
    images = {'fused': read_image(fused, scene.bands)}
    if reference is not None:
        images['reference'] = read_image(reference, scene.bands)
    paths = {'fused': fused, 'reference': reference}
    placed = {name: _place(image, scene, str(paths[name])) for name, image in images.items()}
    window = _common([place for place, _ in placed.values()], scene, fused)
    valid = scene.read_mask(window)
    cut = {}
    for name, image in images.items():
        place, origin = placed[name]
        inside = window.relative_to(place).shift(*origin)
        values = inside.cut(image.values)
        check_finite(values, str(paths[name]))
        cut[name] = values.astype(np.float64) / scene.scale
        if image.valid is not None:
            own = inside.cut(image.valid)
            valid = own if valid is None else valid & own
    if valid is not None and not valid.any():
        raise DataError(f'{fused}: found no pixel where all files hold data')
    if valid is not None and valid.all():
        valid = None
    batch = scored_batch(scene, window, valid)
    if 'reference' in cut:
        batch['hrms'] = torch.from_numpy(cut['reference'])[None]
    ms = batch['lrms'][0].numpy()
    warnings = _other_units(cut['fused'], ms, valid, fused, scene.scale)
    names = (*(REFERENCE if reference is not None else ()), *FULL, *REPROJECTION)
    scores, missing = measured(names, cut['fused'], batch)
    warnings += missing
    return {
        'scores': scores,
        'better': directions(names),
        'fused': fused,
        'reference': reference,
        'scene': scene.name,
        'sensor': scene.sensor.name,
        'bit_depth': scene.bits,
        'ratio': scene.ratio,
        'bands': scene.bands,
        'window': list(window),
        'valid': 1.0 if valid is None else float(valid.mean()),
        'warnings': warnings,
    }


def scored_batch(scene: Scene, window: Window, valid: np.ndarray | None) -> dict[str, Any]:
    """What an image of a window is scored by, as metrics take it.

    Args:
        scene: gives MS and PAN.
        window: in PAN pixels, on whole MS pixels.
        valid: (H, W), where there is data; None for everywhere.
    """
    batch = {
        'lrms': torch.from_numpy(scene.read_ms(window.reduced(scene.ratio)))[None],
        'pan': torch.from_numpy(scene.read_pan(window))[None],
        'meta': [{'sensor': scene.sensor.name, 'scale': scene.scale, 'ratio': scene.ratio}],
    }
    return batch if valid is None else {**batch, 'mask': torch.from_numpy(valid)[None, None]}


def measured(
    names: Iterable[str], fused: np.ndarray, batch: dict[str, Any]
) -> tuple[dict[str, float], list[str]]:
    """The registered metrics of these names of one image.

    Args:
        names: of the metrics.
        fused: (C, H, W), scaled as the batch is.
        batch: see `scored_batch`.
    Returns:
        Scores by name, NaN where an index is not defined, and why those are missing that are.
    """
    outputs = {'hrms': torch.from_numpy(fused)[None]}
    scores: dict[str, float] = {}
    missing = []
    for name in names:
        metric = METRICS.get(name)()
        try:
            (row,) = metric.measure(outputs, batch)
            scores |= {key: float(row[key]) for key in metric.directions}
        except DataError as error:  # an image too small for its windows, say
            scores |= dict.fromkeys(metric.directions, math.nan)
            missing.append(str(error))
    return scores, missing


def directions(names: Iterable[str]) -> dict[str, str]:
    """Which way each score is better, 'higher' or 'lower'."""
    found = [item for name in names for item in METRICS.get(name)().directions.items()]
    return {key: 'higher' if up else 'lower' for key, up in found}


def write_json(path: Path, result: Mapping[str, Any]) -> None:
    """Write a result; numbers that are NaN or infinite, which JSON has not, become null.

    Raises:
        RunError: it cannot be written.
    """
    with replacing(path) as partial:
        partial.write_text(json.dumps(_plain(result), indent=2) + '\n')


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _place(image: ImageFile, scene: Scene, name: str) -> tuple[Window, tuple[int, int]]:
    """The part of the scene's PAN grid that the image covers, and where that begins in it."""
    georeference = scene.georeference
    size = image.grid[:2]
    if georeference is None or not image.grid.located:
        if size != scene.pan_shape:
            height, width = scene.pan_shape
            raise DataError(
                f'{name}: found {size[0]} x {size[1]} pixels without a place, but the PAN has '
                f'{height} x {width}; expected the same size, or georeference in all files'
            )
        return Window(0, 0, *size), (0, 0)
    pan = RasterGrid(*scene.pan_shape, *georeference)
    try:
        found = align(image.grid, pan, 1, name)
    except DataError as error:
        raise _elsewhere(name, image.grid, pan) from error
    if found.ms_origin is None or image.grid.crs != pan.crs:
        raise _elsewhere(name, image.grid, pan)
    return Window(*found.pan_origin, *found.shape), found.ms_origin


def _elsewhere(name: str, image: RasterGrid, pan: RasterGrid) -> DataError:
    return DataError(
        f'{name}: found pixels of {image.pixel()} that do not lie on those of the PAN, '
        f'{pan.pixel()}; expected an image on the PAN grid, in its coordinate system'
    )


def _common(windows: list[Window], scene: Scene, name: str) -> Window:
    """What all windows share, cut to whole MS pixels."""
    ratio = scene.ratio
    shared = functools.reduce(Window.intersect, windows).covered(ratio).enlarged(ratio)
    if not shared.pixels:
        raise DataError(f'{name}: found no MS pixel that all files cover')
    return shared


def _other_units(
    fused: np.ndarray, ms: np.ndarray, valid: np.ndarray | None, name: str, scale: int
) -> list[str]:
    """What to say where the image seems to be in other units than the MS."""
    mean = float(fused.mean() if valid is None else fused[:, valid].mean())
    expected = float(ms[:, (ms > 0).any(0)].mean()) if ms.any() else 0.0
    if expected == 0 or 0.5 <= mean / expected <= 2:
        return []
    return [
        f'{name} has the mean {mean * scale:.4g} and the MS {expected * scale:.4g}; the scores '
        'mean something only if both are in the same digital numbers'
    ]


def _print(result: dict[str, Any]) -> None:
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
