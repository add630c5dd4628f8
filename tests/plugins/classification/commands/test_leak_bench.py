"""The effect of duplicates: designs of equal size, a leak of known worth, and the command."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from plugins.classification.commands.leak_bench import _check_value
from plugins.classification.commands.leak_effect import LeakEffect, LeakFold, split_with_leaks
from plugins.classification.data.split import SplitSpec
from plugins.classification.image_record import Record
from plugins.classification.tasks import Task
from toolkit.cli import main
from toolkit.errors import ToolkitError

TASK = Task(('a', 'b'), positive='b')
PAIRS = 40


def make_pairs() -> tuple[list[Record], list[str]]:
    """Pairs of doubles and as many single images, of two classes in turn."""
    records, groups = [], []
    for i in range(PAIRS):
        for copy in range(2):
            records.append(Record(f'pair{i}-{copy}', labels={'kind': 'ab'[i % 2]}))
            groups.append(f'pair{i}')
        for copy in range(2):
            records.append(Record(f'single{i}-{copy}', labels={'kind': 'ab'[i % 2]}))
            groups.append(records[-1].id)
    return records, groups


def make_folds(seed: int = 0) -> tuple[list[Record], list[str], list[LeakFold]]:
    records, groups = make_pairs()
    return records, groups, split_with_leaks(records, groups, 'kind', TASK, SplitSpec(), seed)


def test_both_trainings_have_the_same_size_and_classes_and_one_of_them_no_double() -> None:
    records, groups, folds = make_folds()
    assert sorted(i for fold in folds for i in fold.test) == list(range(len(records)))
    for fold in folds:
        tested = {groups[i] for i in fold.test}
        sides = {name: [records[i].labels['kind'] for i in fold.train[name]] for name in fold.train}
        assert sorted(sides['with']) == sorted(sides['without'])
        assert set(fold.train['with']) < set(fold.train['all'])
        assert not tested & {groups[i] for i in fold.train['without']}
        doubles = [i for i in fold.train['all'] if groups[i] in tested]
        assert doubles and set(doubles) <= set(fold.train['with'])
        assert fold.known == sum(
            groups[i] in {groups[j] for j in fold.train['all']} for i in fold.test
        )


def test_features_that_only_know_doubles_are_worth_the_leak_alone() -> None:
    records, groups, folds = make_folds()
    labels = np.array([record.index('kind', TASK.classes) for record in records])
    # Each group has a direction of its own: a double tells the class, nothing else does.
    names = sorted(set(groups))
    features = np.eye(len(names))[[names.index(group) for group in groups]]
    effect = LeakEffect(labels, np.array(groups), TASK, [folds], 'AUC', 200)
    found = effect.add(features)
    assert found['with']['value'] > 0.7 and found['without']['value'] == pytest.approx(0.5, abs=0.1)
    leak = found['difference']
    assert leak['value'] == pytest.approx(found['with']['value'] - found['without']['value'])
    assert 0 < leak['low'] < leak['value'] < leak['high']
    # Features that tell the class leak nothing.
    right = effect.add(labels[:, None] + np.random.default_rng(0).normal(0, 0.01, (len(labels), 1)))
    assert right['difference']['value'] == pytest.approx(0, abs=0.01)
    mean = effect.summarize_mean()['difference']['value']
    assert mean == pytest.approx((leak['value'] + right['difference']['value']) / 2)
    assert effect.compare_orders() == pytest.approx(1)


def test_what_cannot_be_measured_is_said() -> None:
    records, groups = make_pairs()
    with pytest.raises(ToolkitError, match='must be folds or column'):
        split_with_leaks(records, groups, 'kind', TASK, SplitSpec(by='holdout'), 0)
    with pytest.raises(ToolkitError, match='nothing leaks'):
        split_with_leaks(records, [r.id for r in records], 'kind', TASK, SplitSpec(), 0)
    fours = [f'four{i // 4}' for i in range(len(records))]
    with pytest.raises(ToolkitError, match='too few to take out as many'):
        split_with_leaks(records, fours, 'kind', TASK, SplitSpec(folds=2), 0)


def test_features_and_values_that_are_none_are_said() -> None:
    records, groups, folds = make_folds()
    labels = np.array([record.index('kind', TASK.classes) for record in records])
    features = np.zeros((len(labels), 2))
    for value, broken, said in (
        (
            'AUC',
            [(0, np.nan), (3, np.inf)],
            f'features of 2 of {len(labels)} images are not finite',
        ),
        ('MCC', [], 'MCC has no value: all samples are decided for one class'),
    ):
        given = features.copy()
        for place, number in broken:
            given[place] = number
        effect = LeakEffect(labels, np.array(groups), TASK, [folds], value, 100)
        with pytest.raises(ValueError, match=said):
            effect.add(given)


@pytest.mark.parametrize(
    ('value', 'said'),
    [
        ('nonsense', "--value: no value is named 'nonsense'"),
        ('mean_cost', '--value: mean_cost needs the costs of the task'),
        ('sensitivity', 'is of each class: name one, as sensitivity/CLASS'),
    ],
)
def test_a_value_that_cannot_be_compared_is_a_mistake(value: str, said: str) -> None:
    with pytest.raises(ToolkitError, match=said):
        _check_value(Task(('a', 'b', 'c')), value)


def test_the_command_writes_numbers_table_and_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv('TOOLKIT_CACHE', str(tmp_path / 'cache'))
    data = tmp_path / 'images.npz'
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (60, 28, 28), dtype=np.uint8)
    labels = np.arange(60)[:, None] % 2
    sets = {'train': slice(0, 40), 'val': slice(40, 44), 'test': slice(44, 60)}
    images[44:50] = images[0:6]  # six test images are in the training
    arrays = {
        f'{n}_{k}': v[s]
        for n, s in sets.items()
        for k, v in (('images', images), ('labels', labels))
    }
    np.savez(data, **arrays)
    out, figure = tmp_path / 'leaks.json', tmp_path / 'leaks.svg'
    argv = ['bench', 'leaks', 'baselines/breastmnist', f'train_dataloader.dataset.file={data}']
    argv += ['--models', 'test_resnet', '--resize', '32', '--seeds', '2', '--resamples', '100']
    argv += ['--json', str(out), '--figure', str(figure), '--style', 'markdown']
    assert main(argv) == 0
    text = capsys.readouterr().out
    assert '6 of 16 test images have a double in the training' in text
    found = json.loads(out.read_text())
    row = found['models']['test_resnet']
    assert f'{row["difference"]["value"]:+.3f}' in text and '| test_resnet |' in text
    assert found['left_out'] == 6 and found['training'] == 40 and found['tau'] is None
    assert figure.read_bytes().startswith(b'<?xml')
    assert main(argv) == 2  # nothing is overwritten
    assert 'leaks.json' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('argv', 'said'),
    [
        (['ldpnet/ldpnet_2022_synthetic'], 'no training data set of labelled images'),
        (['baselines/breastmnist', '--seeds', '0'], '--seeds must be at least 1, found 0'),
        (['baselines/breastmnist', '--figure', 'a.jpg'], '--figure must end in .png'),
        (['baselines/breastmnist', '--models', 'a', 'a'], '--models names a twice'),
    ],
)
def test_mistakes_are_said_before_any_work(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['bench', 'leaks', *argv]) == 2
    assert said in capsys.readouterr().err
