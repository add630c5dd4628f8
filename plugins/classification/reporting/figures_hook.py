"""RUN/figures: what a test found, drawn, and the numbers behind it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from mmengine.hooks import Hook
from torch import Tensor

from plugins.classification.inference.embedding import Method, embedded, needs
from plugins.classification.inference.item_images import pixels, png
from plugins.classification.interfaces import LabelledImages
from plugins.classification.reporting import curves, plots
from plugins.classification.system import Classifier
from toolkit.engine import distributed
from toolkit.errors import ToolkitError
from toolkit.io import atomic_write
from toolkit.registry import HOOKS

if TYPE_CHECKING:
    from toolkit.engine.runner import Runner

FOLDER = 'figures'
NUMBERS = 'figures.json'
THUMBNAIL = 160  # side in pixels, about
WRITTEN = ('.png', '.svg', '.pdf', '.json')


@HOOKS.register
class ClassificationFigures(Hook):
    """Draws what a test found into `figures/`, with the numbers in `figures/figures.json`.

    For each task: the confusion matrix, ROC and PR with 95 % bands by patient and the stored
    threshold, reliability before and after the temperature, and the worst mistakes; for all
    together the joint feature in two dimensions. Figures of an earlier test are removed.

    Args:
        resamples: of patients, for the bands.
        failures: how many mistakes are shown; 0 for none.
        embedding: 't-SNE', 'UMAP' (needs umap-learn), or None for no picture of the joint feature.
        format: of the figures; pictures of images are PNG always.
    Raises:
        ValueError: counts that are too low.
    """

    priority = 'LOW'

    def __init__(
        self,
        resamples: int = 500,
        failures: int = 12,
        embedding: Method | None = 't-SNE',
        format: Literal['png', 'svg', 'pdf'] = 'png',
    ) -> None:
        if resamples < 1:
            raise ValueError(f'resamples must be at least 1, found {resamples}')
        if failures < 0:
            raise ValueError(f'failures must be 0 or more, found {failures}')
        if embedding is not None:
            needs(embedding)
        self.resamples, self.failures = resamples, failures
        self.embedding, self.format = embedding, format
        self._items: dict[int, dict[str, Any]] = {}

    def before_test(self, runner: Runner) -> None:
        if not isinstance(runner.system, Classifier):
            raise ToolkitError(
                f'ClassificationFigures draws what a Classifier finds, and the model is a '
                f'{type(runner.system).__name__}; take the hook out'
            )
        self._items = {}
        distributed.on_main(
            lambda: atomic_write.clear(Path(runner.work_dir) / FOLDER, WRITTEN, 'figures')
        )

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
        outputs: Any = None,
    ) -> None:
        batch = data_batch or {}
        samples = runner.test_dataloader.batch_sampler.samples
        kept = {name: _numpy(outputs[name]) for name in ('logits', 'probabilities', 'decision')}
        labels = _numpy(batch['labels'])
        joint = _numpy(outputs['joint']).astype(np.float32)
        for row, (draw, meta) in enumerate(zip(runner.test_loop.drawn, batch['meta'], strict=True)):
            if draw.position >= samples:
                continue  # drawn again so that no process waits
            self._items[draw.position] = {
                'index': draw.index,
                'id': str(meta['id']),
                'patient': str(meta.get('patient') or meta['id']),
                'centre': str(meta.get('centre', '')),
                'joint': joint[row],
                'labels': {task: int(values[row]) for task, values in labels.items()},
                **{
                    name: {task: values[row] for task, values in by_task.items()}
                    for name, by_task in kept.items()
                },
            }

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        merged: dict[int, dict[str, Any]] = {}
        for part in distributed.gather(self._items):
            merged.update(part)
        self._items = {}
        items = [merged[position] for position in sorted(merged)]
        dataset = runner.assembly.datasets['test']
        folder = Path(runner.work_dir) / FOLDER
        distributed.on_main(lambda: self._write(runner.system, dataset, items, folder, runner.say))

    def _write(
        self,
        system: Classifier,
        dataset: LabelledImages,
        items: list[dict[str, Any]],
        folder: Path,
        say: Any,
    ) -> None:
        record: dict[str, Any] = {'tasks': {}, 'resamples': self.resamples}
        for name, task in system.tasks.items():
            known = [item for item in items if item['labels'].get(name, -1) >= 0]
            if not known:
                say(f'figures: no test image has a label for the task {name}; it is left out')
                continue
            scored = _scored(known, name)
            temperature, threshold = system.calibration.chosen(name)
            found = curves.numbers(
                scored,
                task,
                threshold,
                temperature,
                self.resamples,
            )
            drawn = {
                'confusion': plots.confusion_figure(found, name),
                'curves': plots.curves_figure(found, name),
                'reliability': plots.reliability_figure(found, name),
            }
            for kind, figure in drawn.items():
                if figure is not None:
                    path = folder / f'{name}-{kind}.{self.format}'
                    atomic_write.write(path, plots.rendered(figure, self.format))
            found['failures'] = self._failures(dataset, known, scored, name, folder)
            record['tasks'][name] = found
        if self.embedding is not None and items:
            record['embedding'] = self._embedding(system, items, folder, say)
        text = json.dumps(record, ensure_ascii=False) + '\n'
        atomic_write.write(folder / NUMBERS, text)

    def _failures(
        self,
        dataset: LabelledImages,
        known: list[dict[str, Any]],
        scored: curves.Scored,
        task: str,
        folder: Path,
    ) -> list[dict[str, Any]]:
        """The worst mistakes, each with a thumbnail, and all of them on a sheet."""
        classes = dataset.tasks[task].classes
        told, thumbnails = [], []
        for place, row in enumerate(curves.mistakes(scored, self.failures)):
            position = dataset.positions[known[row]['index']]
            picture = pixels(dataset.pool_image(position, 0), THUMBNAIL)
            picture.thumbnail((2 * THUMBNAIL, 2 * THUMBNAIL))
            file = f'{task}-failure-{place + 1:02}.png'
            atomic_write.write(folder / file, png(picture))
            thumbnails.append(picture)
            label, decided = int(scored.labels[row]), int(scored.decisions[row])
            told.append(
                {
                    'id': scored.ids[row],
                    'patient': scored.patients[row],
                    'file': file,
                    'label': classes[label],
                    'prediction': classes[decided],
                    'probability': round(float(scored.probabilities[row, decided]), 4),
                    'of_label': round(float(scored.probabilities[row, label]), 4),
                }
            )
        if told:
            sheet = plots.gallery_figure(told, thumbnails, task)
            atomic_write.write(folder / f'{task}-failures.png', plots.rendered(sheet, 'png'))
        return told

    def _embedding(
        self, system: Classifier, items: list[dict[str, Any]], folder: Path, say: Any
    ) -> dict[str, Any] | None:
        assert self.embedding is not None
        features = np.stack([item['joint'] for item in items])
        found = embedded(features, self.embedding)
        if isinstance(found, str):
            say(f'figures: no {self.embedding}: {found}')
            return None
        kept, points = found
        chosen = [items[i] for i in kept]
        colours = {
            name: [
                task.classes[item['labels'][name]] if item['labels'].get(name, -1) >= 0 else ''
                for item in chosen
            ]
            for name, task in system.tasks.items()
        }
        order = {name: list(task.classes) for name, task in system.tasks.items()}
        centres = [item['centre'] for item in chosen]
        if len(set(centres)) > 1:
            colours['centre'], order['centre'] = centres, sorted(set(centres) - {''})
        figure = plots.embedding_figure(points, colours, order, self.embedding, len(items))
        atomic_write.write(folder / f'embedding.{self.format}', plots.rendered(figure, self.format))
        return {
            'method': self.embedding,
            'ids': [item['id'] for item in chosen],
            'points': [[float(f'{v:.4g}') for v in point] for point in points],
            'colours': colours,
        }


def _scored(items: list[dict[str, Any]], task: str) -> curves.Scored:
    return curves.Scored(
        ids=[item['id'] for item in items],
        patients=[item['patient'] for item in items],
        labels=np.array([item['labels'][task] for item in items]),
        logits=np.stack([item['logits'][task] for item in items]).astype(float),
        probabilities=np.stack([item['probabilities'][task] for item in items]).astype(float),
        decisions=np.array([int(item['decision'][task]) for item in items]),
    )


def _numpy(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _numpy(item) for name, item in value.items()}
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else np.asarray(value)
