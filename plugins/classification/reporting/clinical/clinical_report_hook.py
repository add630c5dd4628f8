"""Hook that writes clinical.json, clinical.md and clinical.csv: values of a test with intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from mmengine.hooks import Hook

from plugins.classification.calibration import Choice
from plugins.classification.interfaces import NOTE
from plugins.classification.metrics.calibration_hook import Calibrate
from plugins.classification.metrics.clinical_metrics import (
    find_aggregations,
    find_clinical_metrics,
)
from plugins.classification.metrics.functional.bootstrap import RESAMPLES, BootstrapSettings
from plugins.classification.metrics.functional.thresholds import HALF
from plugins.classification.metrics.predictions import read_rows
from plugins.classification.reporting.clinical.clinical_summary import (
    ReportSettings,
    summarize_task,
)
from plugins.classification.reporting.clinical.clinical_text import (
    format_main_lines,
    to_csv,
    to_markdown,
)
from plugins.classification.reporting.clinical.combinations import find_contradictions
from plugins.classification.reporting.clinical.uncertainty_summary import describe_calibration
from toolkit.engine.overlap import explain
from toolkit.engine.process import distributed
from toolkit.errors import ToolkitError
from toolkit.interfaces import Metric, System
from toolkit.io import atomic_write
from toolkit.io.json_values import format_json
from toolkit.ranges import Ge, NonNegativeInt
from toolkit.registry import HOOKS

if TYPE_CHECKING:
    from toolkit.engine.runner import Runner

NAME = 'clinical'


@HOOKS.register
class ClinicalReport(Hook):
    """Writes the clinical report of a test into the run's folder, and prints its main lines.

    `clinical.json`, `clinical.md` and `clinical.csv` hold each value with its 95 % interval, by
    class and by patient, the confusion matrix, calibration before and after the temperature, the
    threshold and its origin, prediction sets of tasks with `coverage`, the risk of the surest
    decisions, subgroups with their sizes, the number of missing labels, and the
    decisions of two tasks that contradict each other, see `find_contradictions`. The
    intervals are percentiles of a bootstrap by patient; if a bootstrap says too little, they are
    exact ones, or missing with the reason. AUC has DeLong's beside it. Each task needs a
    `ClinicalMetrics` in `test_evaluator`, which also names the subgroups.

    Args:
        resamples: number of resamples of the bootstrap.
        seed: seed of the bootstrap.
        stratified: keep the number of patients of each class in every resample.
        bands: limits between the bands of an attribute, by its name; None for ages below 40, 40 to
            60, and above.
    Raises:
        ValueError: fewer than 100 resamples, or limits that do not rise.
    """

    # After the hook that takes the progress bar off the terminal.
    priority = 'VERY_LOW'

    def __init__(
        self,
        resamples: Annotated[int, Ge(100)] = RESAMPLES,
        seed: NonNegativeInt = 0,
        stratified: bool = False,
        bands: dict[str, list[float]] | None = None,
    ) -> None:
        if resamples < 100:
            raise ValueError(f'resamples must be at least 100 for an interval, found {resamples}')
        bands = {'age': [40, 60]} if bands is None else bands
        for name, limits in bands.items():
            if not limits or list(limits) != sorted(set(limits)):
                raise ValueError(f'bands.{name}: expected rising limits, found {limits}')
        self.settings = ReportSettings(BootstrapSettings(resamples, seed, stratified), bands)

    def check_run(self, system: System, metrics: Mapping[str, Mapping[str, Metric]]) -> None:
        if 'test' in metrics and not find_clinical_metrics(metrics['test']):
            raise ToolkitError(
                'ClinicalReport reads the rows of ClinicalMetrics, and test_evaluator has none: '
                'give it one for each task, or leave the hook out'
            )

    def before_test(self, runner: Runner) -> None:
        self.check_run(runner.system, {'test': runner.test_loop.evaluator.metrics})

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        distributed.run_on_main(lambda: self._report(runner))

    def _report(self, runner: Runner) -> None:
        loop = runner.test_loop
        aggregations = find_aggregations(loop.evaluator.metrics)
        tasks, predictions = {}, {}
        for name, (key, metric) in find_clinical_metrics(loop.evaluator.metrics).items():
            predictions[name] = read_rows(loop.result.rows[key], metric.task)
            tasks[name] = {
                **_operating_point(runner, name),
                **summarize_task(metric, loop.result.rows[key], self.settings, aggregations[name]),
            }
        common = explain(runner.components.overlaps, runner.run_config.allow_overlap)
        record = {
            'note': NOTE,
            'interval': '95 %, percentiles of a bootstrap by patient',
            'resamples': self.settings.bootstrap.resamples,
            'seed': self.settings.bootstrap.seed,
            'stratified': self.settings.bootstrap.stratified,
            **({'overlap': common} if common else {}),
            'tasks': tasks,
            'contradictions': find_contradictions(predictions),
        }
        folder = Path(runner.work_dir)
        atomic_write.write(folder / f'{NAME}.json', format_json(record))
        atomic_write.write(folder / f'{NAME}.md', to_markdown(record))
        atomic_write.write(folder / f'{NAME}.csv', to_csv(record))
        for line in format_main_lines(record):
            runner.say(line)
        runner.say(f'more in {folder / NAME}.md. {NOTE}')


def _operating_point(runner: Runner, task: str) -> dict[str, Any]:
    """Return the stored calibration, and its origin."""
    calibration = getattr(runner.system, 'calibration', None)
    if calibration is None:
        return {
            **dict.fromkeys(Choice._fields),
            'costs': None,
            'chosen': 'the system stores none',
        }
    choice: Choice = calibration.choice(task)
    chosen = 'the defaults; nothing was chosen on validation data'
    default = choice.threshold in (None, HALF) and choice.patient_threshold in (None, HALF)
    if choice.temperature != 1 or choice.weights or choice.log_prior or not default:
        hook = next((h for h in _hooks(runner) if h.cls is Calibrate), None)
        rule = '' if hook is None else f' ({_format_rule(hook.arguments, task)})'
        chosen = f'on validation data{rule}, stored in the checkpoint'
    own = runner.system.tasks[task]
    return {
        **choice._asdict(),
        'costs': own.costs,
        'chosen': chosen,
        'sets_calibration': describe_calibration(own, choice.limits, choice.limit_samples),
    }


def _hooks(runner: Runner) -> Iterator[Any]:
    for group in (runner.run_config.default_hooks, runner.run_config.custom_hooks):
        yield from (hook for hook in (group or {}).values() if hasattr(hook, 'cls'))


def _format_rule(arguments: Mapping[str, Any], task: str) -> str:
    rule = arguments.get('threshold', 'youden')
    if floors := (arguments.get('floors') or {}).get(task):
        rule = ', '.join(f'sensitivity of {name} at least {x:g}' for name, x in floors.items())
    elif rule in ('sensitivity', 'specificity'):
        rule = f'{rule} at least {arguments.get("at_least", 0.9):g}'
    priors = task in (arguments.get('priors') or ())
    return f'{rule}, class frequencies of validation' if priors else str(rule)
