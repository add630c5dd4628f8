"""Reconciles planned runs with the results on disk, including those of sibling studies."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from toolkit.config.diff import compare_configs
from toolkit.config.yaml_file import ConfigError, read_yaml
from toolkit.errors import ToolkitError
from toolkit.io.json_values import parse_json
from toolkit.io.run_layout import CAPSULE, CONFIG, METRICS_FILE, PLAN, RUNS, STATUS, read_object
from toolkit.io.run_records import Fingerprint, PlannedRun, RunStatus
from toolkit.io.run_results import current_status
from toolkit.study.launchers.trained_weights import holds_training
from toolkit.study.planning.planned_study import Plan


@dataclass(frozen=True)
class RunFilter:
    """Selects the runs of a study that are to be run.

    Args:
        variants: names of variants; empty for all.
        seeds: random seeds; empty for all.
        rerun: runs that are run again: 'failed', 'changed' (made with another config, code or
            data).
        trials: True for the trials of a search, False for what is tested, None for both.
    """

    variants: Collection[str] = ()
    seeds: Collection[int] = ()
    rerun: Collection[str] = ()
    trials: bool | None = None

    def selects(self, run: PlannedRun) -> bool:
        if self.trials is not None:
            if self.trials != (run.trial is not None):
                return False
            if self.trials:
                return True
        return (not self.variants or run.variant in self.variants) and (
            not self.seeds or run.seed in self.seeds
        )


@dataclass(frozen=True)
class ReconciledRun:
    """A planned run and its state on disk.

    Attributes:
        run: with the absolute folder of its result, which may be that of an equal run, and the
            fingerprint of the result that is kept.
        status: its status; waiting where the folder holds another run.
        pending: whether it is still to be run.
        discard: whether its folder is emptied before the run, since it holds another one.
        other: parts of the fingerprint by which the result in its folder is no result of this
            run: 'config', 'code', 'data'.
        blocked: whether it would be run, if its folder might be emptied: `--rerun changed`.
    """

    run: PlannedRun
    status: RunStatus
    pending: bool = False
    discard: bool = False
    other: tuple[str, ...] = ()
    blocked: bool = False

    @property
    def folder(self) -> Path:
        return self.run.folder

    @property
    def is_finished(self) -> bool:
        return self.status.status == 'finished'


@dataclass(frozen=True)
class _SiblingRun:
    """A run of a study beside this one."""

    folder: Path
    status: RunStatus
    fingerprint: Fingerprint


def reconcile(plan: Plan, folder: Path, choice: RunFilter | None = None) -> list[ReconciledRun]:
    """Compare the runs of a plan with the results in its folder and beside it; changes nothing.

    Args:
        plan: from `make_plan`.
        folder: absolute folder of the study.
        choice: the runs that are to be run; all by default.
    """
    choice = choice or RunFilter()
    entries = [_reconcile_run(run, folder, choice) for run in plan.runs]
    siblings = [*_read_renamed(folder, plan), *_read_siblings(folder)]
    by_key = {s.fingerprint.key: s for s in siblings if _is_result(s)}
    first = {
        entry.run.fingerprint.key: number
        for number, entry in enumerate(entries)
        if not entry.pending and entry.is_finished and not entry.run.other_code
    }
    for number, entry in enumerate(entries):
        key = entry.run.fingerprint.key
        # A result that exists is shown, whether or not its run would be started now.
        is_open = entry.pending or entry.blocked or entry.status.status == 'waiting'
        if is_open and entry.run.fingerprint.data is not None:
            if key in by_key:
                sibling = by_key[key]
                run = replace(entry.run, folder=sibling.folder)
                entries[number] = ReconciledRun(run, sibling.status)
            elif key in first:  # an equal run of this study serves both
                twin = entries[first[key]]
                run = replace(entry.run, folder=twin.folder)
                entries[number] = ReconciledRun(run, twin.status)
        if entry.pending:
            first.setdefault(key, number)
    return _share_trainings(entries, siblings)


def _reconcile_run(planned: PlannedRun, folder: Path, choice: RunFilter) -> ReconciledRun:
    """Compare a run with its own folder."""
    run = replace(planned, folder=folder / planned.folder)
    status = RunStatus.read(run.folder)
    selected = choice.selects(run)
    if status.fingerprint is None and status.status == 'waiting':
        return ReconciledRun(run, status, pending=selected)
    made = status.fingerprint or Fingerprint()
    differs = run.fingerprint.differences(made)
    finished = status.status in ('finished', 'pruned')
    if 'config' in differs or ('data' in differs and finished):
        blocked = selected and 'changed' not in choice.rerun and (run.folder / CONFIG).exists()
        pending = selected and not blocked
        return ReconciledRun(run, current_status(run), pending, pending, differs, blocked)
    if finished:
        again = selected and bool(differs) and 'changed' in choice.rerun
        kept = _keep_result(run, made) if differs and not again else run
        return ReconciledRun(kept, status, again, discard=again)
    if status.status == 'failed':
        again = selected and 'failed' in choice.rerun
        return ReconciledRun(run, status, again, discard=again and bool(differs))
    # A run that was begun with other code or data is not resumed: it would be neither.
    return ReconciledRun(run, status, selected, discard=bool(differs))


def _keep_result(run: PlannedRun, made: Fingerprint) -> PlannedRun:
    """Let a result that was made with other code be that of the run, and mark it."""
    fingerprint = replace(run.fingerprint, code=made.code, train=made.train)
    return replace(run, fingerprint=fingerprint, other_code=True)


def explain_blocked(plan: Plan, entries: list[ReconciledRun]) -> str:
    """Explain why runs are not run: their folders hold another run; '' if there are none."""
    blocked = [entry for entry in entries if entry.blocked]
    if not blocked:
        return ''
    entry = blocked[0]
    what = 'another config' if 'config' in entry.other else 'other data'
    more = f' (and {len(blocked) - 1} more runs)' if len(blocked) > 1 else ''
    return (
        f'{entry.folder}{more} was made with {what} than the study now has: '
        f'{describe_changes(plan, entry)}; '
        'replace such runs by --rerun changed, or choose another --work-dir'
    )


def describe_changes(plan: Plan, entry: ReconciledRun) -> str:
    """Describe by what the run in a folder differs from the planned one."""
    if 'config' not in entry.other:
        return 'a data set or a file that its config names has changed'
    file = entry.folder / CONFIG
    try:
        before = read_yaml(file, str(file.parent))[0]
    except (ConfigError, OSError):
        return 'its config.yaml is damaged'
    changes = list(map(str, compare_configs(before, plan.configs[entry.run.id].tree)[:3]))
    count, now = _read_processes(entry.folder), entry.run.processes
    if count not in (None, now):
        changes.append(f'trained by {count} process{"es" * (count != 1)}, the launcher says {now}')
    return '; '.join(changes) or 'the order of its keys'


def _read_processes(folder: Path) -> int | None:
    """Read how many processes have trained a run; None where it has not begun."""
    try:
        return (read_object(folder / CAPSULE) or {}).get('processes')
    except ToolkitError:
        return None


# -- equal runs and trainings that exist already ---------------------------------------------------


def _read_renamed(folder: Path, plan: Plan) -> Iterator[_SiblingRun]:
    """Read the runs that the plan no longer names; a variant may have a new name."""
    planned = {folder / run.folder for run in plan.runs}
    runs = folder / RUNS
    for path in sorted(runs.iterdir()) if runs.is_dir() else ():
        if path not in planned and (path / STATUS).is_file():
            try:
                status = RunStatus.read(path)
            except ToolkitError:
                continue  # damaged, and of no run of this plan
            if status.fingerprint is not None:
                yield _SiblingRun(path, status, status.fingerprint)


def list_users(entries: Collection[ReconciledRun], folder: Path) -> dict[Path, list[str]]:
    """List the studies beside a study that use the folders of runs which would be emptied.

    Args:
        entries: runs of the study.
        folder: of the study.
    Returns:
        Names of studies by the folder of a run.
    """
    emptied = {entry.folder for entry in entries if entry.discard}
    found: dict[Path, list[str]] = {}
    for plan in sorted(folder.parent.glob(f'*/{PLAN}')) if emptied else ():
        if plan.parent == folder:
            continue
        try:
            runs = parse_json(plan.read_text(encoding='utf-8'))['runs']
            used = {
                plan.parent / run[key]
                for run in runs
                for key in ('folder', 'trained_in')
                if run[key]
            }
        except (OSError, ValueError, KeyError, TypeError):
            continue  # damaged, or no study of ours
        for path in emptied & used:
            found.setdefault(path, []).append(plan.parent.name)
    return found


def _read_siblings(folder: Path) -> Iterator[_SiblingRun]:
    """Read the runs of the studies beside a study's folder."""
    for plan in sorted(folder.parent.glob(f'*/{PLAN}')):
        if plan.parent == folder:
            continue
        try:
            record = parse_json(plan.read_text(encoding='utf-8'))
            folders = {plan.parent / run['folder'] for run in record['runs']}
            found = [(path, RunStatus.read(path)) for path in sorted(folders)]
        except (OSError, ValueError, KeyError, TypeError, ToolkitError):
            continue  # damaged, or no study of ours: nothing is taken from it
        for path, status in found:
            if status.fingerprint is not None:
                yield _SiblingRun(path, status, status.fingerprint)


