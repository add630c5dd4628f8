"""The run capsule: what a run leaves behind so that it can be understood and repeated.

`config.yaml` (resolved), `origins.json`, `capsule.json` (the command, seeds, versions, hardware,
the code, the data, how it went), copies of the user's plugins and, where the checkout was changed,
`diff.patch`.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import toolkit
from toolkit.config import Config
from toolkit.config.dump import dump
from toolkit.config.run_plugins import has_addresses
from toolkit.engine.components import RunComponents
from toolkit.engine.process import distributed
from toolkit.errors import ToolkitError
from toolkit.io import atomic_write
from toolkit.io.json_values import parse_json
from toolkit.io.record_shapes import check_shape
from toolkit.io.run_layout import CAPSULE, CONFIG, ORIGINS, PATCH
from toolkit.io.run_records import utc_now
from toolkit.io.verification import plugin_trust
from toolkit.registry import plugin_index
from toolkit.run import changes, kept_plugins

if TYPE_CHECKING:
    from toolkit.run.run_length import LengthChange

# Readers rely on these; a record may be damaged, or come from somebody else.
_SHAPE = {
    'toolkit': str,
    'kind': str,
    'status': str,
    'started': str,
    'ended': (str, None),
    'command': [str],
    'seed': int,
    'processes': int,
    'device': str,
    'threads': int,
    'git': dict,
    'sources': {str: str},
    'data': ({str: (str, None)}, None),
    'python': str,
    'packages': {str: str},
    'hardware': {'system': str, 'cpu': str, 'gpus': [str]},
    'config': (dict, None),
    'plugins': ([{'plugin': str, 'copy': (str, None), 'sha256': str}], None),
    'resumed': [{'at': str, 'changed': [str]}],
}
# A git that takes longer (a huge tree, a slow disk) is not worth waiting for.
GIT_SECONDS = 5


@dataclass
class CapsuleInput:
    """Facts about a run that the command line passes to its capsule.

    Args:
        tree: the resolved config as plain values.
        text: the same as YAML.
        origins: dotted path -> `FILE:LINE` that it came from.
        command: the command line.
    """

    tree: dict[str, Any]
    text: str = ''
    origins: Mapping[str, Any] = field(default_factory=dict)
    command: list[str] = field(default_factory=lambda: list(sys.argv))


def make_capsule_input(config: Config) -> CapsuleInput:
    """The config as a run's capsule keeps it."""
    origins = {'.'.join(path): str(origin) for path, origin in config.origins.items()}
    return CapsuleInput(config.tree, dump(config.tree), origins)


def read(work_dir: Path) -> dict[str, Any]:
    """The record of the run in a folder.

    Raises:
        ToolkitError: there is none, or it is damaged.
    """
    path = work_dir / CAPSULE
    try:
        record = parse_json(path.read_text(encoding='utf-8'))
        check_shape(record, _SHAPE)
    except OSError as error:
        raise ToolkitError(f'{work_dir} holds no run: no {CAPSULE} in it') from error
    except ValueError as error:
        raise ToolkitError(f'{path} is damaged: {error}') from error
    return record


