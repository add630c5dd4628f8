"""Report panel of a study over folds: pooled values of all variants, and their comparison."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from plugins.classification.metrics.functional.bootstrap import BootstrapSettings
from plugins.classification.reporting.clinical import clinical_text
from plugins.classification.reporting.clinical.clinical_summary import ReportSettings
from plugins.classification.reporting.curves_panel import fill_template
from plugins.classification.reporting.folds.pooled_report import (
    make_clinical_record,
    summarize_pooled,
)
from plugins.classification.reporting.folds.pooled_text import POOLING, list_reasons, to_markdown
from plugins.classification.reporting.folds.pooling import pool_study
from toolkit.errors import ToolkitError
from toolkit.io import atomic_write
from toolkit.io.json_values import format_json
from toolkit.registry import PANELS
from toolkit.report.panel import Panel, PanelRun, Rendered

FOLDER = 'pooled'
BANDS = {'age': [40.0, 60.0]}


@PANELS.register
class PooledFolds(Panel):
    """Out-of-fold predictions of each variant as one result, and the paired comparison of variants.

    `toolkit study` writes them to `pooled/summary.md` and `.json`, and the clinical report of each
    variant and seed to `pooled/VARIANT-sSEED.md`, `.json` and `.csv`.
    """

    title = 'Folds pooled'

    def render(self, runs: Sequence[PanelRun], budget: int) -> Rendered | None:
        """Renders the tables of values and differences."""
        try:
            study = pool_study(runs)
        except ToolkitError as error:
            return Rendered('', (f'the folds are not pooled: {error}',))
        if study is None:
            return None
        record = summarize_pooled(study)
        html = fill_template(
            'folds/pooled_panel.html.j2',
            record=record,
            pooling=POOLING,
            value=clinical_text.format_value,
            difference=_format_difference,
            reasons=list_reasons,
        )
        left_out = [f'{label} is not pooled: {why}' for label, why in study.left_out.items()]
        return Rendered(html, (*left_out, *study.notes))

    def write_files(self, runs: Sequence[PanelRun], folder: Path) -> list[Path]:
        """Writes the summary and the clinical reports below `pooled/`."""
        study = pool_study(runs)
        if study is None:
            return []
        record = summarize_pooled(study)
        files: dict[Path, str] = {}
        settings = ReportSettings(BootstrapSettings(), BANDS)
        for condition in study.conditions:
            for seed in condition.seeds:
                clinical = make_clinical_record(condition, seed, settings)
                name = f'{re.sub(r"[^A-Za-z0-9._=-]+", "_", condition.label)}-s{seed}'
                files[folder / FOLDER / f'{name}.json'] = format_json(clinical)
                files[folder / FOLDER / f'{name}.md'] = clinical_text.to_markdown(clinical)
                files[folder / FOLDER / f'{name}.csv'] = clinical_text.to_csv(clinical)
        files[folder / FOLDER / 'summary.json'] = format_json(record)
        files[folder / FOLDER / 'summary.md'] = to_markdown(record)
        for path, text in files.items():
            atomic_write.write(path, text)
        return [folder / FOLDER / 'summary.md']


def _format_difference(value: dict[str, Any]) -> Markup:
    if value['difference'] is None:
        return Markup('-')
    if value['low'] is None:
        return Markup(f'{value["difference"]:+.3f} [-]')
    return Markup(f'{value["difference"]:+.3f} [{value["low"]:+.3f}, {value["high"]:+.3f}]')