def _is_result(sibling: _SiblingRun) -> bool:
    return sibling.status.status == 'finished' and (sibling.folder / METRICS_FILE).is_file()


def _share_trainings(
    entries: list[ReconciledRun], siblings: list[_SiblingRun]
) -> list[ReconciledRun]:
    """Let runs whose training is equal share one, in the folder of one of them."""
    groups: dict[str, list[ReconciledRun]] = {}
    for entry in entries:
        if entry.run.fingerprint.train is not None:
            groups.setdefault(entry.run.fingerprint.train, []).append(entry)
    folders: dict[str, Path] = {}
    for train, group in groups.items():
        # A finished run that is kept may be of other code.
        own = [e for e in group if not e.discard and _was_trained(e.status, train)]
        found = [entry.folder for entry in own if holds_training(entry.folder)]
        pending = [entry for entry in group if entry.pending]
        if pending and not found:
            found = [s.folder for s in siblings if _shares_training(s, train)]
            found += [entry.folder for entry in own if entry.pending and entry.status.attempts]
            found.append(pending[0].folder)
        if found:
            folders[train] = found[0]
    return [
        replace(e, run=replace(e.run, trained_in=folders.get(e.run.fingerprint.train or '')))
        for e in entries
    ]


def _was_trained(status: RunStatus, train: str) -> bool:
    return status.fingerprint is not None and status.fingerprint.train == train


def _shares_training(sibling: _SiblingRun, train: str) -> bool:
    made = sibling.fingerprint
    return made.train == train and made.data is not None and holds_training(sibling.folder)
