"""Checks before an export, and errors of torch's exporters as one line."""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from toolkit.errors import ToolkitError

KEY = 'ablakit'  # of the metadata, which are JSON
ONNX, PROGRAM = '.onnx', '.pt2'
NEEDED = {ONNX: ('onnx', 'onnxscript', 'onnxruntime')}


def check_export(output: Path, suffixes: Sequence[str]) -> None:
    """Checks the name of the file and the packages that an export needs.

    Args:
        output: file to write.
        suffixes: of the formats that the run's task has.
    Raises:
        ToolkitError: the name has another suffix, or a package is missing.
    """
    if output.suffix not in suffixes:
        names = ' or '.join(output.with_suffix(suffix).name for suffix in suffixes)
        raise ToolkitError(f'the output {output} needs a name such as {names}')
    for name in NEEDED.get(output.suffix, ()):
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ToolkitError(
                f'export needs {name}; install it: pip install "ablakit[onnx]"'
            ) from error


@contextlib.contextmanager
def explain_failure(advice: str) -> Iterator[None]:
    """Keeps an exporter from printing its steps, and makes one line of its errors.

    Args:
        advice: ends the message.
    Raises:
        ToolkitError: a part that cannot be exported.
    """
    try:
        with _silence():
            yield
    except Exception as error:  # the exporters raise errors of any class
        raise ToolkitError(
            f'this system cannot be exported: {_find_cause(error)}; {advice}'
        ) from error


def _find_cause(error: BaseException) -> str:
    """Returns the first line of the error that caused the others."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f'{type(error).__name__}: {lines[0][:200]}' if lines else type(error).__name__


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter('ignore')
            yield
    finally:
        logging.disable(level)
