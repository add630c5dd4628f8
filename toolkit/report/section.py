"""A section of the report: all that is said of one study, or of single runs together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from toolkit.analysis import formatting
from toolkit.analysis import tables as result_tables
from toolkit.analysis.aggregate import Analysis, cost
from toolkit.analysis.results import StudyResults
from toolkit.analysis.tables import Grid
from toolkit.io.run_layout import STUDY
from toolkit.report import plotly_bundle
from toolkit.report.config_diff import Change, changes
from toolkit.report.environment import Environment, environment
from toolkit.report.panel import PanelRun
from toolkit.report.training_curves import curves

COSTS = {
    'parameters': 'parameters',
    'macs': 'MACs of one forward',
    'seconds': 'seconds of a run',
    'memory': 'peak memory of a run, bytes',
}


@dataclass(frozen=True)
class Shown:
    """A panel's section.

    Attributes:
        title: heading.
        html: as the panel made it.
        notes: what was left out, or why it is not there.
    """

    title: str
    html: str
    notes: tuple[str, ...] = ()


@dataclass
class Section:
    """What the page says of one study.

    Attributes:
        id: of the element.
        title: the study's name.
        study: whether it is a study, or single runs.
        asked: names and values of what was asked.
        text: the study file.
        summary: the outcome in a few sentences.
        tables: results, comparisons, runs without results.
        looks: colour, dash and marker of each cell.
        charts: what the charts draw.
        changed: what each cell changed.
        ran_on: what the runs were made with.
        panels: of plugins.
    """

    id: str
    title: str
    study: bool
    asked: list[tuple[str, str]]
    text: str
    summary: list[str]
    tables: dict[str, Grid]
    looks: list[dict[str, Any]]
    charts: dict[str, Any]
    changed: list[Change]
    ran_on: Environment
    panels: list[Shown] = field(default_factory=list)


def section(id_: str, analysis: Analysis, study: bool) -> Section:
    """Gather what the page says of a study, panels apart."""
    results = analysis.results
    tables = {
        'results': result_tables.results(analysis),
        'differences': result_tables.comparisons(analysis),
        'missing': result_tables.missing(analysis),
    }
    looks = [plotly_bundle.look(place) for place in range(len(analysis.cells))]
    return Section(
        id=id_,
        title=results.name if study else 'Single runs',
        study=study,
        asked=_asked(analysis, study),
        text=_text(results) if study else '',
        summary=_summary(analysis),
        tables={name: table for name, table in tables.items() if table.rows},
        looks=looks,
        charts={
            'cells': [{'label': cell.label, **look} for cell, look in zip(analysis.cells, looks)],
            'curves': curves(analysis.cells),
            'trade': _trade(analysis),
        },
        changed=changes(analysis),
        ran_on=environment(results.runs),
    )


def panel_runs(analysis: Analysis) -> list[PanelRun]:
    """The runs as panels see them."""
    compare_to = analysis.results.compare_to
    return [
        PanelRun(cell.label, cell.variant == compare_to, run)
        for cell in analysis.cells
        for run in cell.runs
    ]


def _asked(analysis: Analysis, study: bool) -> list[tuple[str, str]]:
    results, runs = analysis.results, analysis.results.runs
    seeds = list(dict.fromkeys(run.seed for run in runs))
    folds = list(dict.fromkeys(run.fold for run in runs if run.fold is not None))
    variants = list(dict.fromkeys(cell.variant for cell in analysis.cells))
    asked = [
        ('variants' if study else 'runs', ', '.join(variants)),
        *(
            (path, _values(cell.settings.get(path) for cell in analysis.cells))
            for path in analysis.axes
        ),
        ('data', _values(cell.data for cell in analysis.cells) if analysis.has_data else ''),
        ('compared with', results.compare_to or ''),
        ('metrics', ', '.join(result_tables.heading(*item) for item in results.metrics.items())),
        ('seeds', _values(seeds)),
        ('folds', _values(folds)),
    ]
    return [(name, value) for name, value in asked if value]


def _values(values: Any) -> str:
    return ', '.join(
        dict.fromkeys(result_tables.words(value) for value in values if value is not None)
    )


def _summary(analysis: Analysis) -> list[str]:
    """How far it has come, and what the tests found."""
    runs = analysis.results.runs
    done, failed = (sum(r.status == s for r in runs) for s in ('finished', 'failed'))
    if len(runs) == 1:
        command = 'is' if runs[0].status in ('running', 'waiting') else 'has'
        sentences = [f'The run {command} {runs[0].status}.']
    else:
        text = f'{done} of {len(runs)} runs have finished'
        sentences = [text + (f', {failed} failed.' if failed else '.')]
    tests = analysis.family()[0]
    if tests:
        found = [c for c in analysis.comparisons.values() if formatting.mark(c.runs_holm)]
        better, worse = (sum(c.better is b for c in found) for b in (True, False))
        sentences.append(
            f'{len(found) or "None"} of {tests} paired test{"s" if tests > 1 else ""} against '
            f'{analysis.results.compare_to} {"is" if len(found) < 2 else "are"} significant at 5 % '
            f'after Holm’s correction' + (f': {better} better, {worse} worse.' if found else '.')
        )
    return sentences


def _trade(analysis: Analysis) -> dict[str, Any]:
    """Scores and costs of the cells, by name."""
    costs = [cost(cell) for cell in analysis.cells]
    known = {
        name: [getattr(c, name) for c in costs]
        for name in COSTS
        if any(getattr(c, name) is not None for c in costs)
    }
    scores = {}
    for metric, better in analysis.metrics.items():
        found = [analysis.score(cell, metric) for cell in analysis.cells]
        if any(score.mean is not None for score in found):
            scores[metric] = {
                'better': better,
                'mean': [score.mean for score in found],
                'sd': [score.sd for score in found],
                'n': [score.n for score in found],
            }
    return {'costs': known, 'names': COSTS, 'scores': scores}


def _text(results: StudyResults) -> str:
    try:
        return (results.folder / STUDY).read_text(encoding='utf-8', errors='replace')
    except OSError:
        return ''


def sections(analyses: Sequence[tuple[Analysis, bool]]) -> list[Section]:
    """The sections of a report, in order."""
    return [section(f's{i + 1}', analysis, study) for i, (analysis, study) in enumerate(analyses)]
