"""Section of a model card on the training, and on the test of a folder that holds a test alone."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from plugins.classification.reporting.clinical.clinical_text import format_table
from toolkit.errors import ToolkitError
from toolkit.run import capsule

PACKAGES = ('torch', 'torchvision', 'timm', 'mmengine', 'numpy', 'scikit-learn')

Tree = Mapping[str, Any]


def read_training(record: Tree) -> Tree | None:
    """Read the capsule of the run that trained the weights of a run or a test.

    Returns:
        The record itself, if it is of a training; None if the training is not found.
    """
    if record.get('kind') != 'test':
        return record
    checkpoint_path = record.get('checkpoint')
    if not checkpoint_path:
        return None
    try:
        found = capsule.read(Path(checkpoint_path).parent.parent)
    except ToolkitError:
        return None
    return found if found.get('kind') == 'train' else None


def describe_training(run: Path, config: Tree, record: Tree, trained: Tree | None) -> Iterator[str]:
    """Describe the training, and the test of a folder that holds a test alone.

    Args:
        run: folder of the run.
        config: its config.
        record: its capsule.
        trained: capsule of the training; None if it is not found.
    """
    if trained is None:
        yield (
            f'Missing: this folder holds a test of {record.get("checkpoint") or "a checkpoint"}, '
            'and the run that trained it was not found beside the checkpoint.'
        )
    else:
        optimizer = (config.get('optim_wrapper') or {}).get('optimizer')
        schedule = config.get('train_cfg') or {}
        length = ', '.join(f'{k} {v}' for k, v in schedule.items() if v is not None)
        facts = {
            'status': trained.get('status', 'missing'),
            'length': length or 'missing',
            'optimizer': format_inline(optimizer) if optimizer else 'missing',
            'seed': trained.get('seed', 'missing'),
            **_list_circumstances(trained),
            'resumed': len(trained.get('resumed') or []),
        }
        yield from format_table(['training', ''], [[name, value] for name, value in facts.items()])
    if trained is not record:
        facts = {
            'status': record.get('status', 'missing'),
            'checkpoint': record.get('checkpoint') or 'missing',
            **_list_circumstances(record),
        }
        yield from format_table(['test', ''], [[name, value] for name, value in facts.items()])
    yield ''
    yield f'The whole config: {"config.yaml" if (run / "config.yaml").exists() else "missing"}.'


def _list_circumstances(record: Tree) -> dict[str, Any]:
    """List code, packages, precision, device and times of a training or a test."""
    git, hardware = record.get('git') or {}, record.get('hardware') or {}
    packages = record.get('packages') or {}
    code = git.get('commit', 'missing')
    if git.get('dirty'):
        code += ', with changes that were not committed (diff.patch)'
    return {
        'code': code,
        'toolkit': record.get('toolkit', 'missing'),
        'packages': ', '.join(f'{k} {packages[k]}' for k in PACKAGES if k in packages) or 'missing',
        'precision': ((record.get('config') or {}).get('runtime') or {}).get('precision', 'fp32'),
        'device': f'{record.get("device", "missing")}; {hardware.get("cpu", "CPU not recorded")}'
        + ''.join(f'; {gpu}' for gpu in hardware.get('gpus') or []),
        'started, ended': f'{record.get("started", "missing")}, {record.get("ended") or "missing"}',
    }


def format_inline(node: Any) -> str:
    """Format a part of a config in one line."""
    if not isinstance(node, Mapping):
        return json.dumps(node, ensure_ascii=False)
    plain = (bool, int, float, str, type(None))
    return ', '.join(
        f'{key} {value if isinstance(value, plain) else json.dumps(value, ensure_ascii=False)}'
        for key, value in node.items()
    )
