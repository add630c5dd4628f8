"""Timing several ways of doing the same in turns, so that other load meets them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch


class Taken(NamedTuple):
    """Duration of a run in seconds: wall-clock time and processor time."""

    seconds: float
    processor: float


def in_turns(
    runs: Mapping[str, Callable[[], object]],
    repeats: int,
    device: torch.device,
    warm_up: bool = False,
) -> dict[str, Taken]:
    """Medians of what each run takes, by name.

    Args:
        runs: by name.
        repeats: how often each one is run.
        device: that they compute on; it is waited for.
        warm_up: run each once more before, which does not count.
    """
    taken: dict[str, list[Taken]] = {name: [] for name in runs}
    for number in range(repeats + warm_up):
        for name, run in runs.items():
            found = time_once(run, device)
            if number >= warm_up:
                taken[name].append(found)
    return {
        name: Taken(*(statistics.median(values) for values in zip(*times, strict=True)))
        for name, times in taken.items()
    }


def device_name(device: torch.device) -> str:
    """As it is told beside times."""
    return torch.cuda.get_device_name(device) if device.type == 'cuda' else 'CPU'


def time_once(run: Callable[[], object], device: torch.device) -> Taken:
    """Times one call, waiting for the device before and after it."""
    wait_for(device)
    seconds, processor = time.perf_counter(), time.process_time()
    run()
    wait_for(device)
    return Taken(time.perf_counter() - seconds, time.process_time() - processor)


def wait_for(device: torch.device) -> None:
    """Waits until a device has computed what it was given."""
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
