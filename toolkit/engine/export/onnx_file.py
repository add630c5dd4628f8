"""ONNX files: conversion of a module, metadata, and sessions of onnxruntime."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.engine.export.exporter import KEY, explain_failure


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
    with explain_failure(advice):
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
