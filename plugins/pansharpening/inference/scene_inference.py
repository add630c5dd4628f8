"""Inference of a scene, or of one shard of it, into a file, window by window."""

from __future__ import annotations

import hashlib
import inspect
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text
from torch import Tensor, nn

import toolkit
from plugins.pansharpening.inference.output.raster_format import Compression, RasterFormat
from plugins.pansharpening.inference.output.resumable_geotiff import GrowingFile, UnwrittenError
from plugins.pansharpening.inference.thread_pool import Workers, run_workers
from plugins.pansharpening.inference.tiled_inference import Sharpener, TiledInference
from plugins.pansharpening.inference.tiles import ALL, Shard, extent, tiles
from plugins.pansharpening.scenes.rasters.raster_output import replace_atomically
from plugins.pansharpening.scenes.scene import Scene
from toolkit.errors import ToolkitError
from toolkit.io.process import read_peak_memory
from toolkit.io.tables.shown_console import ShownConsole
from toolkit.io.verification.integrity import check_file

# Starts a progress bar from a text and a number of PAN pixels; returns its advance function.
Bars = Callable[[str, int], Callable[[int], None]]
# In the name of the file of a shard.
PART = '.shard-'


class InferenceOutcome(NamedTuple):
    """Result of the inference of a scene.

    Attributes:
        path: file that was written.
        layout: format of the file.
        side: side of the windows.
        pixels: number of PAN pixels that this process has computed now.
        seconds: their run time.
        resumed: number of windows that an earlier run had finished.
        windows: number of all windows.
        note: number of values that the data type cannot hold, as text; '' if there are none.
    """

    path: Path
    layout: RasterFormat
    side: int
    pixels: int
    seconds: float
    resumed: int
    windows: int
    note: str = ''

    def __str__(self) -> str:
        rate = self.pixels / 1e6 / max(self.seconds, 1e-9)
        text = f'{self.pixels / 1e6:.4g} megapixels in {self.seconds:.3g} s ({rate:.3g} a second)'
        if self.resumed:
            text += f', {self.resumed} of {self.windows} windows were there'
        return f'{text}; peak memory {read_peak_memory() / 1e9:.2f} GB'


class InferenceSettings(NamedTuple):
    """Settings of the inference of a scene, which do not change the values of its result.

    Attributes:
        tile: side of the windows in PAN pixels; None for one that suits the generator.
        shard: share of the windows that this process computes.
        workers: number of threads that compute; None for one a core.
        device: device to compute on.
        context: makes a context for each computation, for autocast.
        compress: compression of the file.
        dtype: data type of the file; None for that of the MS.
        progress: show a progress bar.
    """

    tile: int | None = None
    shard: Shard = ALL
    workers: int | None = None
    device: torch.device = torch.device('cpu')
    context: Callable[[], AbstractContextManager[Any]] = nullcontext
    compress: Compression = 'deflate'
    progress: bool = False
    dtype: str | None = None


def infer_scene(
    system: Sharpener, scene: Scene, output: Path, settings: InferenceSettings
) -> InferenceOutcome:
    """Sharpens a scene of any size into a GeoTIFF, with memory for a few windows.

    The same call continues a run that was killed.

    Args:
        system: system that is moved to the device and runs in evaluation mode.
        scene: scene to sharpen.
        output: GeoTIFF; for a shard, the file of its part.
        settings: settings of the inference.
    Raises:
        DataError: the scene cannot be read, or is too large for a network that needs it whole.
        ToolkitError: a tile that is not positive, too many shards, an output in use.
        RunError: values that are not finite, or an output that cannot be written.
    """
    tile, shard, workers, device, context, compress, progress, dtype = settings
    with set_evaluation_mode(system, device):
        streamed = TiledInference(system, scene, device, context, dtype)
        numbers_format = streamed.format
        layout = RasterFormat(
            scene.bands,
            numbers_format.dtype,
            scene.georeference,
            scene.band_names,
            numbers_format.nodata,
            numbers_format.masked,
            compress,
            scene.tags,
            scene.pan_shape,
        )
        side = streamed.choose_side(tile)
        windows = tiles(scene.pan_shape, side, shard)
        basis = identity(system, scene)
        whole = extent(windows)
        settings_key = f'{compress} {side} {shard} {layout.dtype} {layout.nodata} {layout.masked}'
        file = GrowingFile(output, whole, layout, f'{basis} {settings_key}')
        try:
            todo = [window for window in windows if window not in file.done]
            with run_workers(workers) as pool, _bars(progress) as bar:
                started = time.perf_counter()
                if todo:
                    _measure(streamed, pool, bar, output, basis)
                advance = bar('pansharpening', sum(window.pixels for window in todo))
                # Results come in order; those under way or waiting for this writer are few.
                for window, numbers in pool.map(lambda w: (w, streamed.window(w)), todo):
                    file.write(window, numbers)
                    numbers_format.check_share(file.counts[0], whole.pixels * scene.bands)
                    advance(window.pixels)
                clipped, count = file.counts
                numbers_format.check_share(clipped, count)
                path = file.finish()
                seconds = time.perf_counter() - started
        except UnwrittenError:
            raise  # the same command goes on once there is room
        except ToolkitError:
            file.discard()
            raise
        except KeyboardInterrupt:
            file.checkpoint()
            raise
        finally:
            file.close()
    if shard.count == 1:
        statistics_file(output).unlink(missing_ok=True)
    resumed = len(windows) - len(todo)
    pixels = sum(window.pixels for window in todo)
    note = numbers_format.describe(clipped, count) if clipped else ''
    return InferenceOutcome(path, layout, side, pixels, seconds, resumed, len(windows), note)


