"""A plan as text: what each variant changes and costs, where each run stands."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from toolkit.study.plan import Plan, PlannedRun
from toolkit.study.reconcile import Placed

# Of a line that tells a change; a part that is added may have many arguments.
LONGEST = 160


def plan_text(plan: Plan, placed: list[Placed], folder: Path) -> str:
    """The plan of a study whose folder is `folder`."""
    study = plan.study
    seeds = ', '.join(map(str, study.spec.seeds))
    counts = Counter(_state(entry, folder) for entry in placed)
    states = ', '.join(f'{count} {state}' for state, count in counts.items())
    lines = [
        f'study {study.name}: {len(placed)} runs ({states}), in {folder}',
        f'seeds {seeds}; compared with {study.compare_to}'
        + (f'; metrics {", ".join(study.metrics)}' if study.metrics else ''),
        '',
        'what changes',
        *_changes(plan),
        '',
        'runs',
        *_aligned([_run(entry, folder) for entry in placed]),
    ]
    problems = [str(problem) for problem in plan.data_problems]
    if problems:
        lines += ['', 'cannot be started yet', *(f'  {line}' for line in problems)]
    if plan.warnings:
        lines += ['', 'warnings', *(f'  {warning}' for warning in plan.warnings)]
    return '\n'.join(lines)


def _changes(plan: Plan) -> list[str]:
    """For every cell its differences from the base, parameters and MACs before and after."""
    lines = []
    seen = set()
    for run in plan.runs:
        if run.cell in seen:
            continue
        seen.add(run.cell)
        lines.append(f'  {_cell(run)}')
        lines += [f'    {_short(change)}' for change in run.changes] or ['    nothing: the base']
        base, own = plan.base_costs[run.data], (run.parameters, run.macs)
        for name, before, after in zip(('parameters', 'MACs'), base, own, strict=True):
            if before != after:
                lines.append(f'    {name}: {_count(before)} -> {_count(after)}')
    return lines


def _short(change: str) -> str:
    return change if len(change) <= LONGEST else f'{change[: LONGEST - 4]} ...'


def _cell(run: PlannedRun) -> str:
    from toolkit.config.dump import dump_inline

    settings = [f'{path}={dump_inline(value)}' for path, value in run.settings.items()]
    return ', '.join([run.variant, *settings, *filter(None, [run.data])])


def _count(value: int | None) -> str:
    return 'not known' if value is None else f'{value:,}'


def _run(entry: Placed, folder: Path) -> list[str]:
    run = entry.run
    state = _state(entry, folder)
    note = ''
    if state == 'equal to another':
        note = str(entry.folder)
    elif entry.trained_in is not None and entry.todo and entry.trained_in != entry.folder:
        note = f'trained in {entry.trained_in.name}'
    elif state == 'failed':
        note = entry.status.message
    return [run.id, state, f'{_count(run.parameters)} parameters', f'{_count(run.macs)} MACs', note]


def _state(entry: Placed, folder: Path) -> str:
    if not entry.todo and entry.folder.name != entry.run.id:
        return 'equal to another'
    if not entry.folder.is_relative_to(folder):
        return 'equal to another'
    return 'to do' if entry.todo else entry.status.status


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ['  ' + '  '.join(c.ljust(w) for c, w in zip(row, widths)).rstrip() for row in rows]
