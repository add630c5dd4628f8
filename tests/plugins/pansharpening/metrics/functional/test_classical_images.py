"""Indices of the images that the classical methods give, by the reference implementations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from plugins.pansharpening.imaging.resample import interp23tap
from plugins.pansharpening.metrics import functional
from plugins.pansharpening.scenes.sensors import get_sensor

# D_lambda, D_s, QNR, D_lambda_K, HQNR by DLPan-Toolbox; D_rho, D_sR by Lambda-PNN.
FULL = {
    'AWLP': (0.118108, 0.09462, 0.798447, 0.023359, 0.884232, 0.02995, 0.040299),
    'BDSD-PC': (0.032668, 0.028454, 0.939808, 0.082889, 0.891016, 0.041889, 0.02004),
    'BT-H': (0.109754, 0.064727, 0.832623, 0.054279, 0.884507, 0.040715, 2.4e-05),
    'GSA': (0.124686, 0.120446, 0.769886, 0.067241, 0.820413, 0.020605, 0.002142),
    'MTF-GLP-FS': (0.129092, 0.105966, 0.778622, 0.026676, 0.870185, 0.028887, 0.036704),
    'MTF-GLP-HPM': (0.141403, 0.10173, 0.771252, 0.026981, 0.874033, 0.023963, 0.04863),
    'PCA': (0.071034, 0.111533, 0.825355, 0.123526, 0.778718, 0.034564, 0.001515),
    'PRACS': (0.047503, 0.062459, 0.893005, 0.048248, 0.892306, 0.060735, 0.027022),
}
# SAM, ERGAS, SCC, Q, Q2n by DLPan-Toolbox.
REDUCED = {
    ('ik_crop', 'AWLP'): (3.075174, 1.978405, 0.969029, 0.931752, 0.906529),
    ('ik_crop', 'BDSD'): (3.464773, 2.19396, 0.962945, 0.927627, 0.904643),
    ('ik_crop', 'Brovey'): (3.459416, 3.127644, 0.908709, 0.718916, 0.709074),
    ('ik_crop', 'GS'): (3.490928, 3.113357, 0.907479, 0.706155, 0.698846),
    ('ik_crop', 'MTF-GLP-HPM-R'): (3.25219, 2.027194, 0.963261, 0.928264, 0.908075),
    ('ik_crop', 'PRACS'): (3.23937, 2.462426, 0.936952, 0.851725, 0.834786),
    ('wv2_crop', 'AWLP'): (6.554097, 4.935514, 0.948092, 0.922108, 0.878915),
    ('wv2_crop', 'BDSD'): (7.583504, 5.770517, 0.955912, 0.916357, 0.884931),
    ('wv2_crop', 'Brovey'): (7.142439, 5.947674, 0.931804, 0.877922, 0.840392),
    ('wv2_crop', 'GS'): (6.630035, 5.798205, 0.94075, 0.880141, 0.84117),
    ('wv2_crop', 'MTF-GLP-HPM-R'): (6.322892, 4.610052, 0.95524, 0.930319, 0.897697),
    ('wv2_crop', 'PRACS'): (6.590762, 5.398614, 0.933276, 0.897739, 0.855029),
}


def _image(data_root: Path, key: str) -> Tensor:
    """(C, H, W) float64 in digital numbers."""
    path = data_root.parent / 'golden' / 'classical.npz'
    if not path.is_file():
        pytest.skip('needs the golden images of the classical methods')
    with np.load(path) as file:
        image = np.atleast_3d(file[key].astype(np.float64))
    return torch.from_numpy(image).permute(2, 0, 1).contiguous()


@pytest.mark.parametrize('method', FULL)
def test_full_resolution(data_root, method):
    ms, pan = _image(data_root, 'ik_crop/ms'), _image(data_root, 'ik_crop/pan')
    fused, exp = _image(data_root, f'ik_crop/full/{method}'), interp23tap(ms[None], 4)[0]
    gains = get_sensor('IKONOS').gains(4)
    found = [
        functional.d_lambda(fused, exp),
        functional.d_s(fused, exp, pan, 4),
        functional.qnr(fused, exp, pan, 4),
        functional.d_lambda_k(fused, exp, gains, 4),
        functional.hqnr(fused, exp, pan, gains, 4),
        functional.d_rho(fused, pan, 4),
        functional.d_sr(fused, pan),
    ]
    assert [float(value) for value in found] == pytest.approx(FULL[method], abs=2e-6)


@pytest.mark.parametrize('case', REDUCED, ids='-'.join)
def test_reduced_resolution(data_root, case):
    reference = _image(data_root, f'{case[0]}/ms')
    image = _image(data_root, f'{case[0]}/reduced/{case[1]}')
    found = [functional.sam(image, reference), functional.ergas(image, reference, 4)]
    found += [index(image, reference) for index in (functional.scc, functional.q, functional.q2n)]
    assert [float(value) for value in found] == pytest.approx(REDUCED[case], abs=3e-6)
