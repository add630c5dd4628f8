"""Every registered generator, degradation and loss, tested by existing.

A part needs no more than what its parent wires to be tested here. A part that a new plugin
registers is found by its source and tested too.
"""

from __future__ import annotations

import inspect
import io
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plugins.pansharpening.interfaces import GENERATORS
from toolkit.errors import ComponentError
from toolkit.interfaces import Loss
from toolkit.registry import DEGRADATIONS, LOSSES, Kind, plugin_index
from toolkit.registry.build import ComponentFactory

RATIO = 4
BANDS = (4, 8)
SIZES = ((64, 64), (37, 50))  # (H, W); the second one odd and not square


def names(kind: Kind) -> list[str]:
    """The kind's parts in the project's own plugins."""
    entries = plugin_index.get_index().entries
    return sorted(
        {e.name for e in entries if e.kind == kind.name and e.module.startswith('plugins.')}
    )


def build(kind: Kind, name: str, bands: int, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return ComponentFactory(kind.get(name), {}, name)(bands=bands, ratio=RATIO)


def image(bands: int, size: tuple[int, int], seed: int = 1, batch: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(batch, bands, *size, generator=generator)


def assert_finite_gradients(part: nn.Module, inputs: list[Tensor], output: Tensor) -> None:
    """Backward through an uneven projection; everything that takes part has a finite gradient."""
    (output * torch.linspace(0.5, 1.5, output.numel()).view_as(output)).sum().backward()
    for tensor in [*part.parameters(), *inputs]:
        if tensor.grad is not None:
            assert torch.isfinite(tensor.grad).all()
    trained = [p.grad for p in part.parameters()]
    assert all(grad is not None for grad in trained), 'a parameter that the output does not use'
    if trained:
        assert any(grad.abs().max() > 0 for grad in trained)


def assert_round_trip(kind: Kind, name: str, bands: int, inputs: list[Tensor]) -> None:
    """Saved and loaded as plain weights, another instance gives the same bits."""
    part, other = build(kind, name, bands, seed=0), build(kind, name, bands, seed=1)
    buffer = io.BytesIO()
    torch.save(part.state_dict(), buffer)
    buffer.seek(0)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    with torch.no_grad():
        assert torch.equal(part.eval()(*inputs), other.eval()(*inputs))


# -- generators ------------------------------------------------------------------------------------


@pytest.mark.parametrize('size', SIZES, ids=str)
@pytest.mark.parametrize('bands', BANDS)
@pytest.mark.parametrize('name', names(GENERATORS))
def test_generator_forward_and_backward(name: str, bands: int, size: tuple[int, int]) -> None:
    generator = build(GENERATORS, name, bands)
    lrms_up, pan = image(bands, size).requires_grad_(), image(1, size, seed=2).requires_grad_()
    hrms = generator(lrms_up, pan)
    assert hrms.shape == (2, bands, *size)
    assert hrms.dtype == torch.float32
    assert torch.isfinite(hrms).all()
    assert_finite_gradients(generator, [lrms_up, pan], hrms)


@pytest.mark.parametrize('bands', BANDS)
@pytest.mark.parametrize('name', names(GENERATORS))
def test_generator_state_round_trip(name: str, bands: int) -> None:
    inputs = [image(bands, (32, 32)), image(1, (32, 32), seed=2)]
    assert_round_trip(GENERATORS, name, bands, inputs)


def reach(generator: nn.Module, row: int, column: int, size: int, bands: int) -> Tensor:
    """Where the inputs have any influence on one output pixel: (size, size) bool."""
    lrms_up = image(bands, (size, size), batch=1).double().requires_grad_()
    pan = image(1, (size, size), seed=2, batch=1).double().requires_grad_()
    output = generator(lrms_up, pan)[:, :, row, column].sum()
    grads = torch.autograd.grad(output, [lrms_up, pan], allow_unused=True)
    return sum(g.abs().sum((0, 1)) for g in grads if g is not None) > 0


@pytest.mark.parametrize('name', names(GENERATORS))
def test_generator_halo_is_its_reach(name: str) -> None:
    """No input beyond `halo` of a pixel changes it, and one at `halo` does, in each direction."""
    generator = without_dead_ends(build(GENERATORS, name, 4).double())
    if generator.halo == 'global':
        pytest.skip('depends on the whole image')
    halo, stride = generator.halo, generator.stride
    size = -(-(2 * halo + 3 * stride + 2) // stride) * stride
    farthest = torch.zeros(4, dtype=torch.long)
    for shift in range(stride):  # the reach differs with the place within a stride
        centre = size // 2 // stride * stride + shift
        rows, columns = reach(generator, centre, centre, size, 4).nonzero(as_tuple=True)
        offsets = [centre - rows.min(), rows.max() - centre]
        offsets += [centre - columns.min(), columns.max() - centre]
        farthest = torch.maximum(farthest, torch.stack(offsets))
    assert farthest.max() == halo
    # Windows are aligned, so that a side may need less by up to a stride.
    assert farthest.min() > halo - stride


@pytest.mark.parametrize('name', names(GENERATORS))
def test_generator_perturbation_outside_halo(name: str) -> None:
    """The same with bits: a disturbed frame around a pixel's halo leaves the pixel as it is."""
    generator = without_dead_ends(build(GENERATORS, name, 4))
    if generator.halo == 'global':
        pytest.skip('depends on the whole image')
    halo, size = generator.halo, 2 * generator.halo + 9
    centre = size // 2
    inputs = [image(4, (size, size), batch=1), image(1, (size, size), seed=2, batch=1)]
    inside = slice(centre - halo, centre + halo + 1)
    disturbed = [x + 1 for x in inputs]
    for clean, other in zip(inputs, disturbed):
        other[..., inside, inside] = clean[..., inside, inside]
    with torch.no_grad():
        before, after = (generator(*x)[..., centre, centre] for x in (inputs, disturbed))
    assert torch.equal(before, after)


@pytest.mark.parametrize('layout', [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize('size', [(192, 128), (191, 125)], ids=str)
@pytest.mark.parametrize('name', names(GENERATORS))
def test_generator_windows_equal_whole(
    name: str, size: tuple[int, int], layout: torch.memory_format
) -> None:
    generator = build(GENERATORS, name, 4).to(memory_format=layout)
    if generator.halo == 'global':
        pytest.skip('depends on the whole image')
    lrms_up = image(4, size, batch=1).to(memory_format=layout)
    pan = image(1, size, seed=2, batch=1).to(memory_format=layout)
    stride = generator.stride
    halo = -(-generator.halo // stride) * stride  # outwards to the next aligned pixel
    # Below some 5,000 pixels of 4 bands torch convolves by another algorithm, with other rounding.
    tile = -(-64 // stride) * stride
    with torch.no_grad():
        whole = generator(lrms_up, pan)
        tiled = torch.full_like(whole, float('nan'))
        for top in range(0, size[0], tile):
            for left in range(0, size[1], tile):
                bottom, right = min(top + tile, size[0]), min(left + tile, size[1])
                first = max(top - halo, 0), max(left - halo, 0)
                rows = slice(first[0], min(bottom + halo, size[0]))
                columns = slice(first[1], min(right + halo, size[1]))
                part = generator(lrms_up[..., rows, columns], pan[..., rows, columns])
                tiled[..., top:bottom, left:right] = part[
                    ..., top - first[0] : bottom - first[0], left - first[1] : right - first[1]
                ]
    assert torch.equal(whole, tiled)


def without_dead_ends(generator: nn.Module) -> nn.Module:
    """The generator with weights that let everything through, so that its reach shows everywhere.

    Positive weights and inputs keep each unit alive, whatever it is clipped by.
    """
    with torch.no_grad():
        for parameter in generator.parameters():
            parameter.abs_()
            if parameter.ndim > 1:
                parameter.div_(parameter[0].sum())
    return generator


# -- degradations ----------------------------------------------------------------------------------


@pytest.mark.parametrize('size', SIZES, ids=str)
@pytest.mark.parametrize('bands', BANDS)
@pytest.mark.parametrize('name', names(DEGRADATIONS))
def test_degradation_forward_and_backward(name: str, bands: int, size: tuple[int, int]) -> None:
    degradation = build(DEGRADATIONS, name, bands)
    sharp = image(bands, size).requires_grad_()
    output = degradation(sharp)
    assert output.shape == (2, 1 if degradation.out_bands == 1 else bands, *size)
    assert output.dtype == torch.float32
    assert torch.isfinite(output).all()
    assert_finite_gradients(degradation, [sharp], output)
    assert sharp.grad.abs().sum() > 0  # what cannot pass gradients on cannot train a generator


@pytest.mark.parametrize('bands', BANDS)
@pytest.mark.parametrize('name', names(DEGRADATIONS))
def test_degradation_state_round_trip(name: str, bands: int) -> None:
    assert_round_trip(DEGRADATIONS, name, bands, [image(bands, (32, 32))])


# -- losses ----------------------------------------------------------------------------------------


CLASSES = 3


def build_loss(name: str, **arguments: Any) -> Loss:
    return ComponentFactory(LOSSES.get(name), arguments, name)(num_classes=CLASSES)


def loss_inputs(bands: int, size: tuple[int, int]) -> dict[str, Tensor]:
    """What the tasks' systems offer to losses, by name."""
    low = (size[0] // RATIO, size[1] // RATIO)
    images = {
        'lrms': image(bands, low, seed=3),
        'pan': image(1, size, seed=4),
        'lrms_up': image(bands, size, seed=5),
        'hrms': image(bands, size, seed=6),
        'hrms_reblurred': image(bands, size, seed=7),
        'pan_reblurred': image(bands, size, seed=8),
        'hrms_gray': image(1, size, seed=9),
        'lrms_up_gray': image(1, size, seed=10),
        'reference': image(bands, size, seed=11),
        'logits': 4 * image(1, (bands, CLASSES), seed=14)[0, 0] - 2,  # (N, K), N as bands
        'hrms_low': image(bands, low, seed=12),
        'hrms_again': image(bands, size, seed=13),
        'lrms_again': image(bands, low, seed=15),
        'guide': image(bands, size, seed=16),
    }
    labels = torch.arange(bands) % CLASSES
    return {name: tensor.requires_grad_() for name, tensor in images.items()} | {'labels': labels}


@pytest.mark.parametrize('size', [(64, 64), (32, 48)], ids=str)
@pytest.mark.parametrize('bands', BANDS)
@pytest.mark.parametrize('name', names(LOSSES))
def test_loss_forward_and_backward(name: str, bands: int, size: tuple[int, int]) -> None:
    loss = build_loss(name, weight=0.5)
    assert loss.weight == 0.5
    offered = loss_inputs(bands, size)
    needed = inspect.signature(loss.forward).parameters
    assert set(needed) <= set(offered), 'this tester does not know how to make such an input'
    inputs = [offered[n] for n in needed]
    value = loss(*inputs)
    assert value.shape == ()
    assert torch.isfinite(value)
    value.backward()
    grads = [x.grad for x in inputs if x.grad is not None]
    assert grads
    assert all(torch.isfinite(g).all() for g in grads)
    assert any(g.abs().max() > 0 for g in grads)


@pytest.mark.parametrize('name', names(LOSSES))
def test_loss_refuses_weights_that_are_not_finite(name: str) -> None:
    with pytest.raises(ComponentError, match='weight must be a finite number'):
        build_loss(name, weight=float('nan'))


@pytest.mark.parametrize('name', names(LOSSES))
def test_loss_state_round_trip(name: str) -> None:
    saved = build_loss(name).state_dict()
    loss = build_loss(name)
    assert not any(loss.load_state_dict(saved))  # no key is missing, and none is left over
    assert all(value.equal(saved[key]) for key, value in loss.state_dict().items())
