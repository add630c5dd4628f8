"""Data of a section for its charts, its comparisons and its downloads."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.analysis.aggregate import Analysis
from toolkit.analysis.conditions import Condition, format_setting, summarize_costs
from toolkit.io.json_values import replace_nonfinite
from toolkit.io.run_results import RunResult
from toolkit.report import plotly_bundle
from toolkit.report.runs.run_configs import FlatConfig, encode_changes

COSTS = {
    'parameters': 'parameters',
    'macs': 'MACs of one forward',
    'seconds': 'seconds of a run',
    'memory': 'peak memory of a run, bytes',
}


def choose_plot_styles(conditions: Sequence[Condition]) -> list[dict[str, Any]]:
    """Chooses the style of each condition: colours by variant, dashes by setting."""
    variants = list(dict.fromkeys(condition.variant for condition in conditions))
    contexts = list(dict.fromkeys(condition.context for condition in conditions))
    return [
        plotly_bundle.choose_plot_style(
            variants.index(condition.variant), contexts.index(condition.context), len(contexts)
        )
        for condition in conditions
    ]


def collect_section_data(
    analysis: Analysis,
    plot_styles: Sequence[Mapping[str, Any]],
    configs: Mapping[str, FlatConfig],
    hyperparameters: Mapping[str, Sequence[str]],
    columns: Sequence[str],
    curves: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Collects everything that the page's scripts show of a study, as plain values.

    Args:
        analysis: of the study.
        plot_styles: of the conditions.
        configs: by the ids of the runs.
        hyperparameters: values of the configs that tell conditions apart, by path.
        columns: paths of those that vary each in its own way.
        curves: of the runs.
    """
    results = analysis.results
    base, changes = encode_changes(configs)
    return {
        'name': results.name,
        'reference': results.compare_to,
        'primary': results.options.primary,
        'axes': analysis.axes,
        'metrics': dict(analysis.metrics),
        'costs': COSTS,
        'hyperparameters': {path: list(values) for path, values in hyperparameters.items()},
        'columns': list(columns),
        'trials': [c.runs[0].trial['number'] for c in analysis.conditions if c.runs[0].trial],
        'conditions': [
            _describe_condition(analysis, condition, style)
            for condition, style in zip(analysis.conditions, plot_styles)
        ],
        'runs': [
            _describe_run(run, place, changes)
            for place, condition in enumerate(analysis.conditions)
            for run in condition.runs
        ],
        'config': base,
        'curves': list(curves),
    }


def _describe_condition(
    analysis: Analysis, condition: Condition, style: Mapping[str, Any]
) -> dict[str, Any]:
    costs = summarize_costs(condition)
    scores = {}
    for metric in analysis.metrics:
        found = analysis.summarize(condition, metric)
        scores[metric] = {'mean': found.mean, 'sd': found.sd, 'n': found.n}
    return {
        'label': condition.label,
        'variant': condition.variant,
        'settings': {path: format_setting(value) for path, value in condition.settings.items()},
        'data': None if condition.data is None else format_setting(condition.data),
        'reference': condition.variant == analysis.results.compare_to,
        **style,
        'scores': scores,
        'costs': {name: getattr(costs, name) for name in COSTS},
    }


def _describe_run(
    run: RunResult, place: int, changes: Mapping[str, Mapping[str, str | None]]
) -> dict[str, Any]:
    return {
        'id': run.id,
        'condition': place,
        'seed': run.seed,
        'fold': run.fold,
        'status': run.status,
        'message': run.message,
        'metrics': dict(run.metrics),
        'seconds': run.seconds,
        'memory': run.memory,
        'test_data': run.test_data,
        'config': changes.get(run.id),
    }


def pack(data: Any) -> str:
    """Packs plain values as compressed JSON in base64, which the page unpacks."""
    text = json.dumps(
        replace_nonfinite(data), ensure_ascii=False, separators=(',', ':'), default=str
    )
    # The same data give the same bytes, by which a page that renews itself knows what is new.
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()


def unpack(text: str) -> Any:
    """Unpacks what `pack` has packed."""
    return json.loads(gzip.decompress(base64.b64decode(text)))
