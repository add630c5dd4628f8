"""Which images are for training, validation and test, with the images of a patient together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from plugins.classification.data.split_file import load_split
from plugins.classification.image_record import Record
from plugins.classification.tasks import Tasks
from toolkit.errors import DataError, ToolkitError, did_you_mean
from toolkit.io.stratified_groups import split_groups

By = Literal['folds', 'holdout', 'centre', 'column', 'file']
Part = Literal['train', 'val', 'test', 'all']
PARTS = ('train', 'val', 'test')


@dataclass(frozen=True)
class SplitSpec:
    """How images are split; all images of a patient are in one part, whatever the way.

    Args:
        by: 'folds' for k folds, of which one is the test; 'holdout' for a share drawn once;
            'centre' for one centre as the test; 'column' for a column of the data that names the
            part of each image; 'file' for what `toolkit split` saved.
        fold: which fold, centre (in the order of their names) or fold of a file is the test,
            from 0.
        folds: how many there are, with 'folds'.
        test: share of all patients' images, with 'holdout'.
        val: share of what is not test that is set aside for validation, unless a column or file
            says which; 0 for none.
        seed: of the draw.
        stratify: tasks whose classes are to have their share in each part; all if left out. An
            image without a label counts as one more class.
        centre: name of the test's centre, instead of `fold`.
        column: that names the part, with 'column'. Images without a value are left out.
        names: what the column calls train, val and test.
        file: absolute, or below $TOOLKIT_DATA, or from here.
        shared: what becomes of a patient that a column puts into two parts, or who was seen at two
            centres: 'error', or 'drop', which leaves the patient's images out of training where
            any is in validation or test, and out of validation where any is in the test.
        empty: what becomes of a part without a sample of a class: 'error' or 'allow'.
    Raises:
        ValueError: a share or a number out of range, or a column or file that is not named.
    """

    by: By = 'folds'
    fold: int = 0
    folds: int = 5
    test: float = 0.2
    val: float = 0.15
    seed: int = 0
    stratify: tuple[str, ...] = ()
    centre: str | None = None
    column: str | None = None
    names: dict[str, str] = field(default_factory=lambda: {name: name for name in PARTS})
    file: str | None = None
    shared: Literal['error', 'drop'] = 'error'
    empty: Literal['error', 'allow'] = 'error'

    def __post_init__(self) -> None:
        if self.folds < 2:
            raise ValueError(f'folds must be at least 2, found {self.folds}')
        last = {'folds': self.folds - 1, 'holdout': 0, 'column': 0}.get(self.by)
        if self.fold < 0 or (last is not None and self.fold > last):
            given = f'from 0 to {last}' if last else '0' if last == 0 else 'at least 0'
            raise ValueError(f'fold must be {given} with by: {self.by}, found {self.fold}')
        if not 0 < self.test < 1:
            raise ValueError(f'test must be a share between 0 and 1, found {self.test}')
        if not 0 <= self.val < 1:
            raise ValueError(f'val must be a share in [0, 1), found {self.val}')
        if self.seed < 0:
            raise ValueError(f'seed must be 0 or more, found {self.seed}')
        for way in ('column', 'file', 'centre'):
            given = getattr(self, way)
            if given is not None and self.by != way:
                raise ValueError(f'{way}: {given} is of by: {way}, found by: {self.by}')
            if given is None and self.by == way and way != 'centre':
                raise ValueError(f'by: {way} needs {way}')
        unknown = sorted(self.names.keys() - set(PARTS))
        if unknown:
            raise ValueError(f'names: {unknown[0]!r} is no part; there are: {", ".join(PARTS)}')
        if len(set(self.names.values())) < len(self.names):
            raise ValueError('names: two parts go by the same value of the column')


@dataclass(frozen=True)
class Parts:
    """Positions of the records of each part, ascending.

    Attributes:
        left_out: how many records are in no part, by why.
    """

    train: tuple[int, ...]
    val: tuple[int, ...]
    test: tuple[int, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __getitem__(self, part: str) -> tuple[int, ...]:
        return getattr(self, part)


def positions(
    records: Sequence[Record], spec: SplitSpec | None, part: Part, tasks: Tasks
) -> list[int]:
    """Where a part's records are among all.

    Args:
        records: all of a data set.
        spec: how they are split; None where they are not, and the part is 'all'.
        part: which.
        tasks: whose classes the part must have.
    Raises:
        ToolkitError: see `divide`; a part that is empty, or lacks a class.
    """
    if part == 'all':
        return list(range(len(records)))
    if spec is None:
        raise ToolkitError(f'the part {part!r} is asked for, and no split is given')
    found = list(divide(records, spec, tasks)[part])
    if not found:
        raise ToolkitError(f'the split leaves nothing for {part}{_advice_on_empty(spec, part)}')
    if spec.empty == 'error':
        check_classes([records[i] for i in found], tasks, f'{part} of {_where(spec)}')
    return found


def divide(records: Sequence[Record], spec: SplitSpec, tasks: Tasks) -> Parts:
    """All parts at once.

    Raises:
        ToolkitError: a task, column, centre or fold that is not there, fewer patients than folds.
        DataError: a patient in two parts; a file of another manifest.
    """
    for name in spec.stratify:
        if name not in tasks:
            raise ToolkitError(
                f'split.stratify: the data have no task {name!r}{did_you_mean(name, tasks)}; they '
                f'have: {", ".join(tasks)}'
            )
    left_out: dict[str, int] = {}
    if spec.by == 'file':
        assert spec.file is not None
        part_of = _from_file(records, spec)
    elif spec.by == 'column':
        part_of = _from_column(records, spec, left_out)
    elif spec.by == 'centre':
        part_of = _by_centre(records, spec)
    else:
        part_of = _drawn(records, spec, tasks)
    _together(records, spec, part_of, left_out)
    if spec.val and 'val' not in part_of.values() and spec.by != 'file':
        rest = [i for i in sorted(part_of) if part_of[i] == 'train']
        drawn = _share(records, rest, {'train': 1 - spec.val, 'val': spec.val}, spec, tasks)
        part_of.update(drawn)
    by_part = {name: tuple(i for i in sorted(part_of) if part_of[i] == name) for name in PARTS}
    return Parts(**by_part, left_out=left_out)


def check_classes(records: Sequence[Record], tasks: Tasks, where: str) -> None:
    """See that every class of every task has a sample.

    Raises:
        ToolkitError: one has none; names the task, the class and where.
    """
    for name, task in tasks.items():
        found = {record.labels.get(name) for record in records}
        for label in task.classes:
            if label not in found:
                raise ToolkitError(
                    f'task {name!r} has no sample of class {label!r} in {where}; take fewer folds '
                    'or another seed, merge the class with another, or allow it with '
                    'split.empty: allow'
                )


def _drawn(records: Sequence[Record], spec: SplitSpec, tasks: Tasks) -> dict[int, str]:
    everything = range(len(records))
    if spec.by == 'holdout':
        return _share(records, everything, {'train': 1 - spec.test, 'test': spec.test}, spec, tasks)
    patients = len({record.patient for record in records})
    if patients < spec.folds:
        raise ToolkitError(f'{spec.folds} folds need at least as many patients, found {patients}')
    shares = {str(fold): 1 / spec.folds for fold in range(spec.folds)}
    fold_of = _share(records, everything, shares, spec, tasks)
    return {i: 'test' if fold_of[i] == str(spec.fold) else 'train' for i in everything}


def _share(
    records: Sequence[Record],
    among: Sequence[int],
    shares: Mapping[str, float],
    spec: SplitSpec,
    tasks: Tasks,
) -> dict[int, str]:
    stratify = spec.stratify or tuple(tasks)
    labels = [[(task, records[i].labels.get(task)) for task in stratify] for i in among]
    parts = split_groups([records[i].patient for i in among], labels, shares, spec.seed)
    return dict(zip(among, parts))


def _by_centre(records: Sequence[Record], spec: SplitSpec) -> dict[int, str]:
    nowhere = [record.id for record in records if not record.centre]
    if nowhere:
        raise ToolkitError(
            f'split by centre: {len(nowhere)} images have no centre, such as {nowhere[0]}'
        )
    centres = sorted({record.centre for record in records})
    if len(centres) < 2:
        raise ToolkitError(f'split by centre needs two centres or more, found: {centres}')
    if spec.centre is None and spec.fold >= len(centres):
        raise ToolkitError(
            f'split.fold is {spec.fold}, and there are {len(centres)} centres: {", ".join(centres)}'
        )
    centre = spec.centre if spec.centre is not None else centres[spec.fold]
    if centre not in centres:
        raise ToolkitError(
            f'split.centre: there is no centre {centre!r}{did_you_mean(centre, centres)}; there '
            f'are: {", ".join(centres)}'
        )
    return {i: 'test' if r.centre == centre else 'train' for i, r in enumerate(records)}


def _from_column(
    records: Sequence[Record], spec: SplitSpec, left_out: dict[str, int]
) -> dict[int, str]:
    column = spec.column
    assert column is not None
    columns = {name for record in records for name in record.attributes}
    if column not in columns:
        raise ToolkitError(
            f'split.column: the data have no column {column!r}{did_you_mean(column, columns)}; '
            f'they have: {", ".join(sorted(columns)) or "none"}'
        )
    part_by = {value: part for part, value in spec.names.items()}
    part_of: dict[int, str] = {}
    for i, record in enumerate(records):
        value = record.attributes.get(column, '')
        if not value:
            why = f'no value in {column}'
            left_out[why] = left_out.get(why, 0) + 1
        elif value in part_by:
            part_of[i] = part_by[value]
        else:
            raise ToolkitError(
                f'{record.id}: {column} is {value!r}, expected one of '
                f'{", ".join(part_by)}; name others in split.names'
            )
    return part_of


def _from_file(records: Sequence[Record], spec: SplitSpec) -> dict[int, str]:
    assert spec.file is not None
    part_by_id = load_split(spec.file, records, spec.fold)
    return {i: part_by_id[r.id] for i, r in enumerate(records) if r.id in part_by_id}


def _together(
    records: Sequence[Record], spec: SplitSpec, part_of: dict[int, str], left_out: dict[str, int]
) -> None:
    """See that no patient is in two parts, or take what is out of the lesser ones."""
    highest: dict[str, int] = {}  # by patient: its part nearest to the test
    for i, part in part_of.items():
        patient, rank = records[i].patient, PARTS.index(part)
        known = highest.setdefault(patient, rank)
        if known != rank and spec.shared == 'error':
            first = next(j for j in part_of if records[j].patient == patient)
            raise DataError(
                f'patient {patient} is in two parts of the split by {spec.by}: '
                f'{records[first].id} in {part_of[first]}, {records[i].id} in {part}; mend the '
                'data, or say split.shared: drop, which takes them out of the training'
            )
        highest[patient] = max(known, rank)
    for i in list(part_of):
        if PARTS.index(part_of[i]) < highest[records[i].patient]:
            why = f'patient in {PARTS[highest[records[i].patient]]} too'
            left_out[why] = left_out.get(why, 0) + 1
            del part_of[i]


def _where(spec: SplitSpec) -> str:
    if spec.by == 'centre' and spec.centre is not None:
        return f'the split with centre {spec.centre} as the test'
    named = {'folds': f'fold {spec.fold}', 'centre': f'fold {spec.fold}, a centre each'}
    named |= {'holdout': 'the hold-out', 'column': f'column {spec.column}'}
    return named.get(spec.by, f'fold {spec.fold} of {spec.file}')


def _advice_on_empty(spec: SplitSpec, part: str) -> str:
    return '; split.val is 0' if part == 'val' and not spec.val else f' in {_where(spec)}'
