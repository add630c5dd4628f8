"""Pansharpening a scene with a trained system, and writing what comes out."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn

from plugins.pansharpening.files import open_scene
from plugins.pansharpening.pictures import colours, comparison
from plugins.pansharpening.raster import write_geotiff
from plugins.pansharpening.resample import Method, upsample_window
from plugins.pansharpening.scene import Scene, Window
from toolkit.errors import DataError, RunError, ToolkitError

WHOLE = 1024 * 1024  # PAN pixels up to which a scene is sharpened in one piece
TILE = 1024


class Sharpener(Protocol):
    """What prediction needs of a system; `Pansharpener` has it."""

    bands: int
    ratio: int
    generator: Any
    upsampling: Method

    def sharpen(self, lrms: Tensor, pan: Tensor) -> Tensor:
        """(1, C, h, w) and (1, 1, H, W) in [0, 1] -> (1, C, H, W)."""
        ...


def predict_scene(
    system: Sharpener,
    scene: Scene,
    output: Path,
    *,
    tile: int | None = None,
    device: str | torch.device = 'cpu',
    progress: bool = True,
    picture: bool = True,
) -> list[Path]:
    """Sharpen a scene; write a GeoTIFF of digital numbers and a PNG that compares it.

    Args:
        system: a trained system; it is moved to `device` and run in evaluation mode.
        scene: what to sharpen.
        output: the GeoTIFF; the picture is beside it, with the suffix .png.
        tile: side of the windows in PAN pixels, rounded to what the network can do; None for one
            piece up to 1024 x 1024 pixels and windows of that size beyond. The result is the same.
        device: to compute on.
        progress: show a progress bar where there are several windows.
        picture: write the PNG.
    Returns:
        The files written.
    Raises:
        DataError: the scene has other bands or another ratio than the system, or cannot be read.
        ToolkitError: a tile size that is not positive, or an output that is a PNG itself.
        RunError: the network gives values that are not finite, or the output cannot be written.
    """
    if (scene.bands, scene.ratio) != (system.bands, system.ratio):
        raise DataError(
            f'{scene.name} has {scene.bands} bands at ratio {scene.ratio}, but the network was '
            f'built for {system.bands} bands at ratio {system.ratio}; give it a scene of that kind'
        )
    output = Path(output)
    if output.suffix.lower() == '.png':
        raise ToolkitError(
            f'the output {output} is a GeoTIFF and needs a name such as '
            f'{output.with_suffix(".tif").name}; the picture is written beside it'
        )
    if output.is_dir():
        raise ToolkitError(f'the output {output} is a folder; give the name of a GeoTIFF in it')
    sharpened, upsampled = _sharpen(system, scene, tile, device, progress)
    mask = scene.mask
    if mask is not None:
        sharpened[:, ~mask] = 0
    write_geotiff(
        output,
        sharpened,
        scene.georeference,
        scene.sensor.names(scene.bands),
        None if mask is None else 0,
    )
    if not picture:
        return [output]
    panels = {
        'PAN': scene.read_pan(),
        'upsampled MS': upsampled,
        # In the unit of the other panels.
        'sharpened': colours(sharpened, scene.sensor).astype(np.float32) / np.float32(scene.scale),
    }
    if scene.reference is not None:
        panels['reference'] = colours(scene.reference, scene.sensor)
    comparison(panels, output.with_suffix('.png'), scene.sensor)
    return [output, output.with_suffix('.png')]


def scene_from_inputs(inputs: Sequence[str], sensor: str, bit_depth: int | None = None) -> Scene:
    """The scene that paths on the command line mean.

    Args:
        inputs: one path of a .mat or .npz file, or those of the MS and the PAN, rasters or .npy, in
            this order or as `ms=PATH` and `pan=PATH`.
        sensor: name of the sensor.
        bit_depth: of the digital numbers; None for the sensor's.
    Raises:
        ToolkitError: other inputs than these, or no such sensor.
        DataError: no such file.
    """
    named = dict(path.split('=', 1) for path in inputs if path.startswith(('ms=', 'pan=')))
    plain = [path for path in inputs if not path.startswith(('ms=', 'pan='))]
    if len(plain) == 1 and not named and plain[0].lower().endswith(('.mat', '.npz')):
        return open_scene(plain, None, sensor, bit_depth)
    if len(inputs) == 2 and (len(plain) == 2 or set(named) == {'ms', 'pan'}):
        ms, pan = plain if plain else (named['ms'], named['pan'])
        return open_scene([ms], pan, sensor, bit_depth)
    raise ToolkitError(
        f'found the input {" ".join(inputs) or "(none)"}; expected one .mat file, or two rasters: '
        'MS PAN, or ms=PATH pan=PATH'
    )


def windows(
    shape: tuple[int, int], tile: int, halo: int, align: int
) -> Iterator[tuple[Window, Window]]:
    """Windows that cover an image, each with the one around it that it depends on.

    Args:
        shape: height and width of the image.
        tile: side of the windows, rounded up to a multiple of `align`.
        halo: what to add on each side, rounded likewise and cut at the image's borders.
        align: what all corners inside the image are multiples of.
    Yields:
        The window, and the enlarged window.
    """
    height, width = shape
    tile, halo = (align * math.ceil(value / align) for value in (tile, halo))
    for row in range(0, height, tile):
        for col in range(0, width, tile):
            core = Window(row, col, min(tile, height - row), min(tile, width - col))
            top, left = max(row - halo, 0), max(col - halo, 0)
            bottom = min(row + core.height + halo, height)
            right = min(col + core.width + halo, width)
            yield core, Window(top, left, bottom - top, right - left)


def _sharpen(
    system: Sharpener,
    scene: Scene,
    tile: int | None,
    device: str | torch.device,
    progress: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Digital numbers of the sharpened image (C, H, W), colours of the upsampled MS (3, H, W)."""
    if tile is not None and tile < 1:
        raise ToolkitError(f'tile must be at least 1, found {tile}')
    height, width = scene.pan_shape
    halo = system.generator.halo
    if halo == 'global' or (tile is None and height * width <= WHOLE):
        # A network that looks at the whole image cannot be run by windows.
        pieces = [(Window(0, 0, height, width),) * 2]
    else:
        align = math.lcm(scene.ratio, int(system.generator.stride))
        pieces = list(windows((height, width), tile or TILE, int(halo), align))
    shown = list(scene.sensor.rgb(scene.bands))
    sharpened = np.zeros((scene.bands, height, width), np.uint16 if scene.bits <= 16 else np.uint32)
    upsampled = np.zeros((3, height, width), np.float32)
    ms = torch.from_numpy(scene.read_ms())[None].to(device)  # (1, C, h, w)
    module = system if isinstance(system, nn.Module) else None
    was_training = module is not None and module.training
    if module is not None:
        module.to(device).eval()
    shown_progress = track(
        pieces,
        description='pansharpening',
        console=Console(stderr=True),
        transient=True,
        disable=not progress or len(pieces) == 1,
    )
    try:
        with torch.inference_mode():
            for core, around in shown_progress:
                pan = torch.from_numpy(scene.read_pan(around))[None].to(device)  # (1, 1, H, W)
                lrms_up = upsample_window(
                    ms, scene.ratio, around.reduced(scene.ratio), system.upsampling
                )
                if len(pieces) == 1:
                    hrms = system.sharpen(ms, pan)[0]  # (C, H, W)
                else:
                    # Upsampled apart: at the scene's borders it wraps around, windows cannot.
                    hrms = system.generator(lrms_up, pan)[0]  # (C, h', w')
                inside = Window(core.row - around.row, core.col - around.col, *core[2:]).slices
                place = (slice(None), *core.slices)
                sharpened[place] = _digital(hrms[(slice(None), *inside)], scene, core)
                upsampled[place] = lrms_up[0][(shown, *inside)].float().cpu().numpy()
    finally:
        if module is not None:
            module.train(was_training)
    return sharpened, upsampled


def _digital(image: Tensor, scene: Scene, window: Window) -> np.ndarray:
    """Values in [0, 1] as digital numbers, rounded, cut to the bit depth."""
    if not bool(torch.isfinite(image).all()):
        raise RunError(
            f'the network gives NaN or infinite values for {scene.name}, {window}; its weights '
            'are spoilt, so choose another checkpoint'
        )
    numbers = (image.double() * scene.scale).round().clamp(0, scene.scale)
    return numbers.cpu().numpy()
