"""Checkpoints: one dict of tensors and plain Python values, written whole or not at all.

The key `state_dict` holds the weights under the system's own names, so that other programs can load
them. Files are always read with `weights_only=True`.
"""

from __future__ import annotations

import os
import pickle
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from toolkit.errors import RunError, ToolkitError, list_few
from toolkit.io import atomic_write
from toolkit.io.run_layout import BEST_CHECKPOINT, CHECKPOINTS, LAST_CHECKPOINT
from toolkit.io.verification.integrity import DamagedFileError, check_file

LAST = LAST_CHECKPOINT
BEST = BEST_CHECKPOINT
# Entries beside the weights that a resumption needs.
RESUMED = ('state_dict', 'optimizer', 'loop', 'randomness', 'param_schedulers', 'hooks')
# Prefixes that wrappers of other programs add to the names of a system.
PREFIXES = ('module.', '_orig_mod.')


class CheckpointError(ToolkitError):
    """A checkpoint that cannot be used: missing, corrupt, unsafe, or of another system."""


def get_folder(work_dir: Path) -> Path:
    """Returns the folder of a run's checkpoints."""
    return work_dir / CHECKPOINTS


def find_best_or_last(work_dir: Path) -> Path | None:
    """Finds the checkpoint for a test: the best one, else the last one, else None."""
    found = [
        get_folder(work_dir) / name
        for name in (BEST, LAST)
        if (get_folder(work_dir) / name).exists()
    ]
    return found[0] if found else None


def find_resumable(work_dir: Path) -> tuple[Path | None, list[str]]:
    """Finds the newest checkpoint of a run that is whole: `last.pth`, else the newest `iter_N.pth`.

    Returns:
        The checkpoint, or None where the run has none, and sentences on those that cannot be used.
    Raises:
        CheckpointError: there are checkpoints, and none can be used.
    """
    last = get_folder(work_dir) / LAST
    numbered = list_numbered(work_dir)
    problems = []
    for path in [last, *reversed(numbered)]:
        if path == last and not path.exists():
            if numbered:
                problems.append(f'{path} is missing')
            continue
        try:
            check_resumable(load(path), path)
        except CheckpointError as error:
            problems.append(str(error))
            continue
        return path, problems
    if problems:
        raise CheckpointError(
            f'no checkpoint in {last.parent} can be resumed: {"; ".join(problems)}. Nothing was '
            'changed; start anew in another --work-dir'
        )
    return None, []


def check_resumable(content: Mapping[str, Any], path: Path) -> None:
    """Checks that a loaded checkpoint holds the state of a training, and not its weights alone.

    Raises:
        CheckpointError: something is missing; names it.
    """
    if missing := [key for key in RESUMED if key not in content]:
        raise CheckpointError(
            f'the checkpoint {path} cannot be resumed: it has no {", ".join(missing)}; '
            'only its weights can be used (load_from)'
        )


def list_numbered(work_dir: Path) -> list[Path]:
    """Lists the checkpoints `iter_N.pth` of a run, the oldest first."""
    found = {}
    for path in get_folder(work_dir).glob('iter_*.pth'):
        number = path.stem.removeprefix('iter_')
        if number.isdigit():
            found[path] = int(number)
    return sorted(found, key=found.__getitem__)


def keep_numbered(last: Path, iteration: int) -> None:
    """Keeps `last.pth` as `iter_N.pth` too; both are on the disk when this returns.

    Raises:
        OSError: it cannot be written.
    """
    numbered = last.with_name(f'iter_{iteration}.pth')
    numbered.unlink(missing_ok=True)  # of an earlier life of this run; `last.pth` has the same
    try:
        os.link(last, numbered)  # costs no space; last.pth is replaced, never written into
    except OSError:
        with open(last, 'rb') as source, atomic_write.open_replacement(numbered) as file:
            shutil.copyfileobj(source, file)
    atomic_write.sync_folder(last.parent)


def make_last(path: Path, work_dir: Path) -> None:
    """Makes a checkpoint the last one of a run that resumes from it, so that no later one is.

    Raises:
        RunError: it cannot be written.
    """
    last = get_folder(work_dir) / LAST
    if path.absolute() == last.absolute():
        return
    try:
        with open(path, 'rb') as source, atomic_write.open_replacement(last) as file:
            shutil.copyfileobj(source, file)
        atomic_write.sync_folder(last.parent)
    except OSError as error:
        raise RunError(f'cannot write the checkpoint {last}: {error.strerror}') from error


