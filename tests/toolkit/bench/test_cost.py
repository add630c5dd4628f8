"""The table of `toolkit check --shapes`."""

from __future__ import annotations

import pytest

from toolkit.bench.cost import ComponentCost, format_costs

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
