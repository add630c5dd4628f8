"""RUN/clinical.json, clinical.md and clinical.csv: what a test says, with intervals."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.hooks import Hook

from plugins.classification.metrics.calibration_hook import Calibrate
from plugins.classification.metrics.clinical_metrics import by_task
from plugins.classification.metrics.functional.bootstrap import RESAMPLES
from plugins.classification.metrics.functional.thresholds import HALF
from plugins.classification.reporting.clinical_summary import Settings, task_summary
from plugins.classification.reporting.clinical_text import main_lines, markdown, table
from toolkit.engine import distributed
from toolkit.errors import ToolkitError
from toolkit.io import atomic_write
from toolkit.registry import HOOKS

if TYPE_CHECKING:
    from toolkit.engine.runner import Runner

NAME = 'clinical'
NOTE = 'Research use only, not a medical device.'


@HOOKS.register
class ClinicalReport(Hook):
    """Writes what a test says of each task into the run's folder, and prints the main lines.

    `clinical.json`, `clinical.md` and `clinical.csv` hold each value with its 95 % interval, by
    class and by patient, the confusion matrix, calibration before and after the temperature, the
    threshold and where it comes from, subgroups with how many they are, and missing labels. The
    intervals are percentiles of a bootstrap over patients; AUC has DeLong's beside it. Each task
    needs a `ClinicalMetrics` in `test_evaluator`, which also says what subgroups there are.

    Args:
        resamples: of the bootstrap.
        seed: of its drawing.
        stratified: keep the number of patients of each class in every resample.
        bands: attribute -> limits between its bands; None for ages below 40, to 60, and above.
    """

    # After what takes a bar off the terminal.
    priority = 'VERY_LOW'

    def __init__(
        self,
        resamples: int = RESAMPLES,
        seed: int = 0,
        stratified: bool = False,
        bands: dict[str, list[float]] | None = None,
    ) -> None:
        if resamples < 100:
            raise ValueError(f'resamples must be at least 100 for an interval, found {resamples}')
        bands = {'age': [40, 60]} if bands is None else bands
        for name, limits in bands.items():
            if not limits or list(limits) != sorted(set(limits)):
                raise ValueError(f'bands.{name}: expected rising limits, found {limits}')
        self.settings = Settings(resamples, seed, stratified, bands)

    def before_test(self, runner: Runner) -> None:
        if not by_task(runner.test_loop.evaluator):
            raise ToolkitError(
                'ClinicalReport tells what ClinicalMetrics measures, and test_evaluator has none: '
                'give it one for each task, or leave the hook out'
            )

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        distributed.on_main(lambda: self._report(runner))

    def _report(self, runner: Runner) -> None:
        loop = runner.test_loop
        tasks = {}
        for name, (key, metric) in by_task(loop.evaluator).items():
            tasks[name] = {
                **_operating_point(runner, name),
                **task_summary(metric, loop.result.rows[key], self.settings),
            }
        record = {
            'note': NOTE,
            'interval': '95 %, percentiles of a bootstrap by patient',
            'resamples': self.settings.resamples,
            'seed': self.settings.seed,
            'stratified': self.settings.stratified,
            'tasks': tasks,
        }
        folder = Path(runner.work_dir)
        atomic_write.write(
            folder / f'{NAME}.json', json.dumps(record, indent=1, allow_nan=False) + '\n'
        )
        atomic_write.write(folder / f'{NAME}.md', markdown(record))
        atomic_write.write(folder / f'{NAME}.csv', table(record))
        for line in main_lines(record):
            runner.say(line)
        runner.say(f'more in {folder / NAME}.md. {NOTE}')


def _operating_point(runner: Runner, task: str) -> dict[str, Any]:
    """The stored temperature and threshold, and where they come from."""
    calibration = getattr(runner.system, 'calibration', None)
    if calibration is None:
        return {'temperature': None, 'threshold': None, 'chosen': 'the system stores none'}
    temperature, threshold = calibration.chosen(task)
    chosen = 'the defaults; nothing was chosen on validation data'
    if temperature != 1 or threshold not in (None, HALF):
        rule = next((h for h in _hooks(runner) if h.cls is Calibrate), None)
        how = '' if rule is None else f' ({_rule(rule.arguments)})'
        chosen = f'on validation data{how}, stored in the checkpoint'
    return {'temperature': temperature, 'threshold': threshold, 'chosen': chosen}


def _hooks(runner: Runner) -> Iterator[Any]:
    for group in (runner.run_config.default_hooks, runner.run_config.custom_hooks):
        yield from (hook for hook in (group or {}).values() if hasattr(hook, 'cls'))


def _rule(arguments: Mapping[str, Any]) -> str:
    rule = arguments.get('threshold', 'youden')
    if rule in ('sensitivity', 'specificity'):
        return f'{rule} at least {arguments.get("at_least", 0.9):g}'
    return str(rule)
