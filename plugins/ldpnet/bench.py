"""Compares the speed and the results of LDP-Net with a plain forward of the published network."""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import Tensor

from plugins.ldpnet.published_weights import get_published_state
from plugins.pansharpening.system import Pansharpener
from toolkit.bench.turns import Taken, device_name, in_turns
from toolkit.config import load
from toolkit.errors import ToolkitError
from toolkit.registry import BENCHES, SYSTEMS
from toolkit.registry.build import build
from toolkit.registry.command import Command

CONFIG = 'ldpnet/ldpnet_2022'
Run = Callable[[], object]
Weights = Mapping[str, Tensor]


@BENCHES.register(name='ldpnet')
class LDPNetBench(Command):
    """Speed and results of LDP-Net compared with a plain forward of the published network.

    The plain forward runs all branches, operation by operation, as published: in float32 and the
    contiguous memory format. Inference goes from the upsampled image and the PAN to the fused
    image; a training step is a forward pass, the loss and a backward pass. Runs take turns in one
    process, and times are medians. If other programs run too, the ratio of CPU times is more
    reliable.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument('--size', type=int, default=512, help='of the inference image (512)')
        parser.add_argument('--patch', type=int, default=256, help='of training patches (256)')
        parser.add_argument('--batch', type=int, default=16, help='of a training step (16)')
        parser.add_argument('--repeats', type=int, default=7, help='runs of each (7)')
        parser.add_argument(
            '--device', choices=('cpu', 'cuda'), default='cpu', help="to compute on ('cpu')"
        )
        parser.add_argument('--threads', type=int, help='of the CPU (all)')
        parser.add_argument('--compile', action='store_true', help='time the compiled network too')

    def run(self, arguments: argparse.Namespace) -> int:
        sizes = (arguments.size, arguments.patch)
        if min(*sizes, arguments.batch, arguments.repeats) < 1 or any(size % 8 for size in sizes):
            raise ToolkitError(
                '--size and --patch are multiples of 8, --batch and --repeats at least 1'
            )
        device = torch.device(arguments.device)
        if device.type == 'cuda' and not torch.cuda.is_available():
            raise ToolkitError('--device is cuda, but torch finds no GPU; leave it out')
        threads = torch.get_num_threads()
        if arguments.threads is not None:
            torch.set_num_threads(max(arguments.threads, 1))
        try:
            system = _build_system(device)
            print(_compare_inference(system, arguments, device))
            print(_compare_training(system, arguments, device))
            threads_now, name = torch.get_num_threads(), device_name(device)
            print(f'{threads_now} threads, torch {torch.__version__}, {name}')
        finally:
            torch.set_num_threads(threads)
        return 0


def compute_published_outputs(weights: Weights, lrms_up: Tensor, pan: Tensor) -> dict[str, Tensor]:
    """Computes all branches of the published network, operation by operation.

    Args:
        weights: its state dict, by the published names.
        lrms_up: (B, C, H, W), H and W even.
        pan: (B, 1, H, W).
    Returns:
        Images by the names of the system's outputs.
    """
    pan = pan.repeat(1, lrms_up.shape[1], 1, 1)
    ms_half, ms_full = _extract(weights, 'extractor1', lrms_up)
    pan_half, pan_full = _extract(weights, 'extractor2', pan)
    x = torch.cat([ms_half, pan_half], 1)
    for number in range(1, 5):
        layer = f'content.conv{number}'
        dense = F.conv2d(x, weights[f'{layer}.0.weight'], weights[f'{layer}.0.bias'], padding=1)
        dense = F.prelu(dense, weights[f'{layer}.1.weight'])
        x = dense if number == 4 else torch.cat([x, dense], 1)
    up = F.conv_transpose2d(x, weights['content.up.0.weight'], weights['content.up.0.bias'], 2)
    x = torch.cat([F.prelu(up, weights['content.up.1.weight']), ms_full, pan_full], 1)
    x = _convolve(weights, 'rec.conv1', x, 0)
    hrms = F.relu(_convolve(weights, 'rec.final_conv', x, 1))
    return {
        'hrms': hrms,
        'hrms_reblurred': _convolve(weights, 'reblur.0', hrms, 10),
        'pan_reblurred': _convolve(weights, 'reblur.0', pan, 10),
        'hrms_gray': _convert_to_gray(weights, hrms),
        'lrms_up_gray': _convert_to_gray(weights, lrms_up),
    }


def compute_published_loss(weights: Weights, lrms: Tensor, lrms_up: Tensor, pan: Tensor) -> Tensor:
    """Computes the published loss on `compute_published_outputs`."""
    out = compute_published_outputs(weights, lrms_up, pan)
    hrms, gray, up_gray = out['hrms'], out['hrms_gray'], out['lrms_up_gray']
    repeated = pan.repeat(1, lrms_up.shape[1], 1, 1)
    smooth = F.avg_pool2d(hrms, 3, 1, 1)
    low = F.interpolate(smooth, lrms.shape[-2:], mode='bilinear', align_corners=True)
    spatial = 20 * F.mse_loss(gray, repeated) + F.mse_loss(out['pan_reblurred'], up_gray)
    spectral = 20 * F.mse_loss(low, lrms) + F.mse_loss(out['hrms_reblurred'], lrms_up)
    given = F.log_softmax(lrms_up - up_gray, -1)
    divergence = F.kl_div(given, F.softmax(hrms - repeated, -1), reduction='sum')
    return spatial + 5 * spectral + 0.1 * divergence


def _extract(weights: Weights, name: str, x: Tensor) -> tuple[Tensor, Tensor]:
    def layer(number: int, image: Tensor, **options: int) -> Tensor:
        weight, bias = (weights[f'{name}.conv{number}.{part}'] for part in ('weight', 'bias'))
        return F.prelu(
            F.conv2d(image, weight, bias, **options), weights[f'{name}.relu{number}.weight']
        )

    x1 = layer(1, x, padding=1)
    x2 = layer(2, torch.cat([x1, x], 1), padding=1)
    x3 = layer(3, torch.cat([x2, x1], 1), padding=1)
    return layer(4, torch.cat([x3, x2], 1), stride=2), x3


def _convert_to_gray(weights: Weights, image: Tensor) -> Tensor:
    features = _convolve(weights, 'gray.conv2', _convolve(weights, 'gray.conv1', image, 1), 0)
    features = F.adaptive_avg_pool2d(features, 1).flatten(1)
    scores = F.relu(features @ weights['gray.fc.0.weight'].T) @ weights['gray.fc.2.weight'].T
    shares = F.softmax(scores.sigmoid(), 1)[..., None, None]
    gray = (shares * image).sum(1, keepdim=True)
    return gray.repeat(1, image.shape[1], 1, 1)


def _convolve(weights: Weights, name: str, image: Tensor, padding: int) -> Tensor:
    return F.conv2d(image, weights[f'{name}.weight'], weights[f'{name}.bias'], padding=padding)


def _build_system(device: torch.device) -> Pansharpener:
    torch.manual_seed(0)
    system: Pansharpener = build(load(CONFIG).tree['model'], SYSTEMS, 'model')
    # Biases start at zero, which would hide errors in their use.
    for name, parameter in system.named_parameters():
        if name.endswith('bias'):
            torch.nn.init.normal_(parameter, std=0.02)
    return system.to(device)


def _make_images(batch: int, size: int, device: torch.device) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = {'lrms': (batch, 4, size // 4, size // 4), 'pan': (batch, 1, size, size)}
    return {name: torch.rand(s, generator=generator).to(device) for name, s in shapes.items()}


def _compare_inference(
    system: Pansharpener, arguments: argparse.Namespace, device: torch.device
) -> str:
    images = _make_images(1, arguments.size, device)
    lrms_up, pan = system.upsampled(images['lrms']), images['pan']
    weights = get_published_state(system)

    def half(fuse: Callable[..., Tensor]) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            return fuse(lrms_up, pan)

    runs: dict[str, Run] = {
        'published': lambda: compute_published_outputs(weights, lrms_up, pan)['hrms'],
        'fp32': lambda: system.fuse(lrms_up, pan),
        'bf16': lambda: half(system.fuse),
    }
    if arguments.compile:
        compiled = torch.compile(system.fuse)
        runs |= {
            'fp32 compiled': lambda: compiled(lrms_up, pan),
            'bf16 compiled': lambda: half(compiled),
        }
    with torch.inference_mode():
        expected = runs['published']()
        found = {name: run().float() for name, run in runs.items()}
        times = in_turns(runs, arguments.repeats, device)
    span = (expected.max() - expected.min()).item()
    notes = {}
    for name, image in found.items():
        error = image - expected
        psnr = 20 * torch.log10(span / error.square().mean().sqrt()).item()
        notes[name] = f'largest difference {error.abs().max().item():.1e}, PSNR {psnr:.1f} dB'
    notes['published'] = ''
    title = f'inference, {arguments.size} x {arguments.size} x 4'
    return _format_table(title, times, notes)


def _compare_training(
    system: Pansharpener, arguments: argparse.Namespace, device: torch.device
) -> str:
    batch = _make_images(arguments.batch, arguments.patch, device)
    runs = {
        'published': lambda: _compute_published_gradients(system, batch),
        'fp32': lambda: _compute_gradients(system, batch),
        'bf16': lambda: _compute_gradients(system, batch, half=True),
    }
    # Both have rounding errors, so each is compared with float64, on two patches.
    patches = {name: image[:2] for name, image in batch.items()}
    exact = copy.deepcopy(system).double()
    expected = _compute_published_gradients(
        exact, {name: image.double() for name, image in patches.items()}
    )
    found = {
        'published': _compute_published_gradients(system, patches),
        'fp32': _compute_gradients(system, patches),
        'bf16': _compute_gradients(system, patches, half=True),
    }
    notes = {}
    for name, gradients in found.items():
        worst = max(_compute_relative_error(own, true) for own, true in zip(gradients, expected))
        notes[name] = f'a gradient differs from that in float64 by at most {worst:.1e} of it'
    title = f'training step, batch {arguments.batch} of {arguments.patch} x {arguments.patch} x 4'
    return _format_table(title, in_turns(runs, arguments.repeats, device), notes)


def _compute_published_gradients(
    system: Pansharpener, batch: Mapping[str, Tensor]
) -> Sequence[Tensor]:
    parameters = dict(zip(get_published_state(system), system.parameters()))
    lrms_up = system.upsampled(batch['lrms'])
    loss = compute_published_loss(parameters, batch['lrms'], lrms_up, batch['pan'])
    return torch.autograd.grad(loss, list(parameters.values()))


def _compute_gradients(
    system: Pansharpener, batch: Mapping[str, Tensor], half: bool = False
) -> Sequence[Tensor]:
    device = batch['pan'].device.type
    with torch.autocast(device, torch.bfloat16) if half else nullcontext():
        loss = torch.stack(list(system.loss(dict(batch)).values())).sum()
    return torch.autograd.grad(loss, list(system.parameters()))


def _compute_relative_error(found: Tensor, expected: Tensor) -> float:
    return ((found - expected).abs().max() / expected.abs().max()).item()


def _format_table(title: str, times: Mapping[str, Taken], notes: Mapping[str, str]) -> str:
    lines = [f'{title}\n{"":14}  seconds  times faster  by CPU time']
    seconds, processor = times['published']
    for name, (wall, cpu) in times.items():
        line = f'{name:14}  {wall:7.4f}  {seconds / wall:12.2f}  {processor / cpu:11.2f}'
        lines.append(f'{line}  {notes[name]}'.rstrip())
    return '\n'.join(lines) + '\n'
