"""The table of `toolkit check --shapes`."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from toolkit.bench.cost import ComponentCost, count_parameters_and_macs, format_costs

SHAPE = 'logits pathology (1, 4), margin (1, 3), probabilities pathology (1, 4), margin (1, 3)'
COSTS = [
    ComponentCost('', 'Classifier', SHAPE, 810_748, 21_717_640),
    ComponentCost('attention.parts.channel', 'ChannelAttention', '(1, 160, 2, 2)', 3_200, 6_400),
]


def test_a_wide_table_has_a_line_per_component() -> None:
    assert [line.split()[0] for line in format_costs(COSTS, 200).splitlines()] == [
        *('component', 'model', 'model.attention.parts.channel'),
    ]


@pytest.mark.parametrize('width', [80, 100, 120])
def test_long_shapes_are_wrapped_between_shapes(width: int) -> None:
    lines = format_costs(COSTS, width).splitlines()
    assert max(map(len, lines)) <= width
    assert '(1, 160, 2, 2)' in '\n'.join(lines)
    start = lines[0].index('output')
    rows = lines[1 : next(i for i, line in enumerate(lines) if line.startswith('model.'))]
    assert ' '.join(line[start:].split('   ')[0].split('  ')[0] for line in rows) == SHAPE
    assert all(line.count('(') == line.count(')') for line in lines)
    assert lines[1].split()[-2:] == ['810,748', '21,717,640']


def test_the_table_fits_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('COLUMNS', '90')
    assert format_costs(COSTS) == format_costs(COSTS, 90)
    monkeypatch.setenv('COLUMNS', '0')  # no terminal
    assert format_costs(COSTS) == format_costs(COSTS, 120)


class PassesParameter(nn.Module):
    """A system that hands a parameter to a module, as CaiT does with its class token."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.ones(1, 3))
        self.layer = nn.Linear(3, 5)

    def example(self, batch_size: int, size: int | None) -> dict[str, Any]:
        return {}

    def forward(self, batch: dict[str, Any], mode: str) -> Tensor:
        return self.layer(self.token)


def test_a_parameter_may_be_the_argument_of_a_module() -> None:
    with torch.device('meta'):
        system = PassesParameter()
    assert count_parameters_and_macs(system) == (3 + 20, 15)
    assert all(parameter.requires_grad for parameter in system.parameters())
