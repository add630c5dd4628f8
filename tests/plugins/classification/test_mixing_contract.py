"""The contract of batch mixings takes any partner and refuses what is none."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from plugins.classification.interfaces import BatchMixing
from toolkit.testing.component import check_component


class OnePartner(BatchMixing):
    """Mixes all images with the first one."""

    def mix(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        partner = torch.zeros(len(image), dtype=torch.int64)
        return 0.5 * (image + image[partner]), partner, image.new_tensor(0.5)


class BooleanPartners(OnePartner):
    """Tells by a mask which images are mixed."""

    def mix(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mixed, partner, share = super().mix(image)
        return mixed, partner == 0, share


class PlainShare(OnePartner):
    """Gives a number of Python."""

    def mix(self, image: Tensor) -> tuple[Tensor, Tensor, float]:
        mixed, partner, _ = super().mix(image)
        return mixed, partner, 0.5


def test_partners_need_be_no_permutation():
    check_component(OnePartner)


@pytest.mark.parametrize(
    ('cls', 'message'),
    [(BooleanPartners, 'partners of torch.bool'), (PlainShare, 'gives the share 0.5')],
)
def test_what_is_no_mixing_is_refused(cls, message):
    with pytest.raises(AssertionError, match=message):
        check_component(cls)
