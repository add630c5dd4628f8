from __future__ import annotations

import json
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.classification.data.split import SplitSpec, find_positions, split_records
from plugins.classification.data.split_file import SUBSETS, hash_records, load_split, save_split
from plugins.classification.image_record import Record
from plugins.classification.tasks import Task
from tests.support.images_on_disk import write_image
from toolkit import cli
from toolkit.errors import DataError, MissingDataError, ToolkitError

KIND = Task(('benign', 'papillary', 'medullary'))
MARGIN = Task(('smooth', 'spiculated'))
TASKS = {'kind': KIND, 'margin': MARGIN}


def record(number, patient='', kind=None, margin=None, centre='', **attributes):
    labels = {'kind': kind, 'margin': margin}
    return Record(
        f'i{number}',
        patient=patient or f'i{number}',
        centre=centre,
        labels={task: name for task, name in labels.items() if name},
        attributes=attributes,
    )


def drawn(seed, patients=120, per_patient=4):
    """Records with a rare class, missing labels and patients of several images."""
    rng = np.random.default_rng(seed)
    records = []
    for patient in range(patients):
        kind = KIND.classes[rng.choice(3, p=(0.7, 0.22, 0.08))]
        for _ in range(rng.integers(1, per_patient + 1)):
            margin = MARGIN.classes[rng.integers(2)] if rng.random() < 0.7 else None
            records.append(record(len(records), f'p{patient}', kind, margin, f'c{patient % 3}'))
    return records


rows = st.lists(
    st.tuples(
        st.integers(0, 14),
        st.sampled_from([None, *KIND.classes]),
        st.sampled_from([None, *MARGIN.classes]),
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=40, deadline=None)
@given(rows, st.integers(2, 5), st.integers(0, 50), st.sampled_from([0.0, 0.15, 0.5]))
def test_every_image_is_tested_once_and_no_patient_is_in_two_subsets(made, folds, seed, val):
    records = [record(i, f'p{patient}', *labels) for i, (patient, *labels) in enumerate(made)]
    patients = {r.patient for r in records}
    if len(patients) < folds:
        with pytest.raises(ToolkitError, match=f'{folds} folds need .* found {len(patients)}'):
            split_records(records, SplitSpec(folds=folds, seed=seed), TASKS)
        return
    tested = Counter()
    for fold in range(folds):
        spec = SplitSpec(folds=folds, fold=fold, seed=seed, val=val)
        subsets = split_records(records, spec, TASKS)
        assert subsets == split_records(records, spec, TASKS)
        assert sorted(subsets.train + subsets.val + subsets.test) == list(range(len(records)))
        seen = [{records[i].patient for i in subsets[name]} for name in SUBSETS]
        assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])
        assert subsets.test
        assert val or not subsets.val
        tested.update(subsets.test)
    assert tested == Counter(range(len(records)))


def deviation(fold_of, records, folds):
    """Mean over classes of how far a fold's share of them is from an equal one."""
    off = []
    for task, kind in TASKS.items():
        for name in kind.classes:
            held = [f for f, r in zip(fold_of, records) if r.labels.get(task) == name]
            off += [abs(held.count(f) / len(held) - 1 / folds) for f in range(folds)]
    return float(np.mean(off))


def test_shares_of_classes_are_close_and_closer_than_scikit_learns():
    from sklearn.model_selection import StratifiedGroupKFold

    own, theirs = [], []
    for seed in range(5):
        records = drawn(seed)
        fold_of = [0] * len(records)
        for fold in range(5):
            for i in split_records(records, SplitSpec(fold=fold, seed=seed), TASKS).test:
                fold_of[i] = fold
        own.append(deviation(fold_of, records, 5))
        kinds = [r.labels['kind'] for r in records]
        other = [0] * len(records)
        splitter = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
        found = splitter.split(kinds, kinds, [r.patient for r in records])
        for fold, (_, tested) in enumerate(found):
            for i in tested:
                other[i] = fold
        theirs.append(deviation(other, records, 5))
    assert max(own) < 0.03
    assert np.mean(own) < np.mean(theirs)


