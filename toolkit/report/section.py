"""Sections of the report: one per study, and one for all single runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from toolkit.analysis import difference_tables, tables
from toolkit.analysis.aggregate import Analysis, format_setting, summarize_costs
from toolkit.analysis.results import StudyResults
from toolkit.analysis.table_cells import Table, format_heading
from toolkit.io.run_layout import STUDY
from toolkit.io.tables import formatting
from toolkit.report import plotly_bundle
from toolkit.report.config_diff import ConditionChange, find_config_changes
from toolkit.report.environment import Environment, read_environment
from toolkit.report.panel import PanelRun
from toolkit.report.training_curves import make_curves

COSTS = {
    'parameters': 'parameters',
    'macs': 'MACs of one forward',
    'seconds': 'seconds of a run',
    'memory': 'peak memory of a run, bytes',
}


@dataclass(frozen=True)
class RenderedPanel:
    """The section of a panel.

    Attributes:
        title: heading.
        html: from the panel; '' if it failed or is too large.
        notes: what was left out, or the reason for an empty section.
    """

    title: str
    html: str
    notes: tuple[str, ...] = ()


@dataclass
class Section:
    """The content of the page about one study, or about all single runs.

    Attributes:
        id: of the HTML element.
        title: name of the study.
        study: True for a study, False for single runs.
        asked: names and values of the study's settings.
        text: the study file.
        summary: the outcome in a few sentences.
        tables: results, comparisons, runs without results.
        plot_styles: colour, dash and marker of each condition.
        charts: data of the charts.
        changed: changes of the config in each condition.
        ran_on: code, data and hardware of the runs.
        panels: sections of plugins.
    """

    id: str
    title: str
    study: bool
    asked: list[tuple[str, str]]
    text: str
    summary: list[str]
    tables: dict[str, Table]
    plot_styles: list[dict[str, Any]]
    charts: dict[str, Any]
    changed: list[ConditionChange]
    ran_on: Environment
    panels: list[RenderedPanel] = field(default_factory=list)


def make_section(id_: str, analysis: Analysis, study: bool) -> Section:
    """Makes the section of a study without its panels."""
    results = analysis.results
    found = {
        'results': tables.make_results_table(analysis),
        'differences': difference_tables.make_comparison_table(analysis),
        **{
            f'along {axis}': difference_tables.make_axis_table(analysis, axis)
            for axis in analysis.results.options.along
        },
        'effects': difference_tables.make_effects_table(analysis),
        'missing': tables.make_missing_table(analysis),
    }
    plot_styles = [
        plotly_bundle.choose_plot_style(place) for place in range(len(analysis.conditions))
    ]
    return Section(
        id=id_,
        title=results.name if study else 'Single runs',
        study=study,
        asked=_list_settings(analysis, study),
        text=_read_study_file(results) if study else '',
        summary=_summarize(analysis),
        tables={name: table for name, table in found.items() if table.rows},
        plot_styles=plot_styles,
        charts={
            'conditions': [
                {'label': condition.label, **look}
                for condition, look in zip(analysis.conditions, plot_styles)
            ],
            'curves': make_curves(analysis.conditions),
            'trade': _collect_scores_and_costs(analysis),
        },
        changed=find_config_changes(analysis),
        ran_on=read_environment(results.runs),
    )


def list_panel_runs(analysis: Analysis) -> list[PanelRun]:
    """Lists the runs as panels receive them."""
    compare_to = analysis.results.compare_to
    return [
        PanelRun(condition.label, condition.variant == compare_to, run)
        for condition in analysis.conditions
        for run in condition.runs
    ]


def _list_settings(analysis: Analysis, study: bool) -> list[tuple[str, str]]:
    results, runs = analysis.results, analysis.results.runs
    seeds = list(dict.fromkeys(run.seed for run in runs))
    folds = list(dict.fromkeys(run.fold for run in runs if run.fold is not None))
    variants = list(dict.fromkeys(condition.variant for condition in analysis.conditions))
    asked = [
        ('variants' if study else 'runs', ', '.join(variants)),
        *(
            (
                path,
                _format_values(condition.settings.get(path) for condition in analysis.conditions),
            )
            for path in analysis.axes
        ),
        (
            'data',
            _format_values(condition.data for condition in analysis.conditions)
            if analysis.has_data
            else '',
        ),
        ('compared with', results.compare_to or ''),
        ('metrics', ', '.join(format_heading(*item) for item in results.metrics.items())),
        ('seeds', _format_values(seeds)),
        ('folds', _format_values(folds)),
    ]
    return [(name, value) for name, value in asked if value]


def _format_values(values: Any) -> str:
    return ', '.join(dict.fromkeys(format_setting(value) for value in values if value is not None))


def _summarize(analysis: Analysis) -> list[str]:
    """Summarizes the progress of the runs and the outcomes of the tests."""
    runs = analysis.results.runs
    done, failed = (sum(r.status == s for r in runs) for s in ('finished', 'failed'))
    if len(runs) == 1:
        command = 'is' if runs[0].status in ('running', 'waiting') else 'has'
        sentences = [f'The run {command} {runs[0].status}.']
    else:
        text = f'{done} of {len(runs)} runs have finished'
        sentences = [text + (f', {failed} failed.' if failed else '.')]
    tests = analysis.count_tests()[0]
    if tests:
        every = [*analysis.comparisons.values(), *analysis.along.values()]
        found = [c for c in every if formatting.format_stars(c.runs_holm)]
        reference = 'their references' if analysis.along else analysis.results.compare_to
        better, worse = (sum(c.better is b for c in found) for b in (True, False))
        sentences.append(
            f'{len(found) or "None"} of {tests} paired test{"s" if tests > 1 else ""} against '
            f'{reference} {"is" if len(found) < 2 else "are"} significant at 5 % '
            f'after Holm’s correction' + (f': {better} better, {worse} worse.' if found else '.')
        )
    return sentences


def _collect_scores_and_costs(analysis: Analysis) -> dict[str, Any]:
    """Collects the scores and costs of the conditions, by name."""
    costs = [summarize_costs(condition) for condition in analysis.conditions]
    known = {
        name: [getattr(c, name) for c in costs]
        for name in COSTS
        if any(getattr(c, name) is not None for c in costs)
    }
    scores = {}
    for metric, better in analysis.metrics.items():
        found = [analysis.summarize(condition, metric) for condition in analysis.conditions]
        if any(score.mean is not None for score in found):
            scores[metric] = {
                'better': better,
                'mean': [score.mean for score in found],
                'sd': [score.sd for score in found],
                'n': [score.n for score in found],
            }
    return {'costs': known, 'names': COSTS, 'scores': scores}


def _read_study_file(results: StudyResults) -> str:
    try:
        return (results.folder / STUDY).read_text(encoding='utf-8', errors='replace')
    except OSError:
        return ''


def make_sections(analyses: Sequence[tuple[Analysis, bool]]) -> list[Section]:
    """Makes the sections of a report, in order."""
    return [
        make_section(f's{i + 1}', analysis, study) for i, (analysis, study) in enumerate(analyses)
    ]
