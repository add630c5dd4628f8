"""JSON files of plain values, in which numbers that are not finite are null."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.io import atomic_write


def write_json(path: Path, value: Any) -> None:
    """Writes a value as JSON, whole or not at all.

    Args:
        path: of the file; its folder is made.
        value: see `replace_nonfinite`.
    Raises:
        RunError: the file cannot be written.
    """
    atomic_write.write(path, format_json(value))


def format_json(value: Any) -> str:
    """Formats a value as indented JSON with a line break at its end; see `replace_nonfinite`."""
    text = json.dumps(replace_nonfinite(value), indent=1, ensure_ascii=False, allow_nan=False)
    return text + '\n'


def parse_json(text: str | bytes) -> Any:
    """Parses a JSON text that may be damaged or hostile.

    Raises:
        ValueError: it is no JSON, or is nested too deep to be read.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError('values are nested too deep') from None


def replace_nonfinite(value: Any) -> Any:
    """Replaces NaN and infinite numbers, which JSON does not have, by None.

    Args:
        value: of mappings, lists, tuples, plain values, arrays and tensors.
    Returns:
        A value of dicts with strings as keys, lists and plain values.
    """
    if isinstance(value, Mapping):
        return {str(key): replace_nonfinite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [replace_nonfinite(item) for item in value]
    if hasattr(value, 'tolist'):  # NumPy's scalars and arrays, PyTorch's tensors
        return replace_nonfinite(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
