"""The network of a classifier: branches, their fusion, attention, a trunk, and a head per task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from plugins.classification.tasks import Tasks
from toolkit.interfaces import Attention, Backbone, Batch, Head, Neck, System
from toolkit.registry import Slot

Pool = Literal['avg', 'max', 'avgmax']


class ImageNetwork(System):
    """System whose network leads from an image or cached features to logits by task.

    Attributes:
        in_channels: C; like `size` and `pooling` set before the parts are built.
        size: H and W of the images.
        pooling: pooling of a map to a vector.
    """

    in_channels: int
    size: int
    pooling: Pool

    def build_network(
        self,
        tasks: Tasks,
        branches: Mapping[str, Slot[Backbone]],
        head: Slot[Head],
        branch_attention: Mapping[str, Slot[Attention]],
        neck: Slot[Neck] | None,
        attention: Slot[Attention] | None,
        trunk: Slot[Neck] | None,
    ) -> None:
        """Builds the parts; the arguments are those of `Classifier`.

        Raises:
            ValueError: no task or branch, or several branches without a neck.
        """
        if not tasks:
            raise ValueError('tasks is empty; name at least one')
        for name in tasks:
            if not name.isidentifier():
                raise ValueError(f'tasks: {name!r} is no name of letters, digits and _')
        if not branches:
            raise ValueError('branches is empty; name at least one backbone')
        if len(branches) > 1 and neck is None:
            raise ValueError(
                f'{len(branches)} branches need a neck that joins them: fill model.neck'
            )
        unknown = sorted(branch_attention.keys() - branches.keys())
        if unknown:
            raise ValueError(f'branch_attention.{unknown[0]}: there is no such branch')
        self.tasks = dict(tasks)
        told = {'in_channels': self.in_channels, 'size': self.size}
        self.branches = nn.ModuleDict({name: slot(**told) for name, slot in branches.items()})
        widths = {name: branch.out_channels for name, branch in self.branches.items()}
        strides = {name: branch.stride for name, branch in self.branches.items()}
        prefixes = {name: branch.prefix_tokens for name, branch in self.branches.items()}
        self.branch_attention = nn.ModuleDict(
            {
                name: slot(in_channels=widths[name], **_prefix(prefixes[name]))
                for name, slot in branch_attention.items()
            }
        )
        told = _prefix(prefixes if any(prefixes.values()) else 0)
        self.neck = neck(in_channels=widths, strides=strides, **told) if neck else None
        width = self.neck.out_channels if self.neck is not None else next(iter(widths.values()))
        # A neck's tokens have no prefix; without a neck the joint features are the only branch's.
        self.joint_prefix = next(iter(prefixes.values())) if self.neck is None else 0
        told = _prefix(self.joint_prefix)
        self.attention = attention(in_channels=width, **told) if attention else None
        width *= 2 if self.pooling == 'avgmax' else 1
        self.joint_channels = width
        self.trunk = trunk(in_channels=width) if trunk else None
        width = self.trunk.out_channels if self.trunk is not None else width
        self.heads = nn.ModuleDict(
            {
                name: head(in_channels=width, num_classes=len(task.classes))
                for name, task in self.tasks.items()
            }
        )

    def branch_features(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the features of each branch: cached ones of the batch, or of its image."""
        given = batch.get('features', {})
        return {
            name: given[name] if name in given else branch(batch['image'])
            for name, branch in self.branches.items()
        }

    def join(self, features: Mapping[str, Tensor]) -> Tensor:
        """Joins the features of the branches, before the attention on them."""
        refined = {
            name: self.branch_attention[name](x) if name in self.branch_attention else x
            for name, x in features.items()
        }
        return self.neck(refined) if self.neck is not None else next(iter(refined.values()))

    def joint_map(self, features: Mapping[str, Tensor]) -> Tensor:
        """Computes the joint features before pooling: (B, D, h, w), (B, N, D) or (B, D)."""
        joint = self.join(features)
        return self.attention(joint) if self.attention is not None else joint

    def pool(self, joint: Tensor) -> Tensor:
        """Pools features to vectors.

        Shape: (B, D, h, w), (B, N, D) or (B, D) -> (B, D), twice as wide for 'avgmax'.
        """
        if joint.ndim == 4:
            joint = joint.flatten(2)  # (B, D, h w)
        elif joint.ndim == 3:
            joint = joint.transpose(1, 2)  # (B, D, N)
        else:
            joint = joint.unsqueeze(-1)  # (B, D, 1)
        parts = {'avg': joint.mean, 'max': joint.amax}
        wanted = ('avg', 'max') if self.pooling == 'avgmax' else (self.pooling,)
        return torch.cat([parts[name](-1) for name in wanted], 1)

    def classify(self, joint: Tensor) -> dict[str, Tensor]:
        """Computes the logits (B, K) by task of the pooled joint feature (B, D)."""
        refined = self.trunk(joint) if self.trunk is not None else joint
        return {name: head(refined) for name, head in self.heads.items()}


def _prefix(tokens: int | dict[str, int]) -> dict[str, Any]:
    """Names `prefix_tokens` for a slot only where there are some: most parts know maps alone."""
    return {'prefix_tokens': tokens} if tokens else {}
