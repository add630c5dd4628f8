"""CSASN and its pair of branches on a GPU, beside a loop written by hand with the same switches."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from plugins.classification.commands.bench import PlainNetwork, build_trainable, make_batch
from toolkit.bench.gpu_record import GPUPart, Recorder, measure_ceilings, time_run
from toolkit.config import load
from toolkit.config.checks.check import fill_checked
from toolkit.config.schema import RunConfig, Runtime
from toolkit.engine.components import build_system
from toolkit.engine.process import precision
from toolkit.registry import BENCHES

CONFIG = 'csasn/csasn'
# The pair alone: features pooled and joined, a linear layer for each task, plain cross entropy.
PAIR = (
    'model.neck.mode=vector',
    'model.attention=null',
    'model.trunk=null',
    'model.losses={classes: {type: CrossEntropy}}',
    'optim_wrapper.clip_grad=null',
)
SMALL = ('model.size=64', 'model.branches.vit.model=vit_tiny_patch16_224')
# Of the rate of the loop written by hand.
MINIMUM = 0.95

Step = Callable[[], object]


@BENCHES.register(name='gpu-classifier')
class ClassifierGPUBench(GPUPart):
    """Measures CSASN's training and inference on a GPU, beside a loop written by hand."""

    def measure(self, recorder: Recorder) -> None:
        switches = Runtime(precision='bf16', channels_last=True)
        with recorder.attempt('pair'):
            _compare(recorder, switches, 8 if recorder.small else 128)
        with recorder.attempt('compiled'):
            if not recorder.small:
                _compiled(recorder, switches, 128)
        with recorder.attempt('fp32'):
            if not recorder.small:
                _compare(recorder, Runtime(), 64)


def _compare(recorder: Recorder, runtime: Runtime, batch: int) -> None:
    device, small = recorder.device, SMALL if recorder.small else ()
    name = f'{runtime.precision}{", channels last" if runtime.channels_last else ""}, batch {batch}'
    table = f'Images a second, {name}'
    recorder.note(
        table,
        'The loop is a script with the same two timm models, pooled and joined, a linear layer for '
        'each task, the same precision and memory format, and a fused AdamW. Steps take turns with '
        'nothing but one batch that lies on the device.',
    )
    pair, whole = (fill_checked(load(CONFIG, [*changes, *small])) for changes in (PAIR, ()))
    flops = _flops(pair)
    ceilings = measure_ceilings(device, recorder.small)
    limit = getattr(ceilings, runtime.precision)
    rates: dict[tuple[str, str], float] = {}
    for label, make in (
        ('loop written by hand', lambda: _by_hand(pair, runtime, device, batch)),
        ('the same pair by the engine', lambda: _by_engine(pair, runtime, device, batch)),
        ('CSASN whole by the engine', lambda: _by_engine(whole, runtime, device, batch)),
    ):
        with recorder.attempt(f'{table}, {label}'):
            train, infer = make()
            for kind, step, factor in (('training', train, 3), ('inference', infer, 1)):
                rate = batch / time_run(step, device).seconds
                rates[label, kind] = rate
                share = factor * flops * rate / limit
                recorder.row(
                    table, label, {kind: rate, f'{kind}, share of the limit': f'{share:.0%}'}
                )
            del train, infer
            if device.type == 'cuda':
                torch.cuda.empty_cache()
    if runtime.precision == 'bf16':
        for kind in ('training', 'inference'):
            share = rates['the same pair by the engine', kind] / rates['loop written by hand', kind]
            recorder.target(
                f"CSASN's pair, {kind}: at least 95 % of a loop written by hand",
                f'{share:.1%}',
                share >= MINIMUM,
            )


def _compiled(recorder: Recorder, runtime: Runtime, batch: int) -> None:
    table = f'Images a second, bf16, channels last, batch {batch}'
    whole = fill_checked(load(CONFIG, []))
    for label, run in (
        ('the same pair, compiled', fill_checked(load(CONFIG, list(PAIR)))),
        ('CSASN whole, compiled', whole),
    ):
        if recorder.left < 25:
            recorder.note(table, f'{label}: not measured, as the time was over.')
            continue
        with recorder.attempt(label):
            train, infer = _by_engine(run, runtime, recorder.device, batch, compiled=True)
            for kind, step in (('training', train), ('inference', infer)):
                rate = batch / time_run(step, recorder.device).seconds
                recorder.row(table, label, {kind: rate})


def _flops(run: RunConfig) -> int:
    """Operations of one image's forward pass."""
    from toolkit.bench.cost import count_parameters_and_macs

    with torch.device('meta'):
        return 2 * count_parameters_and_macs(run.model())[1]


def _by_hand(
    run: RunConfig, runtime: Runtime, device: torch.device, batch_size: int
) -> tuple[Step, Step]:
    system = build_system(run)
    network = PlainNetwork(system).to(device).train()
    batch = precision.move_batch(make_batch(system, batch_size), runtime, device)
    if runtime.channels_last:
        network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        network.parameters(), 1e-4, weight_decay=0.05, fused=device.type == 'cuda'
    )
    labels = list(batch['labels'].values())

    def train() -> None:
        network.train()
        with precision.autocast(runtime, device):
            pairs = zip(network(batch['image']), labels)
            loss = sum(nn.functional.cross_entropy(found, wanted) for found, wanted in pairs)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    def infer() -> object:
        network.eval()
        with torch.inference_mode(), precision.autocast(runtime, device):
            return [found.float().softmax(-1) for found in network(batch['image'])]

    return train, infer


def _by_engine(
    run: RunConfig,
    runtime: Runtime,
    device: torch.device,
    batch_size: int,
    compiled: bool = False,
) -> tuple[Step, Step]:
    system, wrapper = build_trainable(run, runtime, device)
    if compiled:
        system.compile()
    batch = precision.move_batch(make_batch(system, batch_size), runtime, device)

    def train() -> None:
        system.train()
        with wrapper.optim_context(system):
            terms = system(batch, mode='loss')
        wrapper.update_params(sum(terms.values()))

    def infer() -> object:
        system.eval()
        with torch.inference_mode(), precision.autocast(runtime, device):
            return system(batch, mode='predict')

    return train, infer
