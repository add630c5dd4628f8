"""The record of a part of GPU measurements: tables of rows, written as soon as they are known."""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import time
import traceback
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

from toolkit.io.json_values import write_json
from toolkit.registry.command import Command

# A timing repeats its run until it has taken so many seconds.
SECONDS_TIMED = 0.03
SAMPLES = 7


class Recorder:
    """Tables of a part, in JSON.

    Args:
        path: the file, written anew after each entry; None for none.
        device: to compute on.
        small: small sizes are wanted.
        seconds: that the part has.
    """

    def __init__(
        self, path: Path | None, device: torch.device, small: bool, seconds: float
    ) -> None:
        self.path, self.device, self.small = path, device, small
        self.ends = time.monotonic() + seconds
        self.content: dict[str, Any] = {'tables': {}, 'targets': [], 'errors': {}}

    @property
    def left(self) -> float:
        """Seconds that are left to the part."""
        return self.ends - time.monotonic()

    def row(self, table: str, label: str, values: Mapping[str, Any]) -> None:
        """Add a row to a table; columns are the keys of its rows."""
        rows = self._table(table)['rows']
        rows[label] = {**rows.get(label, {}), **values}
        print(f'{table} | {label} | {json.dumps(values)}', flush=True)
        self._write()

    def note(self, table: str, text: str) -> None:
        """Add a sentence that stands above a table."""
        self._table(table)['notes'].append(text)
        self._write()

    def target(self, text: str, found: str, reached: bool) -> None:
        """Add a target, the value found and whether it was reached."""
        self.content['targets'].append({'target': text, 'found': found, 'reached': reached})
        print(f'target: {text}: {found}, {"reached" if reached else "missed"}', flush=True)
        self._write()

    @contextmanager
    def attempt(self, label: str) -> Iterator[None]:
        """Record an error inside and go on."""
        try:
            yield
        except Exception as error:
            traceback.print_exc()
            self.content['errors'][label] = f'{type(error).__name__}: {str(error)[:500]}'
            self._write()

    def _table(self, name: str) -> dict[str, Any]:
        return self.content['tables'].setdefault(name, {'notes': [], 'rows': {}})

    def _write(self) -> None:
        if self.path is not None:
            write_json(self.path, self.content)


class GPUPart(Command):
    """A part of `toolkit bench gpu`, and a bench of its own."""

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add('--json', type=Path, help='write the measurements here')
        add('--small', action='store_true', help='small sizes, to try it on a CPU')
        add('--device', choices=('cpu', 'cuda'), help='to compute on (a GPU where there is one)')
        add('--seconds', type=float, default=600.0, help='to plan with (600)')

    def run(self, arguments: argparse.Namespace) -> int:
        name = arguments.device or ('cuda' if torch.cuda.is_available() else 'cpu')
        recorder = Recorder(arguments.json, torch.device(name), arguments.small, arguments.seconds)
        # As the engine leaves it: full float32, unless a row says otherwise.
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = True
        self.measure(recorder)
        return 1 if recorder.content['errors'] else 0

    @abstractmethod
    def measure(self, recorder: Recorder) -> None:
        """Measure and record; what is wrapped in `recorder.attempt` may fail."""


class Timing(NamedTuple):
    """Seconds of a run: the median, and the range of the samples as a share of it."""

    seconds: float
    spread: float


def time_run(run: Callable[[], object], device: torch.device, samples: int = SAMPLES) -> Timing:
    """Time a run on a device, with events where it is a GPU; the first runs are not counted.

    Args:
        run: launches the work; it need not wait for it.
        device: that computes.
        samples: each of as many runs as take 30 ms.
    """
    for _ in range(3):
        run()
    once = _elapsed(run, 1, device)
    repeats = max(1, min(1000, round(SECONDS_TIMED / max(once, 1e-7))))
    times = [_elapsed(run, repeats, device) / repeats for _ in range(samples)]
    middle = statistics.median(times)
    return Timing(middle, (max(times) - min(times)) / middle)


def _elapsed(run: Callable[[], object], repeats: int, device: torch.device) -> float:
    if device.type != 'cuda':
        started = time.perf_counter()
        for _ in range(repeats):
            run()
        return time.perf_counter() - started
    first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(device)
    first.record()
    for _ in range(repeats):
        run()
    last.record()
    last.synchronize()
    return first.elapsed_time(last) / 1000


def replay_of(run: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """A run as a CUDA graph's replay; on a CPU the run itself."""
    if device.type != 'cuda':
        return run
    stream = torch.cuda.Stream(device)
    stream.wait_stream(torch.cuda.current_stream(device))
    with torch.cuda.stream(stream):
        for _ in range(3):
            run()
    torch.cuda.current_stream(device).wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph, stream=stream):
        kept = run()

    def replay() -> object:
        graph.replay()
        return kept

    return replay


class Ceilings(NamedTuple):
    """The most that a device does: bytes a second of a copy, FLOP a second of matrix products."""

    bytes: float
    fp32: float
    tf32: float
    bf16: float


def measure_ceilings(device: torch.device, small: bool) -> Ceilings:
    """Measure a large copy (bytes read and written) and large matrix products of random numbers."""
    count = 2**22 if small else 2**30  # of float32
    source = torch.rand(count, device=device)
    target = torch.empty_like(source)
    copied = 2 * 4 * count / time_run(functools.partial(target.copy_, source), device).seconds
    del source, target
    side = 256 if small else 8192
    rates = []
    for dtype, tf32 in ((torch.float32, False), (torch.float32, True), (torch.bfloat16, False)):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        a, b = (torch.randn(side, side, device=device, dtype=dtype) for _ in range(2))
        rates.append(2 * side**3 / time_run(functools.partial(torch.matmul, a, b), device).seconds)
    torch.backends.cuda.matmul.allow_tf32 = False
    return Ceilings(copied, *rates)
