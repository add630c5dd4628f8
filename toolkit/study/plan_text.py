"""Writes a plan as text: the changes and costs of each condition, the state of each run."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from toolkit.config.dump import dump_inline
from toolkit.io.formatting import format_text_table
from toolkit.io.run_layout import PlannedRun
from toolkit.study.plan import Plan
from toolkit.study.reconcile import ReconciledRun

# Characters of a line with a change; an added component may have many arguments.
LONGEST = 160


def plan_text(plan: Plan, entries: list[ReconciledRun], folder: Path) -> str:
    """Write the plan of a study.

    Args:
        plan: from `make_plan`.
        entries: its runs, from `reconcile`.
        folder: folder of the study.
    """
    study = plan.study
    seeds = ', '.join(map(str, study.spec.seeds))
    counts = Counter(_state(entry, folder) for entry in entries)
    states = ', '.join(f'{count} {state}' for state, count in counts.items())
    runs = format_text_table([_row(entry, folder) for entry in entries], left=5)
    lines = [
        f'study {study.name}: {len(entries)} runs ({states}), in {folder}',
        f'seeds {seeds}; compared with {study.compare_to}'
        + (f'; metrics {", ".join(study.metrics)}' if study.metrics else ''),
        '',
        'changes from the base',
        *_changes(plan),
        '',
        'runs',
        *(f'  {line}' for line in runs.splitlines()),
    ]
    problems = [str(problem) for problem in plan.data_problems]
    if problems:
        lines += ['', 'cannot be started yet', *(f'  {line}' for line in problems)]
    if plan.warnings:
        lines += ['', 'warnings', *(f'  {warning}' for warning in plan.warnings)]
    return '\n'.join(lines)


def _changes(plan: Plan) -> list[str]:
    """List the differences of each condition from the base, with parameters and MACs."""
    lines = []
    seen = set()
    for run in plan.runs:
        condition = _describe_condition(run)
        if condition in seen:
            continue
        seen.add(condition)
        lines.append(f'  {condition}')
        lines += [f'    {_shorten(change)}' for change in run.changes] or ['    nothing: the base']
        base, own = plan.base_costs[run.data], (run.parameters, run.macs)
        for name, before, after in zip(('parameters', 'MACs'), base, own, strict=True):
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


def _row(entry: ReconciledRun, folder: Path) -> list[str]:
    run = entry.run
    state = _state(entry, folder)
    note = ''
    if state == 'equal to another':
        note = str(entry.folder)
    elif entry.pending and run.trained_in not in (None, entry.folder):
        note = f'trained in {run.trained_in.name}'
    elif state == 'failed' or state == 'finished' and run.other_code:
        note = entry.status.message or 'made with other code or packages'
    return [run.id, state, f'{_count(run.parameters)} parameters', f'{_count(run.macs)} MACs', note]


def _state(entry: ReconciledRun, folder: Path) -> str:
    if entry.other:
        return 'of another config' if 'config' in entry.other else 'of other data'
    if not entry.pending and entry.folder.name != entry.run.id:
        return 'equal to another'
    if not entry.folder.is_relative_to(folder):
        return 'equal to another'
    return 'to do' if entry.pending else entry.status.status
