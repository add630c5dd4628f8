"""Scenes from the words of a command line, or else from a run's own test data."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from plugins.pansharpening.data.registered_scene import RegisteredScene
from plugins.pansharpening.imaging.resample import Method
from plugins.pansharpening.inference.in_memory import choose_samples
from plugins.pansharpening.scenes.arrays.matlab import read_own_sensor
from plugins.pansharpening.scenes.open_scene import get_suffix, open_scene
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.scenes.scene_arguments import get_scene_options
from plugins.pansharpening.scenes.sensors import SensorSpec
from toolkit.errors import ToolkitError, did_you_mean

# Names of NAME=VALUE among the inputs.
NAMED = ('ms', 'pan', 'bit_depth', 'ratio', 'samples', 'register')


def find_scene(
    inputs: Sequence[str],
    arguments: argparse.Namespace,
    dataset: Callable[[], Any] | None,
    upsampling: Method = 'interp23tap',
) -> Scene:
    """Opens the scene of the inputs.

    By default scene, sensor and bit depth are those of the test data.
    """
    options = get_scene_options(arguments)
    if arguments.bit_depth is not None:
        options['bit_depth'] = arguments.bit_depth
    if inputs:
        sensor = arguments.sensor
        if sensor is None and get_suffix(inputs[0]) == '.mat':
            sensor = read_own_sensor(inputs[0])
        found = find_sensor(sensor, dataset)
        scene = scene_from_inputs(inputs, found, upsampling, **options)
        stated = 'bit_depth' in options or any(word.startswith('bit_depth=') for word in inputs)
        if sensor is None and not stated:
            bits = find_bits(scene, dataset)
            if bits != scene.bits:
                return scene_from_inputs(inputs, found, upsampling, **options, bit_depth=bits)
        return scene
    if options:
        words = ', '.join(f'--{name.replace("_", "-")}' for name in options)
        raise ToolkitError(f'{words}: for the scene that --input names; give it, too')
    return find_test_scene(dataset)


def find_test_scene(dataset: Callable[[], Any] | None) -> Scene:
    """Returns the scene of the run's own test data.

    Raises:
        ToolkitError: it has none.
    """
    scene = None if dataset is None else getattr(dataset(), 'scene', None)
    if scene is None:
        raise ToolkitError(
            'there is nothing to pansharpen: give --input, or a config with test data'
        )
    return scene


def find_bits(scene: Scene, dataset: Callable[[], Any] | None) -> int:
    """Finds the bits of a scene of the test data's sensor: those of its files, or else theirs.

    What a network knows is in the units of the data that it was trained on.
    """
    bits = find_test_scene(dataset).bits
    return scene.bits if scene.states_bits or scene.holds_fractions or bits == 1 else bits


def find_sensor(sensor: SensorSpec | None, dataset: Callable[[], Any] | None) -> SensorSpec:
    """Returns a sensor: the given one, or that of the test data."""
    if sensor is not None:
        return sensor
    scene = None if dataset is None else getattr(dataset(), 'scene', None)
    if scene is None:
        raise ToolkitError(
            'the sensor of the inputs is not known: name it (--sensor), or give a config whose '
            'test data is of the same sensor'
        )
    return scene.sensor.spec


def scene_from_inputs(
    inputs: Sequence[str],
    sensor: SensorSpec,
    upsampling: Method = 'interp23tap',
    **further: Any,
) -> Scene:
    """Opens the scene that the words of a command line name.

    Args:
        inputs: see `ScenePredictor`; `bit_depth`, `ratio` and `samples` as for `RasterScene`,
            `register` is 'phase' for a `RegisteredScene`.
        sensor: see `get_sensor`.
        upsampling: of the system, which says where MS samples are to lie.
        further: further arguments of the scene; see `make_scene_config`.
    Raises:
        ToolkitError: other inputs, or no such sensor.
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
    register = options.pop('register', 'none')
    if register not in ('phase', 'none'):
        raise ToolkitError(f'found register={register}, expected register=phase or register=none')
    options.setdefault('samples', choose_samples(upsampling))
    settings = {n: int(v) if v.isdecimal() else v for n, v in options.items()} | further
    if len(plain) == 1 and not ms and not pan and plain[0].lower().endswith(('.mat', '.npz')):
        scene = open_scene(plain, None, sensor, **settings)
    elif len(plain) == 2 and not ms and not pan:
        scene = open_scene(plain[:1], plain[1], sensor, **settings)
    elif not plain and ms and len(pan) == 1:
        scene = open_scene(ms, pan[0], sensor, **settings)
    else:
        raise ToolkitError(
            f'found the input {" ".join(inputs) or "(none)"}; expected one .mat file, or two '
            'rasters: MS PAN, or ms=PATH pan=PATH'
        )
    return RegisteredScene(scene) if register == 'phase' else scene
