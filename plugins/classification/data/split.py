"""Splits images into training, validation and test; a patient's images stay together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from plugins.classification.data.split_file import SUBSETS, load_split
from plugins.classification.image_record import Record
from plugins.classification.tasks import Tasks
from toolkit.errors import DataError, ToolkitError, did_you_mean
from toolkit.io.splits.stratified_groups import split_groups

By = Literal['folds', 'holdout', 'centre', 'column', 'file']
Subset = Literal['train', 'val', 'test', 'all']


@dataclass(frozen=True)
class SplitSpec:
    """Options of a split, in which all images of a patient are in one subset.

    Args:
        by: 'folds' tests on one of k folds; 'holdout' on a random share of the images; 'centre' on
            the images of one centre; 'column' takes the subset of each image from a column; 'file'
            from a file of `toolkit split`.
        fold: number of the test fold, from 0; with 'centre', of the centre in the order of names.
        folds: number of folds, with 'folds'.
        test: share of the images in the test, with 'holdout'.
        val: share of the other images in the validation, unless a column or a file states them;
            0 for none.
        seed: random seed of the split.
        stratify: tasks whose classes have equal shares in each subset; all tasks by default. An
            image without a label counts as one more class.
        centre: name of the centre to test on, instead of `fold`.
        column: column of the subsets, with 'column'. Images without a value are left out.
        names: values of the column for train, val and test.
        file: absolute, or below $TOOLKIT_DATA, or below the current folder.
        shared: 'error' refuses a patient whom a column puts into two subsets, or who was seen at
            two centres; 'drop' removes the patient's images from the training if others are in
            validation or test, and from the validation if others are in the test.
        empty: 'error' refuses a subset without a sample of a class; 'allow' accepts it.
    Raises:
        ValueError: a share or a number is out of range; a column or file is not named.
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
    names: dict[str, str] = field(default_factory=lambda: {name: name for name in SUBSETS})
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
        unknown = sorted(self.names.keys() - set(SUBSETS))
        if unknown:
            raise ValueError(f'names: {unknown[0]!r} is no subset; there are: {", ".join(SUBSETS)}')
        if len(set(self.names.values())) < len(self.names):
            raise ValueError('names: two subsets go by the same value of the column')


@dataclass(frozen=True)
class SplitPositions:
    """Positions of the records in each subset, ascending.

    Attributes:
        left_out: number of records in no subset, by reason.
    """

    train: tuple[int, ...]
    val: tuple[int, ...]
    test: tuple[int, ...]
    left_out: Mapping[str, int] = field(default_factory=dict)

    def __getitem__(self, subset: str) -> tuple[int, ...]:
        return getattr(self, subset)


def find_positions(
    records: Sequence[Record], spec: SplitSpec | None, subset: Subset, tasks: Tasks
) -> list[int]:
    """Returns the positions of a subset's records among all records.

    Args:
        records: all records of a dataset.
        spec: options of the split; None for the subset 'all'.
        subset: name of the subset.
        tasks: tasks by name; the subset must have samples of all their classes.
    Raises:
        ToolkitError: see `split_records`; or the subset is empty or lacks a class.
    """
    if subset == 'all':
        return list(range(len(records)))
    if spec is None:
        raise ToolkitError(
            f'subset: {subset} needs a split, found none; give `split`, or `subset: all`'
        )
    found = list(split_records(records, spec, tasks)[subset])
    if not found:
        raise ToolkitError(f'the split leaves nothing for {subset}{_advise_on_empty(spec, subset)}')
    if spec.empty == 'error':
        check_classes([records[i] for i in found], tasks, f'{subset} of {_describe(spec)}')
    return found


def split_records(records: Sequence[Record], spec: SplitSpec, tasks: Tasks) -> SplitPositions:
    """Assigns records to all subsets.

    Raises:
        ToolkitError: no such task, column, centre or fold; or fewer patients than folds.
        DataError: a patient is in two subsets; the file is of another manifest.
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
        subset_of = _read_file(records, spec)
    elif spec.by == 'column':
        subset_of = _read_column(records, spec, left_out)
    elif spec.by == 'centre':
        subset_of = _split_by_centre(records, spec)
    else:
        subset_of = _split_at_random(records, spec, tasks)
    _separate_patients(records, spec, subset_of, left_out)
    if spec.val and 'val' not in subset_of.values() and spec.by != 'file':
        rest = [i for i in sorted(subset_of) if subset_of[i] == 'train']
        drawn = _draw_shares(records, rest, {'train': 1 - spec.val, 'val': spec.val}, spec, tasks)
        subset_of.update(drawn)
    by_subset = {
        name: tuple(i for i in sorted(subset_of) if subset_of[i] == name) for name in SUBSETS
    }
    return SplitPositions(**by_subset, left_out=left_out)


def check_classes(records: Sequence[Record], tasks: Tasks, where: str) -> None:
    """Checks that every class of every task has a sample.

    Args:
        records: records of the subset.
        tasks: tasks by name.
        where: name of the subset, for the message.
    Raises:
        ToolkitError: a class has none.
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


