"""Sections of the report: one per study, and one for all single runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from toolkit.analysis import difference_tables, tables
from toolkit.analysis.aggregate import Analysis
from toolkit.analysis.conditions import format_setting
from toolkit.analysis.results import StudyResults
from toolkit.analysis.search.trials import is_search, list_search_notes
from toolkit.analysis.table_cells import Table, format_heading
from toolkit.io.run_layout import STUDY
from toolkit.io.tables import formatting
from toolkit.report import section_data
from toolkit.report.panel import PanelRun
from toolkit.report.panel_budget import RenderedPanel
from toolkit.report.runs import run_tables
from toolkit.report.runs.config_diff import ConditionChange, find_config_changes
from toolkit.report.runs.environment import Environment, read_environment
from toolkit.report.runs.run_configs import (
    find_hyperparameters,
    read_capsules,
    read_flat_configs,
)
from toolkit.report.runs.training_curves import make_curves

AXIS = 'axis:'  # in front of the path of an axis, among the filters
MOST_COLUMNS = 24  # of hyperparameters in a table; downloads and comparisons have all


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
        warnings: reasons to doubt a comparison of its numbers.
        tables: results, comparisons, all runs, runs without results.
        hyperparameters: number of columns of the results with values of the config.
        plot_styles: colour, dash and marker of each condition.
        charts: names of the charts that the data suffice for.
        data: of charts, comparisons and downloads.
        changed: changes of the config in each condition.
        ran_on: code, data and hardware of the runs.
        filters: what conditions can be chosen by, with its values.
        panels: sections of plugins.
        search: True for the trials of a search.
    """

    id: str
    title: str
    study: bool
    asked: list[tuple[str, str]]
    text: str
    summary: list[str]
    warnings: list[str]
    tables: dict[str, Table]
    hyperparameters: int
    plot_styles: list[dict[str, Any]]
    charts: list[str]
    data: dict[str, Any]
    changed: list[ConditionChange]
    ran_on: Environment
    filters: dict[str, list[str]] = field(default_factory=dict)
    panels: list[RenderedPanel] = field(default_factory=list)
    search: bool = False

    @property
    def packed(self) -> str:
        """The data as the page holds them."""
        return section_data.pack(self.data)


def make_section(id_: str, analysis: Analysis, study: bool) -> Section:
    """Makes the section of a study without its panels."""
    results = analysis.results
    capsules = read_capsules(results.runs)
    configs = read_flat_configs(results.runs, capsules)
    hyperparameters = find_hyperparameters(analysis.conditions, configs)
    shown = _select_columns(analysis, hyperparameters)
    found = {
        'results': run_tables.insert_hyperparameters(tables.make_results_table(analysis), shown),
        'differences': difference_tables.make_comparison_table(analysis),
        **{
            f'along {axis}': difference_tables.make_axis_table(analysis, axis)
            for axis in analysis.results.options.along
        },
        'effects': difference_tables.make_effects_table(analysis),
        'missing': tables.make_missing_table(analysis),
    }
    if len(results.runs) > len(analysis.conditions):
        found['runs'] = run_tables.make_runs_table(analysis)
    plot_styles = section_data.choose_plot_styles(analysis.conditions)
    curves = make_curves(analysis.conditions)
    data = section_data.collect_section_data(
        analysis, plot_styles, configs, hyperparameters, list(shown), curves
    )
    return Section(
        id=id_,
        title=results.name if study else 'Single runs',
        study=study,
        asked=_list_settings(analysis, study),
        text=_read_study_file(results) if study and not is_search(results) else '',
        summary=_summarize(analysis),
        warnings=_find_warnings(analysis),
        tables={name: table for name, table in found.items() if table.rows},
        hyperparameters=len(shown),
        plot_styles=plot_styles,
        charts=_list_charts(data),
        data=data,
        changed=[] if is_search(results) else find_config_changes(analysis),
        ran_on=read_environment(results.runs, capsules),
        filters=_list_filters(analysis),
        search=is_search(results),
    )


