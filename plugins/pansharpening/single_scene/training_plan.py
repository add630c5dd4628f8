"""Plans the training on one scene: size of its patches, length, and whether it can be built."""

from __future__ import annotations

from pathlib import Path

from plugins.pansharpening.inference.scene_model import choose_upsampling
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.single_scene import time_budget
from plugins.pansharpening.single_scene.adapt_config import (
    VALIDATIONS,
    SceneSettings,
    adapt_config,
    length,
)
from plugins.pansharpening.single_scene.arguments import ChosenConfig
from plugins.pansharpening.single_scene.scene_check import patch_size
from toolkit.config import Config
from toolkit.config.checks.check import fill_checked
from toolkit.config.schema import RunConfig
from toolkit.engine import checkpoint
from toolkit.engine.components import build_for_training
from toolkit.engine.process import precision

# PAN pixels: side of the piece on which the score is watched.
WATCHED = 512
# PAN pixels: patches do not become smaller than this for the sake of time.
LEAST_TIMED = 128


def choose_patch_size(scene: Scene, wanted: int) -> int:
    """Chooses the side of patches, and says so where a scene has no room for the wanted one."""
    size = patch_size(scene, wanted)
    if size < wanted - wanted % (2 * scene.ratio):
        print(f'patches of {size} x {size} PAN pixels, not {wanted}: what the scene has room for')
    return size


def plan_config(base: ChosenConfig, settings: SceneSettings, iterations: int | None) -> Config:
    """Plans the config of the run: as many iterations as the user says, or as fit into the time.

    If less than half of the iterations of the config fit, patches become smaller: more steps on
    smaller patches give better results.
    """
    method = str(base.draft.resolve().tree['model'].get('upsample', 'interp23tap'))
    used = choose_upsampling(method, settings.scene.ratio)
    if used != method:
        print(f'upsampling: {used}, as {method} cannot enlarge by {settings.scene.ratio}')
    wanted = length(base.draft) if iterations is None else iterations
    config = adapt_config(base.draft, settings, wanted)
    run = fill_checked(config)
    precision.choose_device(run.runtime)
    if iterations is not None:
        return config
    print('timing a few iterations', flush=True)
    spent = 0.0
    while True:
        with config.locate_errors():
            found = time_budget.measure(fill_checked(config))
        spent += found.measuring / 60
        left = max(settings.minutes - spent, settings.minutes / 2)
        fitting, validations = found.iterations(left, wanted, VALIDATIONS)
        smaller = (
            patch_size(settings.scene, settings.patch // 2)
            if settings.patch >= 2 * LEAST_TIMED
            else 0
        )
        if fitting >= wanted / 2 or smaller < LEAST_TIMED:
            break
        print(
            f'patches of {smaller} x {smaller} PAN pixels: with {settings.patch} x '
            f'{settings.patch}, only {fitting:,} of {wanted:,} iterations would fit into '
            f'{settings.minutes:g} minutes'
        )
        settings = settings._replace(patch=smaller)
        config = adapt_config(base.draft, settings, wanted)
    print(
        f'{fitting:,} of the {wanted:,} iterations of {base.name} fit into {settings.minutes:g} '
        f'minutes, at {found.iteration:.3g} s each'
        if fitting < wanted
        else f'{wanted:,} iterations, the length of {base.name}, at {found.iteration:.3g} s each'
    )
    return adapt_config(base.draft, settings._replace(minutes=left), fitting, validations)


def check_buildable(run: RunConfig) -> None:
    """Checks that the run can be built, before an earlier run is removed."""
    parts = build_for_training(run, precision.choose_device(run.runtime))
    if run.load_from is not None:
        checkpoint.load_weights(parts.system, Path(run.load_from))