def test_shares_of_hold_out_and_validation():
    records = drawn(0, patients=300)
    subsets = split_records(records, SplitSpec(by='holdout', test=0.25, val=0.2), TASKS)
    count = len(records)
    assert abs(len(subsets.test) / count - 0.25) < 0.02
    assert abs(len(subsets.val) / count - 0.15) < 0.02
    for name in SUBSETS:
        kinds = [records[i].labels['kind'] for i in subsets[name]]
        everywhere = [r.labels['kind'] for r in records]
        for label in KIND.classes:
            share = kinds.count(label) / len(kinds)
            assert abs(share - everywhere.count(label) / count) < 0.02
    assert split_records(records, SplitSpec(by='holdout', seed=1), TASKS) != subsets


def test_small_subsets_get_large_groups_too():
    records = drawn(2, patients=300)
    subsets = split_records(records, SplitSpec(by='holdout', test=0.2, val=0.15), TASKS)
    sizes = [
        len(subsets[name]) / len({records[i].patient for i in subsets[name]}) for name in SUBSETS
    ]
    assert max(sizes) / min(sizes) < 1.25


def test_one_task_can_be_stratified_alone():
    records = drawn(3)
    spec = SplitSpec(stratify=('margin',))
    assert (
        split_records(records, spec, TASKS).test != split_records(records, SplitSpec(), TASKS).test
    )
    with pytest.raises(ToolkitError, match=r"no task 'margn'; did you mean 'margin'\?"):
        split_records(records, SplitSpec(stratify=('margn',)), TASKS)


def test_a_class_without_a_sample_is_named():
    records = [record(i, kind=KIND.classes[i % 2], margin=MARGIN.classes[i % 2]) for i in range(40)]
    records.append(record(40, kind='medullary'))
    tested = [f for f in range(5) if 40 in split_records(records, SplitSpec(fold=f), TASKS).test]
    fold = (tested[0] + 1) % 5
    message = f"task 'kind' has no sample of class 'medullary' in test of fold {fold}"
    with pytest.raises(ToolkitError, match=message):
        find_positions(records, SplitSpec(fold=fold), 'test', TASKS)
    assert find_positions(records, SplitSpec(fold=fold, empty='allow'), 'test', TASKS)
    assert find_positions(records, None, 'all', TASKS) == list(range(41))
    with pytest.raises(ToolkitError, match='subset: test needs a split, found none'):
        find_positions(records, None, 'test', TASKS)


def test_leave_one_centre_out():
    records = drawn(1)
    for fold, centre in enumerate(('c0', 'c1', 'c2')):
        by_fold = split_records(records, SplitSpec(by='centre', fold=fold), TASKS)
        assert by_fold == split_records(records, SplitSpec(by='centre', centre=centre), TASKS)
        assert {records[i].centre for i in by_fold.test} == {centre}
        assert centre not in {records[i].centre for i in by_fold.train + by_fold.val}
        assert len(by_fold.train + by_fold.val + by_fold.test) == len(records)
    with pytest.raises(ToolkitError, match=r'split.fold is 3, and there are 3 centres: c0, c1'):
        split_records(records, SplitSpec(by='centre', fold=3), TASKS)
    with pytest.raises(ToolkitError, match="no centre 'c9'; there are: c0, c1, c2"):
        split_records(records, SplitSpec(by='centre', centre='c9'), TASKS)
    with pytest.raises(ToolkitError, match='2 images have no centre, such as i8'):
        split_records([*records, record(8), record(9)], SplitSpec(by='centre'), TASKS)
    travelled = [record(900, 'p0', centre='c0'), record(901, 'p0', centre='c2')]
    with pytest.raises(DataError, match='patient p0 is in two subsets of the split by centre'):
        split_records([*records, *travelled], SplitSpec(by='centre', centre='c2'), TASKS)


