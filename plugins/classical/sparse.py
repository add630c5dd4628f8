"""SR-D: the missing detail of each patch is coded by patches of the PAN's detail."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from plugins.classical.numerics.filters import decimate, decimate_by_mtf
from plugins.classical.numerics.named_moments import NamedMoments
from plugins.classical.numerics.patches import PatchGrid
from plugins.classical.numerics.pursuit import Atoms, pursue
from plugins.classical.numerics.statistics import divide
from plugins.pansharpening.imaging.lazy_image import LazyImage
from plugins.pansharpening.imaging.mtf import mtf_kernel
from plugins.pansharpening.imaging.resample import imresized_to
from plugins.pansharpening.imaging.streaming_statistics import Images, Moments
from plugins.pansharpening.imaging.two_pass_generator import Scan, TwoPassGenerator
from plugins.pansharpening.interfaces import GENERATORS
from plugins.pansharpening.scenes.sensors import SensorSpec, get_sensor
from plugins.pansharpening.scenes.window import Window
from toolkit.ranges import NonNegativeInt, PositiveInt

# Patches coded at a time, so that they fit a processor's cache.
SIGNALS = 1024


@GENERATORS.register(name='SR-D')
class SRD(TwoPassGenerator):
    """Sparse representation of injected details.

    The PAN, matched to each band, has details d at full resolution (removed by the band's MTF) and
    d' at the resolution of the samples (d, filtered by the MTF). Patches of d' are the atoms. Each
    patch of the bands' own details is coded by orthogonal matching pursuit: first the atom at the
    same position, then the atoms with the largest correlation with the residual over all bands;
    each band has its own least-squares coefficients. The patches of d with these coefficients are
    added to `lrms_up`, averaged over overlapping patches. An atom that depends on those before it
    in a band, as in a flat PAN, has the coefficient 0 there (the toolbox drops the band).

    The details are constants to autograd: only `lrms_up` receives gradients.

    Args:
        sensor: sensor (see `get_sensor`), for the MTF gains of its bands.
        patch: side of a patch in multispectral pixels.
        overlap: of neighbouring patches, in multispectral pixels, less than `patch`.
        atoms: per patch, at least 1.
        dictionary: largest number of atoms to choose from, spread evenly over the image. The
            default holds all of a scene of 380 x 380 multispectral pixels. Time grows with it.
    Raises:
        ValueError: no such sensor, or a number out of range.
        DataError: the sensor has another number of bands.
    Source: Vicinanza et al., "A pansharpening method based on the sparse representation of injected
        details", IEEE GRSL 12(1), 2015; conventions of the DLPan toolbox (Deng et al., IEEE GRSM
        2022).
    """

    margin = 128

    def __init__(
        self,
        bands: int,
        ratio: int,
        sensor: SensorSpec = 'generic',
        patch: PositiveInt = 7,
        overlap: NonNegativeInt = 4,
        atoms: PositiveInt = 10,
        dictionary: PositiveInt = 16384,
    ) -> None:
        super().__init__(bands, ratio)
        if not 0 <= overlap < patch:
            raise ValueError(
                f'overlap must be at least 0 and below patch, found {overlap} of a patch of {patch}'
            )
        if atoms < 1 or dictionary < 1:
            raise ValueError(
                f'atoms and dictionary must be at least 1, found {atoms} and {dictionary}'
            )
        self.sensor = get_sensor(sensor)
        gains = self.sensor.gains(bands)
        self.distinct = tuple(dict.fromkeys(gains))  # G filters; bands of one gain share theirs
        self.filter_of = [self.distinct.index(gain) for gain in gains]
        self.patch, self.overlap = patch, overlap
        self.atoms, self.dictionary = atoms, dictionary

    # -- the whole scene -----------------------------------------------------------------------

    def measure(self, lrms_up: LazyImage, pan: LazyImage, window: Window) -> Mapping[str, Images]:
        return {'both': [lrms_up.read(window), pan.read(window)]}

    def solve(self, moments: Mapping[str, Moments], percentile: Tensor | None) -> dict[str, Tensor]:
        found = NamedMoments(moments['both'], E=self.bands, P=1)
        scale = divide(found.deviation('E'), found.deviation('P'))  # (B, C, 1, 1)
        return {'scale': scale, 'offset': found.mean('E') - scale * found.mean('P')}

    def statistics(self, scan: Scan) -> dict[str, Tensor]:
        """Collects the match of the PAN to each band, and the dictionary for each filter.

        Returns:
            Beside the match, `low` (B, N, G, patch^2) and `high` (B, N, G, (ratio patch)^2), the
            patches of the PAN's details; N at most the size of the dictionary.
        """
        found = super().statistics(scan)
        parts = [part for part in scan(self._collect_patches) if part is not None]
        if not parts:  # no data at all
            none = found['scale'].new_zeros(found['scale'].shape[0], 1, len(self.distinct), 1)
            sizes = (self.patch**2, (self.ratio * self.patch) ** 2)
            parts = [tuple(none.expand(-1, -1, -1, size) for size in sizes)]
        low, high = (torch.cat(images, 1) for images in zip(*parts))
        return {**found, 'low': low, 'high': high}

    def _collect_patches(
        self, lrms_up: LazyImage, pan: LazyImage, window: Window, valid: Tensor | None
    ) -> tuple[Tensor, Tensor] | None:
        """Cuts the patches for the dictionary whose upper left corner is in a block."""
        grid = PatchGrid.of_scene(pan.shape, self.ratio, self.patch, self.overlap)
        part = grid.starting_in(window)
        if part is None:
            return None
        kept = part.spread_evenly(self.dictionary)
        if valid is not None:  # only patches without invalid pixels in this block
            kept = [place for place in kept if bool(valid[part.get_slices(*place, window)].all())]
        if not kept:
            return None
        high, low = self._get_pan_details(pan)
        images = low.read(part.low_window), high.read(part.window)
        return tuple(
            torch.stack([part.cut_patches(image[b], kept, scale) for b in range(len(image))])
            for image, scale in zip(images, (1, self.ratio))
        )

    def _get_pan_details(self, pan: LazyImage) -> tuple[LazyImage, LazyImage]:
        """Computes the details that each filter removes from the PAN, at both scales.

        Returns:
            Details (B, G, H, W), and the same filtered and decimated, (B, G, h, w).
        """

        def subtract_low(pan: LazyImage) -> LazyImage:
            low = [
                decimate_by_mtf(pan, [gain], self.ratio).kept(pan.area.reduced(self.ratio), 32)
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

        fine = pan.derived(('details', self.distinct, self.ratio), subtract_low)
        return fine, fine.derived('low', lambda f: self._decimate(f, range(len(self.distinct))))

    def _decimate(self, image: LazyImage, filters: Iterable[int]) -> LazyImage:
        """Filters and decimates each band: (B, C, H, W) -> (B, C, h, w)."""
        ratio = self.ratio
        bands = [
            decimate_by_mtf(_select_band(image, k), [self.distinct[i]], ratio)
            for k, i in enumerate(filters)
        ]
        shape = (image.shape[0] // ratio, image.shape[1] // ratio)
        return LazyImage(shape, lambda window: torch.cat([band.read(window) for band in bands], 1))

    # -- a window ------------------------------------------------------------------------------

    def fuse(
        self, lrms_up: LazyImage, pan: LazyImage, window: Window, statistics: Mapping[str, Tensor]
    ) -> Tensor:
        e = lrms_up.read(window)
        if e.is_meta:  # atoms cannot be chosen without values, and the shape is known
            return torch.empty_like(e)
        with torch.no_grad():
            part = PatchGrid.of_scene(pan.shape, self.ratio, self.patch, self.overlap).overlapping(
                window
            )
            high, low = self._get_pan_details(pan)
            signals = _read_samples(lrms_up, part.low_window, self.ratio) - self._decimate(
                lrms_up, self.filter_of
            ).read(part.low_window)  # (B, C, h, w)
            images = signals, high.read(part.window), low.read(part.low_window)
            details = [
                self._code_details(
                    part,
                    *(image[b].double() for image in images),
                    {name: value[b] for name, value in statistics.items() if value.ndim > 1},
                )
                for b in range(len(e))
            ]
            detail = part.crop(torch.stack(details), window)
        return (e + detail).to(e.dtype)  # (B, C, h, w)

    def _code_details(
        self,
        part: PatchGrid,
        signals: Tensor,
        high: Tensor,
        low: Tensor,
        statistics: Mapping[str, Tensor],
    ) -> Tensor:
        """Codes the details of one image in the window of a part.

        Args:
            part: patches to code.
            signals: (C, h, w), details of the bands.
            high: (G, H, W), details of the PAN.
            low: (G, h, w), the same at the scale of the bands.
            statistics: of this image.
        Returns:
            (C, H, W).
        """
        statistics = {name: value.double() for name, value in statistics.items()}
        scale, offset = statistics['scale'].flatten(1), statistics['offset'].flatten(1)  # (C, 1)
        sums = [float(mtf_kernel(self.distinct[i], self.ratio).sum()) for i in self.filter_of]
        passed = scale.new_tensor(sums)[:, None]
        # The kernels do not sum to exactly one: an offset of the PAN adds a constant to details.
        trace = offset * (1 - passed)

        def match(patches: Tensor) -> Tensor:  # (n, G, K) -> (n, C, K)
            return scale * patches[:, self.filter_of] + trace * passed

        total = signals.new_zeros((len(signals), *high.shape[1:]))  # (C, H, W)
        values = match(statistics['low'])
        if not bool(torch.isfinite(values).all()):  # a statistic of the scene is NaN
            return torch.full_like(total, float('nan'))
        atoms = Atoms(values)
        sharp = [statistics['high'][:, i].contiguous() for i in range(len(self.distinct))]
        for rows in part.split_rows(SIGNALS):
            first = match(part.cut_rows(low, rows, 1))
            own = part.cut_rows(signals, rows, 1)
            chosen, weights = pursue(own, first, atoms, self.atoms)
            fine = part.cut_rows(high, rows, self.ratio)
            patches = weights[..., :1] * fine[:, self.filter_of]
            if self.atoms > 1:
                for band, i in enumerate(self.filter_of):
                    others = weights[:, band, 1:].contiguous()
                    patches[:, band] += F.embedding_bag(
                        chosen, sharp[i], mode='sum', per_sample_weights=others
                    )
            patches = scale * patches + trace * weights.sum(2, keepdim=True)
            part.add_patches(total, rows, patches)
        return total / part.count_overlaps(total)


def _select_band(image: LazyImage, k: int) -> LazyImage:
    return LazyImage(image.shape, lambda window: image.read(window)[:, k : k + 1], image.area)


def _read_samples(image: LazyImage, window: Window, ratio: int) -> Tensor:
    """Reads a window of the decimated image, (B, C, h, w)."""
    fine = image.read(Window(*(ratio * n for n in window)))
    return decimate(fine, ratio)
