"""Dataset of simulated ultrasound images, without a download."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np

from plugins.classification.data.image_dataset import ImageSet
from plugins.classification.data.split import SplitSpec
from plugins.classification.image_record import Box, Record
from plugins.classification.synthetic import nodule, phantom, scanner
from plugins.classification.tasks import Task
from toolkit.engine.process import seeding
from toolkit.errors import did_you_mean
from toolkit.ranges import BelowOne, Ge, Le, NonNegativeInt
from toolkit.registry import DATASETS

# Classes of each task.
CLASSES = {
    'pathology': nodule.PATHOLOGY,
    'malignancy': ('benign', 'malignant'),
    'composition': nodule.COMPOSITION,
    'margin': nodule.MARGIN,
    'calcification': nodule.CALCIFICATION,
}
MAX_IMAGES = 4  # of a patient


@DATASETS.register
class SyntheticUltrasound(ImageSet):
    """Simulated ultrasound images of thyroid nodules with known truth; they need no data.

    The images show layers of the neck, the gland and a nodule, with speckle. Scanners of several
    centres differ in probe, gain, blur and frame. Shape, margin, echo strength, fluid and
    calcifications of a nodule depend on its pathology. The pathologies overlap, as in patients, so
    that no sign separates them with certainty. A patient has one to four images. The shares of the
    pathologies are .6, .25, .1 and .05; a medullary carcinoma is rare.

    Args:
        tasks: any of 'pathology' (benign, papillary, follicular, medullary), 'malignancy' (benign,
            malignant), 'composition' (solid, mixed, cystic), 'margin' (smooth, lobulated,
            spiculated) and 'calcification' (none, punctate, coarse), with these classes.
        patients: number of patients, at least 20.
        centres: number of centres, at most 4.
        missing: share of patients without a label, for each task.
        seed: seed of all images and labels.
        split: split of the images; five folds by default.
        **options: see `ImageSet`.
    Raises:
        ToolkitError: the split refuses the images.
        ValueError: an argument is out of range, or a task or class is unknown.
    """

    def __init__(
        self,
        tasks: dict[str, Task],
        patients: Annotated[int, Ge(20)] = 160,
        centres: Annotated[int, Ge(1), Le(4)] = 3,
        missing: BelowOne = 0.15,
        seed: NonNegativeInt = 0,
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
                    f'tasks: there is no task {name!r}{did_you_mean(name, CLASSES)}; there are: '
                    f'{", ".join(CLASSES)}'
                )
            if set(task.classes) != set(CLASSES[name]):
                raise ValueError(
                    f'tasks.{name}: found the classes {", ".join(task.classes)}, expected '
                    f'{", ".join(CLASSES[name])}'
                )
        options.setdefault('verify', 'header')  # simulated images can always be read
        super().__init__(tasks, split=split or SplitSpec(), **options)
        self.seed, self.patient_scope = seed, f'simulated with seed {seed}: '
        self._pathologies = _assign_pathologies(patients, seed)
        self.use_records(_build_records(self._pathologies, centres, missing, seed, tuple(tasks)))

    def read(self, position: int) -> tuple[np.ndarray, tuple[Box, ...]]:
        record = self.pool[position]
        patient, number = _parse_id(record)
        pathology = self._pathologies[patient]
        pixels = _render_image(self.seed, patient, number, record.centre, pathology)
        return pixels.astype(np.float32) / np.float32(255), record.boxes

    def check_header(self, position: int) -> None:
        """Does nothing, because simulated images are always valid."""

    def hash_image(self, position: int) -> str:
        record = self.pool[position]
        pathology = self._pathologies[_parse_id(record)[0]]
        inputs = (scanner.VERSION, self.seed, record.id, record.centre, pathology)
        return hashlib.sha256(repr(inputs).encode()).hexdigest()[:16]


def _parse_id(record: Record) -> tuple[int, int]:
    """Returns the number of the patient and of the image."""
    patient, number = record.id[1:].split('_')
    return int(patient), int(number)


def _assign_pathologies(patients: int, seed: int) -> list[str]:
    """Assigns a pathology to each patient, with shares as exact as whole patients allow."""
    counts = [max(1, round(share * patients)) for share in nodule.SHARES[1:]]
    assigned = [nodule.PATHOLOGY[0]] * (patients - sum(counts))
    for name, count in zip(nodule.PATHOLOGY[1:], counts):
        assigned += [name] * count
    np.random.default_rng(seeding.derive_seed(seed, 'pathologies')).shuffle(assigned)
    return assigned


def _build_records(
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
        count = int(rng.integers(1, MAX_IMAGES + 1))
        # For every task in the same order, so that the choice of tasks changes nothing else.
        known = {task: rng.random() >= missing for task in CLASSES}
        nodule, _ = _sample_patient(seed, patient, pathology)
        truth = {
            'pathology': pathology,
            'malignancy': 'benign' if pathology == 'benign' else 'malignant',
            'composition': nodule.composition,
            'margin': nodule.margin,
            'calcification': nodule.calcification,
        }
        for number in range(count):
            x0, z0, x1, z1 = _sample_section(seed, patient, number, pathology).compute_box()
            left, top = scanner.to_pixel(machine, x0, z0)
            right, bottom = scanner.to_pixel(machine, x1, z1)
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
def _sample_patient(
    seed: int, patient: int, pathology: str
) -> tuple[nodule.Nodule, phantom.Anatomy]:
    rng = np.random.default_rng(seeding.derive_seed(seed, 'anatomy', patient))
    return nodule.sample_nodule(rng, pathology), phantom.sample_anatomy(rng)


def _sample_section(seed: int, patient: int, number: int, pathology: str) -> nodule.Nodule:
    rng = np.random.default_rng(seeding.derive_seed(seed, 'section', patient, number))
    return nodule.sample_section(rng, _sample_patient(seed, patient, pathology)[0])


def _render_image(seed: int, patient: int, number: int, centre: str, pathology: str) -> np.ndarray:
    machine = next(one for one in scanner.SCANNERS if one.name == centre)
    _, anatomy = _sample_patient(seed, patient, pathology)
    nodule = _sample_section(seed, patient, number, pathology)
    strength, attenuation = phantom.compute_strengths(
        anatomy, nodule, *scanner.compute_positions(machine)
    )
    rng = np.random.default_rng(seeding.derive_seed(seed, 'speckle', patient, number))
    return scanner.render_image(rng, machine, strength, attenuation)
