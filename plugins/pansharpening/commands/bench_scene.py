"""Measures speed and peak memory of pansharpening whole scenes, compared with GDAL's tool."""

from __future__ import annotations

import argparse
import functools
import multiprocessing
import shutil
import statistics
import subprocess
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import rasterio
import torch
from rasterio.transform import from_origin

from plugins.pansharpening.inference.output.raster_format import Compression
from plugins.pansharpening.inference.scene_inference import InferenceSettings, infer_scene
from plugins.pansharpening.interfaces import GENERATORS
from plugins.pansharpening.scenes.rasters.raster import RasterScene
from plugins.pansharpening.scenes.window import Window
from plugins.pansharpening.synthetic.scene import SyntheticScene
from plugins.pansharpening.untrained_method import sharpener
from toolkit.errors import ToolkitError
from toolkit.io.process import read_peak_memory
from toolkit.registry import BENCHES
from toolkit.registry.command import Command

GDAL = 'gdal_pansharpen'
METHODS = (
    'WeightedBrovey',
    'Brovey',
    'GSA',
    'BT-H',
    'BDSD-PC',
    'PRACS',
    'AWLP',
    'MTF-GLP-FS',
    'MTF-GLP-HPM',
    'MTF-GLP-HPM-H',
)
PIECE_SIDE = 1024  # the scene repeats a piece of this size


class RunCost(NamedTuple):
    """Time of one run in seconds and its peak memory in bytes; 0 if it was not measured."""

    seconds: float
    memory: int


@BENCHES.register(name='scene')
class SceneBench(Command):
    """Speed and peak memory of generators on a large scene, compared with GDAL's tool.

    The scene is synthetic, with 4 bands of 11 bits and the ratio 4. Each run has its own process,
    and runs take turns. The time goes from the opened scene to the finished file, without imports;
    that of GDAL's tool includes its start.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument('methods', nargs='*', metavar='GENERATOR', help='names of generators')
        parser.add_argument('--size', type=int, default=8192, help='side in PAN pixels (8192)')
        parser.add_argument('--repeats', type=int, default=3, help='runs of each (3)')
        parser.add_argument('--compress', default='none', help="of the output ('none')")
        parser.add_argument(
            '--device', choices=('cpu', 'cuda'), default='cpu', help="to compute on ('cpu')"
        )
        parser.add_argument(
            '--precision', choices=('fp32', 'bf16'), default='fp32', help="of networks ('fp32')"
        )
        parser.add_argument('--tile', type=int, help='side of windows (chosen for each generator)')
        parser.add_argument('--folder', type=Path, help='for the scene and the outputs')

    def run(self, arguments: argparse.Namespace) -> int:
        size, repeats = arguments.size, arguments.repeats
        if size < 4 or size % 4 or repeats < 1:
            raise ToolkitError(
                f'--size must be a multiple of 4 and --repeats at least 1, found {size} and '
                f'{repeats}'
            )
        methods = list(arguments.methods or METHODS)
        for name in methods:
            GENERATORS.get(name)
        gdal = find_gdal()
        options = (arguments.compress, arguments.device, arguments.precision, arguments.tile)
        costs: dict[str, list[RunCost]] = {}
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            write_scene(Path(folder), size)
            for _ in range(repeats):
                if gdal is not None and arguments.device == 'cpu':
                    costs.setdefault(GDAL, []).append(_measure_gdal(gdal, Path(folder)))
                for name in methods:
                    found = _measure_in_process(name, Path(folder), *options)
                    costs.setdefault(name, []).append(found)
        print(_format_table(costs, size))
        if gdal is None:
            print(f'not compared with {GDAL}, which was not found; Debian has it in gdal-bin')
        return 0


def find_gdal() -> str | None:
    """Finds GDAL's program for pansharpening; None if it is not installed."""
    return shutil.which(f'{GDAL}.py') or shutil.which(GDAL)


def write_scene(folder: Path, size: int) -> None:
    """Writes `ms.tif` (4 bands) and `pan.tif` of a synthetic scene: uint16, tiled, uncompressed."""
    piece = SyntheticScene(bands=4, size=PIECE_SIDE, seed=0)
    # The samples of the synthetic MS lie half a PAN pixel below and right of the centres.
    for name, image, side, pixel, at in (
        ('ms', piece.read_ms(), size // 4, 2.0, 0.25),
        ('pan', piece.read_pan(), size, 0.5, 0.0),
    ):
        numbers = np.rint(image * piece.scale).astype(np.uint16)
        step = numbers.shape[1]
        profile = {
            'driver': 'GTiff',
            'dtype': 'uint16',
            'count': len(numbers),
            'height': side,
            'width': side,
            'tiled': True,
            'blockxsize': 256,
            'blockysize': 256,
            'interleave': 'pixel',
            'photometric': 'minisblack',
            'bigtiff': 'if_safer',
            'crs': 'EPSG:32633',
            'transform': from_origin(300000 + at, 5000000 - at, pixel, pixel),
        }
        with rasterio.open(folder / f'{name}.tif', 'w', **profile) as raster:
            for tile in Window.whole((side, side)).tiles(step):
                values = Window.whole(tile.shape).cut(numbers)
                raster.write(values, window=tile.raster_window)


def _measure_in_process(name: str, folder: Path, *options: Any) -> RunCost:
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_measure, name, folder, *options).result()


def _measure(
    name: str, folder: Path, compress: Compression, device: str, precision: str, tile: int | None
) -> RunCost:
    scene = RasterScene(str(folder / 'ms.tif'), str(folder / 'pan.tif'), 'IKONOS')
    torch_device = torch.device(device)
    context = nullcontext
    if precision == 'bf16':
        context = functools.partial(torch.autocast, torch_device.type, torch.bfloat16)
    settings = InferenceSettings(tile, device=torch_device, context=context, compress=compress)
    outcome = infer_scene(sharpener(name, scene), scene, folder / 'out.tif', settings)
    outcome.path.unlink()
    return RunCost(outcome.seconds, read_peak_memory())


def _measure_gdal(program: str, folder: Path) -> RunCost:
    output = folder / 'gdal.tif'
    options = ['-q', '-threads', 'ALL_CPUS', '-r', 'cubic', '-co', 'TILED=YES']
    paths = [str(folder / 'pan.tif'), str(folder / 'ms.tif'), str(output)]
    start = time.perf_counter()
    done = subprocess.run([program, *options, *paths], capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode or not output.is_file():
        raise ToolkitError(f'{GDAL} failed: {(done.stderr or done.stdout).strip()[-300:]}')
    output.unlink()
    return RunCost(seconds, 0)


def _format_table(costs: dict[str, list[RunCost]], size: int) -> str:
    pixels = size * size / 1e6
    gdal = statistics.median(t.seconds for t in costs[GDAL]) if GDAL in costs else None
    lines = [f'{"":16}  seconds  megapixels/s  times {GDAL}  peak memory, GB']
    for name, runs in costs.items():
        seconds = statistics.median(t.seconds for t in runs)
        ratio = '' if gdal is None else f'{gdal / seconds:.2f}'
        memory = max(t.memory for t in runs) / 1e9
        peak = f'{memory:.2f}' if memory else 'not measured'
        lines.append(
            f'{name:16}  {seconds:7.2f}  {pixels / seconds:12.1f}  {ratio:>21}  {peak:>15}'
        )
    lines.append(f'{size} x {size} PAN pixels, medians of {len(next(iter(costs.values())))}')
    return '\n'.join(lines)
