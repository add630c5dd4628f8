"""How fast scenes are sharpened and with how much memory, beside GDAL's own pansharpening."""

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

from plugins.pansharpening.inference.resumable_geotiff import Compression
from plugins.pansharpening.inference.scene_inference import InferenceSettings, peak_memory, stream
from plugins.pansharpening.interfaces import GENERATORS
from plugins.pansharpening.scenes.raster import RasterScene
from plugins.pansharpening.scenes.window import Window
from plugins.pansharpening.synthetic.scene import SyntheticScene
from plugins.pansharpening.untrained_method import sharpener
from toolkit.errors import ToolkitError
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
SIDE = 1024  # of the piece that the scene repeats


class Taken(NamedTuple):
    """What one run took."""

    seconds: float
    memory: int


@BENCHES.register(name='scene')
class SceneBench(Command):
    """Megapixels a second and peak memory of generators on a large scene, beside GDAL's tool.

    A made-up scene of 11 bits and 4 bands is written, 4 PAN pixels per multispectral one, and each
    run is a process of its own, in turns. Time is counted from the opened scene to the finished
    file, imports aside; of GDAL's tool from its start.
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
        parser.add_argument('--tile', type=int, help='side of windows (what suits each)')
        parser.add_argument('--folder', type=Path, help='for the scene and the outputs')

    def run(self, arguments: argparse.Namespace) -> int:
        size, repeats = arguments.size, arguments.repeats
        if size < 4 or size % 4 or repeats < 1:
            raise ToolkitError('--size is a multiple of 4, and --repeats is at least 1')
        methods = list(arguments.methods or METHODS)
        for name in methods:
            GENERATORS.get(name)
        gdal = shutil.which(f'{GDAL}.py') or shutil.which(GDAL)
        options = (arguments.compress, arguments.device, arguments.precision, arguments.tile)
        taken: dict[str, list[Taken]] = {}
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            write_scene(Path(folder), size)
            for _ in range(repeats):
                if gdal is not None and arguments.device == 'cpu':
                    taken.setdefault(GDAL, []).append(_gdal(gdal, Path(folder)))
                for name in methods:
                    found = _apart(name, Path(folder), *options)
                    taken.setdefault(name, []).append(found)
        print(_table(taken, size))
        if gdal is None:
            print(f'{GDAL} is not there to compare with; on Debian it is in the package gdal-bin')
        return 0


def write_scene(folder: Path, size: int) -> None:
    """Write `ms.tif` (4 bands) and `pan.tif` of a made-up scene, tiled, uncompressed uint16."""
    piece = SyntheticScene(bands=4, size=SIDE, seed=0)
    for name, image, side, pixel in (
        ('ms', piece.read_ms(), size // 4, 2.0),
        ('pan', piece.read_pan(), size, 0.5),
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
            'transform': from_origin(300000, 5000000, pixel, pixel),
        }
        with rasterio.open(folder / f'{name}.tif', 'w', **profile) as raster:
            for tile in Window.whole((side, side)).tiles(step):
                values = Window.whole(tile.shape).cut(numbers)
                raster.write(values, window=tile.raster_window)


def _apart(name: str, folder: Path, *options: Any) -> Taken:
    context = multiprocessing.get_context('spawn')
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(_streamed, name, folder, *options).result()


def _streamed(
    name: str, folder: Path, compress: Compression, device: str, precision: str, tile: int | None
) -> Taken:
    scene = RasterScene(str(folder / 'ms.tif'), str(folder / 'pan.tif'), 'IKONOS')
    place = torch.device(device)
    context = nullcontext
    if precision == 'bf16':
        context = functools.partial(torch.autocast, place.type, torch.bfloat16)
    settings = InferenceSettings(tile, device=place, context=context, compress=compress)
    outcome = stream(sharpener(name, scene), scene, folder / 'out.tif', settings)
    outcome.path.unlink()
    return Taken(outcome.seconds, peak_memory())


def _gdal(program: str, folder: Path) -> Taken:
    output = folder / 'gdal.tif'
    options = ['-q', '-threads', 'ALL_CPUS', '-r', 'cubic', '-co', 'TILED=YES']
    paths = [str(folder / 'pan.tif'), str(folder / 'ms.tif'), str(output)]
    start = time.perf_counter()
    done = subprocess.run([program, *options, *paths], capture_output=True, text=True)
    seconds = time.perf_counter() - start
    if done.returncode or not output.is_file():
        raise ToolkitError(f'{GDAL} failed: {(done.stderr or done.stdout).strip()[-300:]}')
    output.unlink()
    return Taken(seconds, 0)


def _table(taken: dict[str, list[Taken]], size: int) -> str:
    pixels = size * size / 1e6
    gdal = statistics.median(t.seconds for t in taken[GDAL]) if GDAL in taken else None
    lines = [f'{"":16}  seconds  megapixels/s  times {GDAL}  peak memory, GB']
    for name, runs in taken.items():
        seconds = statistics.median(t.seconds for t in runs)
        ratio = '' if gdal is None else f'{gdal / seconds:.2f}'
        memory = max(t.memory for t in runs) / 1e9
        peak = f'{memory:.2f}' if memory else 'not measured'
        lines.append(
            f'{name:16}  {seconds:7.2f}  {pixels / seconds:12.1f}  {ratio:>21}  {peak:>15}'
        )
    lines.append(f'{size} x {size} PAN pixels, medians of {len(next(iter(taken.values())))}')
    return '\n'.join(lines)
