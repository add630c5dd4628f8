"""Images of a classified item: Grad-CAM, attention maps and decisions."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFilter, ImageFont
from torch import Tensor
from torch.nn import functional

from plugins.classification.inference.examples import choose_examples
from plugins.classification.inference.grad_cam import JOINT, attention_maps, grad_cam
from plugins.classification.metrics.clinical_metrics import find_clinical_metrics
from plugins.classification.system import Classifier
from toolkit.interfaces import Batch, Metric, System, Visualizer
from toolkit.io import atomic_write
from toolkit.io.json_values import write_json
from toolkit.registry import VISUALIZERS

SIDE = 320  # of a picture in pixels, at least
GAP, LABEL = 10, 22
COLUMNS = 4  # of the sheet
OPACITY = 0.75  # of the strongest place of a map over the image
COLOURS = 'inferno'  # rises in lightness, so that it is read without telling hues apart
OUTLINE = 5  # pixels that a box's frame is looked for in: it is 2 wide
FRAME = (0, 190, 255)
KIND = 'classification'  # by which the report knows these pictures


def item_pictures(
    system: Classifier,
    outputs: Mapping[str, Any],
    batch: Batch,
    index: int,
    folder: Path,
    stem: str,
) -> None:
    """Write the image, Grad-CAM and attention of one item of a test.

    `STEM.png` shows all of them side by side; `STEM.json` names the layers, images of one size, and
    gives label and prediction of each task. Grad-CAM is of the positive class, or of the decision
    if no class is positive. Each map is scaled to its own maximum. If cached features replaced an
    image, its pixels are read from the test data.

    Args:
        system: in evaluation mode.
        outputs: outputs of its `predict`.
        batch: input of `predict`.
        index: index of the item in the batch.
        folder: folder to write to.
        stem: beginning of the files' names.
    Raises:
        RunError: a file cannot be written.
    """
    meta = batch['meta'][index]
    one = {key: _one(batch[key], index) for key in ('image', 'features') if key in batch}
    with torch.no_grad():
        features = system.branch_features(one)
    told = _told(system, outputs, batch, index)
    position = _position(system, meta)
    image = to_picture(_image(system, one, position))
    layers: dict[str, tuple[Image.Image, dict[str, Any]]] = {
        'image': (_boxed(system, image, position), {})
    }
    for task, said in told.items():
        shown = torch.tensor([said['shown']], device=outputs['logits'][task].device)
        for where, cam in grad_cam(system, features, task, shown).items():
            if where != JOINT and len(features) == 1:
                continue  # what the only branch shows is seen on the joint map
            of = f'Grad-CAM {task}' + ('' if where == JOINT else f', {where}')
            layers[of] = overlay(image, cam[0, 0]), {}
    for name, weights in attention_maps(system, features).items():
        limits = {'low': float(weights[0].min()), 'high': float(weights[0].max())}
        if weights.ndim == 4:
            span = max(limits['high'] - limits['low'], torch.finfo().eps)
            scaled = (weights[0, 0] - limits['low']) / span
            layers[f'attention {name}'] = overlay(image, scaled), limits
        else:
            layers[f'attention {name}'] = _histogram(weights[0], image.size), limits
    name = str(meta.get('item', stem))
    record = {
        'item': name,
        'kind': KIND,
        'id': str(meta.get('id', name)),
        'tasks': told,
        'layers': [
            {'name': layer, 'file': f'{stem}-{_plain(layer)}.png', **more}
            for layer, (_, more) in layers.items()
        ],
    }
    for layer in record['layers']:
        atomic_write.write(folder / layer['file'], encode_png(layers[layer['name']][0]))
    atomic_write.write(folder / f'{stem}.png', encode_png(_sheet(record, layers)))
    write_json(folder / f'{stem}.json', record)


@VISUALIZERS.register
class ImageVisualizer(Visualizer):
    """Writes a classified image with Grad-CAM for each task and attention maps over it.

    It chooses images of every class: the worst mistakes, the surest hits and the least decided
    ones, by the rows of `ClinicalMetrics`. Without such rows it takes the first images.
    """

    system = Classifier
    chooses = True

    def choose_items(
        self,
        metrics: Mapping[str, Metric],
        rows: Mapping[str, Sequence[Mapping[str, Any]]],
        count: int,
    ) -> list[int]:
        """Chooses images of every class; see `choose_examples`."""
        clinical = find_clinical_metrics(metrics)
        chosen = choose_examples(
            {name: rows[key] for name, (key, _) in clinical.items()},
            {name: metric.task for name, (_, metric) in clinical.items()},
            count,
        )
        others = (index for index in range(len(next(iter(rows.values())))) if index not in chosen)
        return [*chosen, *islice(others, count - len(chosen))]

    def write_images(
        self,
        system: System,
        outputs: Mapping[str, Any],
        batch: Batch,
        index: int,
        folder: Path,
        stem: str,
    ) -> None:
        """Writes images of one item; see `item_pictures`."""
        assert isinstance(system, Classifier)
        item_pictures(system, outputs, batch, index, folder, stem)


# -- pixels ----------------------------------------------------------------------------------------


def to_picture(image: Tensor, side: int = SIDE) -> Image.Image:
    """Convert an image (C, H, W) in [0, 1], enlarged to a side of at least `side` pixels.

    Two channels, or more than three, are shown by their mean.
    """
    values = image.detach().float().cpu().clamp(0, 1)
    if len(values) not in (1, 3):
        values = values.mean(0, keepdim=True)
    shown = (values * 255).round().byte().expand(3, -1, -1).permute(1, 2, 0).numpy()
    picture = Image.fromarray(np.ascontiguousarray(shown))
    factor = max(1.0, side / min(picture.size))
    size = tuple(round(factor * x) for x in picture.size)
    return picture.resize(size, Image.Resampling.LANCZOS) if factor > 1 else picture  # type: ignore[arg-type]


def overlay(image: Image.Image, values: Tensor) -> Image.Image:
    """Overlay an image with a map (h, w) from 0 to 1: the higher, the brighter and more opaque."""
    size = image.size[::-1]
    spread = functional.interpolate(values[None, None].float().cpu(), size, mode='bicubic')
    weight = spread[0, 0].clamp(0, 1).numpy()[..., None]  # (H, W, 1)
    colours = matplotlib.colormaps[COLOURS](weight[..., 0])[..., :3] * 255
    opacity = OPACITY * weight
    mixed = (1 - opacity) * np.asarray(image, dtype=float) + opacity * colours
    return Image.fromarray((mixed + 0.5).astype(np.uint8))


def encode_png(picture: Image.Image) -> bytes:
    """Encode an image as the content of a PNG file."""
    buffer = io.BytesIO()
    picture.save(buffer, 'png', compress_level=6)
    return buffer.getvalue()


def _position(system: Classifier, meta: Mapping[str, Any]) -> int | None:
    """Find the position of an item in the pool of the test data; None if it is not known."""
    if system.tested is not None:
        for position, record in zip(system.tested.positions, system.tested.records, strict=True):
            if record.id == meta.get('id'):
                return position
    return None


def _image(system: Classifier, one: Batch, position: int | None) -> Tensor:
    """Return the image (C, H, W) of a batch of one; grey if it is not available."""
    if 'image' in one:
        return one['image'][0]
    if system.tested is None or position is None:
        return torch.full((1, system.size, system.size), 0.5)
    return system.tested.pool_image(position, 0)


def _boxed(system: Classifier, image: Image.Image, position: int | None) -> Image.Image:
    """Draw the outline of the boxes into the image."""
    marked = None
    if system.tested is not None and position is not None:
        marked = system.tested.box_mask(position)
    if marked is None:
        return image
    mask = Image.fromarray((marked.numpy() >= 0.5).astype(np.uint8) * 255)
    mask = mask.resize(image.size, Image.Resampling.NEAREST)
    outer = np.asarray(mask.filter(ImageFilter.MaxFilter(OUTLINE)))
    framed = np.asarray(image).copy()
    framed[outer != np.asarray(mask)] = FRAME
    return Image.fromarray(framed)


def _histogram(weights: Tensor, size: tuple[int, int]) -> Image.Image:
    """Draw a histogram of the channels' weights (C,) as bars."""
    bins = min(max(len(weights) // 8, 4), 40)
    counts = np.histogram(weights.cpu().numpy(), bins)[0]
    canvas = Image.new('RGB', size, 'black')
    draw = ImageDraw.Draw(canvas)
    width, height = size
    for place, count in enumerate(counts):
        left, right = (round((place + x) * width / bins) for x in (0.1, 0.9))
        top = round(height * (1 - 0.95 * count / max(counts.max(), 1)))
        if count:
            draw.rectangle((left, top, max(right - 1, left), height - 1), fill=(240, 180, 60))
    return canvas


# -- words -----------------------------------------------------------------------------------------


def _told(
    system: Classifier, outputs: Mapping[str, Any], batch: Batch, index: int
) -> dict[str, dict[str, Any]]:
    """Describe label and prediction by task; `shown` is the class of the Grad-CAM."""
    told = {}
    for name, task in system.tasks.items():
        probabilities = outputs['probabilities'][name][index].tolist()
        decided = int(outputs['decision'][name][index])
        label = int(batch['labels'][name][index]) if name in batch.get('labels', {}) else -1
        shown = decided if task.positive_index is None else task.positive_index
        threshold = system.calibration.choice(name).threshold
        told[name] = {
            'label': task.classes[label] if label >= 0 else None,
            'prediction': task.classes[decided],
            'probabilities': {k: round(p, 4) for k, p in zip(task.classes, probabilities)},
            'threshold': None if threshold is None else round(threshold, 4),
            'shown': shown,
            'class': task.classes[shown],
        }
    return told


def _words(task: str, said: Mapping[str, Any]) -> str:
    mark = '' if said['label'] in (None, said['prediction']) else '  (wrong)'
    bound = '' if said['threshold'] is None else f', threshold {said["threshold"]:.2f}'
    return (
        f'{task}: label {said["label"] or "missing"}, said {said["prediction"]}{mark}; '
        f'p({said["class"]}) = {said["probabilities"][said["class"]]:.2f}{bound}'
    )


def _sheet(
    record: Mapping[str, Any], layers: Mapping[str, tuple[Image.Image, dict[str, Any]]]
) -> Image.Image:
    """Draw all layers in rows, under label and prediction."""
    font, small = ImageFont.load_default(18), ImageFont.load_default(14)
    lines = [_words(task, said) for task, said in record['tasks'].items()]
    width, height = layers['image'][0].size
    columns = min(COLUMNS, len(layers))
    rows = -(-len(layers) // columns)
    head = GAP + 26 + LABEL * len(lines) + GAP
    span = max(
        GAP + columns * (width + GAP), 2 * GAP + round(max(small.getlength(x) for x in lines))
    )
    canvas = Image.new('RGB', (span, head + rows * (height + LABEL + GAP)), 'white')
    draw = ImageDraw.Draw(canvas)
    draw.text((GAP, GAP), record['item'], fill='black', font=font)
    for place, line in enumerate(lines):
        draw.text((GAP, GAP + 26 + place * LABEL), line, fill='black', font=small)
    for place, (name, (picture, more)) in enumerate(layers.items()):
        row, column = divmod(place, columns)
        left, top = GAP + column * (width + GAP), head + row * (height + LABEL + GAP)
        scale = f'  {more["low"]:.2f} to {more["high"]:.2f}' if more else ''
        draw.text((left, top), name + scale, fill='black', font=small)
        canvas.paste(picture, (left, top + LABEL))
    return canvas


def _one(values: Any, index: int) -> Any:
    if isinstance(values, Mapping):
        return {name: _one(value, index) for name, value in values.items()}
    return values[index : index + 1]


def _plain(name: str) -> str:
    return re.sub(r'[^A-Za-z0-9]+', '-', name).strip('-').lower()
