"""Systems around registered generators, without training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from plugins.pansharpening.imaging.resample import Method
from plugins.pansharpening.inference.in_memory import (
    ImageSource,
    like,
    scene_from_values,
    sharpen_scene,
)
from plugins.pansharpening.interfaces import GENERATORS
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.scenes.sensors import SensorSpec
from plugins.pansharpening.system import Pansharpener
from toolkit.errors import ToolkitError
from toolkit.registry.build import ComponentFactory, accepts_argument


def sharpener(name: str, scene: Scene, upsample: Method = 'interp23tap') -> Pansharpener:
    """Builds a system around a generator with its defaults; networks have random weights.

    Args:
        name: name of the generator.
        scene: scene with the bands, the ratio and the sensor, for generators that take one.
        upsample: interpolation of the MS to the size of the PAN.
    Raises:
        ToolkitError: the generator cannot do these bands or this ratio.
    """
    cls = GENERATORS.get(name)
    arguments = {'sensor': scene.sensor.spec} if accepts_argument(cls, 'sensor') else {}
    torch.manual_seed(0)
    return Pansharpener(
        scene.bands, scene.ratio, ComponentFactory(cls, arguments, name), upsample=upsample
    )


def check_needs_no_training(name: str, scene: Scene) -> None:
    """Checks that a generator has no weights, whose random values would be measured.

    Raises:
        ToolkitError: it has, or it cannot do the scene's bands or ratio.
    """
    if any(True for _ in sharpener(name, scene).parameters()):
        raise ToolkitError(
            f'{name} is a network and has random weights here; expected a method that needs no '
            'training, such as GSA'
        )


def sharpen(
    ms: ImageSource | Sequence[str | Path],
    pan: ImageSource | None,
    sensor: SensorSpec = 'generic',
    method: str = 'GSA',
    *,
    bit_depth: int | None = None,
    upsample: Method = 'interp23tap',
    dtype: str | None = None,
    tile: int | None = None,
    workers: int | None = None,
    device: str | torch.device = 'cpu',
) -> Any:
    """Pansharpens two images by a method that needs no training.

    Args:
        ms: multispectral image, digital numbers (C, h, w) as an array or a tensor; or its path, the
            paths of its bands, or the path of a file with both images.
        pan: panchromatic image (H, W) or (1, H, W), or its path; None if the MS's file holds it.
        sensor: name of the sensor, whose MTF some methods use; `toolkit list` has the names.
        method: name of a generator; see docs/pansharpening/results.md. A network has random
            weights.
        bit_depth: of the digital numbers; None for the sensor's.
        upsample: interpolation of the MS to the size of the PAN.
        dtype: data type of the result, such as 'float32'; None for that of the MS.
        tile: side of the windows in PAN pixels; None for a size that suits the method.
        workers: threads that compute; None for one a core.
        device: to compute on.
    Returns:
        (C, H, W) digital numbers: a tensor if `ms` is one, else an array.
    Raises:
        ToolkitError: images of other types, no such sensor or method, or a method that cannot do
            these bands or this ratio.
        DataError: images that do not fit each other, or files that cannot be read.
    """
    scene = scene_from_values(ms, pan, sensor, bit_depth, upsample)
    system = sharpener(method, scene, upsample)
    result = sharpen_scene(system, scene, dtype=dtype, tile=tile, workers=workers, device=device)
    return like(result, ms)
