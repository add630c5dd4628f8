"""Predictions of pansharpening: scenes of any size, written as GeoTIFF."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, get_args

import torch

from plugins.pansharpening.data.registered_scene import RegisteredScene
from plugins.pansharpening.imaging.resample import Method
from plugins.pansharpening.imaging.sample_position import describe_misplacement
from plugins.pansharpening.inference.digital_numbers import DTYPES
from plugins.pansharpening.inference.in_memory import (
    ImageSource,
    check_scene,
    choose_samples,
    like,
    scene_from_values,
    sharpen_scene,
)
from plugins.pansharpening.inference.resumable_geotiff import Compression
from plugins.pansharpening.inference.scene_inference import InferenceSettings, infer_scene
from plugins.pansharpening.inference.scene_model import adapt_model, find_sensor_parts
from plugins.pansharpening.inference.shards import join, part_file, to_cog
from plugins.pansharpening.inference.tiled_inference import Sharpener
from plugins.pansharpening.inference.tiles import Shard
from plugins.pansharpening.scenes.arrays.matlab import read_own_sensor
from plugins.pansharpening.scenes.open_scene import get_suffix, open_scene
from plugins.pansharpening.scenes.rasters.band_files import BandFiles
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.scenes.scene_arguments import add_scene_arguments, get_scene_options
from plugins.pansharpening.scenes.sensors import SensorSpec
from plugins.pansharpening.system import Pansharpener
from plugins.pansharpening.visualization.contact_sheet import list_sheet_files, write_scene_images
from toolkit.engine.process import distributed
from toolkit.errors import ToolkitError, did_you_mean
from toolkit.interfaces import PredictOptions, Predictor, System
from toolkit.io.output_path import check_outputs
from toolkit.registry import PREDICTORS

# Names of NAME=VALUE among the inputs.
OUTPUTS = ('.tif', '.tiff', '.vrt')
NAMED = ('ms', 'pan', 'bit_depth', 'ratio', 'samples', 'register')


@PREDICTORS.register
class ScenePredictor(Predictor):
    """Pansharpens a scene and writes it as GeoTIFF, with images beside it.

    --input takes one .mat or .npz file, or the multispectral image (MS) and the PAN, rasters or
    .npy, in this order or as ms=PATH (again for each file of bands) and pan=PATH; beside them
    bit_depth=12, ratio=4, samples=interp23tap and register=phase. --output is a GeoTIFF, or a VRT
    (.vrt) whose parts are written beside it.
    """

    system = Pansharpener

    @classmethod
    def add_arguments(cls, parser: argparse._ArgumentGroup) -> None:
        """Declares the options of pansharpening."""
        add = parser.add_argument
        add(
            '--sensor',
            metavar='NAME',
            help="sensor of the input, or a YAML file with its gains (default: of the run's data)",
        )
        add('--bit-depth', type=int, metavar='N', help="of the digital numbers; the sensor's")
        add_scene_arguments(parser)
        add('--tile', type=int, metavar='N', help='side of the windows in PAN pixels')
        add('--workers', type=int, metavar='N', help='threads that compute (default: one a core)')
        add('--shard', metavar='i/n', help='only the i-th of n shares of the windows')
        add(
            '--compress',
            choices=get_args(Compression),
            default='deflate',
            help='of the output (default: %(default)s)',
        )
        add('--cog', action='store_true', help='write a cloud-optimized GeoTIFF')
        add('--dtype', choices=DTYPES, help='data type of the output (default: that of the MS)')

    def adapt(
        self,
        config: Mapping[str, Any],
        stated: Collection[str],
        inputs: Sequence[str],
        options: PredictOptions,
    ) -> Mapping[str, Any]:
        """Takes bands, ratio, upsampling and sensor from the scene; see `adapt_model`."""
        scene = _find_scene(inputs, options.arguments, options.dataset)
        changes, warnings = adapt_model(config, stated, scene)
        if changes:
            options.report(
                'from the scene: ' + ' '.join(f'{path}={value}' for path, value in changes.items())
            )
        sensor = scene.sensor
        if sensor.assumed and any(find_sensor_parts(config['model'])):
            warnings.append(sensor.describe_assumption())
        for warning in warnings:
            options.report(f'warning: {warning}')
        return changes

    def predict(
        self, system: System, inputs: Sequence[str], output: Path, options: PredictOptions
    ) -> list[Path]:
        """Pansharpens the input, or the scene of the run's own test data; see `predict_scene`.

        Raises:
            ToolkitError: neither inputs nor a scene, inputs without a known sensor, or data that
                cannot be used.
        """
        assert isinstance(system, Pansharpener)
        arguments = options.arguments
        shard = None if arguments.shard is None else Shard.parse(arguments.shard)
        scene = _find_scene(inputs, arguments, options.dataset, system.upsampling)
        if scene.holds_fractions and arguments.bit_depth is None:
            options.report(scene.describe_fractions())
        return predict_scene(
            system,
            scene,
            output,
            tile=arguments.tile,
            shard=shard,
            workers=arguments.workers,
            device=options.device,
            autocast=options.autocast,
            compress=arguments.compress,
            cog=arguments.cog,
            dtype=arguments.dtype,
            overwrite=options.overwrite,
            report=options.report,
        )

    def predict_in_memory(
        self,
        system: System,
        options: PredictOptions,
        ms: ImageSource | Sequence[str | Path] | None = None,
        pan: ImageSource | None = None,
        *,
        sensor: SensorSpec | None = None,
        bit_depth: int | None = None,
        dtype: str | None = None,
        tile: int | None = None,
        workers: int | None = None,
    ) -> Any:
        """Pansharpens a scene of any size.

        Args:
            ms: multispectral image, digital numbers (C, h, w) as an array or a tensor; or its path,
                the paths of its bands, or the path of a file with both images. None for the scene
                of the run's test data.
            pan: panchromatic image (H, W) or (1, H, W), or its path.
            sensor: name of the sensor, or its description; None for that of the run's test data.
            bit_depth: of the digital numbers; None for the sensor's, or, without a sensor, for that
                of the test data.
            dtype: data type of the result, such as 'float32'; None for that of the MS.
            tile: side of the windows in PAN pixels; None for a size that suits the network.
            workers: threads that compute; None for one a core.
        Returns:
            (C, H, W) digital numbers: a tensor if `ms` is one, else an array. `toolkit predict`
            writes the same values.
        Raises:
            ToolkitError: images of other types, or no known sensor.
            DataError: images that do not fit each other or the network.
            RunError: values that are not finite, or too many that `dtype` cannot hold.
        """
        assert isinstance(system, Pansharpener)
        if ms is None:
            scene = _find_test_scene(options.dataset)
        elif not any(True for _ in system.parameters()):
            name = type(system.generator).__name__
            raise ToolkitError(
                f'{name} is a method without weights, built here for the sensor of the config; '
                "call plugins.pansharpening.untrained_method.sharpen(ms, pan, sensor, 'METHOD'), "
                'which builds it for the images'
            )
        else:
            found = _find_sensor(sensor, options.dataset)
            scene = scene_from_values(ms, pan, found, bit_depth, system.upsampling)
            if sensor is None and bit_depth is None:
                bits = _find_bits(scene, options.dataset)
                if bits != scene.bits:
                    scene = scene_from_values(ms, pan, found, bits, system.upsampling)
        result = sharpen_scene(
            system,
            scene,
            dtype=dtype,
            tile=tile,
            workers=workers,
            device=options.device,
            autocast=options.autocast,
        )
        return like(result, ms)


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


def _find_scene(
    inputs: Sequence[str],
    arguments: argparse.Namespace,
    dataset: Callable[[], Any] | None,
    upsampling: Method = 'interp23tap',
) -> Scene:
    """The scene of the inputs; by default scene, sensor and its bits are those of the test data."""
    options = get_scene_options(arguments)
    if arguments.bit_depth is not None:
        options['bit_depth'] = arguments.bit_depth
    if inputs:
        sensor = arguments.sensor
        if sensor is None and get_suffix(inputs[0]) == '.mat':
            sensor = read_own_sensor(inputs[0])
        found = _find_sensor(sensor, dataset)
        scene = scene_from_inputs(inputs, found, upsampling, **options)
        stated = 'bit_depth' in options or any(word.startswith('bit_depth=') for word in inputs)
        if sensor is None and not stated:
            bits = _find_bits(scene, dataset)
            if bits != scene.bits:
                return scene_from_inputs(inputs, found, upsampling, **options, bit_depth=bits)
        return scene
    if options:
        words = ', '.join(f'--{name.replace("_", "-")}' for name in options)
        raise ToolkitError(f'{words}: for the scene that --input names; give it, too')
    return _find_test_scene(dataset)


def _find_test_scene(dataset: Callable[[], Any] | None) -> Scene:
    scene = None if dataset is None else getattr(dataset(), 'scene', None)
    if scene is None:
        raise ToolkitError(
            'there is nothing to pansharpen: give --input, or a config with test data'
        )
    return scene


def _find_bits(scene: Scene, dataset: Callable[[], Any] | None) -> int:
    """Finds the bits of a scene of the test data's sensor: those of its files, or else theirs.

    What a network knows is in the units of the data that it was trained on.
    """
    bits = _find_test_scene(dataset).bits
    return scene.bits if scene.states_bits or scene.holds_fractions or bits == 1 else bits


def _find_sensor(sensor: SensorSpec | None, dataset: Callable[[], Any] | None) -> SensorSpec:
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


def check_output(output: Path, cog: bool) -> None:
    """Checks the name of the output.

    Raises:
        ToolkitError: a PNG, a folder, or a VRT as cloud-optimized GeoTIFF.
    """
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
