"""A network that no machine could hold is refused before it is built."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

from toolkit.config import ConfigError, load
from toolkit.config.checks.check import fill_checked
from toolkit.engine.preflight import inspect_run
from toolkit.errors import ToolkitError
from toolkit.testing import network_size
from toolkit.testing.network_size import limit_size


def test_weights_and_modules_are_limited_inside_the_context_alone(monkeypatch):
    with torch.device('meta'):
        with (
            limit_size(),
            pytest.raises(ToolkitError, match='weight of a Conv2d, 100{8} x 3 x 3 x 3, it has 108'),
        ):
            nn.Conv2d(3, 10**9, 3)
        for _ in range(2):  # a new network has all of the room
            with limit_size():
                nn.Linear(10**5, 10**5)
        monkeypatch.setattr(network_size, 'MOST_MODULES', 100)
        with limit_size(), pytest.raises(ToolkitError, match=r'more than 100 modules \(the last'):
            nn.Sequential(*(nn.Sequential(nn.ReLU()) for _ in range(60)))
        nn.Conv2d(3, 10**9, 3)


def test_shared_weights_count_once_and_replaced_ones_do_not(monkeypatch):
    monkeypatch.setattr(network_size, 'LARGEST', 0)
    monkeypatch.setattr(network_size.os, 'sysconf', {'SC_PAGE_SIZE': 1, 'SC_PHYS_PAGES': 1000}.get)
    monkeypatch.setattr(network_size, 'MOST_MODULES', 10)
    shared = nn.Linear(10, 20, bias=False)  # 800 bytes
    with limit_size():
        network = nn.Module()
        for number in range(20):
            network.add_module(f'again_{number}', shared)
            network.head = nn.Linear(2, 2)  # takes the place of the one before
            tied = nn.Module()
            tied.weight = shared.weight
        with pytest.raises(ToolkitError, match='too large: with the weight of a Linear, 20 x 10'):
            nn.Linear(10, 20, bias=False)
        with pytest.raises(ToolkitError, match='more than 10 modules'):
            nn.Sequential(*(nn.ReLU() for _ in range(20)))


@pytest.mark.parametrize(
    ('name', 'change'),
    [
        ('ldpnet/ldpnet_2022_synthetic', 'model.generator.width=1000000000'),
        ('ldpnet/ldpnet_2022_synthetic', 'model.reblur.kernel_size=1000000001'),
        ('ldpnet/ldpnet_2022_synthetic', 'model.bands=1000000000'),
        ('ldpnet/ldpnet_2022_synthetic', '+train_dataloader.num_workers=1000000000'),
        ('csasn/csasn_small', 'model.trunk.width=1000000000'),
        ('csasn/csasn_small', 'model.size=1000000000'),
    ],
)
def test_an_absurd_number_in_a_config_is_said_by_the_check(name, change):
    with pytest.raises(ConfigError) as caught:
        config = load(name, [change])
        found = inspect_run(config, fill_checked(config), data=False)
        raise ConfigError(*found.problems)
    (line,) = str(caught.value).splitlines()
    assert re.match(r'(\S+\.yaml:\d+|command line): \S+: .*(too large|at most|gives no map)', line)
