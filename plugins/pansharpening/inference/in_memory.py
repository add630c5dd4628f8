"""Pansharpening of images in memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from plugins.pansharpening.component_sensors import list_assumptions
from plugins.pansharpening.imaging.resample import Method
from plugins.pansharpening.inference.scene_inference import set_evaluation_mode
from plugins.pansharpening.inference.thread_pool import run_workers
from plugins.pansharpening.inference.tiled_inference import Sharpener, TiledInference
from plugins.pansharpening.scenes.arrays.memory_scene import MemoryScene
from plugins.pansharpening.scenes.open_scene import open_scene
from plugins.pansharpening.scenes.rasters.raster_layout import ChosenSamples
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.scenes.sensors import SensorSpec
from plugins.pansharpening.scenes.window import Window
from toolkit.engine.process.precision import find_device
from toolkit.errors import DataError, ToolkitError

# An image in memory or its path.
ImageSource = np.ndarray | Tensor | str | Path


def sharpen_scene(
    system: Sharpener,
    scene: Scene,
    *,
    dtype: str | None = None,
    tile: int | None = None,
    workers: int | None = None,
    device: str | torch.device = 'cpu',
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> np.ndarray:
    """Pansharpens a scene into an array, window by window.

    The result has the bits that `predict_scene` writes. MTF gains that the system uses and that are
    assumed are warned of.

    Args:
        system: a trained system or an untrained method; it is moved to `device`.
        scene: to pansharpen.
        dtype: data type of the digital numbers, such as 'float32'; None for that of the MS.
        tile: side of the windows in PAN pixels; None for a size that suits the system.
        workers: threads that compute; None for one a core.
        device: to compute on.
        autocast: makes a context for each computation.
    Returns:
        (C, H, W) digital numbers.
    Raises:
        DataError: the scene has other bands or another ratio than the system, or cannot be read.
        ToolkitError: a data type or a tile that cannot be used.
        RunError: values that are not finite, or too many values that `dtype` cannot hold.
    """
    check_scene(system, scene)
    for assumption in list_assumptions(system.generator):
        warnings.warn(assumption, stacklevel=2)
    device = find_device(device)
    with set_evaluation_mode(system, device), run_workers(workers) as pool:
        streamed = TiledInference(system, scene, device, autocast, dtype)
        streamed.measure(pool, lambda pixels: None)
        whole = Window.whole(scene.pan_shape)
        result = np.empty((scene.bands, *scene.pan_shape), streamed.format.dtype)
        side = streamed.choose_side(tile)
        clipped = 0
        for window, numbers in pool.map(lambda w: (w, streamed.window(w)), whole.tiles(side)):
            whole.paste(result, numbers.values, window)
            clipped += numbers.clipped
        streamed.format.check_share(clipped, result.size)
    return result


def check_scene(system: Sharpener, scene: Scene) -> None:
    """Checks that a scene has the bands and the ratio of a system.

    Raises:
        DataError: it has others.
    """
    if (scene.bands, scene.ratio) != (system.bands, system.ratio):
        raise DataError(
            f'{scene.name} has {scene.bands} bands at ratio {scene.ratio}, but the network was '
            f'built for {system.bands} bands at ratio {system.ratio}; give it a scene of that kind'
        )


def scene_from_values(
    ms: ImageSource | Sequence[str | Path],
    pan: ImageSource | None,
    sensor: SensorSpec,
    bit_depth: int | None = None,
    upsampling: Method = 'interp23tap',
) -> Scene:
    """Makes the scene of two images in memory, or opens the scene of two paths.

    Args:
        ms: multispectral image (C, h, w), its path, the paths of its bands, or the path of a file
            with both images.
        pan: panchromatic image (H, W) or (1, H, W), or its path; None if the MS's file holds it.
        sensor: name of the sensor, or its description; see `get_sensor`.
        bit_depth: of the digital numbers; None for the sensor's.
        upsampling: of the system, which says where the MS samples of rasters are to lie.
    Raises:
        ToolkitError: one image in memory and one path, or other types.
        DataError: images that do not fit each other, or files that cannot be read.
    """
    values = [image for image in (ms, pan) if isinstance(image, np.ndarray | Tensor)]
    try:
        if len(values) == 2:
            return MemoryScene(_to_array(values[0]), _to_array(values[1]), sensor, bit_depth)
        paths = [ms] if isinstance(ms, str | Path) else ms
        if _are_paths(paths) and (pan is None or _are_paths([pan])):
            pan_path = None if pan is None else str(pan)
            samples = choose_samples(upsampling)
            names = [str(path) for path in paths]
            return open_scene(names, pan_path, sensor, bit_depth, samples=samples)
    except ValueError as error:
        raise ToolkitError(str(error)) from error
    raise ToolkitError(
        f'found an MS of type {type(ms).__name__} and a PAN of type {type(pan).__name__}; expected '
        'two arrays, two tensors, or two paths'
    )


def choose_samples(upsampling: Method) -> ChosenSamples:
    """Chooses where the MS samples of rasters are read for an upsampling."""
    return 'auto' if upsampling == 'interp23tap' else 'centre'


def _are_paths(values: Any) -> bool:
    is_list = isinstance(values, Sequence)
    return is_list and all(isinstance(value, str | Path) for value in values)


def _to_array(image: np.ndarray | Tensor) -> np.ndarray:
    if not isinstance(image, Tensor):
        return image
    image = image.detach().cpu()
    # numpy has no bfloat16; float32 holds each of its values.
    return (image.float() if image.dtype == torch.bfloat16 else image).numpy()


def like(result: np.ndarray, image: object) -> Any:
    """Returns the result as a tensor on the device of `image` if `image` is a tensor."""
    return torch.from_numpy(result).to(image.device) if isinstance(image, Tensor) else result
