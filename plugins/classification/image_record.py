"""Record of an image: file, patient, centre, labels, boxes and attributes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from plugins.classification.tasks import MISSING

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Record:
    """An image of a dataset.

    Attributes:
        id: name of the image, unique in the data set.
        path: of its file; None where the pixels come from elsewhere (an array, a drawing).
        patient: whom it shows; images of a patient stay together in every split. Its own `id`
            where patients are not known.
        centre: where it was taken, '' where that is not known.
        labels: class names by task; a task without a label is left out.
        boxes: of what is looked at, (x0, y0, x1, y1) in pixels of the file.
        attributes: what else the manifest says, by column, as text: sex, age, device.
        frame: of a file with several, from 0.
    """

    id: str
    path: Path | None = None
    patient: str = ''
    centre: str = ''
    labels: Mapping[str, str] = field(default_factory=dict)
    boxes: tuple[Box, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)
    frame: int = 0

    def index(self, task: str, classes: tuple[str, ...]) -> int:
        """The label's number among the classes, MISSING where there is none."""
        name = self.labels.get(task)
        return MISSING if name is None else classes.index(name)


def list_known_patients(records: Iterable[Record]) -> set[str]:
    """Lists patients whom an image of another name shows.

    One who is named like the only image of theirs is an image of an unknown patient. One who is
    named like the first of several images, as `toolkit audit --groups` names groups, is known.
    """
    return {record.patient for record in records if record.patient not in ('', record.id)}


def list_files(records: Iterable[Record]) -> list[Path]:
    """Lists the files of images, without those whose pixels come from elsewhere."""
    return list(dict.fromkeys(record.path for record in records if record.path is not None))
