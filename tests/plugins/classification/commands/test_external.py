"""External tests: known images and patients, classes by other names, and the card."""

from __future__ import annotations

import errno
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from plugins.classification.audit.known_images import find_known_images
from plugins.classification.commands.external import MARKED
from plugins.classification.data.image_files import ManifestImages
from plugins.classification.data.manifests.manifest_options import parse_values
from plugins.classification.reporting.model_card import make_card
from tests.support.failing_disk import FailingDisk
from tests.support.patch_classifier import (
    TASKS,
    clinical_metrics,
    draw,
    manifest_data,
    run_of,
    save,
)
from tests.support.study_folders import write
from toolkit import cli
from toolkit.engine.overlap import collect_identities, save_identities
from toolkit.errors import ToolkitError

VALUES = ['--values', 'pathology:0=benign', 'pathology:1=malignant']
COLUMNS = ['--columns', 'image=file', 'patient=case_id', 'shape=']


@pytest.fixture(scope='module')
def site(tmp_path_factory):
    """A run that names its training data, and the folder of another site."""
    folder = tmp_path_factory.mktemp('site')
    train = save(folder / 'train', 12)
    run = run_of(
        folder,
        data=manifest_data(train),
        test_evaluator={'metrics': clinical_metrics()},
        custom_hooks={'clinical': {'type': 'ClinicalReport', 'resamples': 100}},
        default_hooks={'pictures': {'type': 'Pictures', 'count': 0}},
        train_dataloader={'dataset': manifest_data(train), 'batch_size': 4},
        train_cfg={'max_epochs': 1},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1}},
    )
    other = folder / 'other'
    other.mkdir()
    generator = np.random.default_rng(0)
    rows = ['file,case_id,centre,pathology']
    for i in range(16):  # turned over, so that no cell is where one of the training is
        noise = draw(i % 3, i % 2, 100 + i)[::-1] + generator.uniform(0, 0.3, (32, 32))
        Image.fromarray((noise.clip(0, 1) * 255).astype(np.uint8)).save(other / f'e{i}.png')
        rows.append(f'e{i}.png,Q{i},C,{i % 2}')
    (other / 'new.csv').write_text('\n'.join(rows))
    shutil.copy(folder / 'train/image03.png', other / 'copy.png')
    Image.open(folder / 'train/image05.png').save(other / 'near.jpg', quality=90)
    Image.fromarray(generator.integers(0, 255, (32, 32), np.uint8)).save(other / 'spelled.png')
    rows += ['copy.png,Q50,C,1', 'near.jpg,Q51,C,1', 'spelled.png,PATIENT 1,C,1']
    (other / 'mixed.csv').write_text('\n'.join(rows))
    return run, other


def test_images_and_patients_of_the_training_are_found(site):
    _, other = site
    tasks = {'pathology': TASKS['pathology']}
    values = {'pathology': {0: 'benign', 1: 'malignant'}}
    external = ManifestImages(
        str(other / 'mixed.csv'), tasks, {'image': 'file', 'patient': 'case_id'}, values, size=32
    )
    training = ManifestImages(str(other.parent / 'train/manifest.csv'), TASKS, size=32)
    known, gaps = find_known_images(external, {'train': training})
    found = {image.id: (image.reason, image.other) for image in known}
    assert found == {
        'copy.png': ('file', 'image03.png'),
        'near.jpg': ('nearly the same', 'image05.png'),
        'spelled.png': ('patient', 'patient01'),
    }
    assert gaps == []


def test_images_of_unknown_patients_show_no_patient_of_the_training(tmp_path):
    sides = {}
    for name, seed in (('own', 1), ('other', 2)):
        (tmp_path / name).mkdir()
        rows = ['image,patient']
        generator = np.random.default_rng(seed)
        for i in range(3):  # the same names at both sites, and one patient known
            pixels = generator.integers(0, 255, (32, 32), np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f'{i}.png')
            rows.append(f'{i}.png,{f"{name}7" if not i else f"{i}.png"}')
        (tmp_path / name / 'm.csv').write_text('\n'.join(rows))
        tasks = {'pathology': TASKS['pathology']}
        columns = {'pathology': None}
        path = str(tmp_path / name / 'm.csv')
        sides[name] = ManifestImages(path, tasks, columns, size=32, unlabelled='keep')
    assert find_known_images(sides['other'], {'train': sides['own']}) == ([], [])


def test_known_images_are_refused_or_marked(site, tmp_path, capsys):
    run, other = site
    ask = ['external', '--run', str(run), '--output', str(tmp_path / 'out'), *COLUMNS, *VALUES]
    assert cli.main([*ask, '--manifest', str(other / 'mixed.csv')]) == 2
    said = capsys.readouterr().err
    assert '3 of 19 external images are known' in said and 'spelled.png: patient of' in said
    assert '--known mark' in said and not (tmp_path / 'out').exists()
    marked = ['--known', 'mark', '--resamples', '100']
    assert cli.main([*ask, '--manifest', str(other / 'mixed.csv'), *marked]) == 0
    record = json.loads((tmp_path / 'out/external.json').read_text())
    assert [image['id'] for image in record['known_images']] == [
        'copy.png',
        'near.jpg',
        'spelled.png',
    ]
    task = record['tasks']['pathology']
    assert task['images'] == {'internal': 12, 'external': 19}
    assert task['case_mix']['class']['malignant'] == {'internal': 0.5, 'external': 11 / 19}
    assert task['case_mix']['centre']['C'] == {'external': 1.0}
    internal = json.loads((run / 'clinical.json').read_text())['tasks']['pathology']
    own = json.loads((tmp_path / 'out/clinical.json').read_text())['tasks']['pathology']
    for name in ('AUC', 'sensitivity'):  # one value for one number
        assert task['values'][name]['internal']['value'] == internal['values'][name]['value']
        assert task['values'][name]['external']['value'] == own['values'][name]['value']
        people = task['patient_values'][name]['internal']['value']
        assert people == internal['patients']['values'][name]['value']
    assert 'value by patient' in (tmp_path / 'out/external.md').read_text()
    assert task['without_known_images']['images'] == 16
    assert task['threshold']['stored'] == pytest.approx(0.4)
    card = make_card(tmp_path / 'out')
    assert 'an external test' in card.splitlines()[0]
    assert '**Leak**: 3 external images are known' in card
    assert 'External test data: 19 images' in card and '| test (external) |' in card