def official():
    rows = [('train', 'a'), ('train', 'b'), ('val', 'c'), ('test', 'd'), ('', 'e'), ('train', 'f')]
    return [
        record(i, patient, 'benign', official=subset) for i, (subset, patient) in enumerate(rows)
    ]


def test_a_column_says_which_and_what_has_no_value_is_left_out_and_counted():
    spec = SplitSpec(by='column', column='official')
    subsets = split_records(official(), spec, TASKS)
    assert (subsets.train, subsets.val, subsets.test) == ((0, 1, 5), (2,), (3,))
    assert subsets.left_out == {'no value in official': 1}
    names = {'train': 'train', 'test': 'val'}
    with pytest.raises(ToolkitError, match=r"i3: official is 'test', expected one of train, val"):
        split_records(official(), SplitSpec(by='column', column='official', names=names), TASKS)
    with pytest.raises(ToolkitError, match=r"no column 'oficial'; did you mean 'official'\?"):
        split_records(official(), SplitSpec(by='column', column='oficial'), TASKS)


def test_a_patient_in_two_subsets_of_a_column_is_named_or_dropped():
    records = [*official(), record(6, 'd', 'benign', official='train')]
    spec = SplitSpec(by='column', column='official')
    message = 'patient d is in two subsets of the split by column: i3 in test, i6 in train'
    with pytest.raises(DataError, match=message):
        split_records(records, spec, TASKS)
    spec = SplitSpec(by='column', column='official', shared='drop')
    subsets = split_records(records, spec, TASKS)
    assert (subsets.train, subsets.test) == ((0, 1, 5), (3,))
    assert subsets.left_out['patient in test too'] == 1


def test_validation_is_drawn_where_the_column_names_none():
    records = [r for r in official() if r.attributes['official'] != 'val']
    subsets = split_records(records, SplitSpec(by='column', column='official', val=0.34), TASKS)
    assert len(subsets.val) == 1
    with pytest.raises(ToolkitError, match=r'nothing for val; split.val is 0'):
        find_positions(records, SplitSpec(by='column', column='official', val=0), 'val', TASKS)


def saved(tmp_path, records, folds=3):
    specs = [SplitSpec(folds=folds, fold=f) for f in range(folds)]
    made = [split_records(records, spec, TASKS) for spec in specs]
    ids = [{p: [records[i].id for i in subsets[p]] for p in SUBSETS} for subsets in made]
    path = tmp_path / 'm.split.json'
    save_split(path, records, ids, {'folds': folds})
    return path, made


def test_a_saved_split_gives_the_same_subsets(tmp_path):
    records = drawn(5)
    path, made = saved(tmp_path, records)
    for fold, subsets in enumerate(made):
        spec = SplitSpec(by='file', file=str(path), fold=fold)
        assert split_records(records, spec, TASKS) == subsets
        assert split_records(records[::-1], spec, TASKS).test == tuple(
            sorted(len(records) - 1 - i for i in subsets.test)
        )
    with pytest.raises(ToolkitError, match=r'has 3 folds .*fold: 3'):
        load_split(path, records, 3)


def edit(path, change):
    held = json.loads(path.read_text())
    change(held)
    path.write_text(json.dumps(held))


