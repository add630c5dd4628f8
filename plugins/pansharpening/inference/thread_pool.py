"""Thread pool with ordered results and few pending items."""

from __future__ import annotations

import contextlib
import ctypes
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

import torch

from toolkit.io.process import count_cores

# Windows from one return of memory to the next; each costs a few milliseconds.
TRIMMED = 64
# Settings of glibc's `mallopt`: one arena for all threads, which takes what another has freed;
# blocks of up to 32 MB, the most that it allows, stay for the next window, and so do 256 MB of
# free memory. What is asked of the system anew has to be cleared first: a third of the time.
MALLOC_SETTINGS = {-8: 1, -3: 2**25, -1: 2**28}

T = TypeVar('T')
R = TypeVar('R')


class Workers:
    """A pool whose threads each compute with one core.

    torch's operations let go of Python's lock, so that reading, computing and writing overlap.

    Args:
        count: number of threads; None for one a core.
    """

    def __init__(self, count: int | None = None) -> None:
        self.count = count or max(1, min(count_cores(), torch.get_num_threads()))
        self._pool = ThreadPoolExecutor(self.count, 'sharpen', initializer=_alone)

    def map(self, work: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Yields the results in the order of the items; few are computed ahead."""
        waiting: deque[Future[R]] = deque()
        try:
            for number, item in enumerate(items, 1):
                if number % TRIMMED == 0:
                    _give_back()
                waiting.append(self._pool.submit(work, item))
                if len(waiting) > self.count + 1:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def close(self) -> None:
        """Waits for running work and drops pending work."""
        self._pool.shutdown(cancel_futures=True)


@contextmanager
def run_workers(count: int | None = None) -> Iterator[Workers]:
    """Provides workers, and restores the number of threads of torch afterwards.

    The memory settings stay for the rest of the process: glibc fixes the number of arenas at its
    first use and has no way back to thresholds that adapt. Results do not depend on them.
    """
    threads = torch.get_num_threads()
    with contextlib.suppress(OSError, AttributeError):  # another C library does not have it
        for name, value in MALLOC_SETTINGS.items():
            ctypes.CDLL(None).mallopt(name, value)
    workers = Workers(count)
    try:
        yield workers
    finally:
        workers.close()
        torch.set_num_threads(threads)


def _give_back() -> None:
    """Returns freed memory to the system.

    glibc keeps free memory between used blocks, which comes to a gigabyte over many windows.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library does not have it
        ctypes.CDLL(None).malloc_trim(0)


def _alone(*_: Any) -> None:
    torch.set_num_threads(1)
