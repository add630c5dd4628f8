"""Scores of a sharpened scene beside untrained baselines, by indices at full resolution."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table

from plugins.pansharpening.imaging.resample import Method
from plugins.pansharpening.inference.thread_pool import run_workers
from plugins.pansharpening.inference.tiled_inference import TiledInference
from plugins.pansharpening.metrics.score_image import (
    build_metrics,
    get_directions,
    read_batch,
    score_image,
)
from plugins.pansharpening.scenes.rasters.band_files import BandFiles
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.scenes.window import Window
from plugins.pansharpening.single_scene.scene_check import central
from plugins.pansharpening.untrained_method import sharpener
from toolkit.errors import ToolkitError
from toolkit.io.tables.shown_console import ShownConsole

INDICES = ('D_lambda_K', 'D_s', 'HQNR', 'HQNR_reg', 'offset', 'D_rho', 'D_sR')
METHODS = ('EXP', 'GSA', 'MTF-GLP-HPM')
# Values up to which an image is scored whole: the indices hold several copies in float64.
LARGEST = 2**24

# Losses with the index that measures the same quantity, in a similar way or in another one.
TRAINED = {
    'BandCorrelation': 'D_rho',
    'BlockQuality': 'D_s',
    'QualityTransfer': 'D_s',
    'Consistency': 'D_lambda_K',
    'LDPSpectralLow': 'D_lambda_K',
    'LDPSpectralHigh': 'D_lambda_K',
    'GrayCorrelation': 'D_sR',
    'PanGradient': 'D_sR',
    'LDPSpatialHigh': 'D_sR',
}
# An index that is a product of others.
PRODUCTS = dict.fromkeys(('HQNR', 'HQNR_reg'), ('D_lambda_K', 'D_s'))


def score_with_baselines(
    scene: Scene,
    fused: Path,
    name: str,
    losses: Mapping[str, Any],
    upsample: Method,
    workers: int | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Scores a sharpened scene and the results of EXP, GSA and MTF-GLP-HPM.

    Args:
        scene: scene that was sharpened.
        fused: file of the result, on the PAN grid of the scene.
        name: name of the result in the table.
        losses: losses of the training, as in a config.
        upsample: upsampling of the methods.
        workers: number of threads; None for one a core.
        say: takes a line about scores that are left out.
    Returns:
        `scores` by image and index (NaN if it is not defined), `better` by index,
        `trained_on` (by index the losses that train on the same quantity), `window` (row, column,
        height and width in the scene's PAN pixels, the whole where it is small enough) and `whole`.
    """
    side = math.isqrt(LARGEST // scene.bands)
    whole = Window.whole(scene.pan_shape)
    window = central(scene, side) if whole.pixels > side**2 else whole
    valid = scene.read_mask(window)
    batch = read_batch(scene, window, None if valid is None or valid.all() else valid)
    scores, missing, metrics = {}, [], build_metrics(INDICES)
    for image, numbers in (
        *(
            (method, lambda m=method: _made(m, scene, window, upsample, workers))
            for method in METHODS
        ),
        (name, lambda: BandFiles([fused]).read(window)[0]),
    ):
        try:
            values = numbers().astype(np.float64) / scene.scale
        except ToolkitError as error:
            say(f'{image} is left out: {error}')
            continue
        scores[image], why = score_image(metrics, values, batch)
        missing += why
    for line in dict.fromkeys(missing):
        say(line)
    return {
        'scores': scores,
        'better': get_directions(metrics),
        'trained_on': trained_on(losses),
        'window': list(window),
        'whole': window == whole,
    }


def trained_on(losses: Mapping[str, Any]) -> dict[str, list[str]]:
    """Finds, for each index, the losses that train on the quantity that it measures.

    Args:
        losses: losses of a config.
    """
    found: dict[str, list[str]] = {}
    for loss in losses.values():
        index = TRAINED.get(loss['type']) if loss else None
        if index is not None and loss['type'] not in found.setdefault(index, []):
            found[index].append(loss['type'])
    for product, factors in PRODUCTS.items():
        names = [name for factor in factors for name in found.get(factor, [])]
        if names:
            found[product] = names
    return found


def show(result: Mapping[str, Any], where: str) -> None:
    """Prints the result of `score_with_baselines` as a table.

    Args:
        result: scores.
        where: title of the table.
    """
    trained = result['trained_on']
    table = Table(title=where, title_justify='left')
    table.add_column('')
    for image in result['scores']:
        table.add_column(image, justify='right', overflow='fold')
    table.add_column('better')
    for index in INDICES:
        mark = ' *' if index in trained else ''
        values = (f'{scores[index]:.4f}' for scores in result['scores'].values())
        table.add_row(f'{index}{mark}', *values, result['better'][index])
    ShownConsole().print(table)
    if trained:
        named = '; '.join(f'{index} by {", ".join(losses)}' for index, losses in trained.items())
        print(f'* trained on, so no proof of quality: {named}')


def _made(
    method: str, scene: Scene, window: Window, upsample: Method, workers: int | None
) -> np.ndarray:
    """Computes digital numbers of a window by a method, with statistics of the whole scene."""
    system = sharpener(method, scene, upsample).eval()
    streamed = TiledInference(system, scene, torch.device('cpu'))
    with run_workers(workers) as pool:
        streamed.measure(pool, lambda pixels: None)
        return streamed.window(window).values
