"""Scores one image of a scene by registered metrics."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch

from plugins.pansharpening.imaging.registration import LEAST_SIMILARITY
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.scenes.window import Window
from toolkit.errors import DataError, ToolkitError, list_integers
from toolkit.interfaces import Metric
from toolkit.registry import METRICS
from toolkit.registry.build import get_signature

REFERENCE = ('SAM', 'ERGAS', 'SCC', 'Q', 'Q2n', 'PSNR', 'SSIM', 'RMSE')
# Of the place of details: the offset in PAN pixels, the loss that it means, and HQNR with that.
REGISTRATION = ('offset', 'D_reg', 'HQNR_reg')
NO_REFERENCE = (
    *('D_lambda', 'D_s', 'QNR', 'D_lambda_K', 'HQNR', 'D_sR', 'RQNR', 'D_rho'),
    *REGISTRATION,
)
REPROJECTION = ('R_SAM', 'R_ERGAS', 'R_Q2n', 'R_Q', 'D_lambda_align')


def read_batch(scene: Scene, window: Window, valid: np.ndarray | None) -> dict[str, Any]:
    """Reads MS and PAN of a window as a batch for metrics.

    Args:
        scene: the scene.
        window: in PAN pixels, on whole MS pixels.
        valid: (H, W) bool, pixels with data; None for all.
    """
    batch = {
        'lrms': torch.from_numpy(scene.read_ms(window.reduced(scene.ratio)))[None],
        'pan': torch.from_numpy(scene.read_pan(window))[None],
        'meta': [{'sensor': scene.sensor.name, 'scale': scene.scale, 'ratio': scene.ratio}],
    }
    return batch if valid is None else {**batch, 'mask': torch.from_numpy(valid)[None, None]}


def build_metrics(
    names: Iterable[str], options: Mapping[str, Mapping[str, Any]] | None = None
) -> list[Metric]:
    """Builds registered metrics.

    Args:
        names: of the metrics.
        options: arguments of some of them by name.
    Raises:
        ToolkitError: no such metric, or one that cannot be built without further arguments.
    """
    found = []
    for name in names:
        cls, given = METRICS.get(name), (options or {}).get(name, {})
        missing = [
            key
            for key, parameter in get_signature(cls).items()
            if parameter.default is parameter.empty and key not in given
        ]
        if missing:
            raise ToolkitError(
                f'{name} needs {" and ".join(missing)}, which a config states; expected a metric '
                f'that needs none, such as {", ".join(NO_REFERENCE[:3])}'
            )
        found.append(cls(**given))
    return found


def score_image(
    metrics: Iterable[Metric], fused: np.ndarray, batch: dict[str, Any]
) -> tuple[dict[str, float], list[str]]:
    """Scores an image.

    Args:
        metrics: see `build_metrics`.
        fused: (C, H, W), scaled as the batch is.
        batch: see `read_batch`; with `hrms` (1, C, H, W) for metrics against a reference.
    Returns:
        Scores by name, NaN if an index is not defined, and a message for each of these.
    """
    outputs = {'hrms': torch.from_numpy(fused)[None]}
    scores: dict[str, float] = {}
    messages = []
    for metric in metrics:
        try:
            (row,) = metric.measure(outputs, batch)
            found = {key: float(row[key]) for key in metric.directions}
            scores |= found
            messages += [explain_undefined(n, batch) for n, v in found.items() if math.isnan(v)]
        except DataError as error:  # an image too small for its windows, say
            scores |= dict.fromkeys(metric.directions, math.nan)
            messages.append(str(error))
    return scores, messages


def explain_undefined(name: str, batch: dict[str, Any]) -> str:
    """Says why an index has no value for an image."""
    mask = batch.get('mask')
    if mask is not None and not bool(mask.all()):
        return (
            f'{name} is not defined here: {float(mask.float().mean()):.1%} of the pixels hold '
            'data, and none of its windows or blocks lies wholly on them, farther from nodata '
            'than its filters reach (41 PAN pixels); score a part with less nodata'
        )
    if name in REGISTRATION:
        return (
            f'{name} is not defined here: the details of the image correlate with those of the '
            f'PAN or the MS by less than {LEAST_SIMILARITY}, so that no offset can be measured'
        )
    lrms = batch['lrms'][0]
    flat = [n for n, band in enumerate(lrms, 1) if bool(band.min() == band.max())]
    reason = 'the image is constant, or a window of it'
    if flat:
        reason = f'bands of the MS hold one number ({list_integers(flat)})'
    return f'{name} is not defined here: {reason}, so that it divides by zero'


def get_directions(metrics: Iterable[Metric]) -> dict[str, str]:
    """Returns for each score of these metrics whether 'higher' or 'lower' is better."""
    found = [item for metric in metrics for item in metric.directions.items()]
    return {key: 'higher' if up else 'lower' for key, up in found}
