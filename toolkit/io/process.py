"""Cores and memory of this process."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def count_cores() -> int:
    """Counts the CPU cores that this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def read_peak_memory() -> int:
    """Reads the most resident memory that this process has had, in bytes."""
    try:
        text = Path('/proc/self/status').read_text(encoding='utf-8')
        # ru_maxrss would also count what the process that forked this one held.
        return 1024 * next(int(x.split()[1]) for x in text.splitlines() if x.startswith('VmHWM'))
    except (OSError, StopIteration):  # no Linux
        import resource

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == 'darwin' else 1024 * peak