def to_plain(value: Any, path: str = '') -> Any:
    """Converts a value to CPU tensors and plain Python values, which load without running code.

    Raises:
        RunError: the value holds something else; names its path.
    """
    if isinstance(value, Tensor):
        tensor = value.detach().cpu()
        # A view would be written with its whole storage.
        if tensor.untyped_storage().nbytes() > tensor.nbytes:
            tensor = tensor.clone()
        return tensor
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, Mapping):
        return {
            to_plain(k, path): to_plain(v, f'{path}.{k}' if path else str(k))
            for k, v in value.items()
        }
    if isinstance(value, (list, tuple)):
        items = [to_plain(v, f'{path}[{i}]') for i, v in enumerate(value)]
        return tuple(items) if isinstance(value, tuple) else items
    raise RunError(
        f'{path} is {type(value).__name__}, which a checkpoint cannot hold; keep tensors and plain '
        'Python values in the state of components'
    )


def save(content: Mapping[str, Any], path: Path) -> None:
    """Writes a checkpoint atomically: `path` holds either the old file or the complete new one.

    Raises:
        RunError: the file cannot be written (a full disk, a folder without permission).
    """
    ready = to_plain(content)
    try:
        with atomic_write.open_replacement(path) as file:
            torch.save(ready, file)
        atomic_write.sync_folder(path.parent)
    except (OSError, RuntimeError) as error:
        # torch reports a failed write as a RuntimeError with the cause in its context.
        cause = error if isinstance(error, OSError) else error.__context__ or error
        reason = getattr(cause, 'strerror', None) or str(cause).split('\n')[0]
        kept = '; the previous checkpoint is intact' if path.exists() else ''
        raise RunError(f'cannot write the checkpoint {path}: {reason}{kept}') from error


def load(path: Path) -> dict[str, Any]:
    """Loads a checkpoint on the CPU, after comparing the checksums of all its records.

    Raises:
        CheckpointError: the file is missing or damaged, or loading it could run code.
    """
    if not path.is_file():
        raise CheckpointError(f'no checkpoint {path}{_list_others(path)}')
    try:
        check_file(path)
    except DamagedFileError as error:
        raise CheckpointError(f'the checkpoint {error}') from error
    except OSError as error:
        raise CheckpointError(f'cannot read the checkpoint {path}: {error.strerror}') from error
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    except pickle.UnpicklingError as error:
        wanted = re.search(r'GLOBAL (\S+)|Unsupported (?:global|class) (\S+)', str(error))
        if wanted is None:
            raise CheckpointError(f'{path} is not a checkpoint, or is damaged') from error
        name = next(filter(None, wanted.groups())).rstrip('.,')
        raise CheckpointError(
            f'the checkpoint {path} holds more than tensors and plain values ({name}) and is '
            'refused: loading it could run code; save its state_dict alone'
        ) from error
    except Exception as error:  # what a damaged file makes torch raise cannot be listed
        reason = f' ({str(error).splitlines()[0][:100]})' if str(error) else ''
        raise CheckpointError(f'the checkpoint {path} is damaged or cut off{reason}') from error
    if not isinstance(content, dict):
        raise CheckpointError(
            f'the checkpoint {path} holds a {type(content).__name__}, expected a dict of weights'
        )
    return content


def _list_others(path: Path) -> str:
    if not path.parent.is_dir():
        return ''
    others = sorted(p.name for p in path.parent.glob('*.pth'))
    return f'; there are: {", ".join(others[:6])}' if others else ''


def extract_weights(content: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    """Returns the weights of a loaded checkpoint under the system's own names.

    Raises:
        CheckpointError: the checkpoint has no weights.
    """
    found: Any = content.get('state_dict', content)
    tensors = isinstance(found, Mapping) and all(isinstance(v, Tensor) for v in found.values())
    if not tensors:
        raise CheckpointError(f'the checkpoint {path} has no weights: expected a key state_dict')
    named = dict(found)
    for prefix in PREFIXES:
        if named and all(name.startswith(prefix) for name in named):
            named = {name[len(prefix) :]: tensor for name, tensor in named.items()}
    return named


def load_weights(system: nn.Module, path: Path) -> dict[str, Any]:
    """Loads a checkpoint's weights into a system, all of them or none.

    Returns:
        The whole checkpoint.
    Raises:
        CheckpointError: the checkpoint is unusable or of another system; lists names that are
            missing, unexpected or of another shape.
    """
    content = load(path)
    copy_weights(system, extract_weights(content, path), path)
    return content


def copy_weights(system: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Copies weights into a system whose names and shapes must be the same.

    Raises:
        CheckpointError: a name is missing or unexpected, or a shape differs.
    """
    own = system.state_dict()
    shapes = [
        f'{name} {tuple(tensors[name].shape)} for {tuple(tensor.shape)}'
        for name, tensor in own.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    problems = {
        'missing': [name for name in own if name not in tensors],
        'unexpected': [name for name in tensors if name not in own],
        'of another shape': shapes,
    }
    text = '; '.join(
        f'{problem}: {list_few(names)}' for problem, names in problems.items() if names
    )
    if text:
        raise CheckpointError(
            f'the checkpoint {path} is not one of this {type(system).__name__}: {text}'
        )
    system.load_state_dict(dict(tensors))
