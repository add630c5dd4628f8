"""Layers of a timm model: which of them are trained, and how their gradients are computed."""

from __future__ import annotations

from typing import Literal

from timm.models import group_parameters
from torch import nn


def freeze_layers(
    model: nn.Module, trained: Literal['all', 'none', 'norm'] | int, name: str
) -> None:
    """Freezes the parameters that are not to be trained.

    Args:
        model: a timm model.
        trained: as in `TimmBackbone`.
        name: of the model, for messages.
    Raises:
        ValueError: the model has no norm layers, or not so many stages.
    """
    if trained == 'all':
        return
    selected: set[str] = set()
    if trained == 'norm':
        selected = find_norm_parameters(model)
        if not selected:
            raise ValueError(f'{name} has no norm layers, so trained: norm trains nothing')
    elif isinstance(trained, int):
        stages = find_layers(model, coarse=True)
        last = max(stages.values(), default=0)
        if not stages or trained > last + 1:
            raise ValueError(
                f'trained is {trained}, but {name} has {last + 1 if stages else 0} stages'
            )
        selected = {layer for layer, stage in stages.items() if stage > last - trained}
    for layer, parameter in model.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and layer in selected)


def checkpoint_gradients(model: nn.Module, name: str) -> None:
    """Makes a model compute its activations again in the backward pass.

    Raises:
        ValueError: it cannot.
    """
    try:
        model.set_grad_checkpointing(True)  # type: ignore[operator]
    except (AssertionError, AttributeError, NotImplementedError, TypeError) as error:
        raise ValueError(
            f'{name} has no gradient checkpointing; remove grad_checkpointing'
        ) from error


def find_layers(model: nn.Module, coarse: bool = False) -> dict[str, int]:
    """Finds the layer of each parameter, 0 next to the image; empty if timm lists no layers."""
    if not hasattr(model, 'group_matcher'):
        return {}
    return dict(group_parameters(model, model.group_matcher(coarse=coarse), reverse=True))


def find_norm_parameters(model: nn.Module) -> set[str]:
    """Finds the affine parameters of norm layers, including timm's norm classes."""
    return {
        f'{path}.{name}' if path else name
        for path, module in model.named_modules()
        if 'norm' in type(module).__name__.lower()
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.ndim == 1
    }