def identity(system: Any, scene: Scene) -> str:
    """Computes a hash of everything that the result depends on: settings, weights, code, scene."""
    digest = hashlib.sha256()
    is_module = isinstance(system, nn.Module)
    for module in system.modules() if is_module else [system.generator]:
        settings = {
            name: value
            for name, value in sorted(vars(module).items())
            if isinstance(value, int | float | str | tuple | list) and name != 'training'
        }
        digest.update(f'{type(module).__qualname__} {settings}\n'.encode())
    for name, value in system.state_dict().items() if is_module else ():
        digest.update(f'{name} {tuple(value.shape)} {value.dtype}\n'.encode())
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    source = inspect.getsourcefile(type(system.generator))
    if source is not None and os.path.isfile(source):
        digest.update(Path(source).read_bytes())
    digest.update(f'{toolkit.__version__} {system.upsampling} {scene.version()}'.encode())
    return digest.hexdigest()


@contextmanager
def set_evaluation_mode(system: Any, device: torch.device) -> Iterator[None]:
    """Moves a system to a device and sets evaluation mode; restores each part's mode afterwards.

    A method's border is that of files, which never wraps, for as long.
    """
    if not isinstance(system, nn.Module):
        yield
        return
    modes = [(part, part.training) for part in system.modules()]
    system.to(device).eval()
    generator = getattr(system, 'generator', None)
    border = generator.border if hasattr(type(generator), 'border') else None
    if border is not None:
        generator.border = 'replicate'
    try:
        yield
    finally:
        if border is not None:
            generator.border = border
        for part, mode in modes:
            part.training = mode


def statistics_file(output: Path) -> Path:
    """Returns the file in which the shards of an output share the statistics of the scene."""
    return output.with_name(f'.{output.stem.partition(PART)[0]}.statistics')


def _measure(streamed: TiledInference, pool: Workers, bar: Bars, output: Path, basis: str) -> None:
    """Loads the statistics of the whole scene from their file, or collects and writes them."""
    if streamed.method is None:
        return
    file = statistics_file(output)
    streamed.statistics = _load(file, basis)
    if streamed.statistics is None:
        height, width = streamed.scene.pan_shape
        looks = 1 if streamed.method.percentile is None else 2
        streamed.measure(pool, bar('looking at the scene', looks * height * width))
        with replace_atomically(file) as partial:
            torch.save({'of': basis, 'statistics': dict(streamed.statistics or {})}, partial)


def _load(file: Path, basis: str) -> Mapping[str, Tensor] | None:
    try:
        check_file(file)
        content = torch.load(file, weights_only=True)
        return content['statistics'] if content['of'] == basis else None
    except Exception:  # none, or one that a full disk has cut: they are made anew
        return None


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        """Megapixels a second."""
        speed = task.finished_speed or task.speed
        return Text('' if speed is None else f'{speed / 1e6:.1f} megapixels/s')


@contextmanager
def _bars(shown: bool) -> Iterator[Bars]:
    columns = (
        TextColumn('{task.description}'),
        BarColumn(),
        TaskProgressColumn(),
        _Rate(),
        TimeRemainingColumn(),
    )
    console = ShownConsole(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not shown) as progress:

        def bar(description: str, total: int) -> Callable[[int], None]:
            for task in progress.tasks:
                progress.update(task.id, visible=False)
            task = progress.add_task(description, total=total)
            return lambda pixels: progress.advance(task, pixels)

        yield bar
