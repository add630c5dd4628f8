"""Tables of a study as text, Markdown, LaTeX (booktabs), CSV and JSON."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from toolkit.analysis import tables
from toolkit.analysis.aggregate import Analysis, Comparison, analyze_study
from toolkit.analysis.conditions import summarize_costs
from toolkit.analysis.designs.effects import find_effects
from toolkit.analysis.difference_tables import list_comparison_notes
from toolkit.analysis.results import StudyResults
from toolkit.analysis.search.trials import make_trial_records
from toolkit.analysis.table_cells import Table, TableCell, mark_axes
from toolkit.io import atomic_write
from toolkit.io.json_values import format_json
from toolkit.io.tables.formatting import (
    escape_latex,
    escape_markdown,
    format_csv,
    format_latex_table,
    format_markdown_table,
    format_text_table,
)

Style = Literal['text', 'markdown', 'csv', 'latex', 'json']
BEST = '◆'
LATEX_HEAD = '% needs \\usepackage{booktabs,graphicx}; wide tables are scaled to the column\n'
FILES: dict[str, Style] = {
    'results.md': 'markdown',
    'results.csv': 'csv',
    'results.tex': 'latex',
    'results.json': 'json',
}


def study_table(results: StudyResults, style: Style = 'text') -> str:
    """Formats the results of a study so far.

    Text, Markdown and LaTeX hold three tables: results, comparisons, and runs without results. CSV
    has a row per condition and metric; JSON has everything, the values of each run included.

    Raises:
        ToolkitError: the rows of a run are damaged.
    """
    return _STYLES[style](analyze_study(results))


def write(results: StudyResults) -> list[Path]:
    """Writes `results.md`, `.csv`, `.tex` and `.json` into the folder of the study.

    Raises:
        RunError: they cannot be written.
    """
    analysis = analyze_study(results)
    paths = []
    for name, style in FILES.items():
        path = results.folder / name
        atomic_write.write(path, _STYLES[style](analysis))
        paths.append(path)
    return paths


# -- text ------------------------------------------------------------------------------------------


def format_tables(found: Sequence[Table], style: Literal['text', 'markdown', 'latex']) -> str:
    """Formats tables one below the other."""
    formats = {'text': _format_as_text, 'markdown': _format_as_markdown, 'latex': _format_as_latex}
    head = LATEX_HEAD if style == 'latex' else ''
    return head + '\n'.join(formats[style](table) for table in found)


def _format_text(analysis: Analysis) -> str:
    return format_tables(tables.make_tables(analysis), 'text')


def _format_as_text(table: Table) -> str:
    # Stars hang out at the right, so that digits stand below each other.
    room = [max(len(cell.stars) for cell in column) for column in zip(*table.rows, strict=True)]
    rows = [
        [
            _mark_best(cell, table) + cell.stars.ljust(room[i] if i >= table.left else 0)
            for i, cell in enumerate(row)
        ]
        for row in table.rows
    ]
    body = format_text_table([table.columns, *rows], table.left, rule=True)
    notes = [*([f'{BEST} {table.meaning_of_best}'] if table.has_best else []), *table.notes]
    return '\n'.join([table.title, '', body, '', *notes, ''])


def _mark_best(cell: TableCell, table: Table) -> str:
    text = ' '.join(cell.text.split())
    return f'{BEST} {text}' if cell.best and table.has_best else text


# -- Markdown --------------------------------------------------------------------------------------


def _format_markdown(analysis: Analysis) -> str:
    return format_tables(tables.make_tables(analysis), 'markdown')


def _format_as_markdown(table: Table) -> str:
    header = [escape_markdown(column) for column in table.columns]
    rows = [[_format_markdown_cell(cell) for cell in row] for row in table.rows]
    return '\n'.join(
        [
            f'## {escape_markdown(table.title)}',
            '',
            *format_markdown_table([header, *rows], table.left),
            '',
            *(f'{escape_markdown(note)}  ' for note in _list_notes(table)),
            '',
        ]
    )


def _format_markdown_cell(cell: TableCell) -> str:
    text = escape_markdown(cell.text)
    return (f'**{text}**' if cell.best else text) + escape_markdown(cell.stars)


def _list_notes(table: Table) -> list[str]:
    return [*([f'Bold: {table.meaning_of_best}'] if table.has_best else []), *table.notes]


# -- LaTeX -----------------------------------------------------------------------------------------


def _format_latex(analysis: Analysis) -> str:
    return format_tables(tables.make_tables(analysis), 'latex')


def _format_as_latex(table: Table) -> str:
    header = [escape_latex(column) for column in table.columns]
    rows = [[_format_latex_cell(cell) for cell in row] for row in table.rows]
    caption = escape_latex(' '.join([f'{table.title}.', *_list_notes(table)]))
    return '\n'.join(format_latex_table([header, *rows], table.left, caption)) + '\n'


def _format_latex_cell(cell: TableCell) -> str:
    text = escape_latex(cell.text)
    # A row that starts with [ would be read as an argument of \\.
    text = f'{{{text}}}' if text.startswith('[') else text
    text = rf'{{\boldmath\textbf{{{text}}}}}' if cell.best else text
    return text + (rf'$^{{{cell.stars}}}$' if cell.stars else '')


# -- for programs ----------------------------------------------------------------------------------

_TEST = ('n', 'unpaired', 'difference', 'low', 'high', 'p', 'p_holm', 'effect', 'why')


def _format_csv(analysis: Analysis) -> str:
    rows: list[dict[str, Any]] = []
    for record in _make_records(analysis):
        settings, runs, items = record.pop('settings'), record.pop('runs'), record.pop('items')
        del record['values'], record['missing'], record['along']
        others = {
            **record,
            **{key: runs.get(key) for key in _TEST},
            **{f'items_{key}': items.get(key) for key in _TEST if key != 'unpaired'},
        }
        columns = mark_axes(analysis.axes, others)
        values = [settings.get(axis) for axis in analysis.axes]
        rows.append({**dict(zip(columns, values, strict=True)), **others})
    return format_csv(list(rows[0]), [list(row.values()) for row in rows]) if rows else ''


def _format_json(analysis: Analysis) -> str:
    runs, items = analysis.count_tests()
    return format_json(
        {
            'study': analysis.results.name,
            'compare_to': analysis.results.compare_to,
            'metrics': dict(analysis.metrics),
            'tests': {'over_runs': runs, 'over_items': items},
            'notes': [*tables.list_result_notes(analysis), *list_comparison_notes(analysis)],
            'conditions': _make_records(analysis),
            'search': dict(analysis.results.search),
            'trials': make_trial_records(analysis.results.trials),
            'effects': [
                {
                    'settings': dict(found.condition.settings),
                    'data': found.condition.data,
                    'metric': found.metric,
                    **asdict(effect),
                }
                for found in find_effects(analysis)
                for effect in found.effects
            ],
        }
    )


def _make_records(analysis: Analysis) -> list[dict[str, Any]]:
    """Makes a record per condition and metric."""
    records = []
    for place, condition in enumerate(analysis.conditions):
        for metric, better in (analysis.metrics or {'': None}).items():  # no run has said any yet
            summary = analysis.summarize(condition, metric)
            found = analysis.comparisons.get((place, metric))
            tests = _make_test_record(found) if found is not None else {'runs': {}, 'items': {}}
            records.append(
                {
                    'variant': condition.variant,
                    'settings': dict(condition.settings),
                    'data': condition.data,
                    'metric': metric,
                    'higher_is_better': better,
                    'runs_planned': summary.planned,
                    'runs_failed': len(condition.select_runs('failed')),
                    'runs_measured': summary.n,
                    'mean': summary.mean,
                    'sd': summary.sd,
                    'improves': found.better if found else None,
                    'overlap': '; '.join(
                        dict.fromkeys(run.overlap for run in condition.runs if run.overlap)
                    ),
                    **asdict(summarize_costs(condition)),
                    **tests,
                    'along': {
                        axis: _make_test_record(c)
                        for (n, axis, name), c in analysis.along.items()
                        if (n, name) == (place, metric)
                    },
                    'values': {run.id: run.metrics.get(metric) for run in condition.runs},
                    'missing': {
                        run.id: {'status': run.status, 'message': run.message}
                        for run in condition.runs
                        if run.metrics.get(metric) is None
                    },
                }
            )
    return records


def _make_test_record(found: Comparison) -> dict[str, Any]:
    return {
        'runs': {**asdict(found.runs), 'unpaired': found.unpaired, 'p_holm': found.runs_holm},
        'items': {**asdict(found.items), 'p_holm': found.items_holm},
    }


_STYLES: dict[str, Callable[[Analysis], str]] = {
    'text': _format_text,
    'markdown': _format_markdown,
    'csv': _format_csv,
    'latex': _format_latex,
    'json': _format_json,
}
