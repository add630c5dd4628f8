"""SR-D: each patch's missing detail is coded by patches of the PAN's detail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from plugins.classical.filters import decimated, mtf_decimated
from plugins.classical.method import Measured
from plugins.classical.patches import Grid
from plugins.classical.pursuit import Atoms, pursue
from plugins.classical.statistics import divide
from plugins.pansharpening.imaging.lazy_image import LazyImage
from plugins.pansharpening.imaging.mtf import mtf_kernel
from plugins.pansharpening.imaging.resample import imresized_to
from plugins.pansharpening.imaging.streaming_statistics import Moments
from plugins.pansharpening.imaging.two_pass_generator import Scan, TwoPassGenerator
from plugins.pansharpening.interfaces import GENERATORS
from plugins.pansharpening.scenes.sensors import sensor as sensor_by_name
from plugins.pansharpening.scenes.window import Window

# Patches coded at a time: what fits a processor's cache.
SIGNALS = 1024


@GENERATORS.register(name='SR-D')
class SRD(TwoPassGenerator):
    """Sparse representation of injected details.

    The PAN, matched to each band, has details d at full resolution (what the band's MTF takes away)
    and d' at the resolution of the samples (d through the MTF once more). Patches of d' are atoms;
    each patch of the bands' own details is coded by them with orthogonal matching pursuit: first
    the atom at the same place, then whichever correlates most with what is left over all bands,
    with coefficients of each band by least squares. The same coefficients of the patches of d are
    added to `lrms_up`, averaged where patches overlap. An atom that in a band depends on those
    before it, as where the PAN is flat, counts nothing there (the toolbox drops the band).

    The details are constants to autograd: gradients reach `lrms_up` alone.

    Args:
        bands: C.  Injected by the parent.
        ratio: PAN pixels per multispectral pixel.  Injected by the parent.
        sensor: name of the sensor, for the MTF gains of its bands.
        patch: side of a patch in multispectral pixels.
        overlap: of neighbouring patches, in multispectral pixels, less than `patch`.
        atoms: how many code a patch, at least 1.
        dictionary: at most so many atoms are kept to choose from, evenly spread over the image;
            those of a scene of 380 x 380 multispectral pixels fit all. Time grows with it.
    Shape: lrms_up (B, C, H, W), pan (B, 1, H, W) -> (B, C, H, W).
    Raises:
        ValueError: no such sensor, or a number out of range.
        DataError: a sensor with another number of bands.
    Source: Vicinanza et al., "A pansharpening method based on the sparse representation of injected
        details", IEEE GRSL 12(1), 2015; conventions of the DLPan toolbox (Deng et al., IEEE GRSM
        2022).
    """

    margin = 128

    def __init__(
        self,
        bands: int,
        ratio: int,
        sensor: str = 'generic',
        patch: int = 7,
        overlap: int = 4,
        atoms: int = 10,
        dictionary: int = 16384,
    ) -> None:
        super().__init__(bands, ratio)
        if not 0 <= overlap < patch:
            raise ValueError(
                f'overlap is from 0 to below the patch, found {overlap} of a patch of {patch}'
            )
        if atoms < 1 or dictionary < 1:
            raise ValueError(
                f'atoms and dictionary must be at least 1, found {atoms} and {dictionary}'
            )
        gains = sensor_by_name(sensor).gains(bands)
        self.distinct = tuple(dict.fromkeys(gains))  # G filters; bands of one gain share theirs
        self.filter_of = [self.distinct.index(gain) for gain in gains]
        self.patch, self.overlap = patch, overlap
        self.atoms, self.dictionary = atoms, dictionary

    # -- the whole scene -----------------------------------------------------------------------

    def measure(self, lrms_up: LazyImage, pan: LazyImage, window: Window) -> dict[str, Tensor]:
        return {'both': torch.cat([lrms_up.read(window), pan.read(window)], 1)}

    def solve(self, moments: Mapping[str, Moments], percentile: Tensor | None) -> dict[str, Tensor]:
        found = Measured(moments['both'], E=self.bands, P=1)
        scale = divide(found.deviation('E'), found.deviation('P'))  # (B, C, 1, 1)
        return {'scale': scale, 'offset': found.mean('E') - scale * found.mean('P')}

    def statistics(self, scan: Scan) -> dict[str, Tensor]:
        """The match of the PAN to each band, and the dictionary for each filter.

        Returns:
            `low` (B, N, G, patch^2) and `high` (B, N, G, (ratio patch)^2) are the patches of the
            PAN's details; as large as the dictionary.
        """
        found = super().statistics(scan)
        parts = [part for part in scan(self._patches_of) if part is not None]
        if not parts:  # no data at all
            none = found['scale'].new_zeros(found['scale'].shape[0], 1, len(self.distinct), 1)
            sizes = (self.patch**2, (self.ratio * self.patch) ** 2)
            parts = [tuple(none.expand(-1, -1, -1, size) for size in sizes)]
        low, high = (torch.cat(images, 1) for images in zip(*parts))
        return {**found, 'low': low, 'high': high}

    def _patches_of(
        self, lrms_up: LazyImage, pan: LazyImage, window: Window, valid: Tensor | None
    ) -> tuple[Tensor, Tensor] | None:
        """Those patches for the dictionary whose upper left corner is in a block."""
        grid = Grid.of(pan.shape, self.ratio, self.patch, self.overlap)
        part = grid.starting_in(window)
        if part is None:
            return None
        kept = part.evenly(self.dictionary)
        if valid is not None:  # those with data throughout, as far as the block goes
            kept = [place for place in kept if bool(valid[part.inside(*place, window)].all())]
        if not kept:
            return None
        high, low = self._pan_details(pan)
        images = low.read(part.low_window), high.read(part.window)
        return tuple(
            torch.stack([part.patches(image[b], kept, scale) for b in range(len(image))])
            for image, scale in zip(images, (1, self.ratio))
        )

    def _pan_details(self, pan: LazyImage) -> tuple[LazyImage, LazyImage]:
        """What each filter takes from the PAN, (B, G, H, W), and that again through it, at the
        samples, (B, G, h, w)."""

        def high(pan: LazyImage) -> LazyImage:
            low = [
                mtf_decimated(pan, gain, self.ratio).kept(pan.area.reduced(self.ratio), 32)
                for gain in self.distinct
            ]
            up = [imresized_to(image, self.ratio) for image in low]
            detail = LazyImage(
                pan.shape,
                lambda window: torch.cat(
                    [pan.read(window) - image.read(window) for image in up], 1
                ),
                pan.area,
            )
            return detail.kept(pan.area, 64)

        fine = pan.derived(('details', self.distinct, self.ratio), high)
        return fine, fine.derived('low', lambda f: self._decimated(f, range(len(self.distinct))))

    def _decimated(self, image: LazyImage, filters: Iterable[int]) -> LazyImage:
        """Each band through its filter, at the samples: (B, C, H, W) -> (B, C, h, w)."""
        ratio = self.ratio
        bands = [
            mtf_decimated(_band(image, k), self.distinct[i], ratio) for k, i in enumerate(filters)
        ]
        shape = (image.shape[0] // ratio, image.shape[1] // ratio)
        return LazyImage(shape, lambda window: torch.cat([band.read(window) for band in bands], 1))

    # -- a window ------------------------------------------------------------------------------

    def fuse(
        self, lrms_up: LazyImage, pan: LazyImage, window: Window, statistics: Mapping[str, Tensor]
    ) -> Tensor:
        e = lrms_up.read(window)
        if e.is_meta:  # which atoms are chosen is a matter of values, and the shape is not
            return torch.empty_like(e)
        with torch.no_grad():
            part = Grid.of(pan.shape, self.ratio, self.patch, self.overlap).touching(window)
            high, low = self._pan_details(pan)
            signals = _samples(lrms_up, part.low_window, self.ratio) - self._decimated(
                lrms_up, self.filter_of
            ).read(part.low_window)  # (B, C, h, w)
            images = signals, high.read(part.window), low.read(part.low_window)
            details = [
                self._sharpen(
                    part,
                    *(image[b].double() for image in images),
                    {name: value[b] for name, value in statistics.items() if value.ndim > 1},
                )
                for b in range(len(e))
            ]
            detail = part.cut(torch.stack(details), window)
        return (e + detail).to(e.dtype)  # (B, C, h, w)

    def _sharpen(
        self,
        part: Grid,
        signals: Tensor,
        high: Tensor,
        low: Tensor,
        statistics: Mapping[str, Tensor],
    ) -> Tensor:
        """The details of one image where the patches of a part lie, from those of its bands and of
        the PAN: (C, H, W)."""
        statistics = {name: value.double() for name, value in statistics.items()}
        scale, offset = statistics['scale'].flatten(1), statistics['offset'].flatten(1)  # (C, 1)
        sums = [float(mtf_kernel(self.distinct[i], self.ratio).sum()) for i in self.filter_of]
        passed = scale.new_tensor(sums)[:, None]
        # The kernels do not sum to exactly one, so that an offset of the PAN leaves a trace.
        trace = offset * (1 - passed)

        def matched(patches: Tensor) -> Tensor:  # (n, G, K) -> (n, C, K)
            return scale * patches[:, self.filter_of] + trace * passed

        total = signals.new_zeros((len(signals), *high.shape[1:]))  # (C, H, W)
        values = matched(statistics['low'])
        if not bool(torch.isfinite(values).all()):  # some statistic of the whole is not a number
            return torch.full_like(total, float('nan'))
        atoms = Atoms(values)
        sharp = [statistics['high'][:, i].contiguous() for i in range(len(self.distinct))]
        for rows in part.row_groups(SIGNALS):
            first = matched(part.patches_of(low, rows, 1))
            own = part.patches_of(signals, rows, 1)
            chosen, weights = pursue(own, first, atoms, self.atoms)
            fine = part.patches_of(high, rows, self.ratio)
            patches = weights[..., :1] * fine[:, self.filter_of]
            if self.atoms > 1:
                for band, i in enumerate(self.filter_of):
                    others = weights[:, band, 1:].contiguous()
                    patches[:, band] += F.embedding_bag(
                        chosen, sharp[i], mode='sum', per_sample_weights=others
                    )
            patches = scale * patches + trace * weights.sum(2, keepdim=True)
            part.add(total, rows, patches)
        return total / part.counts(total)


def _band(image: LazyImage, k: int) -> LazyImage:
    return LazyImage(image.shape, lambda window: image.read(window)[:, k : k + 1], image.area)


def _samples(image: LazyImage, window: Window, ratio: int) -> Tensor:
    """The pixels of `filters.decimated` in a window of theirs, (B, C, h, w)."""
    fine = image.read(Window(*(ratio * n for n in window)))
    return decimated(fine, ratio)
