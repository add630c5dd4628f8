"""Shipped weights: for any number of bands, as their card states, refused elsewhere."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save

from plugins.ldpnet import shipped_weights
from plugins.ldpnet.generator import LDPNet
from plugins.ldpnet.shipped_weights import find_shipped, fit_bands, write_weights
from toolkit.config import load
from toolkit.engine import checkpoint
from toolkit.errors import ToolkitError
from toolkit.registry import SYSTEMS
from toolkit.registry.build import build

SHIPPED = {'activation': 'identity', 'residual': True, 'pan': 'single', 'weights': 'plus'}


def test_the_card_is_of_this_file() -> None:
    path = find_shipped('plus')
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert digest in path.with_suffix('.md').read_text(encoding='utf-8')
    assert LDPNet.list_files({'weights': 'plus'}) == [path]  # part of a run's fingerprint
    assert LDPNet.list_files({}) == []


def test_bands_of_the_file_get_its_weights() -> None:
    network, file = LDPNet(4, **SHIPPED), load_file(find_shipped('plus'))
    assert all(torch.equal(value, file[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize('bands', [1, 3, 8])
def test_other_numbers_of_bands_do_the_same_to_gray_images(bands: int) -> None:
    torch.manual_seed(0)
    pan, gray = torch.rand(2, 1, 1, 32, 32)
    expected = LDPNet(4, **SHIPPED)(gray.expand(-1, 4, -1, -1), pan)
    found = LDPNet(bands, **SHIPPED)(gray.expand(-1, bands, -1, -1), pan)
    assert found.shape == (1, bands, 32, 32)
    mean = expected.mean(1, keepdim=True)
    torch.testing.assert_close(found, mean.expand_as(found), rtol=1e-4, atol=1e-5)
    assert (mean - gray).abs().mean() > 1e-4  # the network does something


@pytest.mark.parametrize(
    ('change', 'named'),
    [({'width': 32}, 'extractor1'), ({'pan': 'repeated'}, 'extractor2')],
)
def test_another_network_is_refused(change: dict[str, object], named: str) -> None:
    with pytest.raises(ValueError, match=f'of width 16.*differs in {named}'):
        LDPNet(4, **{**SHIPPED, **change})


def test_the_adapted_config_starts_from_them() -> None:
    overrides = ['model.bands=8', 'model.reblur.sensor=WV2']
    system = build(load('ldpnet/ldpnet_plus_adapted', overrides).tree['model'], SYSTEMS)
    own, file = system.generator.network.state_dict(), load_file(find_shipped('plus'))
    for key, value in fit_bands(file, 8).items():
        assert torch.equal(own[key], value)
    assert not system.generator.fitted  # haze and gains are those of the scene


def test_a_run_is_written(tmp_path) -> None:
    system = build(load('ldpnet/ldpnet_plus').tree['model'], SYSTEMS)
    folder = tmp_path / 'run' / 'checkpoints'
    folder.mkdir(parents=True)
    content = {'state_dict': system.state_dict(), 'meta': {'iter': 7}}
    checkpoint.save(content, folder / 'last.pth')
    path = tmp_path / 'own.safetensors'
    assert write_weights(tmp_path / 'run', path) == 99_765
    own = system.generator.network.state_dict()
    assert all(torch.equal(value, own[key]) for key, value in load_file(path).items())
    with pytest.raises(ToolkitError, match='cannot write .*own.safetensors.new'):
        write_weights(tmp_path / 'run', path / 'new')
    with pytest.raises(ToolkitError, match='holds no checkpoint'):
        write_weights(tmp_path, path)


def test_a_tailor_starts_without_effect_and_can_be_trained_alone() -> None:
    torch.manual_seed(0)
    lrms_up, pan = torch.rand(1, 4, 32, 32), torch.rand(1, 1, 32, 32)
    network = LDPNet(4, **SHIPPED, tailor=8, trained='tailor')
    expected = LDPNet(4, **SHIPPED)(lrms_up, pan)
    torch.testing.assert_close(network(lrms_up, pan), expected, rtol=0, atol=1e-6)
    trained = {name for name, value in network.named_parameters() if value.requires_grad}
    assert trained == {f'tailor.conv{i}.{kind}' for i in (1, 2) for kind in ('weight', 'bias')}
    with torch.no_grad():
        network.tailor.conv2.weight.normal_()
    assert (network(lrms_up, pan) - expected).abs().max() > 1e-3


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'tailor': -1}, 'tailor must be 0 or more channels, found -1'),
        ({'trained': 'some'}, "trained must be all or tailor, found 'some'"),
        ({'trained': 'tailor'}, "trained: 'tailor' needs a tailor"),
    ],
)
def test_wrong_tailors(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LDPNet(4, **arguments)


def test_a_file_that_was_changed_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One flipped bit, other tensors, and none are told."""
    content = find_shipped('plus').read_bytes()
    monkeypatch.setattr(shipped_weights, 'FOLDER', tmp_path)
    flipped = bytearray(content)
    flipped[-100] ^= 1
    for bad in (bytes(flipped), save({'other': torch.zeros(1)}), b''):
        find_shipped('plus').write_bytes(bad)
        with pytest.raises(ValueError, match='plus.safetensors is not the file that was shipped'):
            LDPNet(4, **SHIPPED)
    find_shipped('plus').write_bytes(content)
    LDPNet(4, **SHIPPED)
    find_shipped('plus').unlink()
    with pytest.raises(ValueError, match='plus.safetensors cannot be read'):
        LDPNet(4, **SHIPPED)
