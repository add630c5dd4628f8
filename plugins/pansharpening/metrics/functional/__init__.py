"""Quality indices in the field's definitions (variant `toolbox` where nothing else is said).

All take torch tensors or numpy arrays of one image (C, H, W) or a batch (B, C, H, W), on any device
with float64, compute in float64 and return one value per image, shape () or (B,). Blocks, borders
and digital numbers are as in the DLPan toolbox (Deng et al., IEEE GRSM 2022), whose figures they
reproduce. A `mask` is boolean, (H, W) or with the batch in front, True where data are; NaN where
it leaves nothing.
"""

from plugins.pansharpening.metrics.functional.no_reference import (
    d_lambda,
    d_lambda_k,
    d_rho,
    d_s,
    d_sr,
    hqnr,
    qnr,
    rqnr,
)
from plugins.pansharpening.metrics.functional.quality_index import q, q2n
from plugins.pansharpening.metrics.functional.reference import ergas, psnr, rmse, sam, scc, ssim
from plugins.pansharpening.metrics.functional.reprojection import (
    alignment,
    d_lambda_align,
    r_ergas,
    r_q,
    r_q2n,
    r_sam,
    reproject,
)

__all__ = [
    'alignment',
    'd_lambda',
    'd_lambda_align',
    'd_lambda_k',
    'd_rho',
    'd_s',
    'd_sr',
    'ergas',
    'hqnr',
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
