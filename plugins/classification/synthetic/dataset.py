"""A drawn set of ultrasound images that needs no download."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from plugins.classification.data.image_dataset import ImageSet
from plugins.classification.data.split import SplitSpec
from plugins.classification.image_record import Box, Record
from plugins.classification.synthetic import phantom, scanner
from plugins.classification.tasks import Task
from toolkit.engine import seeding
from toolkit.errors import did_you_mean
from toolkit.registry import DATASETS

# What can be asked about the images.
CLASSES = {
    'pathology': phantom.PATHOLOGY,
    'malignancy': ('benign', 'malignant'),
    'composition': phantom.COMPOSITION,
    'margin': phantom.MARGIN,
    'calcification': phantom.CALCIFICATION,
}
MOST = 4  # images of a patient


@DATASETS.register
class SyntheticUltrasound(ImageSet):
    """Drawn images of thyroid nodules: no data are needed, and the truth is known.

    Layers of the neck, the gland and a nodule, in speckle, as scanners of several centres show
    them, each with its own probe, gain, blur and frame. A nodule's shape, margin, strength of echo,
    fluid and calcifications follow its pathology, as far as they do in patients: nothing tells the
    classes apart for certain. Patients have one to four images. The pathologies' shares are .6,
    .25, .1 and .05; a medullary carcinoma is rare.

    Args:
        tasks: of 'pathology' (benign, papillary, follicular, medullary), 'malignancy' (benign,
            malignant), 'composition' (solid, mixed, cystic), 'margin' (smooth, lobulated,
            spiculated) and 'calcification' (none, punctate, coarse), with these classes.
        patients: how many, at least 20.
        centres: how many, up to 4.
        missing: share of the patients whose label of a task is missing, for each task.
        seed: of everything that is drawn.
        split: how the images are split; five folds where it is left out.
        **options: see `ImageSet`.
    Raises:
        ToolkitError: what `positions` refuses.
        ValueError: arguments out of range, a task or class that it does not know.
    """

    def __init__(
        self,
        tasks: dict[str, Task],
        patients: int = 160,
        centres: int = 3,
        missing: float = 0.15,
        seed: int = 0,
        split: SplitSpec | None = None,
        **options: Any,
    ) -> None:
        if patients < 20:
            raise ValueError(f'patients must be at least 20, found {patients}')
        if not 1 <= centres <= len(scanner.SCANNERS):
            raise ValueError(f'centres must be from 1 to {len(scanner.SCANNERS)}, found {centres}')
        if not 0 <= missing < 1:
            raise ValueError(f'missing must be a share in [0, 1), found {missing}')
        for name, task in tasks.items():
            if name not in CLASSES:
                raise ValueError(
                    f'tasks: nothing drawn tells {name!r}{did_you_mean(name, CLASSES)}; there are: '
                    f'{", ".join(CLASSES)}'
                )
            if set(task.classes) != set(CLASSES[name]):
                raise ValueError(
                    f'tasks.{name}: found the classes {", ".join(task.classes)}, expected '
                    f'{", ".join(CLASSES[name])}'
                )
        options.setdefault('verify', 'header')  # what is drawn can be read
        super().__init__(tasks, split=split or SplitSpec(), **options)
        self.seed = seed
        self._pathologies = _pathologies(patients, seed)
        self.use_records(_records(self._pathologies, centres, missing, seed, tuple(tasks)))

    def read(self, position: int) -> tuple[np.ndarray, tuple[Box, ...]]:
        record = self.pool[position]
        patient, number = _numbers(record)
        pathology = self._pathologies[patient]
        pixels = _image(self.seed, patient, number, record.centre, pathology)
        return pixels.astype(np.float32) / np.float32(255), record.boxes

    def check_header(self, position: int) -> None:
        """They are drawn."""

    def hash_image(self, position: int) -> str:
        record = self.pool[position]
        pathology = self._pathologies[_numbers(record)[0]]
        told = (scanner.VERSION, self.seed, record.id, record.centre, pathology)
        return hashlib.sha256(repr(told).encode()).hexdigest()[:16]


def _numbers(record: Record) -> tuple[int, int]:
    """Returns the number of the patient and of the image."""
    patient, number = record.id[1:].split('_')
    return int(patient), int(number)


def _pathologies(patients: int, seed: int) -> list[str]:
    """Assigns a pathology to each patient, with shares as exact as whole patients allow."""
    counts = [max(1, round(share * patients)) for share in phantom.SHARES[1:]]
    drawn = [phantom.PATHOLOGY[0]] * (patients - sum(counts))
    for name, count in zip(phantom.PATHOLOGY[1:], counts):
        drawn += [name] * count
    np.random.default_rng(seeding.derive_seed(seed, 'pathologies')).shuffle(drawn)
    return drawn


def _records(
    pathologies: Sequence[str], centres: int, missing: float, seed: int, tasks: tuple[str, ...]
) -> list[Record]:
    records = []
    for patient, pathology in enumerate(pathologies):
        rng = np.random.default_rng(seeding.derive_seed(seed, 'patient', patient))
        machine = scanner.SCANNERS[int(rng.integers(centres))]
        attributes = {
            'sex': 'F' if rng.random() < 0.75 else 'M',
            'age': str(int(np.clip(rng.normal(50, 14), 18, 90))),
            'device': machine.model,
        }
        count = int(rng.integers(1, MOST + 1))
        # Of every task in the same order, so that what is asked changes nothing else.
        known = {task: rng.random() >= missing for task in CLASSES}
        nodule, _ = _patient(seed, patient, pathology)
        truth = {
            'pathology': pathology,
            'malignancy': 'benign' if pathology == 'benign' else 'malignant',
            'composition': nodule.composition,
            'margin': nodule.margin,
            'calcification': nodule.calcification,
        }
        for number in range(count):
            x0, z0, x1, z1 = _section(seed, patient, number, pathology).box()
            left, top = scanner.pixel_of(machine, x0, z0)
            right, bottom = scanner.pixel_of(machine, x1, z1)
            box = (
                max(0.0, left),
                max(0.0, top),
                min(float(scanner.WIDTH), right),
                min(float(scanner.HEIGHT), bottom),
            )
            records.append(
                Record(
                    id=f'p{patient:04d}_{number}',
                    patient=f'p{patient:04d}',
                    centre=machine.name,
                    labels={task: truth[task] for task in tasks if known[task]},
                    boxes=(box,),
                    attributes=attributes,
                )
            )
    return records


@functools.lru_cache(maxsize=256)
def _patient(seed: int, patient: int, pathology: str) -> tuple[phantom.Nodule, phantom.Anatomy]:
    rng = np.random.default_rng(seeding.derive_seed(seed, 'anatomy', patient))
    return phantom.draw_nodule(rng, pathology), phantom.draw_anatomy(rng)


def _section(seed: int, patient: int, number: int, pathology: str) -> phantom.Nodule:
    rng = np.random.default_rng(seeding.derive_seed(seed, 'section', patient, number))
    return phantom.section(rng, _patient(seed, patient, pathology)[0])


def _image(seed: int, patient: int, number: int, centre: str, pathology: str) -> np.ndarray:
    machine = next(one for one in scanner.SCANNERS if one.name == centre)
    _, anatomy = _patient(seed, patient, pathology)
    nodule = _section(seed, patient, number, pathology)
    strength, lost = phantom.strengths(anatomy, nodule, *scanner.places(machine))
    rng = np.random.default_rng(seeding.derive_seed(seed, 'speckle', patient, number))
    return scanner.picture(rng, machine, strength, lost)
