"""Prediction of one scene into a file, with images beside it."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

from plugins.pansharpening.imaging.sample_position import describe_misplacement
from plugins.pansharpening.inference.in_memory import check_scene
from plugins.pansharpening.inference.output.cloud_optimized import to_cog
from plugins.pansharpening.inference.output.raster_format import Compression
from plugins.pansharpening.inference.output.shards import join, part_file
from plugins.pansharpening.inference.scene_inference import InferenceSettings, infer_scene
from plugins.pansharpening.inference.tiled_inference import Sharpener
from plugins.pansharpening.inference.tiles import Shard
from plugins.pansharpening.scenes.rasters.band_files import BandFiles
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.visualization.contact_sheet import list_sheet_files, write_scene_images
from toolkit.engine.process import distributed
from toolkit.errors import ToolkitError
from toolkit.io.output_path import check_outputs

OUTPUTS = ('.tif', '.tiff', '.vrt')


def predict_scene(
    system: Sharpener,
    scene: Scene,
    output: Path,
    *,
    tile: int | None = None,
    shard: Shard | None = None,
    workers: int | None = None,
    device: str | torch.device = 'cpu',
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
    compress: Compression = 'deflate',
    cog: bool = False,
    dtype: str | None = None,
    overwrite: bool = False,
    progress: bool = True,
    picture: bool = True,
    report: Callable[[str], None] = lambda line: None,
) -> list[Path]:
    """Pansharpens a scene of any size; writes digital numbers, and images beside them.

    The result is the same to the bit for any tile size, number of workers and number of shards, on
    the CPU in float32. The same call continues a run that was killed.

    Args:
        system: a trained system; it is moved to `device` and runs in evaluation mode.
        scene: to pansharpen.
        output: a GeoTIFF, or a VRT (.vrt) whose parts are written as files beside it. The images
            have its name with the suffix .png.
        tile: side of the windows in PAN pixels, rounded to a size that the network can process;
            None for a size that suits it.
        shard: the share of the windows that this process computes; None for that of its rank under
            torchrun, else all. The process that finishes last joins the parts.
        workers: threads that compute; None for one a core.
        device: to compute on.
        autocast: makes a context for each computation; autocast belongs to a thread.
        compress: 'none' is fastest, 'deflate' is read everywhere, 'zstd' is fast and small.
        cog: write a cloud-optimized GeoTIFF, with overviews.
        dtype: data type of the digital numbers, such as 'int16'; None for that of the MS.
        overwrite: replace files that exist; inputs are never replaced.
        progress: show a progress bar.
        picture: write the images; see `contact_sheet.write_scene_images`.
        report: takes lines about results, speed and memory.
    Returns:
        The files written.
    Raises:
        DataError: the scene has other bands or another ratio than the system, or cannot be read.
        ToolkitError: a tile size that is not positive, too many shards, or an output that is a PNG
            or that another process is writing.
        RunError: the network gives values that are not finite, or the output cannot be written.
    """
    check_scene(system, scene)
    output = Path(output)
    check_output(output, cog)
    shard = shard or _shard_of_rank()
    part = part_file(output, shard)
    outputs = {output, part, *(list_sheet_files(output.with_suffix('')) if picture else ())}
    check_outputs(sorted(outputs), scene.files(), overwrite=overwrite)
    settings = InferenceSettings(
        tile, shard, workers, torch.device(device), autocast, compress, progress, dtype
    )
    misplaced = describe_misplacement(scene, system.upsampling, scene.ratio)
    lost = (f'{what} are lost' for what in scene.tags.lost)
    for line in (*scene.notes, *lost, *([misplaced] if misplaced else [])):
        report(f'warning: {line}')
    outcome = infer_scene(system, scene, part, settings)
    report(str(outcome))
    if outcome.note:
        report(f'warning: {outcome.note}; the nearest number that fits was written')
    written = [outcome.path]
    if outcome.path != output:
        joined = join(output, scene, shard.count, outcome)
        if joined is None:
            report(f'shard {shard} is done; the shard that finishes last joins them')
            return written
        written = joined
    if cog:
        to_cog(output, outcome.layout)
    if picture:
        files = BandFiles([output])
        written += write_scene_images(
            scene, lambda w: files.read(w)[0], output.with_suffix(''), system.upsampling
        )
    return written


def check_output(output: Path, cog: bool) -> None:
    """Checks the name of the output.

    Raises:
        ToolkitError: a PNG, a folder, no file of this machine, or a VRT as cloud-optimized GeoTIFF.
    """
    # A path has one slash where an address has two.
    if re.match(r'/vsi|[A-Za-z][A-Za-z0-9+.-]+:/', str(output)):
        raise ToolkitError(
            f'the output {output} is in an archive or on another machine; write it to a file here, '
            f'such as {output.name}, and copy that'
        )
    suffix = output.suffix.lower()
    if suffix == '.png':
        raise ToolkitError(
            f'the output {output} is a GeoTIFF and needs a name such as '
            f'{output.with_suffix(".tif").name}; its image is written beside it'
        )
    if suffix == '.vrt' and cog:
        raise ToolkitError(
            f'{output} is a VRT, which cannot be a cloud-optimized GeoTIFF; name it '
            f'{output.with_suffix(".tif").name}'
        )
    if output.is_dir():
        raise ToolkitError(f'the output {output} is a folder; give the name of a GeoTIFF in it')
    if suffix not in OUTPUTS:
        raise ToolkitError(
            f'the output {output} cannot be written in the format of its extension; expected a '
            f'GeoTIFF (.tif, .tiff) or a VRT (.vrt), such as {output.with_suffix(".tif").name}'
        )


def _shard_of_rank() -> Shard:
    """The share of a process that torchrun started; no process waits for another."""
    if distributed.is_launched():
        return Shard(int(os.environ['RANK']) + 1, int(os.environ['WORLD_SIZE']))
    return Shard()
