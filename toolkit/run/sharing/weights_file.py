"""Weights of a checkpoint as a safetensors file, and back."""

from __future__ import annotations

import json
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from toolkit.engine import checkpoint
from toolkit.errors import ToolkitError
from toolkit.io.json_values import parse_json

_KEY = 'ablakit'


def write_weights(source: Path, path: Path) -> None:
    """Writes the weights of a checkpoint, with its iteration and scores, as safetensors.

    Raises:
        CheckpointError: the checkpoint cannot be used.
        ToolkitError: it holds what safetensors cannot.
    """
    content = checkpoint.load(source)
    # Weights that two names share would be refused; each name has a copy of its own.
    tensors = {
        name: tensor.contiguous().clone()
        for name, tensor in checkpoint.extract_weights(content, source).items()
    }
    try:
        about = json.dumps(content.get('meta') or {})
        save_file(tensors, path, {_KEY: about})  # the order of several keys is random
    except (SafetensorError, TypeError, ValueError, KeyError) as error:
        raise ToolkitError(f'{source} cannot be written as safetensors: {error}') from error


def restore_checkpoint(source: Path, path: Path, address: str) -> None:
    """Writes a checkpoint of the weights in a safetensors file, which may come from anybody.

    Args:
        source: the safetensors file.
        path: of the checkpoint.
        address: of the shared run, for messages.
    Raises:
        ToolkitError: the file is damaged.
        RunError: the checkpoint cannot be written.
    """
    try:
        with safe_open(source, 'pt') as file:
            meta = parse_json((file.metadata() or {}).get(_KEY, '{}'))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if not isinstance(meta, dict):
            raise ValueError(f'its entry {_KEY!r} is no mapping')
    except (SafetensorError, OSError, ValueError) as error:
        raise ToolkitError(f'{source.name} of {address} is damaged: {error}') from error
    checkpoint.save({'state_dict': tensors, 'meta': meta}, path)
