"""Cores and memory of this process."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path


def count_cores() -> int:
    """Counts the CPU cores that this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def read_peak_memory(of_children: bool = False) -> int:
    """Reads the most resident memory that this process has had, in bytes.

    Args:
        of_children: that of the largest process that it has started and that has ended.
    """
    if of_children:
        return _read_usage(resource.RUSAGE_CHILDREN)
    try:
        text = Path('/proc/self/status').read_text(encoding='utf-8')
        # ru_maxrss would also count what the process that forked this one held.
        return 1024 * next(int(x.split()[1]) for x in text.splitlines() if x.startswith('VmHWM'))
    except (OSError, StopIteration):  # no Linux
        return _read_usage(resource.RUSAGE_SELF)


def _read_usage(who: int) -> int:
    peak = resource.getrusage(who).ru_maxrss
    return peak if sys.platform == 'darwin' else 1024 * peak
