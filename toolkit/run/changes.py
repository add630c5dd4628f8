"""Compares a run with its resumption or repetition: config, data, plugins, code, processes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from toolkit.errors import ToolkitError, list_few

# Names that a message lists.
SHOWN = 5
# Keys of the length of a training.
LENGTHS = ('train_cfg.max_epochs', 'train_cfg.max_iters')
# Keys of a config that may differ when a run is resumed: how it is computed, and how long.
FREE = (
    'runtime',
    'extra',
    'trackers',
    'allow_overlap',
    'train_cfg.max_minutes',
    *LENGTHS,
)
# A number that may change with the number of processes.
BATCH_SIZE = 'train_dataloader.batch_size'
FREE_LOADER = ('num_workers', 'pin_memory', 'persistent_workers', 'prefetch_factor')
# Changes that `--allow-changed` allows when a run is resumed.
ALLOWED = ('data', 'plugins', 'threads', 'processes', 'schedules')


def find_differences(a: Any, b: Any, path: str = '') -> list[str]:
    """Finds the dotted paths whose values differ."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return [
            found
            for key in dict.fromkeys([*a, *b])
            for found in find_differences(
                a.get(key), b.get(key), f'{path}.{key}' if path else str(key)
            )
        ]
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return [] if list(a) == list(b) else [path]
    return [] if a == b and type(a) is type(b) else [path]


def find_config_changes(before: Any, after: Any) -> list[str]:
    """Finds the dotted paths of two configs that differ; plugins count by their content."""
    changed = find_differences(before, after)
    return [key for key in changed if key != 'plugins' and not key.startswith('plugins.')]


def check_config(
    work_dir: Path, before: Any, after: Any, processes: tuple[int, int] = (1, 1)
) -> None:
    """Checks that a run is resumed with the config that it was started with.

    Args:
        work_dir: folder of the run.
        before: config of the run.
        after: config of its resumption.
        processes: number of processes before and after. Where they differ, the batch of each
            process must differ too, so that an iteration has the same samples in all.
    Raises:
        ToolkitError: names the keys that differ, beyond how and how long it is computed.
    """
    free = ''
    if processes[0] != processes[1]:
        free = BATCH_SIZE
        _check_batch_size(work_dir, before, after, processes)
    found = find_config_changes(before, after)
    changed = [key for key in found if key != free and not _is_free(key)]
    if any(key in LENGTHS for key in found):
        # Whether they are the same so far is found out once they are built.
        changed = [key for key in changed if not key.startswith('param_scheduler.')]
    if changed:
        raise ToolkitError(
            f'cannot resume {work_dir}: the config differs in {list_few(changed, SHOWN)}; resume '
            f'with the config that the run was started with ({work_dir / "config.yaml"}), or '
            'choose another --work-dir'
        )


def _check_batch_size(work_dir: Path, before: Any, after: Any, processes: tuple[int, int]) -> None:
    sizes = [int((c.get('train_dataloader') or {}).get('batch_size', 1)) for c in (before, after)]
    total = sizes[0] * processes[0]
    if sizes[1] * processes[1] == total:
        return
    size, rest = divmod(total, processes[1])
    todo = (
        f'set {BATCH_SIZE}={size}'
        if not rest
        else f'{total} cannot be shared evenly by {processes[1]}: start another number'
    )
    raise ToolkitError(
        f'cannot resume {work_dir} on {processes[1]} processes with batches of {sizes[1]}: it was '
        f'on {processes[0]} with batches of {sizes[0]}, {total} samples in an iteration; {todo}'
    )


def check_test_config(run_dir: Path, work_dir: Path, before: Any, after: Any) -> None:
    """Checks that results of a changed config do not take the place of a run's own.

    How fast it is computed may differ; the precision may not, since it changes values.

    Args:
        run_dir: folder of the run.
        work_dir: where the test writes.
        before: config of the run.
        after: config of the test.
    Raises:
        ToolkitError: the test would write into the run, and names the keys that differ.
    """
    if work_dir.resolve() != run_dir.resolve():
        return
    changed = [
        key
        for key in find_config_changes(before, after)
        if key == 'runtime.precision' or not _is_free(key)
    ]
    if changed:
        raise ToolkitError(
            f'{run_dir} is of a run with another {list_few(changed, SHOWN)}; results of a changed '
            'config belong into another folder: give --work-dir DIR'
        )


