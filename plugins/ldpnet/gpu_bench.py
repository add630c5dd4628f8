"""LDP-Net on a GPU: inference and training steps beside the device's ceilings."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from plugins.ldpnet.bench import compute_published_outputs
from plugins.ldpnet.published_weights import get_published_state
from plugins.pansharpening.system import Pansharpener
from toolkit.bench.gpu_record import (
    Ceilings,
    GPUPart,
    Recorder,
    measure_ceilings,
    replay_of,
    time_run,
)
from toolkit.bench.gpu_train import time_training
from toolkit.config import load
from toolkit.registry import BENCHES, SYSTEMS
from toolkit.registry.build import build

CONFIG = 'ldpnet/ldpnet_2022'
DATA_FREE = 'ldpnet/ldpnet_2022_synthetic'
# Counted for 4 bands and width 16 (README.md): operations of a pixel's inference and of its
# training step, and numbers of a pixel that are read or written where each layer is one kernel.
INFERENCE_FLOP = 55.3e3
STEP_FLOP = 3 * 85.7e3
FUSED_NUMBERS = 284

HALF = ['runtime.precision=bf16', 'runtime.channels_last=true']

Fuse = Callable[[Tensor, Tensor], Tensor]


@BENCHES.register(name='gpu-ldpnet')
class LDPNetGPUBench(GPUPart):
    """Measures LDP-Net's inference and training steps on a GPU, beside its ceilings."""

    def measure(self, recorder: Recorder) -> None:
        ceilings = measure_ceilings(recorder.device, recorder.small)
        with recorder.attempt('inference'):
            _inference(recorder, ceilings)
        with recorder.attempt('training steps'):
            _training(recorder, ceilings)


def _system(device: torch.device) -> Pansharpener:
    torch.manual_seed(0)
    system: Pansharpener = build(load(CONFIG).tree['model'], SYSTEMS, 'model')
    for name, parameter in system.named_parameters():
        if name.endswith('bias'):  # they start at zero and would hide what is wrong with them
            torch.nn.init.normal_(parameter, std=0.02)
    return system.to(device).eval()


def _inference(recorder: Recorder, ceilings: Ceilings) -> None:
    device, table = recorder.device, 'Inference, 4 bands, from the upsampled image and the PAN'
    recorder.note(
        table,
        'Shares are of the time in which the device could do the network at the least: '
        f'{INFERENCE_FLOP / 1e3:.1f} kFLOP a pixel at the rate of a large matrix product of that '
        f'precision, or {FUSED_NUMBERS} numbers a pixel at the rate of a large copy, whichever is '
        'longer. PSNR is against the network in float64. `graph` is a CUDA graph around the call.',
    )
    best = 0.0
    for size in (64,) if recorder.small else (2048, 512):
        system = _system(device)
        generator = torch.Generator(device).manual_seed(1)
        lrms_up = torch.rand(1, 4, size, size, device=device, generator=generator)
        pan = torch.rand(1, 1, size, size, device=device, generator=generator)
        exact = copy.deepcopy(system.generator).double()
        crop = (..., slice(0, min(size, 512)), slice(0, min(size, 512)))
        with torch.inference_mode():
            expected = exact(lrms_up[crop].double(), pan[crop].double())
            for label, precision, run in _variants(system, lrms_up, pan, size, device):
                with recorder.attempt(f'inference, {label}'):
                    rate = _rate(recorder, table, label, precision, run, size, expected, ceilings)
                    best = max(best, rate if precision == 'bf16' else 0.0)
    recorder.target(
        'LDP-Net inference at 1 Gpixel/s in bf16 at least', f'{best / 1e9:.3f}', best >= 1e9
    )


