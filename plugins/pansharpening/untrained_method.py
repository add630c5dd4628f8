"""Systems around registered generators, without training."""

from __future__ import annotations

import torch

from plugins.pansharpening.imaging.resample import Method
from plugins.pansharpening.interfaces import GENERATORS
from plugins.pansharpening.scenes.scene import Scene
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
        ToolkitError: the generator or `upsample` cannot do these bands or this ratio.
    """
    cls = GENERATORS.get(name)
    arguments = {'sensor': scene.sensor.spec} if accepts_argument(cls, 'sensor') else {}
    generator = ComponentFactory(cls, arguments, name)
    try:
        with torch.random.fork_rng(devices=[]):  # the caller's random numbers stay as they are
            torch.default_generator.manual_seed(0)
            return Pansharpener(scene.bands, scene.ratio, generator, upsample=upsample)
    except ValueError as error:
        raise ToolkitError(str(error)) from error


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
