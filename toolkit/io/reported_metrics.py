"""The metrics that a program reports to the study that started it."""

from __future__ import annotations

import math
import numbers
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.errors import ToolkitError
from toolkit.io.json_values import write_json

# Environment variable with the file in which a study looks for the metrics.
REPORT_FILE = 'TOOLKIT_METRICS_FILE'


def report_metrics(metrics: Mapping[str, Any]) -> None:
    """Report the metrics of a program to the study that started it.

    Outside of a study it checks the values and does nothing else, so a script runs alone too. A
    later call adds metrics and replaces those of the same name. With several processes call it in
    one of them.

    Args:
        metrics: numbers by name.
    Raises:
        ToolkitError: a value is no number.
        RunError: the file cannot be written.
    """
    if not isinstance(metrics, Mapping):
        raise ToolkitError(f'report_metrics expects a mapping, found {type(metrics).__name__}')
    values = {str(name): read_number(str(name), value) for name, value in metrics.items()}
    if file := os.environ.get(REPORT_FILE):
        path = Path(file)
        from toolkit.io.run_layout import read_object

        write_json(path, {**(read_object(path) or {}), **values})


def read_number(name: str, value: Any) -> float | None:
    """Read a metric as a number; None if it is not finite.

    Raises:
        ToolkitError: it is no number.
    """
    of_numpy = hasattr(value, 'item') and getattr(value, 'size', 0) == 1
    if of_numpy or (callable(getattr(value, 'numel', None)) and value.numel() == 1):  # of PyTorch
        value = value.item()
    if value is None or isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise ToolkitError(f'the metric {name} is {value!r:.80}, expected a number')
    return float(value) if math.isfinite(value) else None
