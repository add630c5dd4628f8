"""A whole scene, or a process's share of it, into a file: read, computed and written at a time."""

from __future__ import annotations

import hashlib
import inspect
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.console import Console
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
from plugins.pansharpening.inference.resumable_geotiff import (
    Compression,
    GrowingFile,
    RasterFormat,
    UnwrittenError,
)
from plugins.pansharpening.inference.thread_pool import Workers, working
from plugins.pansharpening.inference.tiled_inference import Sharpener, TiledInference
from plugins.pansharpening.inference.tiles import ALL, Shard, extent, tiles
from plugins.pansharpening.scenes.raster import replace_atomically
from plugins.pansharpening.scenes.scene import Scene
from toolkit.errors import ToolkitError
from toolkit.io.process import read_peak_memory

# Begins a bar: what is done and how many PAN pixels; gives what is called with those just done.
Bars = Callable[[str, int], Callable[[int], None]]
# In the name of the file of a share.
PART = '.shard-'


class InferenceOutcome(NamedTuple):
    """What a run over a scene did.

    Attributes:
        path: the file.
        layout: what it holds.
        side: of the windows.
        pixels: of the PAN, sharpened by this process now.
        seconds: that took.
        resumed: windows that were there before.
        windows: windows in all.
        note: says how many values the data type cannot hold; '' where it holds all.
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
    """How a scene is streamed, none of which changes a bit of it.

    Attributes:
        tile: side of the windows in PAN pixels; None for what suits the generator.
        shard: the share of the windows that this process takes.
        workers: threads that compute; None for one a core.
        device: to compute on.
        context: made around each computation, for autocast.
        compress: of the file.
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


def stream(
    system: Sharpener, scene: Scene, output: Path, settings: InferenceSettings
) -> InferenceOutcome:
    """Sharpen a scene into a GeoTIFF with memory for a few windows, whatever its size.

    A run that was killed goes on with the windows that are not there yet when it is given again.

    Args:
        system: is moved to the device and run in evaluation mode.
        scene: what to sharpen.
        output: the GeoTIFF; of a shard, the file of its part.
        settings: how.
    Raises:
        DataError: the scene cannot be read, or is too large for a network that wants it whole.
        ToolkitError: a tile that is not positive, too many shards, an output in use.
        RunError: values that are not finite, or an output that cannot be written.
    """
    tile, shard, workers, device, context, compress, progress, dtype = settings
    if tile is not None and tile < 1:
        raise ToolkitError(f'tile must be at least 1, found {tile}')
    with evaluating(system, device):
        streamed = TiledInference(system, scene, device, context, dtype)
        numbers_format = streamed.format
        layout = RasterFormat(
            scene.bands,
            numbers_format.dtype,
            scene.georeference,
            scene.sensor.names(scene.bands),
            numbers_format.nodata,
            numbers_format.masked,
            compress,
        )
        align = math.lcm(scene.ratio, streamed.stride)
        side = align * math.ceil((tile or streamed.tile) / align)
        windows = tiles(scene.pan_shape, side, shard)
        basis = identity(system, scene)
        whole = extent(windows)
        settings_key = f'{compress} {side} {shard} {layout.dtype} {layout.nodata} {layout.masked}'
        file = GrowingFile(output, whole, layout, f'{basis} {settings_key}')
        try:
            todo = [window for window in windows if window not in file.done]
            with working(workers) as pool, _bars(progress) as bar:
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
    """A hash of all that a scene's pixels depend on: settings, weights, code, the scene."""
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
def evaluating(system: Any, device: torch.device) -> Iterator[None]:
    """The system on the device and in evaluation mode inside, in its own mode afterwards."""
    if not isinstance(system, nn.Module):
        yield
        return
    training = system.training
    system.to(device).eval()
    try:
        yield
    finally:
        system.train(training)


def statistics_file(output: Path) -> Path:
    """Where the shares of an output leave what they have found of the whole scene."""
    return output.with_name(f'.{output.stem.partition(PART)[0]}.statistics')


def _measure(streamed: TiledInference, pool: Workers, bar: Bars, output: Path, basis: str) -> None:
    """Statistics of the whole scene, or those that another share or an earlier run has left."""
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
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not shown) as progress:

        def bar(description: str, total: int) -> Callable[[int], None]:
            for task in progress.tasks:
                progress.update(task.id, visible=False)
            task = progress.add_task(description, total=total)
            return lambda pixels: progress.advance(task, pixels)

        yield bar
