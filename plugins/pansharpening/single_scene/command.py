"""The command `toolkit pansharpen`: trains on one scene, sharpens it and scores the result."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

from plugins.pansharpening.inference.output.digital_numbers import DTYPES
from plugins.pansharpening.inference.output.raster_format import Compression
from plugins.pansharpening.inference.scene_prediction import predict_scene
from plugins.pansharpening.scenes.rasters.raster_layout import ChosenSamples
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.scenes.scene_arguments import add_scene_arguments
from plugins.pansharpening.scenes.sensors import SENSORS
from plugins.pansharpening.scenes.window import Window
from plugins.pansharpening.single_scene import baselines
from plugins.pansharpening.single_scene.adapt_config import (
    SCORE,
    SceneSettings,
    wanted_patch,
)
from plugins.pansharpening.single_scene.arguments import (
    CONFIG,
    check_numbers,
    check_places,
    choose_config,
    files,
)
from plugins.pansharpening.single_scene.placement import Choice
from plugins.pansharpening.single_scene.scene_check import central
from plugins.pansharpening.single_scene.scene_opening import UNKNOWN, open_stated_scene, warn
from plugins.pansharpening.single_scene.training_plan import (
    WATCHED,
    check_buildable,
    choose_patch_size,
    plan_config,
)
from toolkit.commands.arguments import add_plugins
from toolkit.config import Config
from toolkit.config.checks.check import fill_checked
from toolkit.engine import checkpoint
from toolkit.engine.components import build_system
from toolkit.engine.process import precision
from toolkit.errors import RunError
from toolkit.io.json_values import write_json
from toolkit.io.output_path import check_outputs
from toolkit.registry import COMMANDS
from toolkit.registry.command import Command
from toolkit.run import work_dir as work_dirs
from toolkit.run.capsule import make_capsule_input
from toolkit.run.train import train


@COMMANDS.register(name='pansharpen')
class Pansharpen(Command):
    """Sharpen one scene with a network trained on it alone.

    Opens the MS and the PAN, trains a config that needs no reference on them for a few minutes,
    sharpens the whole scene, and prints the indices at full resolution beside those of EXP, GSA and
    MTF-GLP-HPM.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add('overrides', nargs='*', metavar='key.path=value', help='changes to the config')
        add('--ms', required=True, nargs='+', metavar='M', help='MS, or the files of its bands')
        add('--pan', metavar='P', help='PAN; not where M is a .mat or .npz that holds both')
        add('--output', required=True, type=Path, metavar='F', help='the GeoTIFF to write')
        add(
            '--sensor',
            metavar='S',
            help=f"{', '.join(SENSORS)} (default: '{UNKNOWN}'), or a YAML file",
        )
        add('--bit-depth', type=int, metavar='N', help="of the digital numbers; the sensor's")
        add('--ratio', type=int, metavar='N', help='PAN pixels per MS pixel; found in the files')
        add_scene_arguments(parser)
        add(
            '--samples',
            default='auto',
            choices=get_args(ChosenSamples),
            help="place of the MS samples of georeferenced files ('auto': as upsampling takes it)",
        )
        add(
            '--register',
            default='auto',
            choices=get_args(Choice),
            help='move the MS onto the PAN by the correlation of details: always (phase), never '
            '(none), or where no georeference says how it lies (auto, the default)',
        )
        add('--config', dest='base', metavar='CONFIG', help=f'what is trained ({CONFIG})')
        add_plugins(parser)
        add('--start', type=Path, metavar='RUN', help='begin with the weights of a run: its folder')
        add('--minutes', type=float, default=5.0, help='of training, at most (5)')
        add('--iterations', type=int, help="of training, at most (the config's, or what fits)")
        add('--seed', type=int, default=0, help='of everything that is drawn (0)')
        add('--device', choices=('auto', 'cpu', 'cuda'), help="to compute on; the config's")
        add('--work-dir', type=Path, help='folder of the run (default: F with .run at its end)')
        add('--overwrite', action='store_true', help='replace what is at F and in the folder')
        add('--tile', type=int, help='side of the windows in pixels')
        add('--workers', type=int, help='threads that sharpen (default: one a core)')
        add('--compress', choices=get_args(Compression), default='deflate', help='of the output')
        add('--dtype', choices=DTYPES, help='data type of the output (default: that of the MS)')
        add('--cog', action='store_true', help='write a cloud-optimized GeoTIFF')

    def run(self, arguments: argparse.Namespace) -> int:
        output: Path = arguments.output
        work_dir: Path = arguments.work_dir or output.with_suffix('.run')
        check_numbers(arguments)
        check_places(output, work_dir, arguments.cog, arguments.overwrite)
        base = choose_config(arguments, work_dir)
        method = str(base.draft.resolve().tree['model'].get('upsample', 'interp23tap'))
        scene, as_config, registration = open_stated_scene(arguments, method)
        check_outputs(files(output), scene.files(), overwrite=arguments.overwrite)
        settings = SceneSettings(
            scene=scene,
            config=as_config,
            patch=choose_patch_size(scene, wanted_patch(base.draft)),
            window=central(scene, WATCHED),
            seed=arguments.seed,
            device=arguments.device,
            start=base.start,
            minutes=arguments.minutes,
        )
        config = plan_config(base, settings, arguments.iterations)
        run = fill_checked(config)
        if arguments.overwrite:
            with config.locate_errors():
                check_buildable(run)
            work_dirs.clear(work_dir)
        with _explain_failure(arguments, work_dir):
            with config.locate_errors():
                result = train(run, work_dir, capsule_input=make_capsule_input(config))
            if result.exit_status:
                print(_describe_continuation(arguments, work_dir))
                return result.exit_status
            _finish(arguments, scene, config, work_dir, base.name, registration)
        return 0


