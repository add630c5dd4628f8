"""timm models by name: checks names, creates models with their weights, and describes them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import timm
import torch
from timm.models import PretrainedCfg, get_pretrained_cfg
from torch import Tensor, nn

from plugins.timm_zoo.hub_folder import is_hub_folder, read_hub_folder
from plugins.timm_zoo.weights import WeightSource, parse_weights
from toolkit.errors import did_you_mean


def get_pretrained_config(name: str) -> PretrainedCfg:
    """Returns timm's settings of a model: size, mean and std, source of weights.

    Args:
        name: model name, with or without a tag of its weights (`resnet18.a1_in1k`), or
            `local-dir:FOLDER`.
    Raises:
        ValueError: timm has no such model or tag; the message names similar ones.
    """
    if is_hub_folder(name):
        return read_hub_folder(name).config
    architecture, _, tag = name.partition('.')
    if not timm.is_model(architecture):
        hint = did_you_mean(architecture, timm.list_models())
        raise ValueError(f'timm {timm.__version__} has no model {architecture!r}{hint}')
    tags = [
        known.partition('.')[2]
        for known in timm.list_pretrained(f'{architecture}*')
        if known.partition('.')[0] == architecture
    ]
    if tag and tag not in tags:
        known = f'; it has: {", ".join(tags)}' if tags else '; it has none'
        raise ValueError(f'{architecture} has no weights {tag!r}{known}')
    return get_pretrained_cfg(name) or PretrainedCfg(architecture=architecture)


def create_model(
    name: str,
    in_channels: int,
    size: int,
    weights: str | None,
    drop_rate: float = 0.0,
    drop_path: float = 0.0,
) -> nn.Module:
    """Creates a timm model without its classifier. On the meta device it loads no weights.

    Args:
        name: as in `get_pretrained_config`.
        in_channels: C.
        size: H and W of the images; position embeddings are created for this size.
        weights: as in `TimmBackbone`.
        drop_rate: dropout rate before the classifier and elsewhere in the model.
        drop_path: share of residual branches dropped in training; it increases with depth.
    Raises:
        ValueError: timm has no such model, the weights do not fit, or the model does not support
            an argument.
    """
    config = get_pretrained_config(name)
    arguments: dict[str, Any] = {'in_chans': in_channels, 'num_classes': 0}
    architecture = name
    if is_hub_folder(name):
        hub = read_hub_folder(name)
        architecture, arguments = hub.architecture, {**hub.arguments, **arguments}
        if config.fixed_input_size:
            arguments['img_size'] = size  # the size of the folder is not that of the architecture
    if config.fixed_input_size and size != config.input_size[-1]:
        arguments['img_size'] = size
    if drop_rate:
        arguments['drop_rate'] = drop_rate
    if drop_path:
        arguments['drop_path_rate'] = drop_path
    source = parse_weights(weights, name, config)
    if source is not None and torch.empty(0).device.type != 'meta':
        arguments |= source.build_arguments(name, config, size)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', category=UserWarning)
            model = timm.create_model(architecture, **arguments)
    except Exception as error:
        # timm and the client of the hub raise many types of errors for invalid arguments.
        raise ValueError(_describe_failure(name, size, arguments, source, error, config)) from error
    for settings in (model.pretrained_cfg, getattr(model, 'default_cfg', {})):
        if isinstance(settings, dict):
            settings.pop('state_dict', None)  # else the weights would stay in memory twice
    return model


def _describe_failure(
    name: str,
    size: int,
    arguments: dict[str, Any],
    source: WeightSource | None,
    error: Exception,
    config: PretrainedCfg,
) -> str:
    found = ' '.join(f'{type(error).__name__}: {error}'.split())
    if isinstance(error, TypeError) and 'unexpected keyword' in found:
        if "'img_size'" in found:
            own = config.input_size[-1]
            return f'{name} accepts images of {own} px only, found {size}; set resize: {own}'
        for ours, theirs in (('drop_path', 'drop_path_rate'), ('drop_rate', 'drop_rate')):
            if f"'{theirs}'" in found:
                return f'{name} has no {ours}; leave it out'
    if source is not None and 'pretrained' in arguments:
        return source.describe_failure(name, found)
    return f'{name} cannot be built for images of {size} px: {found}'


def check_patches(model: nn.Module, name: str, size: int) -> None:
    """Checks that images of a size can be cut into the patches of a model.

    Raises:
        ValueError: they cannot; the message names sizes that can.
    """
    embedding = getattr(model, 'patch_embed', None)
    patch = getattr(embedding, 'patch_size', None)
    side = patch[0] if isinstance(patch, (tuple, list)) else patch
    stride = getattr(getattr(embedding, 'proj', None), 'stride', (side,))[0]
    # Patches that overlap are padded at the border, and take any size.
    if isinstance(side, int) and stride == side and size % side:
        below, above = size // side * side, (size // side + 1) * side
        near = f'{below} or {above}' if below else f'{above}'
        raise ValueError(
            f'{name} cuts images into patches of {side} px, but {size} is not a multiple; '
            f'set resize: {near}'
        )


def get_trained_size(name: str) -> int:
    """Returns H and W of the images that a model was trained on."""
    return get_pretrained_config(name).input_size[-1]


def expand_to_channels(
    name: str, values: Sequence[float] | None, default: Sequence[float], channels: int
) -> Tensor:
    """Computes the mean or standard deviation of each channel, (C, 1, 1)."""
    is_default = values is None
    values = list(default if values is None else values)
    if not is_default and len(values) not in (1, channels):
        raise ValueError(
            f'{name} has {len(values)} values for {channels} channels; give 1 or {channels}'
        )
    if channels == 1:
        values = [sum(values) / len(values)]
    if name == 'std' and min(values) <= 0:
        raise ValueError(f'std must be above 0, found {values}')
    return torch.tensor([values[i % len(values)] for i in range(channels)]).view(-1, 1, 1)
