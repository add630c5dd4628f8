"""Predictions of images in memory: of the images of a dataset, and of images that a caller has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from plugins.classification.data.reading.image_io import convert_image
from plugins.classification.image_record import Record
from plugins.classification.inference.input_images import FoundImages, find_images
from plugins.classification.inference.prediction_tables import Predicted
from plugins.classification.interfaces import LabelledImages
from plugins.classification.system import Classifier
from plugins.classification.tasks import Tasks
from toolkit.errors import DataError, ToolkitError

ImageSource = np.ndarray | Tensor | Image.Image | str | Path


@dataclass(frozen=True)
class ImagePrediction:
    """Prediction of a classifier for an image.

    Attributes:
        id: the file, FILE#FRAME for a frame, or 'image 0', 'image 1', ... for images in memory.
        decision: class by task, chosen as in the run's test.
        probabilities: by task and class, in [0, 1].
    """

    id: str
    decision: dict[str, str]
    probabilities: dict[str, dict[str, float]]


def collect_images(
    images: ImageSource | Sequence[ImageSource], full_scale: int | None = None
) -> FoundImages:
    """Collects images in memory and image files, in their order.

    Args:
        images: one, or a list: arrays (H, W) or (H, W, 1 | 3 | 4), tensors (C, H, W) or (H, W),
            PIL images, and paths of image files, folders, patterns and manifests.
        full_scale: see `read_image`; of arrays and PIL images.
    Raises:
        ToolkitError: another type, or a path that names no image.
        DataError: an array of another shape, or one whose range of values is not known.
    """
    single = isinstance(images, np.ndarray | Tensor | Image.Image | str | Path)
    sources: Sequence[Any] = [images] if single else list(images)
    if not sources:
        raise ToolkitError('found an empty list; expected at least one image')
    found = FoundImages()
    for number, source in enumerate(sources):
        name = f'image {number}'
        if isinstance(source, str | Path):
            named = find_images([str(source)])
            found.records += named.records
            found.left_out |= named.left_out
            found.unreadable |= named.unreadable
        elif isinstance(source, np.ndarray | Tensor | Image.Image):
            values = _to_channels_last(source) if isinstance(source, Tensor) else source
            found.pixels[name] = convert_image(values, name, full_scale)
            found.records.append(Record(id=name, patient=name))
        else:
            raise ToolkitError(
                f'found {name} of type {type(source).__name__}; expected an array, a tensor, a PIL '
                'image or a path'
            )
    return found


def _to_channels_last(image: Tensor) -> np.ndarray:
    image = image.detach().cpu()
    # numpy has no bfloat16; float32 holds each of its values.
    values = (image.float() if image.dtype == torch.bfloat16 else image).numpy()
    return values.transpose(1, 2, 0) if values.ndim == 3 else values


def list_predictions(
    tasks: Tasks, records: Sequence[Record], predicted: Predicted
) -> list[ImagePrediction]:
    """Lists the predictions of images, in the order of their records."""
    return [
        ImagePrediction(
            record.id,
            {name: task.classes[int(predicted[name][1][i])] for name, task in tasks.items()},
            {
                name: dict(zip(task.classes, map(float, predicted[name][0][i]), strict=True))
                for name, task in tasks.items()
            },
        )
        for i, record in enumerate(records)
    ]


def predict_all(
    system: Classifier,
    data: LabelledImages,
    batch_size: int,
    device: torch.device,
    autocast: Callable[[], AbstractContextManager[Any]],
) -> Predicted:
    """Predicts all images of a dataset, in batches.

    Raises:
        DataError: a probability that is not finite; a test refuses it too.
    """
    batches: list[dict[str, tuple[torch.Tensor, torch.Tensor]]] = []
    for start in range(0, len(data.positions), batch_size):
        images = [data.pool_image(i, 0) for i in data.positions[start : start + batch_size]]
        with torch.inference_mode(), autocast():
            outputs = system.predict({'image': torch.stack(images).to(device)})
        values, decisions = outputs['probabilities'], outputs['decision']
        batches.append({k: (values[k].float().cpu(), decisions[k].cpu()) for k in system.tasks})
    predicted = {}
    for name in system.tasks:
        parts = zip(*(batch[name] for batch in batches))
        probabilities, decided = (torch.cat(part).numpy() for part in parts)
        for index in np.flatnonzero(~np.isfinite(probabilities).all(1)):
            raise DataError(
                f'the probabilities of task {name!r} are not finite for {data.records[index].id}: '
                f'{probabilities[index].tolist()}; check the weights and the image'
            )
        predicted[name] = probabilities, decided
    return predicted