def check_circumstances(
    work_dir: Path,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    allowed: Collection[str] = (),
) -> list[str]:
    """Checks that data, plugins, threads and processes are those that a run was started with.

    Args:
        work_dir: folder of the run.
        before: record of the run.
        after: record of its resumption.
        allowed: changes that are allowed, of `ALLOWED`.
    Returns:
        The changes, such as 'data.train', which were allowed.
    Raises:
        ToolkitError: something changed that is not allowed.
    """
    found = list_changed_circumstances(before, after)
    refused = [key for key in found if key.partition('.')[0] not in allowed]
    if not refused:
        return found
    counts = ('threads', 'processes')
    values = [f'{key} (was {before[key]}, is {after[key]})' for key in refused if key in counts]
    names = [key for key in refused if key not in counts] + values
    hints = []
    if any(key.startswith('plugins.') for key in refused):
        hints.append(f'{work_dir / "config.yaml"} uses the plugins that the run has kept')
    if 'threads' in refused:
        hints.append(f'runtime.threads={before["threads"]} or OMP_NUM_THREADS sets the threads')
    raise ToolkitError(
        f'cannot resume {work_dir} as the same run: {list_few(names, SHOWN)} changed since it was '
        f'started{"".join(f"; {hint}" for hint in hints)}; --allow-changed resumes it all the same '
        'and records that'
    )


def list_changed_circumstances(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Lists the data, plugins, threads and processes in which two records differ."""
    data = before.get('data') or {}
    found = [f'data.{part}' for part in data if data[part] != after['data'].get(part)]
    kept, now = _hash_by_name(before), _hash_by_name(after)
    if kept is not None and now is not None:
        names = dict.fromkeys(name for name, _ in [*kept, *now])
        found += [
            f'plugins.{name}'
            for name in names
            if [h for n, h in kept if n == name] != [h for n, h in now if n == name]
        ]
    # A number of threads that the config names is a change of the config.
    if before.get('threads') != after['threads'] and _threads(before) == _threads(after):
        found.append('threads')
    if before.get('processes', 1) != after['processes']:
        found.append('processes')
    return found


def list_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Lists the differences between the circumstances of two runs, a line each."""
    found = []
    old, new = before['git'], after['git']
    if old.get('commit') != new.get('commit'):
        found.append(f'the code was at commit {old.get("commit")} and is at {new.get("commit")}')
    for key, what in (('sources', 'changed source'), ('packages', 'changed package')):
        # A module that only one of them imported says nothing about what ran.
        names = [n for n in before[key] if after[key].get(n, before[key][n]) != before[key][n]]
        if names:
            found.append(f'{what}: {list_few(names, SHOWN)}')
    for role in before['data']:
        if before['data'][role] != after['data'].get(role):
            found.append(f'the {role} data is not the same (its fingerprint changed)')
    for key in ('python', 'threads', 'processes', 'device', 'hardware'):
        if before[key] != after[key]:
            found.append(f'{key} was {before[key]} and is {after[key]}')
    resumed = list(dict.fromkeys(key for r in before['resumed'] for key in r['changed']))
    if resumed:
        found.append(f'the first run was resumed with changes: {list_few(resumed, SHOWN)}')
    return found


def _hash_by_name(record: Mapping[str, Any]) -> list[tuple[str, str]] | None:
    """The hash of each plugin by its file name; None for a record that has none."""
    kept = record.get('plugins')
    return None if kept is None else [(Path(k['plugin']).name, k['sha256']) for k in kept]


def _threads(record: Mapping[str, Any]) -> Any:
    return ((record.get('config') or {}).get('runtime') or {}).get('threads')


def _is_free(key: str) -> bool:
    if any(key == free or key.startswith(f'{free}.') for free in FREE):
        return True
    section, _, name = key.partition('.')
    return section.endswith('_dataloader') and name in FREE_LOADER
