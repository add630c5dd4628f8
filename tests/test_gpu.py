"""Every component on a GPU computes what it computes on the CPU, forward and backward, in float32.

The distance ||gpu - cpu|| / ||cpu|| of an output is at most 1e-4 and that of a gradient 1e-3,
without TF32. On a machine without a GPU the same code compares the CPU with itself.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plugins.pansharpening.interfaces import GENERATORS
from tests import test_classification_parts as classification
from tests import test_parts as pansharpening
from tests.test_parts import names
from toolkit.cli import main
from toolkit.registry import ATTENTIONS, DEGRADATIONS, HEADS, LOSSES, NECKS

GPU = torch.cuda.is_available()
DEVICE = torch.device('cuda' if GPU else 'cpu')
OUTPUT, GRADIENT = 1e-4, 1e-3

# The comparisons themselves are tried on the CPU with a few components.
pytestmark = [] if not GPU else [pytest.mark.gpu]


@pytest.fixture(autouse=True)
def full_float32() -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def distance(found: Tensor, expected: Tensor) -> float:
    found, expected = found.detach().cpu().double(), expected.detach().cpu().double()
    return float((found - expected).norm() / expected.norm().clamp_min(1e-12))


def moved(value: Any, device: torch.device) -> Any:
    """A copy on a device, with a gradient of its own where there was one."""
    if isinstance(value, Tensor):
        return value.detach().to(device, copy=True).requires_grad_(value.requires_grad)
    if isinstance(value, dict):
        return {key: moved(item, device) for key, item in value.items()}
    return value


def rounding(module: nn.Module, inputs: list[Any], expected: Tensor) -> float:
    """The distance of the CPU's float32 from its float64."""
    exact = [to_double(value) for value in inputs]
    try:
        return distance(expected, copy.deepcopy(module).double().eval()(*exact))
    except (RuntimeError, TypeError, ValueError):
        return 0.0  # it computes in float32 alone


def to_double(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: to_double(item) for key, item in value.items()}
    floating = isinstance(value, Tensor) and value.is_floating_point()
    return value.detach().double() if floating else value


def leaves(values: list[Any]) -> list[Tensor]:
    found = []
    for value in values:
        found += leaves(list(value.values())) if isinstance(value, dict) else [value]
    return [tensor for tensor in found if isinstance(tensor, Tensor) and tensor.requires_grad]


def assert_equal(module: nn.Module, inputs: list[Any]) -> None:
    """The module, in evaluation mode, on the device and on the CPU."""
    results = []
    for device in (torch.device('cpu'), DEVICE):
        own, given = copy.deepcopy(module).to(device).eval(), [moved(x, device) for x in inputs]
        output = own(*given)
        weights = torch.linspace(0.5, 1.5, output.numel()).view(output.shape).to(device)
        (output * weights).sum().backward()
        gradients = [p.grad for p in [*own.parameters(), *leaves(given)]]
        results.append((output, gradients))
    (expected, gradients), (found, others) = results
    assert found.device.type == DEVICE.type
    # Divisions by what is nearly zero enlarge the rounding of either.
    assert distance(found, expected) <= max(OUTPUT, 10 * rounding(module, inputs, expected))
    largest = max((float(g.norm()) for g in gradients if g is not None), default=0.0)
    for gradient, other in zip(gradients, others, strict=True):
        assert (gradient is None) == (other is None)
        # What is nothing but rounding beside the other gradients is not compared.
        if gradient is not None and float(gradient.norm()) > 1e-5 * largest:
            assert distance(other, gradient) <= GRADIENT


@pytest.mark.parametrize('name', names(GENERATORS))
def test_generator(name: str) -> None:
    # Away from zero, by which some methods divide.
    lrms_up, pan = (0.25 + pansharpening.image(bands, (64, 48), seed=bands) / 2 for bands in (4, 1))
    assert_equal(pansharpening.build(GENERATORS, name, 4), [lrms_up.requires_grad_(), pan])


