"""What a pansharpening system's losses can name, each computed at most once and only if named."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import torch.nn.functional as F
from torch import Tensor

from plugins.pansharpening.imaging.resample import decimate
from toolkit.errors import DataError
from toolkit.interfaces import Batch

if TYPE_CHECKING:
    from plugins.pansharpening.system import Pansharpener

# Every name with the slots that it needs, in the order of computing.
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
}
# Multispectral pixels that upsampling looks at beyond a patch.
MARGIN = 6


class Outputs:
    """The outputs of one batch as attributes, computed when first asked for.

    Args:
        system: whose parts compute.
        batch: images in the system's range of values.
    """

    def __init__(self, system: Pansharpener, batch: Batch) -> None:
        self._system, self._batch = system, batch
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
        """Without context a patch's border would be made from its opposite one."""
        system = self._system
        if 'lrms_context' not in self._batch:
            return system.upsampled(self.lrms)  # (B, C, H, W)
        context = self._batch['lrms_context']  # (B, C, h + 2m, w + 2m)
        margin = (context.shape[-1] - self.lrms.shape[-1]) // 2
        return _inside(system.upsampled(context), margin * system.ratio)  # (B, C, H, W)

    @cached_property
    def hrms(self) -> Tensor:
        return self._system.generator(self.lrms_up, self.pan)  # (B, C, H, W)

    @cached_property
    def hrms_reblurred(self) -> Tensor:
        return self._system.reblur(self.hrms)  # (B, C, H, W)

    @cached_property
    def pan_reblurred(self) -> Tensor:
        return self._system.reblur(self.pan.expand(-1, self._system.bands, -1, -1))  # (B, C, H, W)

    @cached_property
    def hrms_gray(self) -> Tensor:
        return self._system.gray(self.hrms)  # (B, 1, H, W)

    @cached_property
    def lrms_up_gray(self) -> Tensor:
        return self._system.gray(self.lrms_up)  # (B, 1, H, W)

    @cached_property
    def hrms_low(self) -> Tensor:
        """The fused image degraded to the given one's size, at its samples' places."""
        system = self._system
        return decimate(self.hrms_reblurred, system.ratio, system.upsampling)  # (B, C, h, w)

    @cached_property
    def hrms_again(self) -> Tensor:
        """The fused image degraded both ways and fused again."""
        system = self._system
        low = F.pad(self.hrms_low, (MARGIN,) * 4, mode='replicate')  # (B, C, h + 2m, w + 2m)
        up = _inside(system.upsampled(low), MARGIN * system.ratio)  # (B, C, H, W)
        return system.generator(up, self.hrms_gray)  # (B, C, H, W)


def _inside(image: Tensor, margin: int) -> Tensor:
    return image[..., margin:-margin, margin:-margin]
