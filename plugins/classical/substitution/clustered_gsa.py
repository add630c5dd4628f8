"""C-GSA: component substitution with injection gains of clusters of pixels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from scipy.cluster.vq import kmeans2, vq
from torch import Tensor

from plugins.classical.numerics.filters import decimate, lowpass
from plugins.classical.numerics.named_moments import NamedMoments
from plugins.classical.numerics.statistics import combine, divide
from plugins.pansharpening.imaging.lazy_image import LazyImage
from plugins.pansharpening.imaging.streaming_statistics import Moments
from plugins.pansharpening.imaging.two_pass_generator import Scan, TwoPassGenerator
from plugins.pansharpening.interfaces import GENERATORS
from plugins.pansharpening.scenes.window import Window
from toolkit.ranges import PositiveInt

# Pixels that the centres of the clusters come from at most, spread evenly over a scene.
SAMPLE = 512 * 512
# Starts of k-means, of which the one with the least squared distances on so many pixels is taken.
STARTS, SOME = 8, 2**13
# Iterations at a time, and how often at most, until no centre moves any more.
STEPS, ROUNDS = 20, 50


@GENERATORS.register(name='C-GSA')
class ClusteredGSA(TwoPassGenerator):
    """Clustered GSA: E_k + g_kj (P - I) in cluster j, g_kj = cov(E_k, I) / var(I) over its pixels.

    The intensity I is the regression of the low-passed PAN on the bands at their own scale. Pixels
    are clustered by k-means of the bands, each over its maximum. Centres start from a fixed seed,
    so that the same scene has the same clusters; the toolbox draws others each time.

    Args:
        clusters: number of clusters; the toolbox's.
    Raises:
        ValueError: fewer than one cluster.
    Source: Restaino, Dalla Mura, Vivone and Chanussot, "Context-adaptive pansharpening based on
        image segmentation", IEEE TGRS 55(2), 2017; low pass and clusters as in the toolbox of
        Vivone et al., IEEE GRSM 9(1), 2021.
    """

    margin = 64

    def __init__(self, bands: int, ratio: int, clusters: PositiveInt = 5) -> None:
        super().__init__(bands, ratio)
        if clusters < 1:
            raise ValueError(f'clusters must be at least 1, found {clusters}')
        self.clusters = clusters

    def measure(self, lrms_up: LazyImage, pan: LazyImage, window: Window) -> dict[str, Tensor]:
        images = [lrms_up.read(window), lowpass(pan, window, self.ratio)]
        return {'low': decimate(torch.cat(images, 1), self.ratio)}

    def solve(self, moments: Mapping[str, Moments], percentile: Tensor | None) -> dict[str, Tensor]:
        weights, offset = NamedMoments(moments['low'], E=self.bands, low=1).regression('E', 'low')
        return {'weights': weights, 'offset': offset}

    def statistics(self, scan: Scan) -> dict[str, Tensor]:
        """Scans the scene three times: for the intensity, for the clusters, and for their gains."""
        found = super().statistics(scan)
        samples = list(scan(self._sample))
        largest = torch.stack([top for top, _ in samples]).amax(0)  # (B, C)
        scale = divide(torch.ones_like(largest), largest)
        centres = torch.stack(
            [
                self._cluster(torch.cat([pixels[b] for _, pixels in samples]) * scale[b])
                for b in range(len(scale))
            ]
        )  # (B, K, C)
        found |= {'centres': centres, 'unit': scale[..., None, None]}

        def measure(
            lrms_up: LazyImage, pan: LazyImage, window: Window, valid: Tensor | None
        ) -> list[Moments]:
            e = lrms_up.read(window)
            local = {name: value.to(e) for name, value in found.items() if name != 'count'}
            images = torch.cat([e, self._compute_intensity(e, local)], 1)
            label = self._assign(e, local)  # (B, 1, h, w)
            inside = [label == j for j in range(self.clusters)]
            return [Moments.of(images, i if valid is None else i & valid) for i in inside]

        gains = []
        for parts in zip(*scan(measure), strict=True):  # of each cluster
            moments = NamedMoments(Moments.join(parts), E=self.bands, I=1)
            gains.append(divide(moments.covariance('E', 'I'), moments.variance('I')))
        return {**found, 'gains': torch.cat(gains, 3)}  # (B, C, 1, K)

    def fuse(
        self, lrms_up: LazyImage, pan: LazyImage, window: Window, statistics: Mapping[str, Tensor]
    ) -> Tensor:
        e = lrms_up.read(window)  # (B, C, h, w)
        detail = pan.read(window) - self._compute_intensity(e, statistics)
        label = self._assign(e, statistics)  # (B, 1, h, w)
        gains = torch.zeros_like(e)
        for j in range(self.clusters):
            gains = torch.where(label == j, statistics['gains'][..., j : j + 1], gains)
        return torch.addcmul(e, gains, detail)  # (B, C, h, w)

    def _compute_intensity(self, e: Tensor, statistics: Mapping[str, Tensor]) -> Tensor:
        return combine(e, statistics['weights']) + statistics['offset']  # (B, 1, h, w)

    def _sample(
        self, lrms_up: LazyImage, pan: LazyImage, window: Window, valid: Tensor | None
    ) -> tuple[Tensor, list[Tensor]]:
        """Finds the maxima of a block, (B, C), and for each image its pixels (N, C) of the sample.

        The sample has every n-th row and column of the scene.
        """
        step = int(np.ceil((pan.shape[0] * pan.shape[1] / SAMPLE) ** 0.5))
        e = lrms_up.read(window).double()
        part = (..., slice(-window.row % step, None, step), slice(-window.col % step, None, step))
        kept = e[part].flatten(2).transpose(1, 2)  # (B, N, C)
        if valid is None:
            return e.amax((2, 3)), list(kept)
        chosen = valid[part].flatten(1)
        return e.where(valid, 0).amax((2, 3)), [i[inside] for i, inside in zip(kept, chosen)]

    def _cluster(self, pixels: Tensor) -> Tensor:
        """Finds the centres of pixels: (N, C) -> (K, C)."""
        if pixels.is_meta:
            return pixels.new_empty(self.clusters, self.bands)
        found = pixels.numpy(force=True)
        distinct = np.unique(found[: 100 * self.clusters], axis=0)
        if len(distinct) <= self.clusters:
            distinct = np.unique(found, axis=0)
        if len(distinct) > self.clusters:
            centres = _find_centres(found, self.clusters)
        else:  # a cluster each; centres that are repeated get no pixels
            some = distinct if len(distinct) else np.zeros((1, self.bands))
            centres = some[np.arange(self.clusters) % len(some)]
        return torch.from_numpy(centres).to(pixels)

    def _assign(self, e: Tensor, statistics: Mapping[str, Tensor]) -> Tensor:
        """Returns the number of the nearest centre of each pixel: (B, C, h, w) -> (B, 1, h, w)."""
        scaled = statistics['unit'] * e
        distances = []
        for j in range(self.clusters):
            squared = (scaled - statistics['centres'][:, j, :, None, None]).square()
            # Band by band, so that a window has the same bits as the whole image.
            total = squared[:, :1]
            for k in range(1, self.bands):
                total = total + squared[:, k : k + 1]
            distances.append(total)
        return torch.cat(distances, 1).argmin(1, keepdim=True)


def _find_centres(pixels: np.ndarray, count: int) -> np.ndarray:
    """Clusters pixels by k-means: (N, C) -> (count, C)."""
    some = pixels[:: max(len(pixels) // SOME, 1)]
    found = []
    for seed in range(STARTS):
        centres, _ = kmeans2(some, count, STEPS, minit='++', seed=seed)
        centres = _refine(some, centres)
        found.append((np.square(vq(some, centres)[1]).mean(), centres))
    return _refine(pixels, min(found, key=lambda start: start[0])[1])


def _refine(pixels: np.ndarray, centres: np.ndarray) -> np.ndarray:
    for _ in range(ROUNDS):
        before, (centres, _) = centres, kmeans2(pixels, centres, STEPS, minit='matrix')
        if np.array_equal(before, centres):
            break
    return centres
