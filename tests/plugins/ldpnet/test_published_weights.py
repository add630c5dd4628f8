from __future__ import annotations

import pytest
import torch

from plugins.ldpnet.generator import LDPNet
from plugins.ldpnet.published_weights import get_published_state, load_published
from plugins.pansharpening.system import Pansharpener
from tests.support import ldpnet_golden
from toolkit.errors import ToolkitError
from toolkit.registry.build import ComponentFactory


def test_there_and_back() -> None:
    weights = ldpnet_golden.published_weights()
    found = get_published_state(ldpnet_golden.published_system())
    assert list(found) != []
    assert set(found) == set(weights)
    assert all(torch.equal(found[name], weights[name]) for name in weights)


def refused(weights: dict[str, torch.Tensor], message: str) -> None:
    """The error has the message, and the system is as it was."""
    system = ldpnet_golden.system()
    before = {name: value.clone() for name, value in system.state_dict().items()}
    with pytest.raises(ToolkitError, match=message):
        load_published(system, weights)
    assert all(torch.equal(before[name], value) for name, value in system.state_dict().items())


def test_missing() -> None:
    weights = ldpnet_golden.published_weights()
    del weights['rec.conv1.bias']
    refused(weights, r'missing: rec\.conv1\.bias')


def test_not_known() -> None:
    weights = ldpnet_golden.published_weights()
    refused({**weights, 'gray.conv3.weight': torch.zeros(1)}, r'not known: gray\.conv3\.weight')


def test_another_shape() -> None:
    weights = ldpnet_golden.published_weights()
    weights['reblur.0.weight'] = torch.zeros(4, 4, 41, 41)
    refused(weights, r'reblur\.0\.weight has shape \(4, 4, 41, 41\), .* needs \(4, 4, 21, 21\)')


def test_many_problems_are_one_line() -> None:
    with pytest.raises(ToolkitError, match=r'and \d+ more\. Check the bands') as error:
        load_published(ldpnet_golden.system(bands=8), ldpnet_golden.published_weights())
    assert '\n' not in str(error.value)


def test_another_system() -> None:
    system = Pansharpener(bands=4, ratio=4, generator=ComponentFactory(LDPNet, {}))
    system.neck = torch.nn.Conv2d(4, 4, 1)
    with pytest.raises(ToolkitError, match=r'neck\.weight has no place in the published LDP-Net'):
        get_published_state(system)
