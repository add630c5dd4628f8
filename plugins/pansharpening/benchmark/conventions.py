"""Conventions of evaluation by which published tables differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from plugins.pansharpening.metrics.score_image import build_metrics, get_directions

# Rows and columns that the toolbox leaves out at the start and at the end where it cuts borders:
# it counts from one where it cuts from 21 on.
CUT = (20, 21)
WITH_MTF = ('D_lambda_K', 'HQNR', 'RQNR')


@dataclass(frozen=True)
class Convention:
    """A way of scoring that published tables use.

    Attributes:
        name: as on the command line.
        meaning: in a few words.
        clips: values below 0 and above the largest digital number are set to these before.
        cuts: the indices against a reference leave `CUT` rows and columns out at the borders.
        options: arguments of metrics by name.
    """

    name: str
    meaning: str
    clips: bool = False
    cuts: bool = False
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def adapt(self, fused: np.ndarray) -> np.ndarray:
        """Returns the image (C, H, W), scaled to [0, 1], as it is scored."""
        return fused.clip(0, 1) if self.clips else fused

    def name_scores(self, metric: str) -> tuple[str, ...]:
        """Names the scores of a registered metric, such as `PSNR_bands` of `PSNR`."""
        return tuple(get_directions(build_metrics([metric], self.options)))


CONVENTIONS = {
    convention.name: convention
    for convention in (
        Convention('toolbox', "as in DLPan's MATLAB toolbox without cut borders"),
        Convention(
            'cut', 'indices against a reference without 20 to 21 pixels at the borders', cuts=True
        ),
        Convention(
            'clip',
            "values clipped to the range of the bit depth, as networks' scripts do",
            clips=True,
        ),
        Convention(
            'grip',
            "MTF kernels of GRIP-UNINA's Python in D_lambda_K, HQNR and RQNR",
            options={name: {'variant': 'grip'} for name in WITH_MTF},
        ),
        Convention(
            'interior', 'SCC without the biased border', options={'SCC': {'border': 'interior'}}
        ),
        Convention('band-psnr', 'PSNR averaged over bands', options={'PSNR': {'average': 'bands'}}),
        Convention(
            'peak-psnr',
            "PSNR with the reference's largest value as peak",
            options={'PSNR': {'peak': 'reference'}},
        ),
    )
}
