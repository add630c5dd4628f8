"""Reads `metrics.jsonl`, the log of a run's losses and metrics with one JSON object a line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from toolkit.io.json_values import parse_json
from toolkit.io.run_layout import METRICS_LOG

# The end of a log that is read to follow a run.
TAIL_BYTES = 4096

LogLine = dict[str, Any]


def read_metrics_log(folder: Path) -> list[LogLine]:
    """Read the log of a run; empty where there is none. A torn last line is left out."""
    try:
        text = (folder / METRICS_LOG).read_text(encoding='utf-8', errors='replace')
    except OSError:
        return []
    return parse_lines(text)


def parse_lines(text: str) -> list[LogLine]:
    """Parse lines up to the first that is torn, as a killed run leaves its last one."""
    lines = []
    for row in text.splitlines():
        try:
            line = parse_json(row)
        except ValueError:
            break
        if isinstance(line, dict) and isinstance(line.get('iter'), int):
            lines.append(line)
    return lines


def last_iteration(folder: Path) -> int | None:
    """Find the last iteration that a run has logged; None before the first."""
    lines = _read_tail(folder)
    return lines[-1]['iter'] if lines else None


def last_loss(folder: Path) -> float | None:
    """Find the last training loss that a run has logged; None before the first."""
    losses = [line['loss'] for line in _read_tail(folder) if line.get('loss') is not None]
    return losses[-1] if losses else None


def _read_tail(folder: Path) -> list[LogLine]:
    try:
        with open(folder / METRICS_LOG, 'rb') as file:
            start = max(0, file.seek(0, os.SEEK_END) - TAIL_BYTES)
            file.seek(start)
            text = file.read().decode('utf-8', 'replace')
    except OSError:
        return []
    # The first of these lines may have lost its beginning.
    return parse_lines(text.partition('\n')[2] if start else text)
