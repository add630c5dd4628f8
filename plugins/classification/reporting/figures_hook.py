"""Hook that draws the figures of a test into RUN/figures, with the numbers behind them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from mmengine.hooks import Hook

from plugins.classification.inference.embedding import Method, check_installed, embed
from plugins.classification.inference.examples import rank_mistakes
from plugins.classification.inference.item_images import encode_png, to_picture
from plugins.classification.interfaces import LabelledImages
from plugins.classification.metrics.clinical_metrics import ClinicalMetrics, find_clinical_metrics
from plugins.classification.metrics.functional.bootstrap import BootstrapSettings
from plugins.classification.metrics.predictions import Predictions, read_rows
from plugins.classification.reporting import class_plots, plot_style, plots
from plugins.classification.reporting.clinical.clinical_report_hook import ClinicalReport
from plugins.classification.reporting.curves import FigureSettings, compute_task_numbers
from plugins.classification.system import Classifier
from toolkit.engine.process import distributed
from toolkit.errors import ToolkitError
from toolkit.interfaces import Metric, System
from toolkit.io import atomic_write
from toolkit.ranges import NonNegativeInt, PositiveInt
from toolkit.registry import HOOKS

if TYPE_CHECKING:
    from toolkit.engine.runner import Runner

FOLDER = 'figures'
NUMBERS = 'figures.json'
THUMBNAIL = 160  # side in pixels, about
SUFFIXES = ('.png', '.svg', '.pdf', '.json')

Rows = Sequence[Mapping[str, Any]]


@HOOKS.register
class ClassificationFigures(Hook):
    """Draws the figures of a test into `figures/`, with the numbers in `figures/figures.json`.

    For each task: the confusion matrix, ROC and PR with 95 % bands by patient and the stored
    threshold, reliability before and after the temperature, risk against coverage, and the worst
    mistakes; for all tasks
    together the joint feature in two dimensions. Figures of an earlier test are removed. Each task
    needs a `ClinicalMetrics` in `test_evaluator`. The intervals are those of `ClinicalReport`,
    with its bootstrap if the run has that hook.

    Args:
        resamples: number of resamples of the bands.
        failures: number of mistakes to show; 0 for none.
        embedding: 't-SNE', 'UMAP' (needs umap-learn), or None for no figure of the joint feature.
        format: format of the figures; images are PNG always.
    Raises:
        ValueError: a number that is too low, or a method that is not installed.
    """

    priority = 'LOW'

    def __init__(
        self,
        resamples: PositiveInt = 500,
        failures: NonNegativeInt = 12,
        embedding: Method | None = 't-SNE',
        format: Literal['png', 'svg', 'pdf'] = 'png',
    ) -> None:
        if resamples < 1:
            raise ValueError(f'resamples must be at least 1, found {resamples}')
        if failures < 0:
            raise ValueError(f'failures must be 0 or more, found {failures}')
        if embedding is not None:
            check_installed(embedding)
        self.resamples, self.failures = resamples, failures
        self.embedding, self.format = embedding, format
        self._joint: dict[int, np.ndarray] = {}

    def check_run(self, system: System, metrics: Mapping[str, Mapping[str, Metric]]) -> None:
        if not isinstance(system, Classifier):
            raise ToolkitError(
                f'ClassificationFigures draws figures of a Classifier, and the model is a '
                f'{type(system).__name__}; take the hook out'
            )
        if 'test' in metrics and not find_clinical_metrics(metrics['test']):
            raise ToolkitError(
                'ClassificationFigures reads the rows of ClinicalMetrics, and test_evaluator has '
                'none: give it one for each task, or leave the hook out'
            )

    def before_test(self, runner: Runner) -> None:
        self.check_run(runner.system, {'test': runner.test_loop.evaluator.metrics})
        self._joint = {}
        distributed.run_on_main(
            lambda: atomic_write.remove_files(Path(runner.work_dir) / FOLDER, SUFFIXES, 'figures')
        )

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
        outputs: Any = None,
    ) -> None:
        if self.embedding is None:
            return
        joint = outputs['joint'].detach().float().cpu().numpy()
        samples = runner.test_dataloader.batch_sampler.samples
        for request, feature in zip(runner.test_loop.requests, joint, strict=True):
            if request.position < samples:  # the others repeat, so that no process waits
                self._joint[request.position] = feature

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        joint: dict[int, np.ndarray] = {}
        for part in distributed.gather(self._joint):
            joint.update(part)
        self._joint = {}
        features = [joint[position] for position in sorted(joint)]
        distributed.run_on_main(lambda: self._write(runner, features))

    def _write(self, runner: Runner, features: list[np.ndarray]) -> None:
        system, dataset = runner.system, runner.components.datasets['test']
        folder = Path(runner.work_dir) / FOLDER
        settings = FigureSettings(_find_bootstrap(runner), self.resamples)
        record: dict[str, Any] = {
            'tasks': {},
            'resamples': settings.bootstrap.resamples,
            'band_resamples': settings.band_resamples,
        }
        clinical = find_clinical_metrics(runner.test_loop.evaluator.metrics)
        rows: dict[str, Rows] = {
            name: runner.test_loop.result.rows[key] for name, (key, _) in clinical.items()
        }
        for name in system.tasks:
            if name not in clinical:
                runner.say(
                    f'figures: test_evaluator has no ClinicalMetrics of the task {name}; it is '
                    'left out'
                )
                continue
            metric = clinical[name][1]
            images = read_rows(rows[name], metric.task).labelled()
            if not len(images):
                runner.say(
                    f'figures: no test image has a label for the task {name}; it is left out'
                )
                continue
            temperature = system.calibration.choice(name).temperature
            record['tasks'][name] = {
                **self._draw_task(metric, images, temperature, settings, folder),
                'failures': self._draw_failures(dataset, images, name, folder),
            }
        if self.embedding is not None and features:
            record['embedding'] = self._draw_embedding(runner, rows, features, folder)
        text = json.dumps(record, ensure_ascii=False) + '\n'
        atomic_write.write(folder / NUMBERS, text)

    def _draw_task(
        self,
        metric: ClinicalMetrics,
        images: Predictions,
        temperature: float,
        settings: FigureSettings,
        folder: Path,
    ) -> dict[str, Any]:
        """Draw the figures of a task and return the numbers behind them."""
        name = metric.task_name
        numbers = compute_task_numbers(metric, images, temperature, settings)
        figures = {
            'confusion': class_plots.draw_confusion(numbers, name),
            'decision-curve': plots.draw_decision_curve(numbers, name),
            'curves': plots.draw_curves(numbers, name),
            'reliability': plots.draw_reliability(numbers, name),
            'risk-coverage': plots.draw_risk_coverage(numbers, name),
        }
        for kind, figure in figures.items():
            if figure is not None:
                path = folder / f'{name}-{kind}.{self.format}'
                atomic_write.write(path, plot_style.render(figure, self.format))
        return numbers

    def _draw_failures(
        self, dataset: LabelledImages, images: Predictions, task: str, folder: Path
    ) -> list[dict[str, Any]]:
        """Write the worst mistakes, each as a thumbnail, and all of them on a sheet."""
        classes = images.task.classes
        positions = {
            record.id: position
            for record, position in zip(dataset.records, dataset.positions, strict=True)
        }
        ranked = rank_mistakes(images.labels, images.decisions, images.probabilities)
        failures, thumbnails = [], []
        for place, row in enumerate(ranked[: self.failures]):
            picture = to_picture(dataset.pool_image(positions[images.ids[row]], 0), THUMBNAIL)
            picture.thumbnail((2 * THUMBNAIL, 2 * THUMBNAIL))
            file = f'{task}-failure-{place + 1:02}.png'
            atomic_write.write(folder / file, encode_png(picture))
            thumbnails.append(picture)
            label, decision = int(images.labels[row]), int(images.decisions[row])
            failures.append(
                {
                    'id': str(images.ids[row]),
                    'patient': str(images.patients[row]),
                    'file': file,
                    'label': classes[label],
                    'prediction': classes[decision],
                    'probability': round(float(images.probabilities[row, decision]), 4),
                    'label_probability': round(float(images.probabilities[row, label]), 4),
                }
            )
        if failures:
            sheet = plots.draw_gallery(failures, thumbnails, task)
            atomic_write.write(folder / f'{task}-failures.png', plot_style.render(sheet, 'png'))
        return failures

    def _draw_embedding(
        self, runner: Runner, rows: Mapping[str, Rows], features: list[np.ndarray], folder: Path
    ) -> dict[str, Any] | None:
        """Draw the joint features in two dimensions, coloured by each task and by centre."""
        assert self.embedding is not None
        found = embed(np.stack(features), self.embedding)
        if isinstance(found, str):
            runner.say(f'figures: no {self.embedding}: {found}')
            return None
        kept, points = found
        tasks = {name: task for name, task in runner.system.tasks.items() if name in rows}
        colours = {
            name: _class_names(rows[name], task.classes, kept) for name, task in tasks.items()
        }
        order = {name: list(task.classes) for name, task in tasks.items()}
        some = [next(iter(rows.values()))[i] for i in kept]
        centres = [str(row.get('centre') or '') for row in some]
        if len(set(centres)) > 1:
            colours['centre'], order['centre'] = centres, sorted(set(centres) - {''})
        figure = class_plots.draw_embedding(points, colours, order, self.embedding, len(features))
        atomic_write.write(
            folder / f'embedding.{self.format}', plot_style.render(figure, self.format)
        )
        return {
            'method': self.embedding,
            'ids': [str(row['id']) for row in some],
            'points': [[float(f'{v:.4g}') for v in point] for point in points],
            'colours': colours,
        }


def _find_bootstrap(runner: Runner) -> BootstrapSettings:
    """Return the bootstrap of the run's clinical report, or the default one."""
    for hook in runner.hooks:
        if isinstance(hook, ClinicalReport):
            return hook.settings.bootstrap
    return BootstrapSettings()


def _class_names(rows: Rows, classes: Sequence[str], kept: np.ndarray) -> list[str]:
    """Name the class of each image that is kept; '' for a missing label."""
    return [classes[rows[i]['label']] if rows[i]['label'] >= 0 else '' for i in kept]