def _split_at_random(records: Sequence[Record], spec: SplitSpec, tasks: Tasks) -> dict[int, str]:
    everything = range(len(records))
    if spec.by == 'holdout':
        return _draw_shares(
            records, everything, {'train': 1 - spec.test, 'test': spec.test}, spec, tasks
        )
    if (patients := len({record.patient for record in records})) < spec.folds:
        raise ToolkitError(f'{spec.folds} folds need at least as many patients, found {patients}')
    shares = {str(fold): 1 / spec.folds for fold in range(spec.folds)}
    fold_of = _draw_shares(records, everything, shares, spec, tasks)
    return {i: 'test' if fold_of[i] == str(spec.fold) else 'train' for i in everything}


def _draw_shares(
    records: Sequence[Record],
    among: Sequence[int],
    shares: Mapping[str, float],
    spec: SplitSpec,
    tasks: Tasks,
) -> dict[int, str]:
    stratify = spec.stratify or tuple(tasks)
    labels = [[(task, records[i].labels.get(task)) for task in stratify] for i in among]
    names = split_groups([records[i].patient for i in among], labels, shares, spec.seed)
    return dict(zip(among, names))


def _split_by_centre(records: Sequence[Record], spec: SplitSpec) -> dict[int, str]:
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


def _read_column(
    records: Sequence[Record], spec: SplitSpec, left_out: dict[str, int]
) -> dict[int, str]:
    assert (column := spec.column) is not None
    columns = {name for record in records for name in record.attributes}
    if column not in columns:
        raise ToolkitError(
            f'split.column: the data have no column {column!r}{did_you_mean(column, columns)}; '
            f'they have: {", ".join(sorted(columns)) or "none"}'
        )
    subset_by = {value: subset for subset, value in spec.names.items()}
    subset_of: dict[int, str] = {}
    for i, record in enumerate(records):
        value = record.attributes.get(column, '')
        if not value:
            why = f'no value in {column}'
            left_out[why] = left_out.get(why, 0) + 1
        elif value in subset_by:
            subset_of[i] = subset_by[value]
        else:
            raise ToolkitError(
                f'{record.id}: {column} is {value!r}, expected one of '
                f'{", ".join(subset_by)}; name others in split.names'
            )
    return subset_of


def _read_file(records: Sequence[Record], spec: SplitSpec) -> dict[int, str]:
    assert spec.file is not None
    subset_by_id = load_split(spec.file, records, spec.fold)
    return {i: subset_by_id[r.id] for i, r in enumerate(records) if r.id in subset_by_id}


def _separate_patients(
    records: Sequence[Record], spec: SplitSpec, subset_of: dict[int, str], left_out: dict[str, int]
) -> None:
    """Checks that no patient is in two subsets; with `shared: drop`, keeps the last of them."""
    highest: dict[str, int] = {}  # by patient: index of the subset nearest to the test
    for i, subset in subset_of.items():
        patient, rank = records[i].patient, SUBSETS.index(subset)
        known = highest.setdefault(patient, rank)
        if known != rank and spec.shared == 'error':
            first = next(j for j in subset_of if records[j].patient == patient)
            raise DataError(
                f'patient {patient} is in two subsets of the split by {spec.by}: '
                f'{records[first].id} in {subset_of[first]}, {records[i].id} in {subset}; repair '
                'the data, or set split.shared: drop, which removes them from the training'
            )
        highest[patient] = max(known, rank)
    for i in list(subset_of):
        if SUBSETS.index(subset_of[i]) < highest[records[i].patient]:
            why = f'patient in {SUBSETS[highest[records[i].patient]]} too'
            left_out[why] = left_out.get(why, 0) + 1
            del subset_of[i]


def _describe(spec: SplitSpec) -> str:
    if spec.by == 'centre' and spec.centre is not None:
        return f'the split with centre {spec.centre} as the test'
    named = {'folds': f'fold {spec.fold}', 'centre': f'fold {spec.fold}, a centre each'}
    named |= {'holdout': 'the hold-out', 'column': f'column {spec.column}'}
    return named.get(spec.by, f'fold {spec.fold} of {spec.file}')


def _advise_on_empty(spec: SplitSpec, subset: str) -> str:
    return '; split.val is 0' if subset == 'val' and not spec.val else f' in {_describe(spec)}'