@contextmanager
def _explain_failure(arguments: argparse.Namespace, work_dir: Path) -> Iterator[None]:
    """Adds to an error how to use the weights of a run without result."""
    try:
        yield
    except RunError as error:
        if checkpoint.find_best_or_last(work_dir) is None:
            raise
        raise RunError(f'{error}\n{_describe_continuation(arguments, work_dir)}') from error
    except KeyboardInterrupt:
        print(_describe_continuation(arguments, work_dir), flush=True)
        raise


def _describe_continuation(arguments: argparse.Namespace, work_dir: Path) -> str:
    # Without --input it takes the scene of the run's config, which has all that was stated of it.
    return (
        f'no image was written, but the weights so far are in {work_dir}; sharpen with them: '
        f'toolkit predict --run {work_dir} --output {arguments.output}'
    )


def _finish(
    arguments: argparse.Namespace,
    scene: Scene,
    config: Config,
    work_dir: Path,
    name: str,
    registration: Mapping[str, Any],
) -> None:
    """Sharpens with the best weights, scores and writes the result."""
    run = fill_checked(config)
    system = build_system(run)
    weights = checkpoint.find_best_or_last(work_dir)
    assert weights is not None
    content = checkpoint.load_weights(system, weights)
    best = content['meta'].get('best')
    print(
        f'weights of iteration {content["meta"]["iter"]:,}'
        + (f', whose {SCORE} is the best: {best["value"]:.4f}' if best else '')
    )
    device = precision.choose_device(run.runtime)
    precision.move_system(system, run.runtime, device)
    written = predict_scene(
        system,
        scene,
        arguments.output,
        tile=arguments.tile,
        workers=arguments.workers,
        device=device,
        autocast=lambda: precision.autocast(run.runtime, device),
        compress=arguments.compress,
        cog=arguments.cog,
        dtype=arguments.dtype,
        overwrite=arguments.overwrite,
        report=print,
    )
    print('scoring it', flush=True)
    model = config.tree['model']
    result = baselines.score_with_baselines(
        scene,
        arguments.output,
        arguments.output.name,
        model['losses'],
        model['upsample'],
        arguments.workers,
        warn,
    )
    scores = arguments.output.with_suffix('.json')
    window = Window(*result['window'])
    where = 'the whole scene' if result['whole'] else f'a piece of the scene, {window}'
    record = {
        **result,
        'output': str(arguments.output),
        'run': str(work_dir),
        'config': name,
        'scene': scene.name,
        'sensor': scene.sensor.name,
        'bit_depth': scene.bits,
        'ratio': scene.ratio,
        'bands': scene.bands,
        'registration': registration,
        'iteration': content['meta']['iter'],
        'chosen_by': best,
    }
    write_json(scores, record)
    baselines.show(result, f'{where}, sensor {scene.sensor.name}')
    for path in [*written, scores]:
        print(f'wrote {path}')
    print(f'run in {work_dir}; sharpen another scene with: toolkit predict --run {work_dir}')
