from __future__ import annotations

import csv
import json
import re
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.plugins.classification.audit.test_duplicates import scene
from toolkit.cli import main

COLUMNS = ('image', 'case', 'label', 'official', 'sex', 'boxes')
# Of each image: its scene, case, label, subset, sex, boxes.
ROWS = {
    'a.png': (1, 'A', 'benign', 'train', 'F', '5,5,40,40'),
    'b.png': (1, 'B', 'malignant', 'test', 'M', '5,5,40,120'),  # the same pixels as a, as RGB
    'c.png': (1, 'A', 'benign', 'train', 'F', ''),  # the same file as a
    'd.jpg': (2, 'C', 'benign', 'train', 'F', ''),
    'e.jpg': (2, 'D', '', 'val', '', ''),  # d, compressed more
    'f.png': (3, 'E', 'malignant', 'test', 'M', ''),
    'g.png': (None, 'F', 'benign', '', 'M', ''),  # cut
    'h.png': (0, 'G', 'benign', 'train', 'M', ''),  # blank
    'i.png': (4, 'E', 'malignant', 'train', 'M', ''),
}


@pytest.fixture(scope='module')
def manifest(tmp_path_factory):
    folder = tmp_path_factory.mktemp('set')
    for name, (number, *_) in ROWS.items():
        drawn = scene(number or 3)
        grey = np.uint8(np.clip(drawn * 40 + 120, 0, 255))
        image = Image.fromarray(grey if number != 0 else np.full((96, 96), 30, np.uint8))
        image = image.convert('RGB') if name == 'b.png' else image
        image.save(
            folder / name, **({'quality': 40 if name == 'e.jpg' else 95} if 'jpg' in name else {})
        )
    content = (folder / 'f.png').read_bytes()
    (folder / 'g.png').write_bytes(content[: len(content) // 2])
    path = folder / 'set.csv'
    with path.open('w', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows((name, *row[1:]) for name, row in ROWS.items())
    return path


def audit(*arguments):
    return main(['audit', *map(str, arguments)])


def test_an_audit_finds_what_is_wrong(manifest, tmp_path, capsys):
    out = {kind: tmp_path / f'found.{kind}' for kind in ('json', 'html', 'csv')}
    options = ('--columns', 'patient=case', '--task', 'label', '--split-column', 'official')
    files = ('--json', out['json'], '--html', out['html'], '--groups', out['csv'])
    assert audit(manifest, *options, *files) == 0
    printed = capsys.readouterr().out
    assert 'Nearly the same, with different labels' in printed
    found = json.loads(out['json'].read_text())
    assert found['equal_files'] == [['a.png', 'c.png']]
    assert found['equal_pixels'] == [['a.png', 'b.png', 'c.png']]
    assert found['near'] == [['a.png', 'b.png', 'c.png'], ['d.jpg', 'e.jpg']]
    assert [pair['images'] for pair in found['pairs']] == [['d.jpg', 'e.jpg']]
    assert found['conflicts'] == {'label': [['a.png', 'b.png', 'c.png']]}
    assert list(found['unreadable']) == ['g.png']
    assert found['blank'] == ['h.png']
    assert found['boxes_outside'] == [['b.png', [5, 5, 40, 120]]]
    leaks = {tuple(leak['subsets']): leak for leak in found['leaks']}
    assert leaks['train', 'test']['clusters'] == [['a.png', 'b.png', 'c.png']]
    assert leaks['train', 'test']['images'] == {'train': 2, 'test': 1}
    assert leaks['train', 'val']['clusters'] == [['d.jpg', 'e.jpg']]
    assert not leaks['val', 'test']['clusters']
    patients = {
        tuple(leak['subsets']): leak['clusters'] for leak in found['patients_in_two_subsets']
    }
    assert patients['train', 'test'] == [['f.png', 'i.png']]
    assert found['classes'] == {'label': {'benign': 5, 'malignant': 3, '(missing)': 1}}
    assert found['subgroups']['sex']['F'] == {'images': 3, 'label': {'benign': 3}}
    # Patients and clusters are joined: A and B by a picture, E by the patient alone.
    groups = dict(list(csv.reader(out['csv'].open()))[1:])
    assert groups['a.png'] == groups['b.png'] == groups['c.png']
    assert groups['f.png'] == groups['i.png'] != groups['a.png']
    assert groups['d.jpg'] == groups['e.jpg']
    assert len(set(groups.values())) == 5
    page = out['html'].read_text()
    assert page.count('data:image/webp;base64,') == 5
    assert 'in train and test; label: benign and malignant; patients A, B; equal pixels' in page
    assert not re.search(r'(src|href)="(?!data:)', page)


def test_a_saved_split_is_audited(manifest, tmp_path, capsys):
    saved = tmp_path / 'x.folds.json'
    options = ('--columns', 'patient=case')
    assert main(['split', str(manifest), *options, '--folds', '3', '--output', str(saved)]) == 0
    assert audit(manifest, *options, '--split', saved, '--json', tmp_path / 'f.json') == 0
    found = json.loads((tmp_path / 'f.json').read_text())
    assert found['split'] == 'x.folds.json, fold 0'
    # Cases keep together what is of one case, and only the groups what looks alike.
    assert not any(leak['clusters'] for leak in found['patients_in_two_subsets'])
    capsys.readouterr()
    assert audit(manifest, '--split', saved) == 1
    assert 'other images or patients' in capsys.readouterr().err
    assert main(['split', str(manifest), *options, '--output', str(saved)]) == 2
    assert 'x.folds.json exists already; give --overwrite' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (('--threshold', '1.5'), '--threshold is a correlation above 0 and up to 1, found 1.5'),
        (('--task', 'labell'), "no column 'labell' besides those that are taken; did you mean"),
        (('--task', 'x='), "--task: found 'x=', expected NAME=COLUMN"),
        (('--columns', 'patient'), "--columns: found 'patient', expected NAME=COLUMN"),
        (('--columns', 'pasient=case'), "columns: 'pasient' is neither a task nor known; did you"),
        (('--split-column', 'oficial'), "has no column 'oficial'; did you mean 'official'?"),
        (('--annotations', 'nowhere'), '--annotations: no folder nowhere'),
        (('--split', 'nowhere.json'), 'no file nowhere.json'),
        (('--html', '.'), 'the output . is a folder; give the name of a file'),
        (('--fold', '-1'), '--fold must be 0 or more, found -1'),
    ],
)
def test_what_cannot_be_is_said_in_a_line(manifest, options, message, capsys):
    assert audit(manifest, *options) == 2
    said = capsys.readouterr().err
    assert message in said
    assert 'Traceback' not in said


def test_damaged_annotations_are_named(tmp_path, manifest, capsys):
    folder = tmp_path / 'xml'
    folder.mkdir()
    (folder / 'good.xml').write_text('<case><svg>[{"x": 1}]</svg><age>4</age></case>')
    (folder / 'cut.xml').write_text('<case><svg>[{"points": [{"x": 1}, {"x": </svg></case>')
    (folder / 'open.xml').write_text('<case><svg>')
    (folder / 'empty.json').write_text('')
    (folder / 'good.json').write_text('{"a": [1]}')
    (folder / 'binary.json').write_bytes(b'\xff\xfe\x00{')
    assert audit(manifest, '--annotations', folder, '--json', tmp_path / 'f.json') == 0
    found = json.loads((tmp_path / 'f.json').read_text())['annotations']
    assert sorted(found) == ['binary.json', 'cut.xml', 'empty.json', 'open.xml']
    assert found['cut.xml'].startswith('<svg>: cut JSON: ')
    assert found['empty.json'] == 'empty'


@pytest.mark.parametrize('command', ['audit', 'split'])
def test_spellings_of_one_patient_are_refused_by_both_commands(tmp_path, capsys, command):
    for name in 'abcdef':
        Image.fromarray(np.full((8, 8), ord(name), np.uint8)).save(tmp_path / f'{name}.png')
    rows = ['a,001', 'b,1', 'c,2', 'd,3', 'e,4', 'f,5']
    text = 'image,patient\n' + ''.join(f'{row.replace(",", ".png,")}\n' for row in rows)
    (tmp_path / 'm.csv').write_text(text)
    assert main([command, str(tmp_path / 'm.csv')]) == 2
    said = capsys.readouterr().err
    assert "m.csv:3: the patients '001' (line 2), '1' (line 3)" in said
    assert '--patients as_written' in said
    assert main([command, str(tmp_path / 'm.csv'), '--patients', 'as_written']) == 0


def test_folders_beside_train_are_subsets_of_any_name(tmp_path, capsys):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40), dtype=np.uint8)
    for name in ('train/benign/a.png', 'valid/benign/b.png', 'loose.png'):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels if name != 'loose.png' else pixels.T).save(tmp_path / name)
    assert main(['audit', str(tmp_path), '--json', str(tmp_path / 'a.json')]) == 0
    (leak,) = json.loads((tmp_path / 'a.json').read_text())['leaks']
    assert leak['subsets'] == ['train', 'valid']
    assert 'subset: valid' in capsys.readouterr().out


