"""Attention inside a model: after stages of a CNN, after blocks of a transformer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from timm.layers import BatchNormAct2d, GroupNormAct
from torch import Tensor, nn

from plugins.timm_zoo.feature_layout import Layout, layout_of
from toolkit.interfaces import Attention
from toolkit.registry import Slot

STEMS = (nn.modules.batchnorm._BatchNorm, BatchNormAct2d, GroupNormAct, nn.GroupNorm, nn.LayerNorm)


class Attended(nn.Module):
    """A stage with attention on its features; class tokens bypass it.

    Args:
        stage: of a timm model.
        attention: on maps (B, D, h, w).
        layout: of the stage's features.
    """

    def __init__(self, stage: nn.Module, attention: Attention, layout: Layout) -> None:
        super().__init__()
        self.before_attention = stage
        self.attention = attention
        self.layout = layout

    def forward(self, *args: Any, **kwargs: Any) -> Tensor:
        features = self.before_attention(*args, **kwargs)
        refined = self.attention(self.layout.to_map(features))  # (B, D, h, w)
        return self.layout.from_map(refined, features)


def stages(model: nn.Module) -> dict[str, int]:
    """The modules that give a model's features by stage or block, with their channels, in order.

    They are those that timm lists in `feature_info`, less stems.
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


def insert(
    model: nn.Module,
    attention: Slot[Attention],
    after: Sequence[int] | None,
    run: Callable[[], object],
) -> None:
    """Put an attention of its own after stages.

    Args:
        model: timm's, changed in place.
        attention: injected with each stage's `in_channels`.
        after: indices of stages, negative ones from the end; None for all.
        run: makes the model see an image, so that its stages' layouts become known.
    Raises:
        ValueError: the model has no such stages, or one that gives no map or tokens.
    """
    known = stages(model)
    if not known:
        raise ValueError(
            'timm tells no stages of this model, so no attention can be put in it; put it after '
            'the backbone (branch_attention)'
        )
    names = list(known)
    wanted = range(len(names)) if after is None else after
    for index in wanted:
        if not -len(names) <= index < len(names):
            raise ValueError(
                f'attention_after: there is no stage {index}; stages 0 to {len(names) - 1} are: '
                f'{", ".join(names)}'
            )
    chosen = list(dict.fromkeys(names[index] for index in wanted))
    given: dict[str, object] = {}
    handles = [
        model.get_submodule(name).register_forward_hook(_Keeper(given, name)) for name in chosen
    ]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    for name in chosen:
        if name not in given:
            raise ValueError(f'stage {name} is not called as a module, so nothing fits after it')
        try:
            layout = layout_of(model, given[name], known[name])
        except ValueError as error:
            raise ValueError(f'no attention fits after stage {name}: it {error}') from None
        made = attention(in_channels=layout.channels)
        model.set_submodule(name, Attended(model.get_submodule(name), made, layout))


class _Keeper:
    """A forward hook that keeps what a module gave."""

    def __init__(self, given: dict[str, object], name: str) -> None:
        self.given, self.name = given, name

    def __call__(self, module: nn.Module, inputs: Any, output: object) -> None:
        self.given[self.name] = output