def _select_columns(
    analysis: Analysis, hyperparameters: Mapping[str, list[str]]
) -> dict[str, list[str]]:
    """Selects values of the config for columns: of several that vary alike, the first."""
    seen = {
        tuple(format_setting(c.settings.get(axis, '')) for c in analysis.conditions)
        for axis in analysis.axes
    }
    found: dict[str, list[str]] = {}
    for path, values in hyperparameters.items():
        if path not in analysis.axes and tuple(values) not in seen and len(found) < MOST_COLUMNS:
            found[path] = values
            seen.add(tuple(values))
    return found


def _list_filters(analysis: Analysis) -> dict[str, list[str]]:
    """Lists what conditions can be chosen by, where it has several values.

    An axis may bear any name, also that of another choice.
    """
    conditions = analysis.conditions
    found = {
        'variant': [condition.variant for condition in conditions],
        **{
            f'{AXIS}{axis}': [
                format_setting(condition.settings[axis])
                for condition in conditions
                if axis in condition.settings
            ]
            for axis in analysis.axes
        },
        'data': [format_setting(c.data) for c in conditions if c.data is not None],
        'status': [run.status for run in analysis.results.runs],
    }
    unique = {name: list(dict.fromkeys(values)) for name, values in found.items()}
    return {name: values for name, values in unique.items() if len(values) > 1}


def _list_charts(data: dict[str, Any]) -> list[str]:
    """Lists the charts that the data of a section suffice for."""
    conditions = data['conditions']
    scored = [c for c in conditions if any(s['mean'] is not None for s in c['scores'].values())]
    factors = [{c['variant'] for c in scored}, {str(c['data']) for c in scored}]
    factors += [{c['settings'].get(axis) for c in scored} for axis in data['axes']]
    several = sum(len(values) > 1 for values in factors)
    costs = any(value is not None for c in scored for value in c['costs'].values())
    wanted = {
        'history': len(data['trials']) > 1 and bool(scored),
        'trade': costs,
        'points': len(data['runs']) > len(conditions) and bool(scored),
        'map': several > 1,
        'along': any(len(values) > 1 for values in factors[2:]),
        'parallel': len(scored) > 2 and (several > 1 or len(data['metrics']) > 1),
        'curves': bool(data['curves']),
    }
    if data['trials']:  # each is a variant of its own: what compares variants would say nothing
        wanted |= dict.fromkeys(('trade', 'points', 'map', 'along'), False)
    return [name for name, is_wanted in wanted.items() if is_wanted]


def _find_warnings(analysis: Analysis) -> list[str]:
    """Finds groups of runs that are compared and were tested on different data."""
    groups: dict[tuple[str, int | None], dict[str, list[str]]] = {}
    for condition in analysis.conditions:
        for run in condition.runs:
            if run.test_data:
                key = format_setting(condition.data), run.fold
                groups.setdefault(key, {}).setdefault(run.test_data, []).append(run.id)
    found = []
    for (data, fold), prints in groups.items() if analysis.results.compare_to else ():
        if len(prints) > 1:
            of = [f' of {data}' * (data != 'null'), f' in fold {fold}' * (fold is not None)]
            parts = ', '.join(f'{p[:12]} in {len(ids)} runs' for p, ids in prints.items())
            found.append(
                f'The test data{"".join(of)} are not the same in all runs ({parts}): their numbers '
                'are not comparable.'
            )
    return found


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
    if is_search(results):  # the values of the trials are in their table
        asked = [('trials', str(len(runs))), *asked[-3:]]
    return [(name, value) for name, value in asked if value]


def _format_values(values: Any) -> str:
    return ', '.join(dict.fromkeys(format_setting(value) for value in values if value is not None))


def _summarize(analysis: Analysis) -> list[str]:
    """Summarizes the progress of the runs and the outcomes of the tests."""
    runs = analysis.results.runs
    done, failed = (sum(r.status == s for r in runs) for s in ('finished', 'failed'))
    if is_search(analysis.results):
        return list_search_notes(replace(analysis.results, trials=runs))
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
