"""The guided filter on the details of a network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from plugins.classical.component_substitution import GSA
from plugins.fusion_cnns.guided_detail import GuidedDetail
from plugins.fusion_cnns.modulated import Modulated
from plugins.pansharpening.interfaces import Generator
from toolkit.registry.build import ComponentFactory


class Adds(Generator):
    """Adds details that are given."""

    halo = 0

    def __init__(self, bands: int, ratio: int, detail: Tensor) -> None:
        super().__init__()
        self.detail = detail

    def forward(self, lrms_up: Tensor, pan: Tensor) -> Tensor:
        return lrms_up + self.detail


def filtered(detail: Tensor, pan: Tensor, **options: float) -> Tensor:
    network = ComponentFactory(Adds, {'detail': detail})
    return GuidedDetail(4, 4, network, **options)(torch.zeros_like(detail), pan)


def test_details_that_follow_the_pan_pass() -> None:
    torch.manual_seed(0)
    pan = torch.rand(1, 1, 24, 24, dtype=torch.float64)
    gains = torch.tensor([0.5, -1.0, 2.0, 0.0], dtype=torch.float64)[:, None, None]
    detail = gains * pan + 0.1
    torch.testing.assert_close(filtered(detail, pan, epsilon=1e-12), detail, rtol=0, atol=1e-6)


def test_details_without_any_in_the_pan_are_averaged_twice() -> None:
    detail = torch.zeros(1, 4, 15, 15)
    detail[..., 7, 7] = 1
    found = filtered(detail, torch.full((1, 1, 15, 15), 0.4), radius=1)
    triangle = torch.tensor([1.0, 2, 3, 2, 1]) / 9
    expected = torch.zeros(15, 15)
    expected[5:10, 5:10] = triangle[:, None] * triangle
    torch.testing.assert_close(found[0, 2], expected, rtol=0, atol=1e-5)


def test_reach_and_arguments_are_those_of_the_parts() -> None:
    part = GuidedDetail(4, 4, Modulated, radius=3)
    assert part.halo == Modulated(4, 4).halo + 6
    assert part.unit_range
    with pytest.raises(ValueError, match='GSA needs the whole image'):
        GuidedDetail(4, 4, GSA)
    for wrong in ({'radius': 0}, {'epsilon': 0.0}):
        with pytest.raises(ValueError, match='radius must be at least 1 and epsilon above 0'):
            GuidedDetail(4, 4, Modulated, **wrong)
