"""Where the runs of a study stand: which are done, which are to be run, which another study has."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from toolkit.config.diff import compare_configs
from toolkit.config.yaml_file import ConfigError, read_yaml
from toolkit.errors import ToolkitError
from toolkit.study.fingerprint import Identity
from toolkit.study.launchers.job import METRICS, PLAN, RUNS, Status, read_status
from toolkit.study.launchers.worker import trained
from toolkit.study.plan import Plan, PlannedRun


@dataclass(frozen=True)
class Choice:
    """Which runs are to be run: of these variants and seeds (all where empty), and again those that
    `rerun` names: 'failed', 'changed' (made with another config, code or data)."""

    variants: Collection[str] = ()
    seeds: Collection[int] = ()
    rerun: Collection[str] = ()

    def has(self, run: PlannedRun) -> bool:
        return (not self.variants or run.variant in self.variants) and (
            not self.seeds or run.seed in self.seeds
        )


@dataclass(frozen=True)
class Placed:
    """A run and where it stands.

    Attributes:
        folder: its own, or that of an equal run that is reused.
        todo: whether it is to be run.
        clear: what its folder holds is of another run, and goes before it is run.
        trained_in: where its training is or will be, None where there is none.
    """

    run: PlannedRun
    folder: Path
    status: Status
    todo: bool = False
    clear: bool = False
    trained_in: Path | None = None

    @property
    def identity(self) -> Identity:
        return self.run.identity


@dataclass(frozen=True)
class _Other:
    """A run that a study beside this one has."""

    folder: Path
    status: Status


def place_runs(plan: Plan, folder: Path, choice: Choice) -> list[Placed]:
    """Where each run of a plan stands; changes nothing.

    Raises:
        ToolkitError: a run was made with another config than the study now has.
    """
    placed = [_own(run, folder, choice) for run in plan.runs]
    _refuse_changed(placed, choice)
    others = list(_others(folder))
    keys = {Identity(**o.status.identity).key: o for o in others if _is_result(o)}
    first = {
        entry.identity.key: number
        for number, entry in enumerate(placed)
        if not entry.todo
        and entry.status.status == 'finished'
        and entry.status.identity == entry.identity.to_dict()
    }
    for number, entry in enumerate(placed):
        key = entry.identity.key
        if entry.todo and entry.identity.data is not None:
            if key in keys:
                other = keys[key]
                placed[number] = Placed(entry.run, other.folder, other.status)
            elif key in first:  # an equal run of this study does for both
                twin = placed[first[key]]
                placed[number] = replace(entry, folder=twin.folder, status=twin.status, todo=False)
        if entry.todo:
            first.setdefault(key, number)
    return _with_training(placed, others)


def _own(run: PlannedRun, folder: Path, choice: Choice) -> Placed:
    """A run by what its own folder holds."""
    own = folder / RUNS / run.id
    status = read_status(own)
    made_with = status.identity
    chosen = choice.has(run)
    planned = run.identity.to_dict()
    if made_with and made_with.get('config') != planned['config']:
        return Placed(run, own, Status(), todo=chosen, clear=True)
    changed = bool(made_with) and any(
        planned[part] is not None and made_with.get(part) != planned[part]
        for part in ('code', 'data')
    )
    if status.status == 'finished':
        again = chosen and changed and 'changed' in choice.rerun
        return Placed(run, own, status, todo=again, clear=again)
    if status.status == 'failed':
        again = chosen and 'failed' in choice.rerun
        return Placed(run, own, status, todo=again, clear=again and changed)
    # What was begun with other code or data is not gone on with: it would be neither run.
    return Placed(run, own, status, todo=chosen, clear=changed)


def _refuse_changed(placed: list[Placed], choice: Choice) -> None:
    other = [
        entry
        for entry in placed
        if entry.clear
        and entry.status == Status()
        and (entry.folder / 'config.yaml').exists()
        and 'changed' not in choice.rerun
    ]
    if not other:
        return
    entry = other[0]
    try:
        before = read_yaml(entry.folder / 'config.yaml', str(entry.folder))[0]
        changes = '; '.join(map(str, compare_configs(before, entry.run.config.tree)[:3]))
        changes = changes or 'the order of its keys'
    except ConfigError:
        changes = 'its config.yaml is damaged'
    more = f' (and {len(other) - 1} more runs)' if len(other) > 1 else ''
    raise ToolkitError(
        f'{entry.folder}{more} was made with another config than the study now has: {changes}; '
        'replace such runs by --rerun changed, or choose another --work-dir'
    )


def changed_code(placed: list[Placed]) -> list[str]:
    """Names of finished runs that were made with other code or data than there are now."""
    return [
        entry.run.id
        for entry in placed
        if entry.status.status == 'finished'
        and any(
            entry.identity.to_dict()[part] not in (None, entry.status.identity.get(part))
            for part in ('code', 'data')
        )
    ]


# -- equal runs and trainings that are there already ----------------------------------------------


def _others(folder: Path) -> Iterator[_Other]:
    """The runs of the studies beside a study's folder."""
    for plan in sorted(folder.parent.glob(f'*/{PLAN}')):
        if plan.parent == folder:
            continue
        try:
            record = json.loads(plan.read_text(encoding='utf-8'))
            folders = {plan.parent / run['folder'] for run in record['runs']}
            found = [_Other(path, read_status(path)) for path in sorted(folders)]
        except (OSError, ValueError, KeyError, TypeError, ToolkitError):
            continue  # damaged, or no study of ours: nothing is taken from it
        parts = set(Identity('', '').to_dict())
        yield from (other for other in found if set(other.status.identity) == parts)


def _is_result(other: _Other) -> bool:
    return other.status.status == 'finished' and (other.folder / METRICS).is_file()


def _with_training(placed: list[Placed], others: list[_Other]) -> list[Placed]:
    """Runs whose training is equal share one, in the folder of one of them."""
    groups: dict[str, list[Placed]] = {}
    for entry in placed:
        if entry.identity.train is not None:
            groups.setdefault(entry.identity.train, []).append(entry)
    where: dict[str, Path] = {}
    for train, group in groups.items():
        # A finished run that is kept may be of other code than there is now.
        own = [e for e in group if not e.clear and e.status.identity.get('train') == train]
        found = [entry.folder for entry in own if trained(entry.folder)]
        todo = [entry for entry in group if entry.todo]
        if todo and not found:
            found = [o.folder for o in others if _same_training(o, train) and trained(o.folder)]
            found += [entry.folder for entry in own if entry.todo and entry.status.attempts]
            found.append(todo[0].folder)
        if found:
            where[train] = found[0]
    return [replace(e, trained_in=where.get(e.identity.train or '')) for e in placed]


def _same_training(other: _Other, train: str) -> bool:
    identity = other.status.identity
    return identity.get('train') == train and identity.get('data') is not None
