"""timm models by name: checks the name and creates the model with its weights."""

from __future__ import annotations

import warnings
from typing import Any

import timm
import torch
from timm.models import PretrainedCfg, get_pretrained_cfg
from torch import nn

from plugins.timm_zoo.weights import WeightSource, parse_weights
from toolkit.errors import did_you_mean


def get_pretrained_config(name: str) -> PretrainedCfg:
    """Returns timm's settings of a model: size, mean and std, source of weights.

    Args:
        name: model name, with or without a tag of its weights (`resnet18.a1_in1k`).
    Raises:
        ValueError: timm has no such model or tag; the message names similar ones.
    """
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
            model = timm.create_model(name, **arguments)
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
