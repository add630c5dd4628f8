"""Multiresolution analysis: the methods of the generalized Laplacian pyramid; see `pyramid`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from torch import Tensor

from plugins.classical.component_substitution import estimate_haze, get_haze_percentile
from plugins.classical.numerics.modulation import modulate, regress_band, solve_damping
from plugins.classical.numerics.named_moments import NamedMoments
from plugins.classical.numerics.statistics import combine, divide
from plugins.classical.pyramid import AdditivePyramid, Pyramid, RatioPyramid
from plugins.pansharpening.interfaces import GENERATORS
from plugins.pansharpening.scenes.sensors import SensorSpec


@GENERATORS.register(name='MTF-GLP')
class MTFGLP(AdditivePyramid):
    """E_k + P - P_k, with the PAN matched to each band.

    Source: Aiazzi et al., PE&RS 72(5), 2006.
    """

    def _solve(self, found: NamedMoments, percentile: Tensor | None) -> dict[str, Tensor]:
        scale, offset, offset_low = self._match_pan(found)
        return {'gains': scale, 'bias': offset - offset_low}


@GENERATORS.register(name='MTF-GLP-FS')
class MTFGLPFS(AdditivePyramid):
    """E_k + g_k (P - P_k), g_k = cov(E_k, P) / cov(P_k, P): regression at full scale.

    Source: Vivone, Restaino and Chanussot, "Full scale regression-based injection coefficients for
        panchromatic sharpening", IEEE TIP 27(7), 2018.
    """

    low_image: ClassVar[Literal['low', 'pan_low']] = 'pan_low'

    def _solve(self, found: NamedMoments, percentile: Tensor | None) -> dict[str, Tensor]:
        gains = divide(
            found.covariance('E', 'P'), self._expand_to_bands(found.covariance('pan_low', 'P'))
        )
        return {'gains': gains, 'bias': torch.zeros_like(gains)}


@GENERATORS.register(name='MTF-GLP-CBD')
class MTFGLPCBD(AdditivePyramid):
    """E_k + g_k (P - P_k), g_k = cov(E_k, P_k) / var(P_k), over the whole image.

    Source: Aiazzi et al., PE&RS 72(5), 2006; Alparone et al., IEEE TGRS 45(10), 2007.
    """

    low_image: ClassVar[Literal['low', 'pan_low']] = 'pan_low'

    def _solve(self, found: NamedMoments, percentile: Tensor | None) -> dict[str, Tensor]:
        gains = self._regress_on_low(found)
        return {'gains': gains, 'bias': torch.zeros_like(gains)}


@GENERATORS.register(name='MTF-GLP-HPM')
class MTFGLPHPM(RatioPyramid):
    """E_k P / P_k, with the PAN matched to each band.

    Source: Aiazzi et al., "An MTF-based spectral distortion minimizing model for pan-sharpening of
        very high resolution multispectral images of urban areas", URBAN 2003.
    """

    def _solve(self, found: NamedMoments, percentile: Tensor | None) -> dict[str, Tensor]:
        scale, offset, offset_low = self._match_pan(found)
        shared = scale * found.covariance('E', 'low')
        noise = found.variance('E') + scale.square() * found.variance('low') - 2 * shared
        return {
            'scale': scale,
            'offset': offset,
            'offset_low': offset_low,
            **solve_damping(torch.ones_like(scale), noise),
        }


@GENERATORS.register(name='MTF-GLP-HPM-R')
class MTFGLPHPMR(RatioPyramid):
    """E_k (g_k P + a_k) / (g_k P_k + a_k), with g_k P_k + a_k the regression of E_k on P_k.

    Source: Vivone, Restaino and Chanussot, "A regression-based high-pass modulation pansharpening
        approach", IEEE TGRS 56(2), 2018.
    """

    low_image: ClassVar[Literal['low', 'pan_low']] = 'pan_low'

    def _solve(self, found: NamedMoments, percentile: Tensor | None) -> dict[str, Tensor]:
        scale = self._regress_on_low(found)
        offset = found.mean('E') - scale * found.mean('P')
        explained = scale.square() * self._expand_to_bands(found.variance('pan_low'))
        return {
            'scale': scale,
            'offset': offset,
            'offset_low': offset,
            **solve_damping(torch.ones_like(scale), found.variance('E') - explained),
        }


@GENERATORS.register(name='MTF-GLP-HPM-H')
class MTFGLPHPMH(Pyramid):
    """High-pass modulation with haze correction: h_k + (E_k - h_k) (P - H) / (P_k - H).

    H is the haze in the PAN: the regression of the low-passed PAN on the bands, applied to the
    bands' haze h (see `estimate_haze`). Damped where P_k - H nears zero, by `numerics.modulation`.

    Source: Lolli et al., "Haze correction for contrast-based multispectral pansharpening", IEEE
        GRSL 14(12), 2017.
    """

    def __init__(self, bands: int, ratio: int, sensor: SensorSpec = 'generic') -> None:
        super().__init__(bands, ratio, sensor)
        self.percentile = get_haze_percentile(bands)

    def _solve(self, found: NamedMoments, percentile: Tensor | None) -> dict[str, Tensor]:
        weights, constant = found.regression('E', 'low')  # (B, C, 1), (B, 1, 1, 1)
        dark = estimate_haze(percentile)  # (B, C, 1, 1)
        regression = regress_band(
            found.covariance('E', 'low'), found.variance('low'), found.variance('E')
        )
        return {
            'haze': dark,
            'pan_haze': combine(dark, weights) + constant,
            **solve_damping(*regression),
        }

    def _inject(
        self,
        e: Tensor,
        pan: Tensor,
        pan_low: Tensor,
        statistics: Mapping[str, Tensor],
        damped: bool,
    ) -> Tensor:
        dark, pan_dark = statistics['haze'], statistics['pan_haze']
        clear = modulate(e - dark, pan - pan_dark, pan_low - pan_dark, statistics, damped)
        return dark + clear