def test_an_audit_names_masks_among_the_images(tmp_path, capsys):
    grey = np.uint8(np.clip(scene(1) * 40 + 120, 0, 255))
    Image.fromarray(grey).save(tmp_path / 'x.png')
    Image.fromarray(np.uint8(np.tri(96) * 255)).save(tmp_path / 'x_mask.png')
    (tmp_path / 'set.csv').write_text('image\nx.png\nx_mask.png\n')
    assert audit(tmp_path / 'set.csv', '--json', tmp_path / 'found.json') == 0
    assert 'Segmentation masks' in capsys.readouterr().out
    assert json.loads((tmp_path / 'found.json').read_text())['masks'] == {'x_mask.png': 'x.png'}


def test_a_folder_is_audited_with_its_classes_and_subsets(tmp_path, capsys):
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (5, 40, 40), dtype=np.uint8)
    files = [
        'train/benign/a.png',
        'train/malignant/b.png',
        'test/malignant/c.png',
        'test/benign/d.png',
    ]
    for name, image in zip(files, pixels):
        (tmp_path / 'us' / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(tmp_path / 'us' / name)
    shutil.copy(tmp_path / 'us' / files[0], tmp_path / 'us/test/malignant/copy.png')
    page = [
        str(tmp_path / 'us'),
        '--json',
        str(tmp_path / 'a.json'),
        '--groups',
        str(tmp_path / 'g.csv'),
    ]
    assert main(['audit', *page]) == 0
    found = json.loads((tmp_path / 'a.json').read_text())
    assert found['split'] == 'subset' and len(found['leaks']) == len(found['conflicts']) == 1
    groups = dict(line.split(',') for line in (tmp_path / 'g.csv').read_text().split()[1:])
    assert groups['test/malignant/copy.png'] == groups['train/benign/a.png']
    assert len(set(groups.values())) == 4
    said = capsys.readouterr().out
    assert 'benign' in said and 'malignant' in said
    assert main(['audit', str(tmp_path / 'us'), '--task', 'kind']) == 2
    assert 'is a folder: it has no columns for --columns and --task' in capsys.readouterr().err
    (tmp_path / 'empty').mkdir()
    assert main(['audit', str(tmp_path / 'empty')]) == 2
    assert 'a folder of images, or a MedMNIST .npz' in capsys.readouterr().err
