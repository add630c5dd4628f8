"""Scores methods while the PAN is moved: true error beside indices without a reference."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy import ndimage

from plugins.pansharpening.metrics.score_image import build_metrics, score_image
from plugins.pansharpening.notebook import sharpen
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.untrained_method import check_needs_no_training

INDICES = ('ERGAS', 'D_s', 'HQNR', 'HQNR_reg', 'offset')
# What is scored in place of a method: the image that the methods ought to make.
REFERENCE = 'reference'


class ShiftedScores(NamedTuple):
    """Scores of a method with a moved PAN.

    Attributes:
        method: its name.
        shift: rows and columns by which the PAN is moved.
        scores: by index.
    """

    method: str
    shift: tuple[float, float]
    scores: dict[str, float]


def score_shifted(
    scene: Scene,
    methods: Sequence[str],
    shifts: Iterable[tuple[float, float]],
    indices: Sequence[str] = INDICES,
) -> Iterator[ShiftedScores]:
    """Sharpens a scene with its PAN moved, by each method, and scores the results.

    Args:
        scene: with a reference, whose PAN lies on its MS.
        methods: names of generators that need no training; 'reference' for the reference itself.
        shifts: rows and columns in PAN pixels; between pixels the PAN is a cubic spline, and its
            border is mirrored.
        indices: names of registered metrics.
    Raises:
        ToolkitError: a method that needs training, or cannot do the scene's bands or ratio.
    """
    for method in methods:
        if method != REFERENCE:
            check_needs_no_training(method, scene)
    ms = scene.read_ms().astype(np.float64) * scene.scale
    pan = scene.read_pan()[0].astype(np.float64) * scene.scale
    reference = scene.reference
    assert reference is not None
    metrics = build_metrics(indices)
    for shift in shifts:
        moved = ndimage.shift(pan, shift, order=3, mode='mirror')
        batch = {
            'lrms': torch.from_numpy(ms / scene.scale)[None],
            'pan': torch.from_numpy(moved / scene.scale)[None, None],
            'hrms': torch.from_numpy(reference.astype(np.float64))[None],
            'meta': [{'sensor': scene.sensor.name, 'scale': scene.scale, 'ratio': scene.ratio}],
        }
        for method in methods:
            fused = reference
            if method != REFERENCE:
                spec = scene.sensor.spec
                fused = sharpen(ms, moved, spec, method, bit_depth=scene.bits, dtype='float64')
                fused = fused / scene.scale
            scores, _ = score_image(metrics, fused.astype(np.float64), batch)
            yield ShiftedScores(method, shift, scores)
