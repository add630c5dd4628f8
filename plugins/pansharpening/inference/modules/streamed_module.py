"""Any torch module on a scene of any size, window by window."""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plugins.pansharpening.imaging import resample
from plugins.pansharpening.imaging.resample import Method
from plugins.pansharpening.inference.in_memory import sharpen_scene
from plugins.pansharpening.inference.modules.reach import Reach, is_equal, measure_reach
from plugins.pansharpening.inference.scene_inference import set_evaluation_mode
from plugins.pansharpening.inference.tiled_inference import SceneSource
from plugins.pansharpening.inference.tiles import around
from plugins.pansharpening.interfaces import Generator
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.scenes.window import Window
from plugins.pansharpening.system import Pansharpener
from toolkit.engine.process.precision import find_device
from toolkit.errors import ToolkitError

Takes = Literal['upsampled', 'native']
# PAN pixels: side of the piece of a scene that is computed twice, and what is added around it.
CHECKED, WIDER = 64, 64


class StreamedModule(nn.Module):
    """A system for tiled inference around a module that knows nothing of the toolkit.

    Images whose sides are no multiple of the stride are padded by their last row and column.

    Args:
        model: called as model(ms, pan), images in [0, 1]; gives (B, C, H, W).
        bands: C.
        ratio: PAN pixels per multispectral pixel.
        takes: 'upsampled' for an MS of the PAN's size, 'native' for one of its own size.
        upsampling: interpolation of the MS.
    Shape: lrms_up (B, C, H, W), pan (B, 1, H, W) -> hrms (B, C, H, W).

    Attributes:
        halo, stride: see `Generator`; those of the model, or as `measure` finds them.
    """

    def __init__(
        self, model: nn.Module, bands: int, ratio: int, takes: Takes, upsampling: Method
    ) -> None:
        super().__init__()
        self.model, self.bands, self.ratio = model, bands, ratio
        self.is_native = takes == 'native'
        # Each sample repeated: the first of each block gives the MS back, bit by bit.
        self.upsampling: Method = 'nearest' if self.is_native else upsampling
        self.halo: int | Literal['global'] = 'global'
        self.stride = ratio

    @property
    def generator(self) -> nn.Module:
        """The module that tiled inference asks for halo and stride."""
        return self.model if isinstance(self.model, Generator) else self

    def measure(self, device: torch.device) -> None:
        """Measures halo and stride; see `measure_reach`."""
        with torch.inference_mode():
            self.halo, self.stride = measure_reach(self.fuse, self.bands, self.ratio, device)

    def fuse(self, lrms_up: Tensor, pan: Tensor) -> Tensor:
        """Fuses images in [0, 1].

        Raises:
            ToolkitError: the module fails, or its result has another shape.
        """
        height, width = pan.shape[-2:]
        step = math.lcm(self.stride, self.ratio)
        rest = (0, -width % step, 0, -height % step)
        if any(rest):
            lrms_up, pan = (F.pad(image, rest, mode='replicate') for image in (lrms_up, pan))
        ms = lrms_up[..., :: self.ratio, :: self.ratio] if self.is_native else lrms_up
        try:
            result = self.model(ms, pan)
        except Exception as error:
            raise ToolkitError(
                f'the network fails on images of {height} x {width} PAN pixels: '
                f'{type(error).__name__}: {error}; expected one that is called as model(ms, pan)'
            ) from error
        if not isinstance(result, Tensor) or result.shape != lrms_up.shape:
            found = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
            raise ToolkitError(
                f'the network gives {found} of images {tuple(ms.shape)} and {tuple(pan.shape)}; '
                f'expected {tuple(lrms_up.shape)}'
            )
        return result[..., :height, :width]

    def check(self, scene: Scene, device: torch.device) -> None:
        """Checks that the middle of a scene does not depend on more than the halo.

        Raises:
            ToolkitError: it does, as for networks that choose by the content where they look.
        """
        shape, align = scene.pan_shape, math.lcm(self.ratio, self.stride)
        row, col = (extent // 2 // align * align for extent in shape)
        core = Window(row, col, CHECKED, CHECKED).intersect(Window.whole(shape))
        results = []
        for halo in (int(self.halo), int(self.halo) + WIDER):
            window = around(core, shape, halo, align, 1)
            source = SceneSource(scene, window, 0, self.upsampling, device)
            with torch.inference_mode():
                result = self.fuse(source.lrms_up.read(window), source.pan.read(window))
            results.append(core.relative_to(window).cut(result))
        if not is_equal(*results):
            raise ToolkitError(
                f'{type(self.model).__name__} depends on pixels more than {self.halo} PAN pixels '
                f'away in {scene.name}: it chooses by the content where it looks, or is not the '
                'same twice; give a larger halo, or halo="global" to run it on the whole scene'
            )


def stream(
    model: nn.Module,
    scene: Scene,
    *,
    takes: Takes = 'upsampled',
    upsample: Method | None = None,
    halo: int | Literal['global'] | None = None,
    stride: int | None = None,
    dtype: str | None = None,
    tile: int | None = None,
    workers: int = 1,
    device: str | torch.device = 'cpu',
) -> np.ndarray:
    """Pansharpens a scene of any size by any torch module, window by window, without seams.

    The module needs no base class and no attribute: its halo and the places where its windows may
    start are measured, and checked on the middle of the scene. The values are those of the module
    on the whole scene up to rounding.

    Args:
        model: a system or a generator of the toolkit, or any module that is called as
            model(ms, pan) with images in [0, 1], (1, C, H, W) and (1, 1, H, W), and gives
            (1, C, H, W). It runs in evaluation mode, and is moved to `device`.
        scene: to pansharpen, such as `MemoryScene(ms, pan, sensor)`.
        takes: 'upsampled' if `ms` is to have the size of the PAN, 'native' if its own (1, C, h, w).
        upsample: interpolation of the MS to the size of the PAN; None for 'interp23tap', or that
            of a `Pansharpener`.
        halo: PAN pixels around a window that the module sees; None to measure them, 'global' for
            the whole scene.
        stride: PAN pixels at whose multiples windows start; None to measure them, or the ratio
            where `halo` is given.
        dtype: data type of the digital numbers, such as 'float32'; None for that of the MS.
        tile: side of the windows in PAN pixels; None for 512.
        workers: threads that call the module at the same time, if it keeps nothing between calls.
        device: to compute on.
    Returns:
        (C, H, W) digital numbers.
    Raises:
        ToolkitError: a module that fails, gives other shapes, or looks farther than its halo.
        DataError: a scene that cannot be read, or is too large for a module that sees all of it.
        RunError: values that are not finite, or too many that `dtype` cannot hold.
    """
    options: dict[str, Any] = {'dtype': dtype, 'tile': tile, 'workers': workers, 'device': device}
    _check_takes(takes)
    if isinstance(model, Pansharpener | Generator) and (halo, stride) != (None, None):
        raise ToolkitError(
            f'{type(model).__name__} of the toolkit states its own halo and stride; leave them out'
        )
    if isinstance(model, Pansharpener):
        if takes == 'native' or upsample not in (None, model.upsampling):
            raise ToolkitError(
                f'a Pansharpener upsamples for itself, this one by {model.upsampling}; leave out '
                'takes and upsample'
            )
        return sharpen_scene(model, scene, **options)
    if takes == 'native' and upsample is not None:
        raise ToolkitError("takes='native' upsamples nothing; leave out upsample")
    if takes == 'native' and isinstance(model, Generator):
        raise ToolkitError('a generator of the toolkit takes an upsampled MS; leave out takes')
    device = find_device(device)
    system = StreamedModule(model, scene.bands, scene.ratio, takes, upsample or 'interp23tap')
    if system.generator is model:
        return sharpen_scene(system, scene, **options)
    _check_reach(halo, stride)
    try:
        resample.upsample(torch.zeros(1, 1, 8, 8), scene.ratio, system.upsampling)
    except ValueError as error:
        raise ToolkitError(str(error)) from error
    with set_evaluation_mode(system, device):
        if halo is None:
            system.measure(device)
        else:
            system.halo, system.stride = halo, stride or scene.ratio
        if system.halo != 'global':
            system.check(scene, device)
        return sharpen_scene(system, scene, **options)


def measure_module(
    model: nn.Module,
    bands: int,
    ratio: int = 4,
    *,
    takes: Takes = 'upsampled',
    device: str | torch.device = 'cpu',
) -> Reach:
    """Measures the halo and the stride of any torch module, as `stream` does.

    Args:
        model: see `stream`.
        bands: C of the multispectral image.
        ratio: PAN pixels per multispectral pixel.
        takes: see `stream`.
        device: to compute on.
    Raises:
        ToolkitError: a module that fails or gives other shapes.
    """
    _check_takes(takes)
    if bands < 1 or ratio < 1:
        raise ToolkitError(f'bands and ratio must be at least 1, found {bands} and {ratio}')
    device = find_device(device)
    system = StreamedModule(model, bands, ratio, takes, 'interp23tap')
    with set_evaluation_mode(system, device):
        system.measure(device)
    return Reach(system.halo, system.stride)


def _check_takes(takes: object) -> None:
    if takes not in get_args(Takes):
        raise ToolkitError(f"takes is 'upsampled' or 'native', found {takes!r}")


def _check_reach(halo: object, stride: object) -> None:
    is_count = isinstance(halo, int) and not isinstance(halo, bool) and halo >= 0
    if halo is not None and halo != 'global' and not is_count:
        raise ToolkitError(
            f"halo is a number of PAN pixels, 0 or more, or 'global'; found {halo!r}"
        )
    if stride is not None and (not isinstance(stride, int) or stride < 1):
        raise ToolkitError(f'stride is a number of PAN pixels, 1 or more; found {stride!r}')
    if stride is not None and halo is None:
        raise ToolkitError('stride is given and halo is not; give both, or neither to measure them')
