"""Processes that time one system each, turn by turn, and the ruler that they are compared with."""

from __future__ import annotations

import signal
import statistics
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from toolkit.bench.cost import count_parameters_and_macs
from toolkit.bench.turns import Taken, time_once, wait_for
from toolkit.config import Config
from toolkit.config.checks.check import fill_checked
from toolkit.config.schema import RunConfig
from toolkit.engine.components import build_system
from toolkit.engine.process import precision
from toolkit.engine.training.optim import build_optim_wrapper
from toolkit.engine.training.training_step import sum_losses
from toolkit.errors import ToolkitError
from toolkit.interfaces import System
from toolkit.io.process import read_peak_memory
from toolkit.testing.check_system import make_random

Run = Callable[[], object]


class Sizes(NamedTuple):
    """The extent of what a turn measures.

    Attributes:
        batch_size: samples of a training step and of a batch of inference.
        seconds: that each of latency, inference and training is repeated for.
        trains: whether training is measured.
    """

    batch_size: int
    seconds: float
    trains: bool


class Turn(NamedTuple):
    """Times of one turn: latencies of single samples, a batch of inference, a training step."""

    latencies: list[float]
    inference: Taken
    training: Taken | None


def serve(connection: Connection, config: Config, sizes: Sizes) -> None:
    """Builds a system, sends its description, then a `Turn` for each message; or an error's text.

    Args:
        connection: to the process that asks; its end ends this process.
        config: checked, with its plugins.
        sizes: of the measurement.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the asking process, which ends it
    try:
        timer = SystemTimer(config, sizes)
        connection.send(timer.description)
        while connection.recv():
            connection.send(timer.take_turn())
    except EOFError:
        pass
    except Exception as error:
        known = isinstance(error, (ToolkitError, RuntimeError, MemoryError, ValueError))
        text = str(error).strip().splitlines() or [type(error).__name__]
        connection.send(text[0] if known else f'{type(error).__name__}: {text[0]}')
        if not known:
            raise  # a fault in code, which its author looks for by the traceback


class SystemTimer:
    """Timer of one system on random samples, in its own precision, memory format and compilation.

    Args:
        config: checked, with its plugins.
        sizes: of the measurement.
    Attributes:
        description: costs that do not depend on time, the input's shapes and the peak memory of
            this process before the system was built, after inference and after training.
    """

    def __init__(self, config: Config, sizes: Sizes) -> None:
        config.use_plugins()
        self.run, self.seconds = fill_checked(config), sizes.seconds
        self.device = precision.choose_device(self.run.runtime)
        memory = {'start': self._read_memory()}
        system = build_system(self.run)
        precision.move_system(system, self.run.runtime, self.device)
        self.description: dict[str, Any] = {**_count(self.run), 'memory': memory}
        switches = ('precision', 'channels_last', 'compile')
        self.description['runtime'] = {
            **{name: getattr(self.run.runtime, name) for name in switches},
            'device': self.device.type,
            'threads': torch.get_num_threads(),
        }
        if mode := self.run.runtime.compile:
            system.compile(mode=None if mode is True else mode)
        self.one = self._make_inference(system, 1)
        self.many = self._make_inference(system, sizes.batch_size)
        self.description['input'] = self._warm_up(self.one, self.many)
        memory['inference'] = self._read_memory()
        self.step: Run | None = None
        if reason := _find_obstacle(self.run, sizes):
            self.description['untrained'] = reason
            return
        try:
            self.step = self._make_step(system, sizes.batch_size)
            self._warm_up(self.step, self.step)
        except (ToolkitError, RuntimeError) as error:  # such as a loss that needs the data first
            self.step = None
            self.description['untrained'] = str(error).strip().splitlines()[0]
        memory['training'] = self._read_memory()

    def take_turn(self) -> Turn:
        """Measures latency, inference and training once more."""
        latencies = self._repeat(self.one)
        inference = self._repeat(self.many)
        training = _average(self._repeat(self.step)) if self.step is not None else None
        return Turn([one.seconds for one in latencies], _average(inference), training)

    def _make_inference(self, system: System, batch_size: int) -> Run:
        runtime = self.run.runtime
        batch = precision.move_batch(make_random(system.example(batch_size)), runtime, self.device)
        self.shapes = _list_shapes(batch)

        def infer() -> object:
            system.eval()
            with torch.inference_mode(), precision.autocast(runtime, self.device):
                return system(batch, mode='predict')

        return infer

    def _make_step(self, system: System, batch_size: int) -> Run:
        runtime, wrapper = self.run.runtime, self.run.optim_wrapper
        assert wrapper is not None
        optimizer = build_optim_wrapper(system, wrapper, runtime, self.device)
        batch = precision.move_batch(system.training_example(batch_size), runtime, self.device)
        self.description['training_input'] = _list_shapes(batch)

        def step() -> None:
            system.train()
            with optimizer.optim_context(system):
                total = sum_losses(system(batch, mode='loss'))
            optimizer.update_params(total)

        return step

    def _warm_up(self, *runs: Run) -> dict[str, list[int]]:
        for run in runs:
            run()
        wait_for(self.device)
        return self.shapes

    def _repeat(self, run: Run) -> list[Taken]:
        """Times a run again and again until the time of the turn is over."""
        taken: list[Taken] = []
        ends = time.perf_counter() + self.seconds
        while not taken or time.perf_counter() < ends:
            taken.append(time_once(run, self.device))
        return taken

    def _read_memory(self) -> int:
        if self.device.type == 'cuda':
            return torch.cuda.max_memory_allocated(self.device)
        return read_peak_memory()


class Ruler:
    """A fixed network of torch alone, whose time tells how busy the machine is.

    What a system takes is divided by what the ruler took just before it, so that load and clock
    meet both alike.

    Args:
        device: to compute on.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        torch.manual_seed(0)
        self.network = nn.Sequential(
            *(nn.Conv2d(c, 32, 3, padding=1) for c in (3, 32, 32)), nn.Flatten(), nn.LazyLinear(64)
        ).to(device)
        self.image = torch.rand(8, 3, 64, 64, device=device)
        with torch.inference_mode():
            self.network(self.image)

    def measure(self, seconds: float) -> Taken:
        """Measures the time of one pass, repeated for so many seconds."""
        taken, ends = [], time.perf_counter() + seconds
        with torch.inference_mode():
            while not taken or time.perf_counter() < ends:
                taken.append(time_once(lambda: self.network(self.image), self.device))
        return _average(taken)


def _find_obstacle(run: RunConfig, sizes: Sizes) -> str:
    """Finds why training is not measured; '' if it is."""
    if run.optim_wrapper is None:
        return 'the config has no training'
    if not sizes.trains:
        return 'left out'
    graphs = 'runtime.cuda_graph replays steps as one graph, which this bench does not'
    return graphs if run.runtime.cuda_graph else ''


def _average(taken: list[Taken]) -> Taken:
    return Taken(*(statistics.fmean(values) for values in zip(*taken, strict=True)))


def _count(run: RunConfig) -> dict[str, int | None]:
    """Counts parameters and MACs without values; MACs are None where a component needs values."""
    try:
        with torch.device('meta'):
            parameters, macs = count_parameters_and_macs(run.model())
    except Exception:  # a component may need values, which the meta device has not
        return {'parameters': None, 'macs': None}
    return {'parameters': parameters, 'macs': macs}


def _list_shapes(batch: dict[str, Any]) -> dict[str, list[int]]:
    return {k: list(v.shape) for k, v in batch.items() if isinstance(v, Tensor)}
