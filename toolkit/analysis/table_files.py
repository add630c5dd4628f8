"""A study's table as text, Markdown, LaTeX (booktabs), CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from toolkit.analysis import tables as result_tables
from toolkit.analysis.aggregate import Analysis, analyse, cost
from toolkit.analysis.results import StudyResults
from toolkit.analysis.tables import Grid, Text
from toolkit.io import atomic_write

Style = Literal['text', 'markdown', 'csv', 'latex', 'json']
FILES: dict[str, Style] = {
    'results.md': 'markdown',
    'results.csv': 'csv',
    'results.tex': 'latex',
    'results.json': 'json',
}


def study_table(results: StudyResults, style: Style = 'text') -> str:
    """What a study has found so far.

    Text, Markdown and LaTeX hold three tables: results, comparisons, and runs without results. CSV
    has a row per cell and metric, JSON everything, each run's values included.

    Raises:
        ToolkitError: a run's rows are damaged.
    """
    return _STYLES[style](analyse(results))


def write(results: StudyResults) -> list[Path]:
    """Write `results.md`, `.csv`, `.tex` and `.json` into the study's folder.

    Raises:
        RunError: they cannot be written.
    """
    analysis = analyse(results)
    paths = []
    for name, style in FILES.items():
        path = results.folder / name
        atomic_write.write(path, _STYLES[style](analysis))
        paths.append(path)
    return paths


# -- text ------------------------------------------------------------------------------------------


def _text(analysis: Analysis) -> str:
    return '\n'.join(_text_grid(table) for table in result_tables.grids(analysis))


def _text_grid(table: Grid) -> str:
    any_best = any(cell.best for row in table.rows for cell in row)
    lines = [table.columns, *([_plain(cell, any_best) for cell in row] for row in table.rows)]
    # Stars hang out at the right, so that digits stand below each other.
    hang = [max(len(row[i].stars) for row in table.rows) for i in range(len(table.columns))]
    for line, row in zip(lines[1:], table.rows):
        for i, cell in enumerate(row):
            line[i] += cell.stars.ljust(hang[i])
    widths = [max(len(line[i]) for line in lines) for i in range(len(table.columns))]
    body = [
        '  '.join(
            text.ljust(width) if i < table.left else text.rjust(width)
            for i, (text, width) in enumerate(zip(line, widths))
        ).rstrip()
        for line in lines
    ]
    body.insert(1, '  '.join('-' * width for width in widths))
    notes = [*(['> best of its column.'] if any_best else []), *table.notes]
    return '\n'.join([table.title, '', *body, '', *notes, ''])


def _plain(cell: Text, any_best: bool) -> str:
    text = ' '.join(cell.text.split())
    return f'>{text}' if any_best and cell.best else text


# -- Markdown --------------------------------------------------------------------------------------


def _markdown(analysis: Analysis) -> str:
    return '\n'.join(_markdown_grid(table) for table in result_tables.grids(analysis))


def _markdown_grid(table: Grid) -> str:
    rules = ['---' if i < table.left else '---:' for i in range(len(table.columns))]
    rows = [[_markdown_cell(cell) for cell in row] for row in table.rows]
    lines = [[_markdown_escape(c) for c in table.columns], rules, *rows]
    any_best = any(cell.best for row in table.rows for cell in row)
    notes = [*(['Bold: best of its column.'] if any_best else []), *table.notes]
    return '\n'.join(
        [
            f'## {_markdown_escape(table.title)}',
            '',
            *('| ' + ' | '.join(line) + ' |' for line in lines),
            '',
            *(f'{_markdown_escape(note)}  ' for note in notes),
            '',
        ]
    )


def _markdown_cell(cell: Text) -> str:
    text = _markdown_escape(cell.text)
    return (f'**{text}**' if cell.best else text) + _markdown_escape(cell.stars)


def _markdown_escape(text: str) -> str:
    text = ' '.join(text.split()).replace('\\', '\\\\').replace('&', '&amp;').replace('<', '&lt;')
    for character in '|*_`[]#':
        text = text.replace(character, '\\' + character)
    return text


# -- LaTeX -----------------------------------------------------------------------------------------

_LATEX = {
    '\\': r'\textbackslash{}',
    **{character: '\\' + character for character in '&%$#_{}'},
    '~': r'\textasciitilde{}',
    '^': r'\textasciicircum{}',
    '<': r'\ensuremath{<}',
    '>': r'\ensuremath{>}',
    '±': r'\ensuremath{\pm}',
    '↑': r'\ensuremath{\uparrow}',
    '↓': r'\ensuremath{\downarrow}',
    '\N{MINUS SIGN}': r'\ensuremath{-}',
}


def _latex(analysis: Analysis) -> str:
    head = '% needs \\usepackage{booktabs}; wide tables: \\usepackage{graphicx} and \\resizebox\n'
    return head + '\n'.join(_latex_grid(table) for table in result_tables.grids(analysis))


def _latex_grid(table: Grid) -> str:
    any_best = any(cell.best for row in table.rows for cell in row)
    notes = [*(['Bold: best of its column.'] if any_best else []), *table.notes]
    caption = _latex_escape(' '.join([f'{table.title}.', *notes]))
    layout = 'l' * table.left + 'r' * (len(table.columns) - table.left)
    return '\n'.join(
        [
            r'\begin{table}',
            r'  \centering',
            rf'  \caption{{{caption}}}',
            rf'  \begin{{tabular}}{{{layout}}}',
            r'    \toprule',
            '    ' + ' & '.join(_latex_escape(column) for column in table.columns) + r' \\',
            r'    \midrule',
            *(
                '    ' + ' & '.join(_latex_cell(cell) for cell in row) + r' \\'
                for row in table.rows
            ),
            r'    \bottomrule',
            r'  \end{tabular}',
            r'\end{table}',
            '',
        ]
    )


def _latex_cell(cell: Text) -> str:
    text = _latex_escape(cell.text)
    # A row that starts with [ would be read as an argument of \\.
    text = f'{{{text}}}' if text.startswith('[') else text
    text = rf'{{\boldmath\textbf{{{text}}}}}' if cell.best else text
    return text + (rf'$^{{{cell.stars}}}$' if cell.stars else '')


def _latex_escape(text: str) -> str:
    return ''.join(_LATEX.get(character, character) for character in ' '.join(text.split()))


# -- for programs ----------------------------------------------------------------------------------


def _csv(analysis: Analysis) -> str:
    buffer = io.StringIO()
    axes = analysis.axes
    writer: Any = None
    for record in _records(analysis):
        settings, runs, items = record.pop('settings'), record.pop('runs'), record.pop('items')
        record.pop('values')
        record.pop('missing')
        flat = {
            **{axis: settings.get(axis) for axis in axes},
            **record,
            **{key: runs.get(key) for key in _TEST},
            **{f'items_{key}': items.get(key) for key in _TEST if key != 'unpaired'},
        }
        if writer is None:
            writer = csv.DictWriter(buffer, list(flat), lineterminator='\n')
            writer.writeheader()
        writer.writerow(flat)
    return buffer.getvalue()


_TEST = ('n', 'unpaired', 'difference', 'low', 'high', 'p', 'p_holm', 'effect', 'why')


def _json(analysis: Analysis) -> str:
    runs, items = analysis.family()
    record = {
        'study': analysis.results.name,
        'compare_to': analysis.results.compare_to,
        'metrics': dict(analysis.metrics),
        'tests': {'over_runs': runs, 'over_items': items},
        'notes': [*result_tables.result_notes(analysis), *result_tables.comparison_notes(analysis)],
        'cells': _records(analysis),
    }
    return json.dumps(record, indent=1, ensure_ascii=False) + '\n'


def _records(analysis: Analysis) -> list[dict[str, Any]]:
    """A record per cell and metric."""
    records = []
    for place, cell in enumerate(analysis.cells):
        for metric, better in (analysis.metrics or {'': None}).items():  # no run has said any yet
            score = analysis.score(cell, metric)
            found = analysis.comparisons.get((place, metric))
            runs: dict[str, Any] = {}
            items: dict[str, Any] = {}
            if found is not None:
                runs = {**asdict(found.runs), 'unpaired': found.unpaired}
                runs['p_holm'] = found.runs_holm
                items = {**asdict(found.items), 'p_holm': found.items_holm}
            records.append(
                {
                    'variant': cell.variant,
                    'settings': dict(cell.settings),
                    'data': cell.data,
                    'metric': metric,
                    'higher_is_better': better,
                    'runs_planned': score.planned,
                    'runs_failed': len(cell.of_status('failed')),
                    'runs_measured': score.n,
                    'mean': score.mean,
                    'sd': score.sd,
                    'improves': found.better if found else None,
                    **asdict(cost(cell)),
                    'runs': runs,
                    'items': items,
                    'values': {run.id: run.metrics.get(metric) for run in cell.runs},
                    'missing': {
                        run.id: {'status': run.status, 'message': run.message}
                        for run in cell.runs
                        if run.metrics.get(metric) is None
                    },
                }
            )
    return records


_STYLES: dict[str, Callable[[Analysis], str]] = {
    'text': _text,
    'markdown': _markdown,
    'csv': _csv,
    'latex': _latex,
    'json': _json,
}
