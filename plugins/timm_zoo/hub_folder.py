"""Models of a hub in a local folder: config.json with model.safetensors, as timm has them."""

from __future__ import annotations

import dataclasses
import inspect
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
from timm.models import PretrainedCfg, get_pretrained_cfg

from toolkit.errors import ToolkitError, did_you_mean
from toolkit.io.data_paths import find_data_folder

PREFIX = 'local-dir:'  # timm's own
CONFIG, WEIGHTS = 'config.json', 'model.safetensors'
# What the parent of the model decides.
OURS = ('num_classes', 'in_chans', 'img_size', 'pretrained', 'global_pool')
# Arguments of timm itself, such as `checkpoint_path`, which would load weights of any file unseen.
CREATION = set(inspect.signature(timm.create_model).parameters) - {*OURS, 'kwargs'}
MOST = 1e5  # pixels of a side, and mean or standard deviation


@dataclass(frozen=True)
class HubFolder:
    """A model in a local folder.

    Attributes:
        folder: of the model.
        architecture: model name of timm.
        config: timm's settings of the architecture, with mean, std and size of the folder.
        arguments: further arguments of the architecture.
    """

    folder: Path
    architecture: str
    config: PretrainedCfg
    arguments: dict[str, Any]

    @property
    def weights(self) -> Path:
        """The file of the weights.

        Raises:
            ValueError: there is no safetensors file.
        """
        path = self.folder / WEIGHTS
        if not path.is_file():
            other = sorted(p.name for p in self.folder.iterdir() if p.suffix in ('.bin', '.pth'))
            found = f', and {", ".join(other)} may run code when it is read' if other else ''
            raise ValueError(
                f'weights: {self.folder} has no {WEIGHTS}{found}; save the weights as safetensors '
                'there'
            )
        return path


def is_hub_folder(name: str) -> bool:
    """Tells whether a model name means a local folder."""
    return name.startswith(PREFIX)


def read_hub_folder(name: str) -> HubFolder:
    """Reads the settings of a model in a local folder; no weights.

    Args:
        name: `local-dir:` and the folder, absolute or below $TOOLKIT_DATA or the current folder.
    Raises:
        ValueError: there is no such folder, or its config.json names no model of timm.
    """
    try:
        folder = find_data_folder(name.removeprefix(PREFIX))
    except ToolkitError as error:
        raise ValueError(f'model: {error}') from error
    record = _read_config(folder / CONFIG)
    architecture = record.get('architecture')
    if not isinstance(architecture, str):
        other = record.get('model_type') or record.get('architectures')
        kind = f' (it is of {other}, as transformers has it)' if other else ''
        raise ValueError(
            f'model: {folder / CONFIG} names no architecture of timm{kind}; take the version of '
            'the model for timm, or write a backbone for it'
        )
    architecture = architecture.partition('.')[0]
    if not timm.is_model(architecture):
        hint = did_you_mean(architecture, timm.list_models())
        raise ValueError(
            f'model: {folder / CONFIG}: timm {timm.__version__} has no model {architecture!r}{hint}'
        )
    _check_values(folder / CONFIG, record)
    own = record.get('pretrained_cfg') or {}
    base = get_pretrained_cfg(architecture) or PretrainedCfg(architecture=architecture)
    stated = {
        key: tuple(own[key]) for key in ('mean', 'std', 'input_size') if own.get(key) is not None
    }
    missing = [key for key in ('mean', 'std') if key not in stated]
    if missing:
        raise ValueError(
            f'model: {folder / CONFIG} has no pretrained_cfg.{missing[0]}, so that it is not known '
            'how images are normalized; add it'
        )
    if own.get('fixed_input_size') is not None:
        stated['fixed_input_size'] = bool(own['fixed_input_size'])
    if own.get('classifier') is not None:
        stated['classifier'] = own['classifier']
    arguments = {k: v for k, v in (record.get('model_args') or {}).items() if k not in OURS}
    return HubFolder(folder, architecture, dataclasses.replace(base, **stated), arguments)


def _check_values(path: Path, record: dict[str, Any]) -> None:
    """Checks what is used of a config.json, which may come from anybody."""
    own, arguments = (record.get(key) or {} for key in ('pretrained_cfg', 'model_args'))
    for key, value in (('pretrained_cfg', own), ('model_args', arguments)):
        if not isinstance(value, dict):
            raise ValueError(f'model: {path}: {key} is {value!r}, expected a mapping')
    foreign = sorted(arguments.keys() & CREATION)
    if foreign:
        raise ValueError(
            f'model: {path}: model_args.{foreign[0]} would load or change more than the '
            f'architecture; remove it (weights: hub loads {WEIGHTS})'
        )
    for key in ('mean', 'std', 'input_size'):
        value = own.get(key)
        if value is not None and not (
            isinstance(value, list)
            and len(value) in (1, 3)
            and all(type(v) in (int, float) and 0 <= v < MOST for v in value)
            and (key == 'mean' or min(value) > 0)
        ):
            raise ValueError(
                f'model: {path}: pretrained_cfg.{key} is {value!r}, expected three usable numbers'
            )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError as error:
        raise ValueError(
            f'model: {path.parent} has no {CONFIG}; a model of a hub is a folder with {CONFIG} and '
            f'{WEIGHTS}'
        ) from error
    except (OSError, ValueError) as error:
        raise ValueError(f'model: {path} cannot be read: {error}') from error
    if not isinstance(record, dict):
        raise ValueError(f'model: {path} is damaged: expected a mapping')
    return record
