"""Outputs of a pansharpening system that the `forward` of its losses names."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping

from torch import nn

from plugins.pansharpening.outputs import OUTPUTS
from toolkit.interfaces import Loss
from toolkit.registry.component_errors import refuse_component


def collect_losses(losses: Mapping[str, Loss]) -> nn.ModuleDict:
    """Collects losses by their names.

    Raises:
        ValueError: a name that torch keeps for itself.
    """
    modules = nn.ModuleDict()
    for key, loss in losses.items():
        try:
            modules[key] = loss
        except KeyError as error:
            raise ValueError(f'losses.{key}: no loss can have this name: {error}') from error
    return modules


def find_loss_inputs(key: str, loss: Loss, filled: Collection[str]) -> tuple[str, ...]:
    """Returns the outputs that the `forward` of a loss names, after a check that they exist.

    Args:
        key: name of the loss in `model.losses`.
        loss: the loss.
        filled: slots of the system that are filled.
    Raises:
        ComponentError: an input without a name, one that is no output, or one of an empty slot.
    """
    path = f'losses.{key}'
    there = ', '.join(list_outputs(filled))
    parameters = inspect.signature(loss.forward).parameters.values()
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            fault = f'takes {parameter}; a loss names each of its inputs: {there}'
            raise refuse_component(loss, path, fault)
        if parameter.name not in OUTPUTS:
            fault = f'takes {parameter.name!r}, which is no output of this system; there are: '
            raise refuse_component(loss, path, fault + there)
        missing = [slot for slot in OUTPUTS[parameter.name] if slot not in filled]
        if missing:
            raise refuse_component(
                loss,
                path,
                f'takes {parameter.name!r}, which needs {" and ".join(missing)}: fill '
                f'model.{missing[0]}, or set model.losses.{key} to null',
            )
    return tuple(parameter.name for parameter in parameters)


def list_outputs(filled: Collection[str]) -> list[str]:
    """Lists the outputs of a system whose slots `filled` are filled."""
    return [name for name, slots in OUTPUTS.items() if all(slot in filled for slot in slots)]