def begin(
    work_dir: Path,
    given: CapsuleInput | None,
    components: RunComponents,
    kind: str,
    allow_changed: Collection[str] = (),
    change: LengthChange | None = None,
    **extra: Any,
) -> None:
    """Writes the capsule as a run starts, or notes in it that the run is resumed.

    Args:
        work_dir: folder of the run.
        given: config and command line; None if the run was started without them.
        components: of the run.
        kind: 'train' or 'test'.
        allow_changed: see `toolkit.run.changes.check_circumstances`.
        change: of its length.
        extra: further entries of the record.
    Raises:
        ToolkitError: the run is resumed with other data, plugins, threads or processes; nothing was
            written.
        RunError: a file cannot be written.
    """
    previous = read(work_dir) if (work_dir / CAPSULE).exists() else None
    code = _code()
    patch = code.pop('patch', '')
    record: dict[str, Any] = {
        'toolkit': toolkit.__version__,
        'kind': kind,
        'status': 'running',
        'started': utc_now(),
        'ended': None,
        'command': given.command if given else list(sys.argv),
        'seed': components.run.randomness.seed,
        'processes': distributed.get_world_size(),
        'device': str(components.device),
        'threads': torch.get_num_threads(),
        'git': code,
        'sources': _sources(),
        'data': components.fingerprints(),
        'python': platform.python_version(),
        'packages': _packages(),
        'hardware': describe_hardware(),
        'config': given.tree if given else None,
        'plugins': kept_plugins.describe_plugins(given.tree) if given else None,
        'resumed': [],
        **extra,
    }
    if previous is not None and kind == 'train':
        found = changes.find_config_changes(previous.get('config'), record['config'])
        found += changes.check_circumstances(work_dir, previous, record, allow_changed)
        record['started'] = previous['started']
        resumed: dict[str, Any] = {'at': utc_now(), 'changed': found}
        if change is not None:
            keys = (f'param_scheduler.{name}' for name in change.schedules)
            found += [key for key in keys if not any(k.startswith(key) for k in found)]
            resumed['length'] = change.to_json()
        record['resumed'] = [*previous['resumed'], resumed]
    if given is not None:
        atomic_write.write(work_dir / CONFIG, given.text)
        atomic_write.write(work_dir / ORIGINS, _json(dict(given.origins)))
        kept_plugins.keep_plugins(work_dir, record['plugins'])
        if has_addresses(given.tree):
            plugin_trust.remember([work_dir / CONFIG])
    if patch:
        atomic_write.write(work_dir / PATCH, patch)
    # The last one: a folder with a capsule holds a run that has all of these files.
    atomic_write.write(work_dir / CAPSULE, _json(record))


def end(work_dir: Path, status: str, **extra: Any) -> None:
    """Note how the run went: 'finished', 'interrupted' or 'failed: why'."""
    record = read(work_dir)
    record.update(status=status, ended=utc_now(), **extra)
    atomic_write.write(work_dir / CAPSULE, _json(record))


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, default=str) + '\n'


def _packages() -> dict[str, str]:
    """Installed distributions -> versions, from the names of their folders (reading each one's
    metadata would take as long as many a run's first hundred iterations)."""
    found = {}
    for folder in sys.path:
        if folder.endswith('packages') and os.path.isdir(folder):
            for entry in Path(folder).glob('*.dist-info'):
                name, _, version = entry.name.removesuffix('.dist-info').rpartition('-')
                found.setdefault(name, version)  # the first one on the path is the one imported
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))


def _sources() -> dict[str, str]:
    """A hash of every module of the toolkit and of plugins that this process has imported."""
    roots = {name.split('.')[0] for name in plugin_index.get_roots()}
    hashes = {}
    for name, module in sorted(sys.modules.items()):
        file = getattr(module, '__file__', None)
        if name.split('.')[0] in roots and file and file.endswith('.py'):
            try:
                content = Path(file).read_bytes()
            except OSError:
                continue  # gone since it was imported: the run does not depend on it any more
            hashes[name] = hashlib.sha256(content).hexdigest()[:16]
    return hashes


def _code() -> dict[str, Any]:
    """Commit and state of the checkout that the toolkit runs from; empty where it is installed."""
    package = Path(toolkit.__file__).parent
    root = next((p for p in package.parents if (p / '.git').exists()), None)
    if (
        root is None
        or _git(root, 'ls-files', '--error-unmatch', str(package / '__init__.py')) is None
    ):
        return {}
    commit = _git(root, 'rev-parse', 'HEAD')
    patch = _git(root, 'diff', 'HEAD')
    if commit is None or patch is None:
        return {}
    return {'commit': commit.strip(), 'dirty': bool(patch), 'patch': patch}


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ['git', '-C', str(root), *arguments],
            capture_output=True,
            timeout=GIT_SECONDS,
            env={**os.environ, 'GIT_OPTIONAL_LOCKS': '0'},
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode('utf-8', 'replace') if done.returncode == 0 else None


def describe_hardware() -> dict[str, Any]:
    """Describes the machine: system, CPU, cores and GPUs."""
    cpu = platform.processor()
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
        cpu = next((x.split(':', 1)[1].strip() for x in lines if x.startswith('model name')), cpu)
    except OSError:
        pass  # no Linux: platform's answer stays
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {'system': platform.platform(), 'cpu': cpu, 'cores': os.cpu_count(), 'gpus': gpus}
