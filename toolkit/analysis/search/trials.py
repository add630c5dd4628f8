"""Trials of a search as a study of their own, whose results are those of the validation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from toolkit.analysis.conditions import format_setting
from toolkit.analysis.results import StudyResults, TableOptions
from toolkit.analysis.table_cells import Table, TableCell, format_heading, name_axes
from toolkit.io.run_results import RunResult
from toolkit.io.tables import formatting


def select_trials(results: StudyResults) -> StudyResults | None:
    """Select the trials of a search, the best first; None where there are none yet."""
    if not results.trials:
        return None
    return replace(
        results,
        name=f'{results.name}: trials on the validation',
        compare_to=None,
        metrics={get_metric(results): is_higher_better(results)},
        runs=tuple(sort_trials(results)),
        options=TableOptions(names=results.options.names),
        trials=(),
    )


def is_search(results: StudyResults) -> bool:
    """Tell whether runs are the trials of a search."""
    return any(run.trial is not None for run in results.runs)


def get_metric(results: StudyResults) -> str:
    """Get the metric of the validation that a search makes best."""
    return str(results.search.get('metric', ''))


def is_higher_better(results: StudyResults) -> bool:
    """Tell whether a higher metric of a search is better."""
    return bool((results.trials[0].trial or {}).get('higher'))


def get_number(run: RunResult) -> int:
    """Get the number of a trial."""
    return int((run.trial or {})['number'])


def get_value(run: RunResult) -> float | None:
    """Get the value of a finished trial."""
    return run.metrics.get((run.trial or {})['metric']) if run.status == 'finished' else None


def sort_trials(results: StudyResults) -> list[RunResult]:
    """Sort the trials: finished ones by value, the best first, then the others by number."""
    sign = -1 if is_higher_better(results) else 1

    def key(run: RunResult) -> tuple[bool, float, int]:
        value = get_value(run)
        return value is None, 0.0 if value is None else sign * value, get_number(run)

    return sorted(results.trials, key=key)


def list_bests(results: StudyResults) -> Iterator[tuple[int, float]]:
    """List the trials that were better than all before them, with their values."""
    sign, best = 1 if is_higher_better(results) else -1, None
    for run in sorted(results.trials, key=get_number):
        value = get_value(run)
        if value is not None and (best is None or sign * value > sign * best):
            best = value
            yield get_number(run), value


def make_trials_table(results: StudyResults) -> Table | None:
    """Make the table of a search's trials, the best first; None where there are none yet."""
    if not results.trials:
        return None
    runs, metric = sort_trials(results), get_metric(results)
    paths = list(dict.fromkeys(path for run in runs for path in run.settings))
    digits = formatting.choose_digits([v for run in runs if (v := get_value(run)) is not None], [])
    best, _ = max(list_bests(results), default=(None, None))
    rows = []
    for run in runs:
        value = get_value(run)
        settings = [format_setting(run.settings[p]) if p in run.settings else '-' for p in paths]
        number = str(get_number(run)) + (' (best)' if get_number(run) == best else '')
        text = formatting.MISSING if value is None else formatting.format_number(value, digits)
        time = formatting.format_duration(run.seconds)
        rows.append(
            [
                *map(TableCell, (number, *settings, run.status, str(run.seed))),
                TableCell(text, value=value),
                TableCell(time, value=run.seconds),
            ]
        )
    heading = format_heading(results.options.show(metric), is_higher_better(results))
    columns = ['trial', *name_axes(paths), 'status', 'seed', f'{heading} (validation)', 'time']
    title = f'{results.name}: trials of the search'
    return Table(title, columns, rows, len(paths) + 3, list_search_notes(results))


def list_search_notes(results: StudyResults) -> list[str]:
    """List how the trials were chosen, what they were judged by, and how many ended how."""
    search = results.search
    ended = [run for run in results.trials if run.status == 'pruned']
    notes = [
        f'Searched on the validation ({get_metric(results)}), one run per trial, sampler '
        f'{search.get("sampler")} with seed {search.get("seed")}; the test is that of the table '
        'of results alone.'
    ]
    if ended:
        notes.append(
            f'{len(ended)} of {len(results.trials)} trials were ended early (pruned), since they '
            'fell behind at a rung; they have no result, and none is the best.'
        )
    failed = [run for run in results.trials if run.status == 'failed']
    notes += [f'Trial {get_number(run)} failed: {run.message}' for run in failed[:3]]
    if len(failed) > 3:
        notes.append(f'{len(failed) - 3} more trials failed.')
    bests = ', '.join(f'{number}: {value:.6g}' for number, value in list_bests(results))
    if bests:
        notes.append(f'Best so far, by trial: {bests}.')
    return notes


def make_trial_records(trials: Sequence[RunResult]) -> list[dict[str, Any]]:
    """Make a record per trial, in the order of their numbers."""
    return [
        {
            'number': get_number(run),
            'settings': dict(run.settings),
            'value': get_value(run),
            'status': run.status,
            'message': run.message,
            'seed': run.seed,
            'seconds': run.seconds,
        }
        for run in sorted(trials, key=get_number)
    ]
