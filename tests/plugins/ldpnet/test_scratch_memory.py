"""Concatenation and activation in reused memory give the same bits as torch's own."""

from __future__ import annotations

import threading

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from plugins.ldpnet import scratch_memory
from plugins.ldpnet.convolution import to_channels_last
from plugins.ldpnet.generator import LDPNet
from plugins.ldpnet.scratch_memory import apply_prelu, concatenate

_channels = st.lists(st.sampled_from([1, 2, 3, 4, 8, 16, 32]), min_size=1, max_size=4)


@given(_channels, st.integers(1, 3), st.integers(1, 9), st.sampled_from(['float32', 'bfloat16']))
@settings(max_examples=60)
def test_joined_as_torch_does(channels: list[int], batch: int, side: int, dtype: str) -> None:
    images = [
        to_channels_last(torch.randn(batch, count, side, side + 1).to(getattr(torch, dtype)))
        for count in channels
    ]
    with torch.no_grad():
        found = concatenate(images)
    expected = torch.cat(images, 1)
    assert found.dtype == expected.dtype
    assert torch.equal(found, expected)
    if sum(channels) > 1:
        assert found.is_contiguous(memory_format=torch.channels_last)


def test_parts_cut_from_wider_images() -> None:
    """As `convolve_3x3` leaves them where the width is no multiple of its step."""
    images = [to_channels_last(torch.randn(2, 4, 5, 8))[..., :7] for _ in range(2)]
    with torch.no_grad():
        assert torch.equal(concatenate(images), torch.cat(images, 1))


def test_with_gradients_nothing_is_written_over() -> None:
    images = [to_channels_last(torch.randn(1, 4, 6, 6)).requires_grad_() for _ in range(2)]
    first, second = concatenate(images), concatenate(images[::-1])
    assert first.data_ptr() != second.data_ptr()
    activated = apply_prelu(first, nn.PReLU())
    assert torch.equal(first, torch.cat(images, 1))
    (activated.sum() + second.sum()).backward()
    assert all(image.grad is not None for image in images)


def test_mixed_precisions_and_large_images_get_memory_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = [
        to_channels_last(torch.randn(1, 4, 6, 6)),
        to_channels_last(torch.randn(1, 4, 6, 6)).double(),
    ]
    with torch.no_grad():
        assert torch.equal(concatenate(images), torch.cat(images, 1))
        kept = concatenate(images[:1] * 2)
        assert concatenate(images[:1] * 2).data_ptr() == kept.data_ptr()
        monkeypatch.setattr(scratch_memory, 'MAX_KEPT_BYTES', 100)
        assert concatenate(images[:1] * 2).data_ptr() != kept.data_ptr()


@pytest.mark.parametrize('precision', [torch.float32, torch.bfloat16])
def test_rectified_as_prelu_in_place(precision: torch.dtype) -> None:
    image, by = torch.randn(2, 3, 5, 5).to(precision), nn.PReLU(init=0.3).to(precision)
    with torch.no_grad():
        expected = by(image)
        found = apply_prelu(image, by)
    assert found.data_ptr() == image.data_ptr()
    assert torch.equal(found, expected)


def test_results_are_not_written_over_and_threads_do_not_meet() -> None:
    """Images fused in four threads at once, of two sizes, equal those fused one after the other."""
    torch.manual_seed(0)
    network = LDPNet(4, activation='identity').eval()
    pairs = [(torch.rand(1, 4, n, n), torch.rand(1, 1, n, n)) for n in (32, 48, 32, 48)]
    with torch.inference_mode():
        expected = [network(*pair) for pair in pairs]
        copies = [image.clone() for image in expected]
    found: dict[int, list[torch.Tensor]] = {}

    def fuse(number: int) -> None:
        with torch.inference_mode():
            found[number] = [network(*pairs[number]) for _ in range(5)]

    threads = [threading.Thread(target=fuse, args=(number,)) for number in range(len(pairs))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, image in enumerate(expected):
        assert torch.equal(image, copies[number])
        assert all(torch.equal(image, again) for again in found[number])


def test_the_network_is_the_same_with_and_without_gradients() -> None:
    torch.manual_seed(0)
    network = LDPNet(4).eval()
    pair = torch.rand(2, 4, 31, 34), torch.rand(2, 1, 31, 34)
    with torch.inference_mode():
        found = network(*pair)
    assert torch.equal(found, network(*pair).detach())