@pytest.mark.parametrize('name', names(DEGRADATIONS))
def test_degradation(name: str) -> None:
    sharp = pansharpening.image(4, (64, 48)).requires_grad_()
    assert_equal(pansharpening.build(DEGRADATIONS, name, 4), [sharp])


@pytest.mark.parametrize('name', names(LOSSES))
def test_loss(name: str) -> None:
    loss, offered = pansharpening.build_loss(name), pansharpening.loss_inputs(4, (64, 64))
    assert_equal(loss, [offered[key] for key in inspect.signature(loss.forward).parameters])


@pytest.mark.parametrize('name', names(HEADS))
def test_head(name: str) -> None:
    injected = {'in_channels': classification.WIDTH, 'num_classes': classification.CLASSES}
    head = classification.build(HEADS, name, **injected)
    assert_equal(head, [classification.features(5, classification.WIDTH)])


@pytest.mark.parametrize('name', classification.TRUNKS)
def test_trunk(name: str) -> None:
    trunk = classification.build(NECKS, name, in_channels=classification.WIDTH)
    assert_equal(trunk, [classification.features(5, classification.WIDTH)])


@pytest.mark.parametrize('name', names(ATTENTIONS))
def test_attention(name: str) -> None:
    attention = classification.build(ATTENTIONS, name, in_channels=classification.WIDTH)
    assert_equal(attention, [classification.features(2, classification.WIDTH, 7, 8)])


@pytest.mark.parametrize('name', classification.JOINING)
def test_neck(name: str) -> None:
    strides, width = {'a': 16, 'b': 32}, classification.WIDTH
    neck = classification.build(
        NECKS, name, in_channels=dict.fromkeys(strides, width), strides=strides
    )
    inputs = {
        'a': classification.features(2, width, 8, 8),
        'b': classification.features(2, width, 4, 4, seed=2),
    }
    assert_equal(neck, [inputs])


@pytest.mark.parametrize(
    'runtime',
    [
        pytest.param((), id='fp32'),
        pytest.param(('runtime.precision=bf16',), id='bf16'),
        pytest.param(
            ('runtime.precision=fp16',), id='fp16', marks=pytest.mark.slow if not GPU else ()
        ),
        pytest.param(('runtime.channels_last=true',), id='channels_last'),
        pytest.param(('runtime.cuda_graph=true',), id='cuda_graph'),
        pytest.param(('runtime.cuda_graph=true', 'runtime.precision=bf16'), id='cuda_graph_bf16'),
        # On a CPU the test of the configs compiles in this mode, and compares the losses.
        pytest.param(
            ('runtime.compile=default',), id='compile', marks=pytest.mark.gpu if not GPU else ()
        ),
        pytest.param(
            ('runtime.compile=reduce-overhead',),
            id='reduce_overhead',
            marks=pytest.mark.slow if not GPU else (),
        ),
    ],
)
def test_ldpnet_trains_with_each_switch(runtime: tuple[str, ...], tmp_path: Path) -> None:
    """From the command line, to losses that go down."""
    import json

    folder = tmp_path / 'run'
    short = [
        'train_cfg={max_iters: 12}',
        'train_dataloader.batch_size=2',
        'train_dataloader.dataset.size=64',
        'val_dataloader=null',
        'val_evaluator=null',
        'default_hooks.log.interval=1',
        'optim_wrapper.optimizer.lr=1e-3',
        'param_scheduler={}',
        'test_dataloader.dataset.scene.size=256',
    ]
    command = ['train', 'ldpnet/ldpnet_2022_synthetic', *short, *runtime, '--work-dir', str(folder)]
    assert main(command) == 0
    lines = (folder / 'metrics.jsonl').read_text().splitlines()
    losses = [json.loads(line)['loss'] for line in lines]
    assert len(losses) == 12
    assert sum(losses[-3:]) < sum(losses[:3])