def test_a_saved_split_is_checked(tmp_path, monkeypatch):
    records = drawn(5, patients=12)
    path, made = saved(tmp_path, records)
    other = [*records, record(len(records), 'p0')]
    assert hash_records(other) != hash_records(records) == hash_records(records[::-1])
    # One whose patient is another, though no two subsets share it.
    tested = [i for i in made[0].test if records[i].patient == records[made[0].test[0]].patient]
    moved = list(records)
    for i in tested:
        moved[i] = record(i, 'somebody else', 'benign', 'smooth')
    with pytest.raises(
        DataError, match='made of other images or patients than these; name ids .*columns'
    ):
        load_split(path, moved, 0)
    with pytest.raises(DataError, match=r'\(new: new\)'):
        load_split(path, [*records, Record('new', patient='new')], 0)
    with pytest.raises(DataError, match=f"the data have no image '{records[0].id}'"):
        load_split(path, records[1:], 0)

    patient = next(p for p, n in Counter(r.patient for r in records).items() if n > 1)
    first, second = [r.id for r in records if r.patient == patient][:2]

    def move(held):
        fold = held['folds'][0]
        subset = next(p for p in SUBSETS if second in fold[p])
        fold[subset].remove(second)
        fold['test' if subset != 'test' else 'train'].append(second)

    edit(path, move)
    message = rf'patient {patient} is in two subsets of fold 0: \w+ in \w+, \w+ in \w+'
    with pytest.raises(DataError, match=message):
        load_split(path, records, 0)
    path, _ = saved(tmp_path, records)
    edit(path, lambda held: held['folds'][0]['train'].append(held['folds'][0]['test'][0]))
    with pytest.raises(
        DataError, match=r'i\d+ is in train and in test of fold 0|is in two subsets'
    ):
        load_split(path, records, 0)
    path, _ = saved(tmp_path, records)
    edit(path, lambda held: held['folds'][1]['train'].pop())
    with pytest.raises(DataError, match='was changed after it was made'):
        load_split(path, records, 1)
    for text in (
        '',
        '{}',
        '[1]',
        '{"folds": [], "data": "", "digest": ""}',
        '{"folds": [{"tset": []}], "data": "", "digest": ""}',
    ):
        path.write_text(text)
        with pytest.raises(ToolkitError, match='holds no split'):
            load_split(path, records, 0)
    with pytest.raises(MissingDataError, match='no file nowhere.json'):
        load_split('nowhere.json', records, 0)
    saved(tmp_path, records)
    monkeypatch.setenv('TOOLKIT_DATA', str(tmp_path))
    assert load_split(path.name, records, 0)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'folds': 1}, 'folds must be at least 2, found 1'),
        ({'fold': 5}, 'fold must be from 0 to 4 with by: folds, found 5'),
        ({'by': 'holdout', 'fold': 1}, 'fold must be 0 with by: holdout, found 1'),
        ({'test': 1.0}, 'test must be a share between 0 and 1, found 1.0'),
        ({'val': -0.1}, 'val must be a share in [0, 1), found -0.1'),
        ({'seed': -1}, 'seed must be 0 or more'),
        ({'by': 'column'}, 'by: column needs column'),
        ({'file': 'x.json'}, 'file: x.json is of by: file, found by: folds'),
        ({'names': {'testing': 'x'}}, "names: 'testing' is no subset"),
        ({'names': {'val': 'x', 'test': 'x'}}, 'two subsets go by the same value'),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        SplitSpec(**arguments)


@pytest.mark.parametrize('name', ['NA', 'nan', 'Unknown', '?', '-'])
def test_names_of_missing_values_are_no_classes_unless_they_are_meant(name):
    with pytest.raises(ValueError, match='how tables write a missing value.*meant'):
        Task(('benign', name))
    assert Task(('benign', name), meant=(name,)).classes == ('benign', name)
    assert Task(('none', 'coarse')).classes == ('none', 'coarse')


def test_a_split_asks_about_values_that_look_missing(tmp_path, capsys):
    lines = ['image,patient,kind']
    for i in range(12):
        write_image(tmp_path / f'{i}.png', i)
        lines.append(f'{i}.png,p{i},{("benign", "malignant", "NA")[i % 3]}')
    (tmp_path / 'm.csv').write_text('\n'.join(lines))
    ask = ['split', str(tmp_path / 'm.csv'), '--task', 'kind', '--folds', '2', '--val', '0']
    assert cli.main(ask) == 2
    assert "'NA' is how tables write a missing value" in capsys.readouterr().err
    assert list(tmp_path.glob('*.json')) == []
    assert cli.main([*ask, '--meant', 'NA']) == 0
