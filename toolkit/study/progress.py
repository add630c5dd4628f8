"""How far a run that trains is, from what it has logged."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


def last_lines(folder: Path) -> list[dict[str, Any]]:
    """The last whole lines of a run's metrics.jsonl; empty where there are none."""
    try:
        with open(folder / 'metrics.jsonl', 'rb') as file:
            start = max(0, file.seek(0, os.SEEK_END) - 4096)
            file.seek(start)
            lines = file.read().decode('utf-8', 'replace').split('\n')
    except OSError:
        return []
    found = []
    for line in lines[1 if start else 0 :]:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue  # the end of the file, still being written
    return [line for line in found if isinstance(line, dict)]


def iteration(folder: Path) -> int | None:
    """The last iteration that a run has logged, None before the first."""
    done = [line['iter'] for line in last_lines(folder) if 'iter' in line]
    return done[-1] if done else None


def loss(folder: Path) -> float | None:
    """The last training loss that a run has logged."""
    found = [line['loss'] for line in last_lines(folder) if line.get('loss') is not None]
    return found[-1] if found else None
