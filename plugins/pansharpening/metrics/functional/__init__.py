"""Quality indices as functions of images (MTF variant `toolbox` unless stated otherwise).

All take torch tensors or numpy arrays of one image (C, H, W) or a batch (B, C, H, W), on any device
with float64, compute in float64 and return one value per image, shape () or (B,). Blocks, borders
and digital numbers are as in the DLPan toolbox (Deng et al., IEEE GRSM 2022), whose figures they
reproduce. A `mask` is boolean, (H, W) or with the batch in front, True for valid pixels; the value
is NaN if no pixel is valid.
"""

from plugins.pansharpening.metrics.functional.misregistration import d_reg, hqnr_reg, offset
from plugins.pansharpening.metrics.functional.no_reference import (
    d_lambda,
    d_lambda_k,
    d_rho,
    d_s,
    d_sr,
    hqnr,
    hqnr_rho,
    qnr,
    rqnr,
)
from plugins.pansharpening.metrics.functional.quality_index import q, q2n
from plugins.pansharpening.metrics.functional.reference import ergas, psnr, rmse, sam, scc, ssim
from plugins.pansharpening.metrics.functional.reprojection import (
    d_lambda_align,
    find_alignment,
    r_ergas,
    r_q,
    r_q2n,
    r_sam,
    reproject,
)

__all__ = [
    'd_lambda',
    'd_lambda_align',
    'd_lambda_k',
    'd_reg',
    'd_rho',
    'd_s',
    'd_sr',
    'ergas',
    'find_alignment',
    'hqnr',
    'hqnr_reg',
    'hqnr_rho',
    'offset',
    'psnr',
    'q',
    'q2n',
    'qnr',
    'r_ergas',
    'r_q',
    'r_q2n',
    'r_sam',
    'reproject',
    'rmse',
    'rqnr',
    'sam',
    'scc',
    'ssim',
]
