"""The ceilings of a device, and what the engine costs a training step there."""

from __future__ import annotations

import contextlib
import functools
import io
import statistics
import tempfile
import time
from typing import Any

import torch
from torch.utils.data import DataLoader

from toolkit.bench.gpu_record import GPUPart, Recorder, measure_ceilings
from toolkit.bench.overhead import BATCH, Clock, SmallData, SmallSystem
from toolkit.config import schema
from toolkit.engine.hooks import MetricsLog
from toolkit.registry import BENCHES
from toolkit.run.train import train

SKIPPED = 200  # iterations at the start


@BENCHES.register(name='gpu-device')
class DeviceBench(GPUPart):
    """Measures the ceilings of a GPU and the engine's overhead a training step."""

    def measure(self, recorder: Recorder) -> None:
        with recorder.attempt('ceilings'):
            self._ceilings(recorder)
        with recorder.attempt('overhead'):
            self._overhead(recorder)

    def _ceilings(self, recorder: Recorder) -> None:
        found, table = measure_ceilings(recorder.device, recorder.small), 'Ceilings'
        recorder.note(
            table,
            'A copy of 4 GiB, counting bytes read and written, and products of 8192 x 8192 '
            'matrices of random numbers. The shares below are of these.',
        )
        recorder.row(table, 'copy', {'rate': f'{found.bytes / 1e12:.2f} TB/s'})
        for name in ('fp32', 'tf32', 'bf16'):
            rate = getattr(found, name)
            recorder.row(table, f'matrix product, {name}', {'rate': f'{rate / 1e12:.0f} TFLOP/s'})

    def _overhead(self, recorder: Recorder) -> None:
        table, device = "The engine's overhead a step", recorder.device
        iterations = 2 * SKIPPED if recorder.small else 3000
        recorder.note(
            table,
            f'A small network (batch {BATCH} of 8 x 8 pixels), whose step is launches alone, in a '
            'loop written by hand over a plain DataLoader and by the engine with a log line every '
            'ten iterations; the same optimizer, fused.',
        )
        times: dict[str, list[float]] = {'hand-written loop': [], 'engine': []}
        for _ in range(1 if recorder.small else 2):
            times['hand-written loop'].append(_plain_seconds(iterations, device))
            times['engine'].append(_engine_seconds(iterations, device, False))
        middle = {name: statistics.median(found) for name, found in times.items()}
        for name, seconds in middle.items():
            recorder.row(table, name, {'microseconds a step': 1e6 * seconds})
        graphed = _engine_seconds(iterations, device, True)
        recorder.row(table, 'engine, CUDA graph', {'microseconds a step': 1e6 * graphed})
        extra = 1e6 * (middle['engine'] - middle['hand-written loop'])
        recorder.target(
            'the engine costs at most 50 microseconds a step', f'{extra:.0f}', extra <= 50
        )


class _CapturableSystem(SmallSystem):
    capturable = True


def _plain_seconds(iterations: int, device: torch.device) -> float:
    torch.manual_seed(0)
    system, data = SmallSystem().to(device), SmallData()
    optimizer = torch.optim.Adam(system.parameters(), lr=1e-3, fused=device.type == 'cuda')
    pinned = device.type == 'cuda'
    loader: DataLoader[Any] = DataLoader(data, BATCH, shuffle=True, pin_memory=pinned)
    done, started = 0, 0.0
    while done < iterations:
        for batch in loader:
            if done == SKIPPED:
                _wait(device)
                started = time.perf_counter()
            batch = {key: value.to(device, non_blocking=True) for key, value in batch.items()}
            loss = sum(system(batch, mode='loss').values())
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            done += 1
            if done == iterations:
                break
    _wait(device)
    return (time.perf_counter() - started) / (iterations - SKIPPED)


def _engine_seconds(iterations: int, device: torch.device, cuda_graph: bool) -> float:
    clock = Clock()
    config = schema.RunConfig(
        model=_CapturableSystem,
        train_dataloader=schema.Dataloader(SmallData, batch_size=BATCH),
        optim_wrapper=schema.OptimWrapperConfig(functools.partial(torch.optim.Adam, lr=1e-3)),
        train_cfg=schema.TrainCfg(max_iters=iterations),
        default_hooks={'logger': MetricsLog},
        custom_hooks={'clock': lambda: clock},
        runtime=schema.Runtime(device=device.type, cuda_graph=cuda_graph),
    )
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        train(config, folder)
    return (clock.times[-1] - clock.times[SKIPPED]) / (len(clock.times) - 1 - SKIPPED)


def _wait(device: torch.device) -> None:
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
