"""Files of torch.export (`.pt2`): conversion of a module, metadata, and loading."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from toolkit.engine.export.exporter import KEY, explain_failure


def convert(
    module: nn.Module,
    inputs: Mapping[str, Tensor],
    dynamic_shapes: Mapping[str, Any],
    path: Path,
    advice: str,
) -> None:
    """Writes a module as a program of torch.export.

    Args:
        module: in evaluation mode, on the CPU.
        inputs: examples, by the names of the arguments of its `forward`.
        dynamic_shapes: axes of each input that may have any length, as `torch.export` takes them.
        path: file to write.
        advice: ends the message of an error.
    Raises:
        ToolkitError: a part that cannot be exported.
    """
    with explain_failure(advice):
        program = torch.export.export(module, (), dict(inputs), dynamic_shapes=dict(dynamic_shapes))
        for part in program.graph_module.modules():
            # The exporter notes the source file and line of each operation.
            for node in part.graph.nodes if isinstance(part, torch.fx.GraphModule) else ():
                node.meta.pop('stack_trace', None)
        torch.export.save(program, path)


def describe(path: Path, about: Mapping[str, Any]) -> None:
    """Writes metadata into a file.

    Args:
        path: of the file.
        about: values for JSON, which `torch.export.load` reads by
            `extra_files={'ablakit.json': ''}`.
    """
    program = torch.export.load(path)
    torch.export.save(program, path, extra_files={f'{KEY}.json': json.dumps(about)})


def open_program(path: Path) -> nn.Module:
    """Loads a file as a module, on the CPU."""
    return torch.export.load(path).module()
