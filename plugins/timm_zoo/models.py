"""timm's models by name: whether there is such a one, and building it with its weights."""

from __future__ import annotations

import warnings
from typing import Any

import timm
import torch
from timm.models import PretrainedCfg, get_pretrained_cfg
from torch import nn

from plugins.timm_zoo import weights as weights_
from toolkit.errors import did_you_mean


def pretrained_config(name: str) -> PretrainedCfg:
    """Returns timm's settings of a model: size, mean and std, source of weights.

    Args:
        name: of an architecture, with or without a tag of its weights (`resnet18.a1_in1k`).
    Raises:
        ValueError: there is no such model or tag, with the nearest ones.
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


def create(
    name: str,
    in_channels: int,
    size: int,
    weights: str | None,
    drop_rate: float = 0.0,
    drop_path: float = 0.0,
) -> nn.Module:
    """Creates a timm model without its classifier. On the meta device nothing is loaded.

    Args:
        name: as of `pretrained_config`.
        in_channels: C.
        size: H and W that it is to see; what has positions lays them out for it.
        weights: as of `TimmBackbone`.
        drop_rate: dropout before the classifier, and wherever else the model has it.
        drop_path: share of residual branches dropped in training, rising with depth.
    Raises:
        ValueError: no such model, weights that do not fit, or an argument that it does not take.
    """
    config = pretrained_config(name)
    arguments: dict[str, Any] = {'in_chans': in_channels, 'num_classes': 0}
    if config.fixed_input_size and size != config.input_size[-1]:
        arguments['img_size'] = size
    if drop_rate:
        arguments['drop_rate'] = drop_rate
    if drop_path:
        arguments['drop_path_rate'] = drop_path
    source = weights_.source(weights, name, config)
    if source is not None and torch.empty(0).device.type != 'meta':
        arguments |= source.arguments(name, config, size)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', category=UserWarning)
            model = timm.create_model(name, **arguments)
    except Exception as error:
        # timm, and the hub's client below it, raise what they like for what a user asked of them.
        raise ValueError(_refused(name, size, arguments, source, error, config)) from error
    for held in (model.pretrained_cfg, getattr(model, 'default_cfg', {})):
        if isinstance(held, dict):
            held.pop('state_dict', None)  # or the weights would stay in memory twice
    return model


def _refused(
    name: str,
    size: int,
    arguments: dict[str, Any],
    source: weights_.Source | None,
    error: Exception,
    config: PretrainedCfg,
) -> str:
    found = ' '.join(f'{type(error).__name__}: {error}'.split())
    if isinstance(error, TypeError) and 'unexpected keyword' in found:
        if "'img_size'" in found:
            own = config.input_size[-1]
            return f'{name} sees images of {own} px only, found {size}; set resize: {own}'
        for ours, theirs in (('drop_path', 'drop_path_rate'), ('drop_rate', 'drop_rate')):
            if f"'{theirs}'" in found:
                return f'{name} has no {ours}; leave it out'
    if source is not None and 'pretrained' in arguments:
        return source.failed(name, found)
    return f'{name} cannot be built for images of {size} px: {found}'
