"""Components that are initialized from training data before the training."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from plugins.pansharpening.imaging.masks import coarse
from plugins.pansharpening.imaging.resample import Method, decimate, low_pass
from toolkit.engine.process.seeding import isolate
from toolkit.errors import DataError
from toolkit.interfaces import Dataset

# Patches that are looked at: some 100,000 multispectral pixels, which a few weights do not need.
PATCHES = 32
BORDER = 2  # multispectral pixels: the reach of the low-pass


class DataInitialized(ABC):
    """A component that is initialized from statistics of the training data.

    Attributes:
        fitted: buffer, true once initialized: weights of a checkpoint are not fitted again.
    """

    fitted: Tensor

    def fit(self, ms: Tensor, pan: Tensor) -> str:
        """Initializes the component.

        Args:
            ms: pixels of the multispectral image, (N, C).
            pan: the PAN at their scale and places, (N,).
        Returns:
            A line about the result, for the user.
        """
        found = self.learn(ms.double(), pan.double())
        self.fitted.fill_(True)
        return found

    @abstractmethod
    def learn(self, ms: Tensor, pan: Tensor) -> str:
        """Initializes the component from pixels in double precision; see `fit`."""


def pixels(dataset: Dataset, ratio: int, method: Method) -> tuple[Tensor, Tensor]:
    """Collects multispectral pixels of a dataset, and the PAN at their scale and positions.

    Args:
        dataset: samples with `lrms` and `pan`.
        ratio: PAN pixels per multispectral pixel.
        method: of upsampling, which says where samples lie.
    Returns:
        (N, C) and (N,), of samples that are drawn without a trace in the run's random numbers.
    Raises:
        DataError: no sample holds data.
    """
    found: list[tuple[Tensor, Tensor]] = []
    with isolate(0):
        for index in range(min(len(dataset), PATCHES)):
            sample = dataset[index]
            ms, pan = sample['lrms'].cpu(), sample['pan'][None].cpu()  # (C, h, w), (1, 1, H, W)
            low = decimate(low_pass(pan, ratio), ratio, method)[0, 0]  # (h, w)
            # Near the border the filter has seen pixels that are not the scene's.
            used = torch.zeros_like(low, dtype=torch.bool)
            used[BORDER:-BORDER, BORDER:-BORDER] = True
            if 'mask' in sample:
                used &= coarse(sample['mask'][None], ratio)[0, 0]
            found.append((ms[:, used].T, low[used]))
    if not sum(len(low) for _, low in found):
        raise DataError(
            'no pixel of the training data can be used to start from: patches need more '
            f'than {2 * BORDER} multispectral pixels a side, with data'
        )
    return torch.cat([ms for ms, _ in found]), torch.cat([low for _, low in found])
