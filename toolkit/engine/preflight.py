"""Looks at a run as its training or test will, before any work, and tells what they would refuse.

The system is built on the meta device, without memory and weights; optimizer, schedules, hooks and
metrics are built as in a run. Data are opened for a short time, and as many
batches of each are read as there is time for.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from toolkit.config import Config, Problem
from toolkit.config.schema import RunConfig
from toolkit.engine import components, hook_building, mmengine_compat, overlap
from toolkit.engine.collation import BatchCheck, collate, unwrap
from toolkit.engine.components import RunComponents
from toolkit.engine.dataloader import SampleRequest
from toolkit.engine.evaluator import Evaluator
from toolkit.engine.suspicions import find_suspicions
from toolkit.engine.tracking.tracker_group import build_trackers
from toolkit.errors import ComponentError, ToolkitError
from toolkit.interfaces import System
from toolkit.registry.component_errors import explain_failure

# For the data of a subset, and for reading batches of it.
SECONDS = 2.0
READING_SECONDS = 0.7
CPU = torch.device('cpu')


@dataclass
class Preflight:
    """Findings about a run.

    Attributes:
        problems: what its training or test would refuse.
        warnings: what it would do, and is probably not intended.
        unseen: what was not looked at, and why.
    """

    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)


def inspect_run(
    config: Config,
    run: RunConfig,
    data: bool = True,
    seconds: float = SECONDS,
    build: Callable[[], System] | None = None,
) -> Preflight:
    """Looks at a run as its training or test will.

    Args:
        config: the checked config, for file and line of what is found.
        run: the same, typed.
        data: open the data.
        seconds: time to look at the data of each subset.
        build: builds the system on the meta device; None for its factory.
    """
    return _Inspector(config, run, build).inspect(data, seconds)


class _TimeOver(BaseException):
    """The time to look at data is over; no `except Exception` may take it for a failure."""


class _Inspector:
    def __init__(self, config: Config, run: RunConfig, build: Callable[[], System] | None) -> None:
        self.config, self.run = config, run
        self.build = build or (lambda: components.build_system(run))
        self.found = Preflight()
        # What each subset holds by the content of its files, as far as there was time to read them.
        self.by_content: dict[str, overlap.Groups] = {}
        # Data of which there was time to read a part.
        self.partly: list[str] = []

    def inspect(self, data: bool, seconds: float) -> Preflight:
        run = self.run
        parts = self._build_system()
        hooks: dict[str, Any] = {}
        with self._noting('default_hooks'):
            hooks = hook_building.build_hooks(run)
        with self._noting('trackers'):
            build_trackers(run)
        for subset in ('val', 'test'):
            if (evaluator := getattr(run, f'{subset}_evaluator')) is not None:
                with self._noting(f'{subset}_evaluator'):
                    metrics = {key: factory() for key, factory in evaluator.metrics.items()}
                    if parts is not None:
                        parts.metrics[subset] = metrics
        length = self._open_data(parts, seconds) if data else None
        if parts is None:
            return self.found
        if run.train_cfg is None:
            hooks = {name: h for name, h in hooks.items() if mmengine_compat.is_test_hook(h)}
        parts.hooks = hooks
        if run.train_cfg is not None and run.optim_wrapper is not None:
            with self._noting('optim_wrapper'):
                components.build_optimization(parts, length or 1)
            with self._noting('model'):
                parts.system.check_training()
            with self._noting('val_evaluator'):
                hook_building.check_monitors(parts)
        for path, hook in hook_building.name_hooks(parts).items():
            with self._noting(path):
                hook_building.check_hook(parts, path, hook)
        if data:
            if self.by_content.keys() == parts.held.keys():
                parts.held = self.by_content
            with self._noting('test_dataloader'):
                components.check_overlaps(parts)
        if run.allow_overlap and data and not parts.overlaps and not self.found.unseen:
            self._warn('allow_overlap', 'training, validation and test hold nothing in common')
        self.found.unseen += self.partly
        self.found.warnings += [
            self.config.problem(path, message) for path, message in find_suspicions(parts, length)
        ]
        return self.found

    def _build_system(self) -> RunComponents | None:
        with self._noting('model'):
            try:
                with torch.device('meta'):
                    return RunComponents(self.run, self.build(), CPU)
            except ToolkitError:
                raise
            except Exception as error:  # a component may need values, which the meta device has not
                self.found.unseen.append(f'model: it cannot be built without memory ({error})')
        return None

    def _open_data(self, parts: RunComponents | None, seconds: float) -> int | None:
        """Opens the data of each subset; returns the iterations of an epoch, if they are known."""
        length = None
        for subset in ('train', 'val', 'test'):
            section = getattr(self.run, f'{subset}_dataloader')
            if section is None:
                continue
            path = f'{subset}_dataloader.dataset'
            try:
                with self._noting(path), _limit(seconds):
                    batches = self._look(parts, subset, section)
                    length = batches if subset == 'train' else length
            except _TimeOver:
                self.found.unseen.append(f'{path}: not to its end in {seconds:g} s')
        return length

    def _look(self, parts: RunComponents | None, subset: Any, section: Any) -> int:
        dataset = components.build_dataset(self.run, subset, section.dataset, quick=True)
        if parts is not None:
            parts.system.check_data(dataset)
            parts.held[subset] = overlap.collect_identities(dataset, content=False)
            self.by_content[subset] = overlap.collect_identities(dataset)
        loader = components.build_loader(
            section,
            dataset,
            training=subset == 'train',
            seed=self.run.randomness.seed,
            device=CPU,
        )
        if subset == 'train' and parts is not None:
            components.check_batch_norm(parts.system, loader.batch_sampler)  # type: ignore[arg-type]
        self._read_batches(parts, subset, loader)
        dataset.release()
        return len(loader)

    def _read_batches(self, parts: RunComponents | None, subset: str, loader: Any) -> None:
        """Reads a sample, the first batch, the last one, which may be short, and others in time."""
        sampler, data = loader.batch_sampler, loader.dataset
        check = None if parts is None else BatchCheck(parts.system, data.dataset)
        names = Evaluator({}, 0 if subset == 'train' else sampler.samples, data.dataset)

        def read(requests: list[SampleRequest]) -> None:
            batch = unwrap(collate(data.__getitems__(requests), data.dataset))
            if check is not None:
                check.check(batch)
            names.add(requests, {}, batch)

        length, end = len(sampler), time.monotonic() + READING_SECONDS
        count, seen = 0, ''
        try:
            read(sampler.get_requests(0)[:1])  # a whole batch may take longer than there is
            seen = ' but for one sample'
            while count < length and (count < 2 or time.monotonic() < end):
                read(sampler.get_requests(length - 1 if count == 1 else max(0, count - 1)))
                count, seen = count + 1, ''
        except _TimeOver:  # in a batch
            pass
        if rest := length - count:
            self.partly.append(f'{subset}_dataloader.dataset: {rest:,} of {length:,} batches{seen}')

    @contextmanager
    def _noting(self, path: str) -> Iterator[None]:
        """Notes an error of a user as a problem, at its own path or at this one."""
        try:
            yield
        except ComponentError as error:
            self.found.problems.append(self.config.locate(error, path))
        except ToolkitError as error:
            self.found.problems.append(self.config.problem(path, str(error)))
        except (Exception, SystemExit) as error:  # components are anybody's code
            if (failure := explain_failure(error)) is None:
                raise
            self.found.problems.append(self.config.problem(failure.path, failure.text))

    def _warn(self, path: str, message: str) -> None:
        self.found.warnings.append(self.config.problem(path, message))


@contextmanager
def _limit(seconds: float) -> Iterator[None]:
    """Raises `_TimeOver` after some seconds, in the main thread of systems that have alarms."""
    if threading.current_thread() is not threading.main_thread() or not hasattr(
        signal, 'setitimer'
    ):
        yield
        return

    def stop(*_: Any) -> None:
        raise _TimeOver

    before: Callable[..., Any] | int | None = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
