"""Opening of the scene of `toolkit pansharpen`, with lines about what was found in it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plugins.pansharpening.scenes.open_scene import build_scene, make_scene_config
from plugins.pansharpening.scenes.rasters.raster_names import find_raster
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.scenes.scene_arguments import get_scene_options
from plugins.pansharpening.scenes.sensors import get_sensor
from plugins.pansharpening.single_scene.placement import place_ms
from plugins.pansharpening.single_scene.scene_check import check, survey
from toolkit.errors import ToolkitError

UNKNOWN = 'generic'  # the sensor with common gains


def open_stated_scene(
    arguments: argparse.Namespace, upsample: str
) -> tuple[Scene, dict[str, Any], Mapping[str, Any]]:
    """Opens and checks the scene; returns it with its config and its registration."""
    ms = [_make_absolute(path) for path in arguments.ms]
    pan = arguments.pan and _make_absolute(arguments.pan)
    try:
        sensor = arguments.sensor and get_sensor(arguments.sensor).spec
    except ValueError as error:
        raise ToolkitError(str(error)) from error
    samples = arguments.samples
    if samples == 'auto' and upsample != 'interp23tap':
        samples = 'centre'
    options = (arguments.bit_depth, arguments.ratio, samples)
    config = make_scene_config(ms, pan, sensor, *options, **get_scene_options(arguments))
    scene = build_scene(config)
    scene.sensor.gains(scene.bands)  # says it where it is one of other bands
    height, width = scene.pan_shape
    print(
        f'{scene.name}: {scene.bands} bands, {height} x {width} PAN pixels, ratio {scene.ratio}',
        flush=True,
    )
    found = survey(scene)
    is_stated = arguments.bit_depth is not None or scene.bits != scene.sensor.bits
    if scene.sensor.name == UNKNOWN and not is_stated:
        config['bit_depth'] = found.bit_depth
        scene = build_scene(config)
    depth = f'bit depth {scene.bits}'
    if config['bit_depth'] == found.bit_depth != arguments.bit_depth:
        depth += f' by the largest digital number, {found.largest:.0f}'
    if scene.holds_fractions:
        depth = scene.describe_fractions()
    said = scene.sensor.title
    if scene.sensor.name == UNKNOWN and arguments.sensor is None:
        said += (
            f', as no --sensor is given: an MTF gain of {scene.sensor.ms_gains[0]:g} in all bands'
        )
    print(f'sensor: {scene.sensor.name} ({said}); {depth}')
    if scene.sensor.assumed and (scene.sensor.name != UNKNOWN or arguments.sensor is not None):
        warn(scene.sensor.describe_assumption())
    if getattr(scene, 'warped', False):
        print('the MS is interpolated to a grid of whole PAN pixels')
    if found.valid < 1:
        print(f'{found.valid:.1%} of the scene hold data')
    if (warning := check(scene, found)) is not None:
        warn(warning)
    return place_ms(scene, config, arguments.register, print, warn)


def warn(line: str) -> None:
    """Prints a warning to stderr."""
    print(f'warning: {line}', file=sys.stderr)


def _make_absolute(path: str) -> str:
    found = find_raster(path)
    return str(found.absolute()) if isinstance(found, Path) else found
