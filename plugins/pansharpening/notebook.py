"""Pansharpening of images in memory, for notebooks and scripts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from plugins.pansharpening.imaging.resample import Method
from plugins.pansharpening.inference.in_memory import (
    ImageSource,
    like,
    scene_from_values,
    sharpen_scene,
)
from plugins.pansharpening.inference.modules.reach import Reach
from plugins.pansharpening.inference.modules.streamed_module import measure_module, stream
from plugins.pansharpening.interfaces import GENERATORS
from plugins.pansharpening.scenes.arrays.memory_scene import MemoryScene
from plugins.pansharpening.scenes.sensors import SensorSpec
from plugins.pansharpening.system import Pansharpener
from plugins.pansharpening.untrained_method import sharpener
from toolkit.engine.process.precision import find_device
from toolkit.errors import ToolkitError
from toolkit.run.loaded_run import LoadedRun, load_run

__all__ = ['MemoryScene', 'Reach', 'measure_module', 'sharpen', 'stream']


def sharpen(
    ms: ImageSource | Sequence[str | Path],
    pan: ImageSource | None,
    sensor: SensorSpec | None = None,
    method: str | Path | LoadedRun | nn.Module = 'GSA',
    *,
    bit_depth: int | None = None,
    upsample: Method | None = None,
    dtype: str | None = None,
    tile: int | None = None,
    workers: int | None = None,
    device: str | torch.device | None = None,
) -> Any:
    """Pansharpens two images by a method, a trained run or a module.

    Args:
        ms: multispectral image, digital numbers (C, h, w) as an array or a tensor; or its path, the
            paths of its bands, or the path of a file with both images.
        pan: panchromatic image (H, W) or (1, H, W), or its path; None if the MS's file holds it.
        sensor: name of the sensor, whose MTF some methods use; `toolkit list` has the names. None
            for 'generic', and with a run for the sensor of its test data.
        method: name of a generator (see docs/pansharpening/results.md; a network has random
            weights), the folder of a trained run or what `toolkit.load_run` returns, or a module,
            as `stream` takes it.
        bit_depth: of the digital numbers; None for the sensor's.
        upsample: interpolation of the MS to the size of the PAN; None for 'interp23tap', and with a
            run for its own, which cannot be changed.
        dtype: data type of the result, such as 'float32'; None for that of the MS.
        tile: side of the windows in PAN pixels; None for a size that suits the method.
        workers: threads that compute; None for one a core, and for one with a module.
        device: to compute on; None for the CPU, and with a run for the device of its config.
    Returns:
        (C, H, W) digital numbers: a tensor if `ms` is one, else an array.
    Raises:
        ToolkitError: images of other types, no such sensor, method or run, or a method that cannot
            do these bands or this ratio.
        DataError: images that do not fit each other, or files that cannot be read.
    """
    options: dict[str, Any] = {'dtype': dtype, 'tile': tile, 'workers': workers}
    run = _find_run(method, device)
    if run is not None:
        if upsample is not None:
            raise ToolkitError(
                f'{run.folder} upsamples as it was trained; leave out upsample={upsample!r}'
            )
        return run.predict(ms, pan, sensor=sensor, bit_depth=bit_depth, **options)
    own: Method = method.upsampling if isinstance(method, Pansharpener) else 'interp23tap'
    scene = scene_from_values(ms, pan, sensor or 'generic', bit_depth, upsample or own)
    options['device'] = device or 'cpu'
    if isinstance(method, nn.Module):
        options['workers'] = workers or 1
        result = stream(method, scene, upsample=upsample, **options)
    else:
        system = sharpener(str(method), scene, upsample or own)
        result = sharpen_scene(system, scene, **options)
    return like(result, ms)


def _find_run(method: object, device: str | torch.device | None) -> LoadedRun | None:
    """Returns the run that `method` is or whose folder it names; None for a name or a module.

    Raises:
        ToolkitError: a run on another device, a folder without a run, or no method at all.
    """
    if isinstance(method, LoadedRun):
        if device is not None and find_device(device) != method.device:
            raise ToolkitError(
                f'{method} is not on {device}; load it there: '
                f'toolkit.load_run(folder, device={str(device)!r})'
            )
        return method
    if isinstance(method, nn.Module):
        return None
    if not isinstance(method, str | Path):
        raise ToolkitError(
            f'found a method of type {type(method).__name__}; expected the name of a generator, a '
            'run or its folder, or a torch module'
        )
    is_folder = isinstance(method, Path) or (
        Path(method).is_dir() and method not in GENERATORS.names()
    )
    return load_run(method, device=device) if is_folder else None
