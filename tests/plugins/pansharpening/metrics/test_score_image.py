"""An index without a value says why."""

from __future__ import annotations

import numpy as np
import torch

from plugins.pansharpening.metrics.score_image import explain_undefined


def test_the_reason_names_nodata_constant_bands_or_a_constant_image() -> None:
    lrms = torch.rand(1, 4, 8, 8)
    constant = lrms.clone()
    constant[:, [0, 1, 3]] = 0.5
    mask = torch.from_numpy(np.arange(64).reshape(1, 1, 8, 8) < 16)
    for batch, reason in (
        ({'lrms': lrms, 'mask': mask}, '25.0% of the pixels hold data'),
        (
            {'lrms': constant},
            'bands of the MS hold one number (1, 2, 4), so that it divides by zero',
        ),
        ({'lrms': lrms}, 'the image is constant, or a window of it, so that it divides by zero'),
    ):
        assert f'R_Q2n is not defined here: {reason}' in explain_undefined('R_Q2n', batch)
