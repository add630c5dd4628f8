"""Attention inside a timm model, after stages of a CNN or blocks of a transformer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from timm.layers import BatchNormAct2d, GroupNormAct
from torch import Tensor, nn

from plugins.timm_zoo.feature_layout import FeatureLayout, find_layout
from toolkit.interfaces import Attention
from toolkit.registry import Slot

STEMS = (nn.modules.batchnorm._BatchNorm, BatchNormAct2d, GroupNormAct, nn.GroupNorm, nn.LayerNorm)


class StageWithAttention(nn.Module):
    """A stage with attention on its features; class tokens bypass the attention.

    Args:
        stage: stage of a timm model.
        attention: attention on maps (B, D, h, w).
        layout: layout of the stage's features.
    """

    def __init__(self, stage: nn.Module, attention: Attention, layout: FeatureLayout) -> None:
        super().__init__()
        self.before_attention = stage
        self.attention = attention
        self.layout = layout

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        features = self.before_attention(*args, **kwargs)
        refined = self.attention(self.layout.to_map(features))  # (B, D, h, w)
        return self.layout.from_map(refined, features)


def find_stages(model: nn.Module) -> dict[str, int]:
    """Finds the modules of a model's stages or blocks, in order, with their channels.

    These are the modules that timm lists in `feature_info`, without stems.
    """
    modules = dict(model.named_modules())
    found: dict[str, int] = {}
    for entry in getattr(model, 'feature_info', None) or ():
        name = entry.get('module', '') if isinstance(entry, dict) else ''
        module = modules.get(name)
        stem = 'stem' in name or isinstance(module, STEMS)
        if module is not None and not stem and any(True for _ in module.children()):
            found[name] = entry['num_chs']
    return found


def insert_attention(
    model: nn.Module,
    attention: Slot[Attention],
    after: Sequence[int] | None,
    run: Callable[[], object],
) -> None:
    """Inserts a new attention after each of the given stages.

    Args:
        model: a timm model, changed in place.
        attention: factory of the attention; it gets each stage's `in_channels`.
        after: indices of stages, negative ones from the end; None for all.
        run: runs the model on an image, which shows the layouts of its stages.
    Raises:
        ValueError: the model has no such stage, or a stage gives neither a map nor tokens.
    """
    known = find_stages(model)
    if not known:
        raise ValueError(
            'timm lists no stages of this model, so attention cannot be inserted; use attention '
            'after the backbone (branch_attention)'
        )
    names = list(known)
    wanted = range(len(names)) if after is None else after
    for index in wanted:
        if not -len(names) <= index < len(names):
            raise ValueError(
                f'attention_after: there is no stage {index}; stages 0 to {len(names) - 1} are: '
                f'{", ".join(names)}'
            )
    selected = list(dict.fromkeys(names[index] for index in wanted))
    outputs: dict[str, object] = {}
    handles = [
        model.get_submodule(name).register_forward_hook(_OutputRecorder(outputs, name))
        for name in selected
    ]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    for name in selected:
        if name not in outputs:
            raise ValueError(
                f'stage {name} is not called as a module, so no attention fits after it'
            )
        try:
            layout = find_layout(model, outputs[name], known[name])
        except ValueError as error:
            raise ValueError(f'no attention fits after stage {name}: it {error}') from None
        stage = model.get_submodule(name)
        inserted = attention(in_channels=layout.channels)
        model.set_submodule(name, StageWithAttention(stage, inserted, layout))


class _OutputRecorder:
    """A forward hook that stores the output of a module."""

    def __init__(self, outputs: dict[str, object], name: str) -> None:
        self.outputs, self.name = outputs, name

    def __call__(self, module: nn.Module, inputs: Any, output: object) -> None:
        self.outputs[self.name] = output
