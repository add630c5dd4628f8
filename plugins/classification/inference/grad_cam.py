"""Grad-CAM of a system's features, and maps of its attention.

Grad-CAM after Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via
Gradient-based Localization", ICCV 2017, equations 1 and 2: channels are weighted with the mean
gradient of a class's logit over the places, summed up, and what speaks against the class is cut
off. It starts at features, so that those of a cache serve as well as those of an image.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from plugins.classification.system import Classifier
from toolkit.interfaces import features_to_map

JOINT = 'joint'


def grad_cam(
    system: Classifier, features: Mapping[str, Tensor], task: str, classes: Tensor
) -> dict[str, Tensor]:
    """Compute Grad-CAM of a class on the joint map and on each branch's features.

    Gradients are taken whatever the context around it; parameters get none.

    Args:
        system: in evaluation mode.
        features: of each branch, from `branch_features`.
        task: whose logits are followed.
        classes: (B,) the class whose evidence is wanted for each image.
    Returns:
        'joint' and the branches' names, each a map (B, 1, h, w) from 0 to 1, its highest value;
        0 everywhere where nothing speaks for the class. Vectors have no places and are left out.
    """
    with torch.enable_grad(), torch.autocast(classes.device.type, enabled=False):
        leaves = {name: x.detach().float().requires_grad_() for name, x in features.items()}
        joint = system.joint_map(leaves)
        logits = system.classify(system.pool(joint))[task]  # (B, K)
        wanted = logits.gather(1, classes[:, None]).sum()
        names = [JOINT, *leaves]
        # The only branch, without attention and neck, is the joint map itself.
        gradients = torch.autograd.grad(wanted, [joint, *leaves.values()], allow_unused=True)
    to_map = {name: branch.to_map for name, branch in system.branches.items()}
    to_map[JOINT] = partial(features_to_map, prefix_tokens=system.joint_prefix)
    found = {}
    for name, values, gradient in zip(names, [joint, *leaves.values()], gradients, strict=True):
        if gradient is None or values.ndim == 2:
            continue
        weights = to_map[name](gradient).mean((2, 3), keepdim=True)  # (B, D, 1, 1)
        places = to_map[name](values.detach())  # (B, D, h, w)
        cam = functional.relu((weights * places).sum(1, keepdim=True))  # (B, 1, h, w)
        highest = cam.amax((2, 3), keepdim=True)
        found[name] = torch.where(highest > 0, cam / highest, 0.0)
    return found


def attention_maps(system: Classifier, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Collect the maps of the attention components by name: (B, 1, h, w) or (B, C)."""
    found = {}
    with torch.no_grad():
        for name, attention in system.branch_attention.items():
            for what, weights in attention.maps(features[name]).items():
                found[f'{name} {what}'] = weights.detach().float()
        if system.attention is not None:
            joint = system.join(features)
            for what, weights in system.attention.maps(joint).items():
                found[f'{JOINT} {what}'] = weights.detach().float()
    return found
