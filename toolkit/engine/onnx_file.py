"""ONNX files: conversion of a module, metadata, and sessions of onnxruntime."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.errors import ToolkitError

NEEDED = ('onnx', 'onnxscript', 'onnxruntime')
KEY = 'ablakit'  # of the metadata, which are JSON


def check_export(output: Path) -> None:
    """Checks the name of the file and the packages that an export needs.

    Raises:
        ToolkitError: the name does not end in .onnx, or a package is missing.
    """
    if output.suffix != '.onnx':
        raise ToolkitError(
            f'the output {output} needs a name such as {output.with_suffix(".onnx").name}'
        )
    for name in NEEDED:
        try:
            importlib.import_module(name)
        except ImportError as error:
            raise ToolkitError(
                f'export needs {name}; install it: pip install "ablakit[onnx]"'
            ) from error


def convert(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    outputs: Sequence[str],
    dynamic_shapes: Mapping[str, Any],
    path: Path,
    advice: str,
) -> None:
    """Writes a module as ONNX.

    Args:
        module: in evaluation mode, on the CPU.
        inputs: examples, by the names of the arguments of its `forward`.
        outputs: names of its results.
        dynamic_shapes: axes of each input that may have any length, as `torch.export` takes them.
        path: file to write.
        advice: ends the message of an error.
    Raises:
        ToolkitError: a part that cannot be exported.
    """
    try:
        with _silence_exporter():
            program = torch.onnx.export(
                module,
                tuple(inputs.values()),
                dynamo=True,
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_shapes=dict(dynamic_shapes),
                verbose=False,
            )
            assert program is not None
            program.save(path, external_data=False)
    except Exception as error:  # the exporter raises errors of any class
        raise ToolkitError(
            f'this system cannot be exported: {_find_cause(error)}; {advice}'
        ) from error


def describe(path: Path, about: Mapping[str, Any], note: str = '') -> None:
    """Writes metadata into a file, and removes the paths of this machine.

    Args:
        path: of the file.
        about: values for JSON, under the key `ablakit`.
        note: text for whoever opens the file.
    """
    import onnx

    import toolkit

    model = onnx.load(path)
    model.producer_name, model.producer_version = 'ablakit', toolkit.__version__
    model.doc_string = note
    # The exporter notes the source file and line of each operation.
    for part in (*model.graph.node, *model.graph.input, *model.graph.output, *model.functions):
        del part.metadata_props[:]
    for part in (*model.graph.value_info, *model.graph.initializer):
        del part.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key, entry.value = KEY, json.dumps(about)
    onnx.checker.check_model(model)
    onnx.save(model, path)


def add_metadata(path: Path, values: Mapping[str, Any]) -> None:
    """Adds values to the metadata that `describe` wrote."""
    import onnx

    model = onnx.load(path)
    (entry,) = [entry for entry in model.metadata_props if entry.key == KEY]
    entry.value = json.dumps({**json.loads(entry.value), **values})
    onnx.save(model, path)


def open_session(path: Path) -> Any:
    """Opens a file in onnxruntime, on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])


def _find_cause(error: BaseException) -> str:
    """Returns the first line of the error that caused the others."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f'{type(error).__name__}: {lines[0][:200]}' if lines else type(error).__name__


@contextlib.contextmanager
def _silence_exporter() -> Iterator[None]:
    """Keeps the exporter from printing its own steps."""
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
