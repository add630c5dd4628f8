"""Pansharpening a scene with a trained system, and writing what comes out."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

from plugins.pansharpening.inference.resumable_geotiff import Compression
from plugins.pansharpening.inference.scene_inference import InferenceSettings, stream
from plugins.pansharpening.inference.shards import join, part_file, to_cog
from plugins.pansharpening.inference.tiled_inference import Sharpener
from plugins.pansharpening.inference.tiles import Shard
from plugins.pansharpening.scenes.band_files import BandFiles
from plugins.pansharpening.scenes.open_scene import open_scene
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.visualization.contact_sheet import scene_pictures
from toolkit.engine import distributed
from toolkit.errors import DataError, ToolkitError, did_you_mean

# What may be named among the inputs.
NAMED = ('ms', 'pan', 'bit_depth', 'ratio', 'samples')


def predict_scene(
    system: Sharpener,
    scene: Scene,
    output: Path,
    *,
    tile: int | None = None,
    shard: Shard | None = None,
    workers: int | None = None,
    device: str | torch.device = 'cpu',
    context: Callable[[], AbstractContextManager[Any]] = nullcontext,
    compress: Compression = 'deflate',
    cog: bool = False,
    progress: bool = True,
    picture: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> list[Path]:
    """Sharpen a scene of any size; write digital numbers, and pictures beside them.

    The result is the same to the bit whatever the tile, the workers and the shards, on the CPU in
    float32. A run that was killed goes on where it stopped when it is given again.

    Args:
        system: a trained system; it is moved to `device` and run in evaluation mode.
        scene: what to sharpen.
        output: a GeoTIFF, or a VRT (.vrt) beside whose name the files of the parts are written; the
            pictures are beside it, with the suffix .png.
        tile: side of the windows in PAN pixels, rounded to what the network can do; None for what
            suits it.
        shard: the share of the windows that this process takes; None for that of its rank under
            torchrun, else all. Whichever share is finished last joins the parts.
        workers: threads that compute; None for one a core.
        device: to compute on.
        context: made around each computation, for autocast, which is a thread's own.
        compress: 'none' is fastest, 'deflate' is read everywhere, 'zstd' is fast and small.
        cog: make the GeoTIFF a cloud-optimized one, with overviews.
        progress: show a progress bar.
        picture: write the pictures (`pictures.scene_pictures`).
        say: is told what was done, how fast, and with how much memory.
    Returns:
        The files written.
    Raises:
        DataError: the scene has other bands or another ratio than the system, or cannot be read.
        ToolkitError: a tile size that is not positive, too many shards, an output that is a PNG
            itself or is being written by another process.
        RunError: the network gives values that are not finite, or the output cannot be written.
    """
    if (scene.bands, scene.ratio) != (system.bands, system.ratio):
        raise DataError(
            f'{scene.name} has {scene.bands} bands at ratio {scene.ratio}, but the network was '
            f'built for {system.bands} bands at ratio {system.ratio}; give it a scene of that kind'
        )
    output = Path(output)
    check_output(output, cog)
    shard = shard or _of_rank()
    settings = InferenceSettings(
        tile, shard, workers, torch.device(device), context, compress, progress
    )
    outcome = stream(system, scene, part_file(output, shard), settings)
    say(str(outcome))
    written = [outcome.path]
    if outcome.path != output:
        joined = join(output, scene, shard.count, outcome)
        if joined is None:
            say(f'share {shard} is done; the last of the others joins them')
            return written
        written = joined
    if cog:
        to_cog(output, outcome.layout)
    if picture:
        files = BandFiles([output])
        written += scene_pictures(
            scene, lambda w: files.read(w)[0], output.with_suffix(''), system.upsampling
        )
    return written


def scene_from_inputs(inputs: Sequence[str], sensor: str) -> Scene:
    """The scene that words on the command line mean.

    Args:
        inputs: one path of a .mat or .npz file, or those of the MS and the PAN, rasters or .npy, in
            this order or as `ms=PATH` (again for each file of bands) and `pan=PATH`; beside them
            `bit_depth=12`, `ratio=4` and `samples=interp23tap` as for `RasterScene`.
        sensor: name of the sensor.
    Raises:
        ToolkitError: other inputs than these, or no such sensor.
        DataError: no such file.
    """
    plain: list[str] = []
    named: dict[str, list[str]] = {}
    for word in inputs:
        name, equals, value = word.partition('=')
        if equals and name in NAMED:
            named.setdefault(name, []).append(value)
        elif equals and name.isidentifier() and (hint := did_you_mean(name, NAMED)):
            raise ToolkitError(f'found the input {word}{hint}')
        else:
            plain.append(word)
    ms, pan = named.pop('ms', []), named.pop('pan', [])
    options = {name: values[-1] for name, values in named.items()}
    for name in ('bit_depth', 'ratio'):
        if name in options and not options[name].isdecimal():
            raise ToolkitError(f'found {name}={options[name]}, expected a whole number')
    settings = {n: int(v) if v.isdecimal() else v for n, v in options.items()}
    if len(plain) == 1 and not ms and not pan and plain[0].lower().endswith(('.mat', '.npz')):
        return open_scene(plain, None, sensor, **settings)
    if len(plain) == 2 and not ms and not pan:
        return open_scene(plain[:1], plain[1], sensor, **settings)
    if not plain and ms and len(pan) == 1:
        return open_scene(ms, pan[0], sensor, **settings)
    raise ToolkitError(
        f'found the input {" ".join(inputs) or "(none)"}; expected one .mat file, or two rasters: '
        'MS PAN, or ms=PATH pan=PATH'
    )


def check_output(output: Path, cog: bool) -> None:
    """Refuse a name that the sharpened image cannot have.

    Raises:
        ToolkitError: a PNG's, that of a folder, or a VRT's for a cloud-optimized GeoTIFF.
    """
    suffix = output.suffix.lower()
    if suffix == '.png':
        raise ToolkitError(
            f'the output {output} is a GeoTIFF and needs a name such as '
            f'{output.with_suffix(".tif").name}; the picture is written beside it'
        )
    if suffix == '.vrt' and cog:
        raise ToolkitError(
            f'{output} is a VRT, which cannot be a cloud-optimized GeoTIFF; name it '
            f'{output.with_suffix(".tif").name}'
        )
    if output.is_dir():
        raise ToolkitError(f'the output {output} is a folder; give the name of a GeoTIFF in it')


def _of_rank() -> Shard:
    """The share of a process that torchrun started: no process waits for another."""
    if distributed.launched():
        return Shard(int(os.environ['RANK']) + 1, int(os.environ['WORLD_SIZE']))
    return Shard()
