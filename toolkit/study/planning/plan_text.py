"""Writes a plan as text: what differs between conditions, the state of runs, what is deleted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from toolkit.config.dump import dump_inline
from toolkit.errors import list_integers
from toolkit.io.run_records import PlannedRun, RunStatus
from toolkit.io.tables.formatting import (
    MISSING,
    format_count,
    format_duration,
    format_memory,
    format_text_table,
)
from toolkit.study.design_points import describe_fraction, find_fraction
from toolkit.study.planning.estimate import Estimate, measure_folder
from toolkit.study.planning.plan_power import PlannedPower
from toolkit.study.planning.planned_study import Plan
from toolkit.study.planning.search_text import describe_search
from toolkit.study.reconcile import ReconciledRun, describe_changes, list_users

# Characters of a line with a change; an added component may have many arguments.
LONGEST = 160


def plan_text(
    plan: Plan,
    entries: list[ReconciledRun],
    folder: Path,
    estimate: Estimate | None = None,
    power: PlannedPower | None = None,
) -> str:
    """Write the plan of a study.

    Args:
        plan: from `make_plan`.
        entries: its runs, from `reconcile`.
        folder: folder of the study.
        estimate: needs of the runs to do; None to leave them out.
        power: power of the tests; None to leave it out.
    """
    study = plan.study
    seeds = list_integers(study.spec.seeds)
    counts = Counter(_state(entry, folder) for entry in entries)
    states = ', '.join(f'{count} {state}' for state, count in counts.items())
    rows = format_text_table(_list_rows(plan, entries, folder), left=6)
    lines = [
        f'study {study.name}: {len(entries)} runs ({states}), in {folder}',
        f'seeds {seeds}; compared with {study.compare_to}'
        + (f'; metrics {", ".join(study.metrics)}' if study.metrics else ''),
        *_describe_processes(plan),
        *([str(estimate)] if estimate is not None and any(e.pending for e in entries) else []),
        '',
        'changes from the base',
        *_changes(plan),
        *_describe_design(plan),
        *describe_search(plan, entries),
        '',
        'runs',
        *(f'  {line}' for line in rows.splitlines()),
    ]
    if power is not None and len(plan.configs) > 1:
        count = f'up to {power.looks[-1]}' if power.looks else power.seeds
        title = f'smallest differences that {count} seeds show'
        lines += ['', title, *power.describe()]
    users = list_users(entries, folder)
    deleted = [_describe_deleted(entry, users) for entry in entries if entry.discard]
    if deleted := list(filter(None, deleted)):
        lines += ['', 'deleted when the study starts', *(f'  {line}' for line in deleted)]
    problems = [str(problem) for problem in plan.find_data_problems()]
    if problems:
        lines += ['', 'cannot be started yet', *(f'  {line}' for line in problems)]
    if plan.warnings:
        lines += ['', 'warnings', *(f'  {warning}' for warning in plan.warnings)]
    return '\n'.join(lines)


def _describe_processes(plan: Plan) -> list[str]:
    """Describe how many processes train a run, and how many samples an iteration then has."""
    together = [run for run in plan.runs if run.processes > 1]
    if not together:
        return []
    count = together[0].processes
    configs = [plan.configs[run.id].tree for run in together]
    sizes = {int((tree['train_dataloader'] or {}).get('batch_size', 1)) for tree in configs}
    size = sizes.pop() if len(sizes) == 1 else 'batch_size'
    return [f'each run trains by {count} processes: {count} x {size} samples in an iteration']


def _describe_design(plan: Plan) -> list[str]:
    """Describe the resolution and the aliases of a fraction, and the orders of Shapley values."""
    spec = plan.study.spec
    lines: list[str] = []
    if spec.design == 'fractional':
        found = find_fraction(len(spec.switches), spec.resolution, spec.runs)
        lines = [] if found is None else [*describe_fraction(list(spec.switches), *found)]
    elif spec.design == 'shapley':
        count = spec.permutations
        lines = ['all orders, exactly' if count is None else f'{count} sampled orders']
    return ['', f'design: {spec.design}', *(f'  {line}' for line in lines)] if lines else []


def _changes(plan: Plan) -> list[str]:
    """List the differences of each condition from the base, with parameters and MACs."""
    firsts: dict[str, PlannedRun] = {}
    for run in plan.runs:
        if run.trial is None:
            firsts.setdefault(_describe_condition(run), run)
    every = [run.changes for run in firsts.values()]
    shared = [c for c in every[0] if len(every) > 1 and all(c in changes for changes in every)]
    lines = ['  every run', *(f'    {_shorten(change)}' for change in shared)] if shared else []
    for condition, run in firsts.items():
        own = [_shorten(change) for change in run.changes if change not in shared]
        nothing = 'nothing else' if shared else 'nothing: the base'
        lines += [f'  {condition}', *(f'    {change}' for change in own or [nothing])]
        base, costs = plan.base_costs[run.data], (run.parameters, run.macs)
        for name, before, after in zip(('parameters', 'MACs'), base, costs, strict=True):
            if before != after:
                lines.append(f'    {name}: {_count(before)} -> {_count(after)}')
    return lines


def _shorten(change: str) -> str:
    return change if len(change) <= LONGEST else f'{change[: LONGEST - 4]} ...'


def _describe_condition(run: PlannedRun) -> str:
    settings = [f'{path}={dump_inline(value)}' for path, value in run.settings.items()]
    return ', '.join([run.variant, *settings, *filter(None, [run.data])])


def _count(value: int | None) -> str:
    return 'not known' if value is None else f'{value:,}'


def _list_rows(plan: Plan, entries: list[ReconciledRun], folder: Path) -> list[list[str]]:
    """List the runs; those of a condition that are in the same state stand in one row."""
    costs = {(entry.run.parameters, entry.run.macs) for entry in entries}
    groups: dict[tuple[str, str, str], list[ReconciledRun]] = {}
    for entry in entries:
        key = _describe_condition(entry.run), _state(entry, folder), _note(plan, entry, folder)
        groups.setdefault(key, []).append(entry)
    rows = []
    for (condition, state, note), group in groups.items():
        run = group[0].run
        row = [condition, _describe_repeats([entry.run for entry in group]), state]
        if len(costs) > 1:
            row += [f'{format_count(run.parameters)} parameters', f'{format_count(run.macs)} MACs']
        rows.append([*row, note])
    return rows


def _describe_repeats(runs: list[PlannedRun]) -> str:
    """List seeds, and folds where there are any: 'seeds 0, 1, folds 0, 1, 2'."""
    texts = []
    for name, values in (
        ('seed', [run.seed for run in runs]),
        ('fold', [run.fold for run in runs if run.fold is not None]),
    ):
        known = list(dict.fromkeys(values))
        if known:
            texts.append(f'{name}{"s" if len(known) > 1 else ""} {list_integers(known)}')
    return ', '.join(texts)


def _note(plan: Plan, entry: ReconciledRun, folder: Path) -> str:
    run, state = entry.run, _state(entry, folder)
    if state == 'equal to another':
        return str(entry.folder.parent if entry.folder.name == run.id else entry.folder)
    if entry.other:
        return describe_changes(plan, entry) + ('; see --rerun changed' if entry.blocked else '')
    if entry.pending and run.trained_in not in (None, entry.folder):
        return f'trained in {run.trained_in.name}'
    if state == 'failed' or state == 'finished' and run.other_code:
        return entry.status.message or 'made with other code or packages'
    return ''


def _describe_deleted(entry: ReconciledRun, users: Mapping[Path, Sequence[str]]) -> str:
    """Describe the folder of a run that is emptied; '' where there is nothing in it."""
    status, size = RunStatus.read(entry.folder), measure_folder(entry.folder)
    if not size:
        return ''
    seconds = MISSING if status.seconds is None else format_duration(status.seconds)
    text = f'{entry.folder} ({status.status}, {seconds} of run time, {format_memory(size)})'
    names = users.get(entry.folder)
    return f'{text}, which the study {", ".join(names)} uses too' if names else text


def _state(entry: ReconciledRun, folder: Path) -> str:
    if entry.other:
        what = 'of another config' if 'config' in entry.other else 'of other data'
        return 'to replace' if entry.pending else what
    if not entry.pending and (
        entry.folder.name != entry.run.id or not entry.folder.is_relative_to(folder)
    ):
        return 'equal to another'
    if entry.pending:
        started = entry.status.attempts and not entry.discard
        return 'to replace' if entry.discard else 'to resume' if started else 'to do'
    return entry.status.status