def _variants(
    system: Pansharpener, lrms_up: Tensor, pan: Tensor, size: int, device: torch.device
) -> Any:
    """Ways to compute the same: label, precision and what runs it."""
    images = (lrms_up, pan)
    last = tuple(image.contiguous(memory_format=torch.channels_last) for image in images)
    network = system.generator
    network_last = copy.deepcopy(network).to(memory_format=torch.channels_last)
    half = copy.deepcopy(network_last).bfloat16()
    halves = tuple(image.bfloat16() for image in last)
    end = f', {size}'

    def cast(fuse: Fuse, images: tuple[Tensor, ...]) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16):
            return fuse(*images)

    weights = get_published_state(system)
    if size != 512:
        yield (
            f'as published, all branches{end}',
            'fp32',
            lambda: compute_published_outputs(weights, *images)['hrms'],
        )
    yield f'fp32{end}', 'fp32', lambda: network(*images)
    yield f'fp32, channels last{end}', 'fp32', lambda: network_last(*last)
    yield f'bf16 by autocast{end}', 'bf16', lambda: cast(network, images)
    yield f'bf16 by autocast, channels last{end}', 'bf16', lambda: cast(network_last, last)
    yield f'bf16 weights, channels last{end}', 'bf16', lambda: half(*halves)
    yield (
        f'bf16 weights, channels last, graph{end}',
        'bf16',
        replay_of(lambda: half(*halves), device),
    )
    if size != 512:
        compiled = torch.compile(copy.deepcopy(half))
        yield f'bf16 weights, compiled{end}', 'bf16', lambda: compiled(*halves)
        yield (
            f'bf16 weights, compiled, graph{end}',
            'bf16',
            replay_of(lambda: compiled(*halves), device),
        )


def _rate(
    recorder: Recorder,
    table: str,
    label: str,
    precision: str,
    run: Callable[[], Any],
    size: int,
    expected: Tensor,
    ceilings: Ceilings,
) -> float:
    found = run()[..., : expected.shape[-2], : expected.shape[-1]].double()
    inner = slice(0, expected.shape[-1] - 16)  # where the crop's border plays no part
    error = (found - expected)[..., inner, inner]
    psnr = 20 * torch.log10((expected.max() - expected.min()) / error.square().mean().sqrt())
    timing = time_run(run, recorder.device)
    rate = size * size / timing.seconds
    width = 2 if precision == 'bf16' else 4
    floor = max(
        INFERENCE_FLOP / getattr(ceilings, precision), FUSED_NUMBERS * width / ceilings.bytes
    )
    recorder.row(
        table,
        label,
        {
            'ms': 1e3 * timing.seconds,
            'spread': f'{timing.spread:.0%}',
            'Gpixel/s': rate / 1e9,
            'share of the limit': f'{rate * floor:.0%}',
            'PSNR, dB': f'{psnr.item():.1f}',
        },
    )
    return rate


def _training(recorder: Recorder, ceilings: Ceilings) -> None:
    table = 'Training steps by the engine, 4 bands, published losses'
    recorder.note(
        table,
        f'Share of the time that {STEP_FLOP / 1e3:.0f} kFLOP a pixel take at the rate of a large '
        'matrix product. Patches are cut on the device; the loop, its log and the optimizer count.',
    )
    sizes = ((2, 64),) if recorder.small else ((16, 256), (4, 128))
    variants: dict[str, tuple[str, list[str]]] = {
        'fp32': ('fp32', []),
        'tf32, graph': ('tf32', ['runtime.precision=tf32', 'runtime.cuda_graph=true']),
        'bf16, channels last': ('bf16', HALF),
        'bf16, channels last, graph': ('bf16', [*HALF, 'runtime.cuda_graph=true']),
        'bf16, channels last, graph, reblur by FFT': (
            'bf16',
            [*HALF, 'runtime.cuda_graph=true', '+model.reblur.method=fft'],
        ),
    }
    iterations, warm_up = (12, 6) if recorder.small else (120, 40)
    for batch, size in sizes:
        for name, (precision, overrides) in variants.items():
            label = f'{name}, {batch} x {size} x {size}'
            with recorder.attempt(label):
                found = time_training(
                    DATA_FREE,
                    [
                        *overrides,
                        f'runtime.device={recorder.device.type}',
                        'train_cfg.max_epochs=null',
                        'train_cfg.val_interval=null',
                        f'train_dataloader.batch_size={batch}',
                        f'train_dataloader.dataset.size={size}',
                    ],
                    iterations,
                    warm_up,
                )
                pixels = batch * size * size
                floor = STEP_FLOP * pixels / getattr(ceilings, precision)
                recorder.row(
                    table,
                    label,
                    {
                        'ms a step': 1e3 * found.step,
                        'Mpixel/s': pixels / found.step / 1e6,
                        'share of the limit': f'{floor / found.step:.0%}',
                        'first to last of all steps, s': found.loop,
                    },
                )