def test_files_of_the_training_are_refused_or_marked(site, tmp_path, capsys):
    """The same paths, which the comparison of a run's own data refuses too."""
    manifest = site[1].parent / 'train/manifest.csv'
    run = tmp_path / 'run'
    shutil.copytree(site[0], run)
    trained = ManifestImages(str(manifest), TASKS, size=32)
    save_identities(run, {'train': collect_identities(trained)})
    ask = ['external', '--run', str(run), '--output', str(tmp_path / 'out'), '--resamples', '100']
    ask += ['--manifest', str(manifest)]
    assert cli.main(ask) == 2
    assert '12 of 12 external images are known' in capsys.readouterr().err
    assert cli.main([*ask, '--known', 'mark']) == 0
    assert len(json.loads((tmp_path / 'out/external.json').read_text())['known_images']) == 12
    assert MARKED in json.loads((tmp_path / 'out/metrics.json').read_text())['overlap']
    assert '**Leak**: 12 external images are known' in make_card(tmp_path / 'out')


@pytest.mark.parametrize('operation', [4, 9])
def test_a_full_disk_leaves_no_folder_that_stops_the_next_start(site, tmp_path, capsys, operation):
    run, other = site
    ask = ['external', '--run', str(run), '--output', str(tmp_path / 'out'), *COLUMNS, *VALUES]
    ask += ['--manifest', str(other / 'new.csv'), '--resamples', '100']
    with FailingDisk(tmp_path, operation, errno.ENOSPC, lasting=True).mounted() as disk:
        assert cli.main(ask) == 1
    assert len(disk.operations) >= operation
    said = capsys.readouterr().err.strip()
    assert 'No space left' in said and len(said.splitlines()) == 1
    assert not (tmp_path / 'out').exists()
    assert cli.main(ask) == 0


def test_classes_by_other_names_are_asked_for(site, tmp_path, capsys):
    run, other = site
    ask = ['external', '--run', str(run), '--output', str(tmp_path / 'out')]
    ask += ['--manifest', str(other / 'new.csv')]
    assert cli.main(ask) == 2
    assert '--columns image=COLUMN' in capsys.readouterr().err
    assert cli.main([*ask, *COLUMNS]) == 2
    assert "pathology is '0'" in capsys.readouterr().err
    assert parse_values(['a:x=y=b', 'a:9=']) == {'a': {'x=y': 'b', '9': None}}
    for wrong in ('pathology=1', 'a:=b', ':1=b'):
        with pytest.raises(ToolkitError, match='TASK:VALUE=CLASS'):
            parse_values([wrong])
    (tmp_path / 'out').mkdir()
    (tmp_path / 'out/mine.txt').write_text('')
    assert cli.main([*ask, *COLUMNS, *VALUES]) == 2
    assert 'not empty' in capsys.readouterr().err
    assert not list((tmp_path / 'out').glob('*.json'))


def test_training_data_that_are_gone_are_no_all_clear(site, tmp_path, capsys):
    run, other = site
    copy = tmp_path / 'run'
    shutil.copytree(run, copy)
    text = (copy / 'config.yaml').read_text().replace('train/manifest.csv', 'gone/manifest.csv')
    (copy / 'config.yaml').write_text(text)
    ask = ['external', '--run', str(copy), '--output', str(tmp_path / 'out'), *COLUMNS, *VALUES]
    assert cli.main([*ask, '--manifest', str(other / 'new.csv')]) == 2
    assert '--known unchecked' in capsys.readouterr().err


def test_a_card_of_a_test_shows_the_times_of_the_training(site, tmp_path):
    run, _ = site
    record = json.loads((run / 'capsule.json').read_text())
    assert record['kind'] == 'test'
    assert 'the run that trained it was not found' in make_card(run)
    trained = tmp_path / 'trained'
    (trained / 'checkpoints').mkdir(parents=True)
    times = {'started': '2020-01-01T00:00:00', 'ended': '2020-01-02T00:00:00'}
    data = {'train': 'of the training'}
    write(trained / 'capsule.json', {**record, **times, 'kind': 'train', 'data': data})
    tested = tmp_path / 'tested'
    tested.mkdir()
    record['checkpoint'] = str(trained / 'checkpoints/best.pth')
    write(tested / 'capsule.json', record)
    text = make_card(tested)
    training, test = text[text.index('| training |') :].split('| test |')
    assert '2020-01-01T00:00:00, 2020-01-02T00:00:00' in training
    assert record['started'] in test and '2020-01-01' not in test
    assert 'of the training' in text
