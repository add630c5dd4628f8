"""Images that the losses of a pansharpening system compare."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from plugins.pansharpening.imaging.resample import Method, decimate, low_pass
from plugins.pansharpening.imaging.two_pass_generator import TwoPassGenerator
from plugins.pansharpening.interfaces import Generator
from toolkit.errors import DataError
from toolkit.interfaces import Batch, Degradation

# Names of outputs with the components that each needs, in the order of computing.
OUTPUTS: dict[str, tuple[str, ...]] = {
    'lrms': (),
    'pan': (),
    'reference': (),
    'lrms_up': (),
    'hrms': ('generator',),
    'hrms_reblurred': ('generator', 'reblur'),
    'pan_reblurred': ('reblur',),
    'hrms_gray': ('generator', 'gray'),
    'lrms_up_gray': ('gray',),
    'hrms_low': ('generator', 'reblur'),
    'hrms_again': ('generator', 'reblur', 'gray'),
    'lrms_again': ('generator', 'reblur'),
    'guide': ('guide',),
}
# Multispectral pixels around a patch that upsampling depends on.
MARGIN = 6


class Outputs:
    """The outputs of one batch as attributes, each computed once, when it is first read.

    Args:
        batch: images in the system's range of values.
        ratio: PAN pixels per multispectral pixel, along each axis.
        method: of `upsample`.
        upsample: brings an image (B, C, h, w) to the size of the PAN.
        generator: fuses.
        reblur: degrades to the resolution of the multispectral image; None if no output needs it.
        gray: gives the PAN of an image; None if no output needs it.
        guide: frozen generator; None if no output needs it.
    """

    def __init__(
        self,
        batch: Batch,
        ratio: int,
        method: Method,
        upsample: Callable[[Tensor], Tensor],
        generator: Generator,
        reblur: Degradation | None = None,
        gray: Degradation | None = None,
        guide: Generator | None = None,
    ) -> None:
        self._batch, self._ratio, self._method, self._upsample = batch, ratio, method, upsample
        self._generator, self._reblur, self._gray = generator, reblur, gray
        self._guide = guide
        self.lrms: Tensor = batch['lrms']  # (B, C, h, w)
        self.pan: Tensor = batch['pan']  # (B, 1, H, W)

    @cached_property
    def reference(self) -> Tensor:
        """The batch's `hrms`, (B, C, H, W).

        Raises:
            DataError: it has none.
        """
        if 'hrms' not in self._batch:
            raise DataError(
                'a loss takes the reference, and the data has none: train on a dataset with `hrms` '
                '(a scene with a true reference, or the reduced protocol)'
            )
        return self._batch['hrms']

    @cached_property
    def lrms_up(self) -> Tensor:
        """The upsampled image; without context, opposite borders of a patch affect each other."""
        if 'lrms_context' not in self._batch:
            return self._upsample(self.lrms)  # (B, C, H, W)
        context = self._batch['lrms_context']  # (B, C, h + 2m, w + 2m)
        margin = (context.shape[-1] - self.lrms.shape[-1]) // 2
        return _crop(self._upsample(context), margin * self._ratio)  # (B, C, H, W)

    @cached_property
    def hrms(self) -> Tensor:
        return self._fuse(self._generator)  # (B, C, H, W)

    @cached_property
    def guide(self) -> Tensor:
        """The image of the frozen generator, without gradients."""
        with torch.no_grad():
            return self._fuse(self._guide)  # (B, C, H, W)

    @cached_property
    def hrms_reblurred(self) -> Tensor:
        return self._reblur(self.hrms)  # (B, C, H, W)

    @cached_property
    def pan_reblurred(self) -> Tensor:
        return self._reblur(self.pan.expand(-1, self.lrms.shape[1], -1, -1))  # (B, C, H, W)

    @cached_property
    def hrms_gray(self) -> Tensor:
        return self._gray(self.hrms)  # (B, 1, H, W)

    @cached_property
    def lrms_up_gray(self) -> Tensor:
        return self._gray(self.lrms_up)  # (B, 1, H, W)

    @cached_property
    def hrms_low(self) -> Tensor:
        """The fused image, degraded to the size of `lrms` and sampled at its places."""
        return decimate(self.hrms_reblurred, self._ratio, self._method)  # (B, C, h, w)

    @cached_property
    def hrms_again(self) -> Tensor:
        """The fused image, degraded both ways and fused again."""
        return self._generator(self._enlarge(self.hrms_low), self.hrms_gray)  # (B, C, H, W)

    @cached_property
    def lrms_again(self) -> Tensor:
        """Both images degraded by the ratio and fused, as far as the ratio divides `lrms`.

        Raises:
            DataError: `lrms` has fewer pixels than the ratio.
        """
        height, width = (side - side % self._ratio for side in self.lrms.shape[-2:])
        if not height or not width:
            raise DataError(
                f'a loss fuses patches that are degraded by the ratio {self._ratio}, and they have '
                f'{tuple(self.lrms.shape[-2:])} multispectral pixels: use larger patches '
                '(train_dataloader.dataset.size)'
            )
        lrms = self.lrms[..., :height, :width]
        low = decimate(self._reblur(lrms), self._ratio, self._method)  # (B, C, h / r, w / r)
        pan = decimate(low_pass(self.pan, self._ratio), self._ratio, self._method)  # (B, 1, h, w)
        return self._generator(self._enlarge(low), pan[..., :height, :width])  # (B, C, h, w)

    def _fuse(self, generator: Generator) -> Tensor:
        mask = self._batch.get('mask')
        if mask is not None and isinstance(generator, TwoPassGenerator):
            return generator(self.lrms_up, self.pan, mask)  # (B, C, H, W)
        return generator(self.lrms_up, self.pan)  # (B, C, H, W)

    def _enlarge(self, image: Tensor) -> Tensor:
        """Upsamples an image that goes on beyond its border as it ends there."""
        wide = F.pad(image, (MARGIN,) * 4, mode='replicate')  # (B, C, h + 2m, w + 2m)
        return _crop(self._upsample(wide), MARGIN * self._ratio)  # (B, C, ratio h, ratio w)


def _crop(image: Tensor, margin: int) -> Tensor:
    return image[..., margin:-margin, margin:-margin]
