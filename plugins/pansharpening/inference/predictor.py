"""Predictions of pansharpening: scenes of any size, written as GeoTIFF."""

from __future__ import annotations

import argparse
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from plugins.pansharpening.component_sensors import list_assumptions
from plugins.pansharpening.imaging.registration import register
from plugins.pansharpening.inference.generator_export import check_generator, export
from plugins.pansharpening.inference.in_memory import (
    ImageSource,
    like,
    scene_from_values,
    sharpen_scene,
)
from plugins.pansharpening.inference.output.digital_numbers import DTYPES
from plugins.pansharpening.inference.output.raster_format import Compression
from plugins.pansharpening.inference.scene_inputs import (
    find_bits,
    find_scene,
    find_sensor,
    find_test_scene,
)
from plugins.pansharpening.inference.scene_model import adapt_model
from plugins.pansharpening.inference.scene_prediction import predict_scene
from plugins.pansharpening.inference.tiled_inference import TiledInference
from plugins.pansharpening.inference.tiles import Shard
from plugins.pansharpening.scenes.scene_arguments import add_scene_arguments
from plugins.pansharpening.scenes.sensors import SensorSpec
from plugins.pansharpening.scenes.window import Window
from plugins.pansharpening.system import Pansharpener
from toolkit.engine.export.exporter import ONNX, PROGRAM
from toolkit.errors import ToolkitError
from toolkit.interfaces import PredictOptions, Predictor, System
from toolkit.registry import PREDICTORS

TRIED = 64  # side of the windows of `predict_part`, in PAN pixels


@PREDICTORS.register
class ScenePredictor(Predictor):
    """Pansharpens a scene and writes it as GeoTIFF, with images beside it.

    --input takes one .mat or .npz file, or the multispectral image (MS) and the PAN, rasters or
    .npy, in this order or as ms=PATH (again for each file of bands) and pan=PATH; beside them
    bit_depth=12, ratio=4, samples=interp23tap and register=phase. --output is a GeoTIFF, or a VRT
    (.vrt) whose parts are written beside it.
    """

    system = Pansharpener
    export_suffixes = (ONNX, PROGRAM)

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
        scene = find_scene(inputs, options.arguments, options.dataset)
        changes, warnings = adapt_model(config, stated, scene)
        if changes:
            options.report(
                'from the scene: ' + ' '.join(f'{path}={value}' for path, value in changes.items())
            )
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
        scene = find_scene(inputs, arguments, options.dataset, system.upsampling)
        if scene.holds_fractions and arguments.bit_depth is None:
            options.report(scene.describe_fractions())
        warnings = list_assumptions(system.generator)
        if shard is None or shard.index == 1:
            warnings += register(scene).list_warnings(scene.name)
        for warning in warnings:
            options.report(f'warning: {warning}')
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

    @classmethod
    def add_export_arguments(cls, parser: argparse._ArgumentGroup) -> None:
        """Declares `--untested`, as for classifiers."""
        parser.add_argument(
            '--untested',
            action='store_true',
            help='compare random images alone with torch, none of the test data',
        )

    def export(self, system: System, output: Path, options: PredictOptions) -> None:
        """Writes upsampling and generator, for images of any size; see `generator_export.export`.

        Raises:
            ToolkitError: a generator that cannot be exported, or no test data.
        """
        assert isinstance(system, Pansharpener)
        check_generator(system)
        if options.dataset is None and not options.arguments.untested:
            raise ToolkitError(
                'the run has no test_dataloader, so that the export cannot be compared on real '
                'images; add one, or compare random images alone by --untested'
            )
        data = None if options.arguments.untested or not options.dataset else options.dataset()
        weights = None if options.weights is None else options.weights.name
        metadata = {'checkpoint': weights, 'precision_of_the_run': options.precision}
        export(system, output, data, metadata, options.report)
        if options.precision != 'fp32':
            options.report(
                f"the run's tests compute in {options.precision}, the file in fp32: its results "
                'are not those of the tests; test the run with runtime.precision=fp32'
            )

    def predict_part(self, system: System, folder: Path, options: PredictOptions) -> list[Path]:
        """Pansharpens the first row of windows of the test data's scene, if they are of one."""
        assert isinstance(system, Pansharpener)
        scene = None if options.dataset is None else getattr(options.dataset(), 'scene', None)
        if scene is None:
            return []
        side = TiledInference(system, scene, options.device, options.autocast).choose_side(TRIED)
        rows = Window.whole(scene.pan_shape).covering(side).height
        return predict_scene(
            system,
            scene,
            folder / 'predicted.tif',
            tile=side,
            shard=Shard(1, rows),
            device=options.device,
            autocast=options.autocast,
            progress=False,
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
            scene = find_test_scene(options.dataset)
        elif not any(True for _ in system.parameters()):
            name = type(system.generator).__name__
            raise ToolkitError(
                f'{name} is a method without weights, built here for the sensor of the config; '
                "call plugins.pansharpening.notebook.sharpen(ms, pan, sensor, 'METHOD'), "
                'which builds it for the images'
            )
        else:
            found = find_sensor(sensor, options.dataset)
            scene = scene_from_values(ms, pan, found, bit_depth, system.upsampling)
            if sensor is None and bit_depth is None:
                bits = find_bits(scene, options.dataset)
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
