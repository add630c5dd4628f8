"""MACs of the networks that the shipped studies compare."""

from __future__ import annotations

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from plugins.timm_zoo.backbone import TimmBackbone
from toolkit.bench.cost import count_parameters_and_macs, measure_system_costs
from toolkit.config import load
from toolkit.interfaces import System


class Alone(System):
    """A backbone as a system."""

    def __init__(self, backbone: TimmBackbone) -> None:
        super().__init__()
        self.backbone = backbone

    def tensor(self, batch):
        return self.backbone(batch['image'])

    loss = predict = tensor

    def example(self, batch_size=1, size=None):
        return {'image': torch.zeros(batch_size, 3, 128, 128)}


@pytest.mark.slow
@pytest.mark.parametrize('name', load('csasn/csasn_busi_128').tree['extra']['backbones'])
def test_macs_are_those_that_torch_counts_on_a_cpu(name):
    given = load('csasn/csasn_busi_128').tree['extra']['backbones'][name]
    arguments = {k: v for k, v in given.items() if k != 'type'} | {'weights': None}
    with torch.device('meta'):
        macs = count_parameters_and_macs(Alone(TimmBackbone(3, 128, **arguments)))[1]
    model = TimmBackbone(3, 128, **arguments).eval()
    # With fused attention, torch leaves its products out on a CPU.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter, torch.no_grad():
        model(torch.rand(1, 3, 128, 128))
    assert macs > 1e6
    assert abs(macs / (counter.get_total_flops() / 2) - 1) < 0.01


def test_attention_counts_alike_without_values_and_on_a_cpu():
    with torch.device('meta'):
        system = Alone(TimmBackbone(3, 128, 'test_vit', resize=160))
    values = Alone(TimmBackbone(3, 128, 'test_vit', resize=160))
    macs = count_parameters_and_macs(system)[1]
    assert measure_system_costs(values, device='cpu')[0].macs == macs
