"""`toolkit predict` for images: what may be given, what is written, and what is refused."""

from __future__ import annotations

import argparse
import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import toolkit
from plugins.classification.data.image_files import ManifestImages
from plugins.classification.inference import predictor
from plugins.classification.inference.input_images import find_images
from plugins.classification.inference.predictor import ImagePredictor
from plugins.classification.metrics.clinical_metrics import ClinicalMetrics
from tests.support.patch_classifier import (
    SIDE,
    TASKS,
    classifier,
    clinical_metrics,
    draw,
    manifest_data,
    run_of,
    save,
)
from toolkit import cli
from toolkit.engine import checkpoint
from toolkit.errors import ToolkitError
from toolkit.interfaces import PredictOptions

# Images of a patient -> its name, as `audit --groups` names groups: after their first image.
GROUPS = ('image00.png', 'image00.png', 'image00.png', 'image03.png', 'image04.png', 'image04.png')
NO_PICTURES = {'pictures': {'type': 'Pictures', 'count': 0}}


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A run whose own data are gone, as on another machine."""
    folder = tmp_path_factory.mktemp('run')
    data = manifest_data(save(folder / 'data'))
    run = run_of(folder, data=data, default_hooks=NO_PICTURES)
    shutil.rmtree(folder / 'data')
    return run


@pytest.fixture
def images(tmp_path):
    return save(tmp_path / 'new', 8).parent


def predict(run, output, *inputs):
    """Predicts `inputs`, words that follow `--input`; options may be among them."""
    given = ['--input', *map(str, inputs)] if inputs else []
    return cli.main(['predict', '--run', str(run), *given, '--output', str(output)])


def table(path):
    return list(csv.DictReader(path.open()))


def test_a_table_of_images_and_one_of_patients(run, images, tmp_path, capsys):
    output = tmp_path / 'said.csv'
    assert predict(run, output, images / 'manifest.csv') == 0
    shown = capsys.readouterr().out
    assert shown.startswith('Research use only')
    assert 'classified 8 images of 4 patients' in shown
    rows = table(output)
    assert list(rows[0]) == [
        *('id', 'file', 'frame', 'patient', 'pathology', 'pathology_threshold'),
        *('pathology_probability_benign', 'pathology_probability_malignant', 'shape'),
        *(f'shape_probability_{name}' for name in ('round', 'oval', 'irregular')),
    ]
    assert [row['id'] for row in rows] == [f'image{i:02}.png' for i in range(8)]
    assert [row['patient'] for row in rows] == [f'patient{i // 2:02}' for i in range(8)]
    assert [row['shape'] for row in rows] == ['round', 'oval', 'irregular'] * 2 + ['round', 'oval']
    # What the system says of the images as a data set gives them.
    data = ManifestImages(str(images / 'manifest.csv'), TASKS, size=SIDE)
    with torch.no_grad():
        batch = {'image': torch.stack([data.pool_image(i) for i in range(8)])}
        expected = classifier().predict(batch)['probabilities']['pathology'][:, 1]
    found = np.array([float(row['pathology_probability_malignant']) for row in rows])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    for row in rows:
        malignant = float(row['pathology_probability_malignant'])
        assert row['pathology'] == ('malignant' if malignant >= 0.4 else 'benign')
        assert float(row['pathology_threshold']) == pytest.approx(0.4)
    people = table(tmp_path / 'said-patients.csv')
    assert [row['patient'] for row in people] == [f'patient{i:02}' for i in range(4)]
    means = found.reshape(4, 2).mean(1)
    for row, mean in zip(people, means):
        assert row['images'] == '2'
        assert float(row['pathology_probability_malignant']) == pytest.approx(mean, abs=1e-5)
        assert row['pathology'] == ('malignant' if mean >= 0.4 else 'benign')
    about = json.loads((tmp_path / 'said.json').read_text())
    assert about['note'].startswith('Research use only')
    assert about['tasks']['pathology']['temperature'] == 2.0


def test_images_in_memory_get_the_values_of_their_files(run, images, tmp_path):
    assert predict(run, tmp_path / 'files.csv', images / 'manifest.csv') == 0
    rows = table(tmp_path / 'files.csv')
    loaded = toolkit.load_run(run)
    files = [images / row['id'] for row in rows]
    pillow = [Image.open(file) for file in files]
    arrays = [np.asarray(image) for image in pillow]
    tensors = [torch.from_numpy(image.copy())[None] for image in arrays]
    for given in (files, pillow, arrays, tensors, [str(files[0]), arrays[1], *tensors[2:]]):
        found = loaded.predict(given, batch_size=3)
        assert [found.decision['shape'] for found in found] == [row['shape'] for row in rows]
        for task in ('pathology', 'shape'):
            for item, row in zip(found, rows, strict=True):
                for name, value in item.probabilities[task].items():
                    expected = float(row[f'{task}_probability_{name}'])
                    assert value == pytest.approx(expected, abs=1e-6)
    assert loaded.predict(arrays[0])[0].id == 'image 0'
    assert loaded.predict(files[0])[0].id == str(files[0])


@pytest.mark.parametrize(
    ('given', 'message'),
    [
        ([], 'empty list'),
        ([3], 'image 0 of type int; expected an array, a tensor, a PIL image or a path'),
        (np.zeros((3, 8, 8), np.uint8), 'image 0: found an array 3 x 8 x 8, expected H x W'),
        (np.full((8, 8), 7.0), r'image 0: found values from 7 to 7; expected \[0, 1\]'),
        ('nothing.png', 'no file or folder nothing.png'),
    ],
)
def test_refusals_of_images_in_memory(run, given, message):
    with pytest.raises(ToolkitError, match=message):
        toolkit.load_run(run).predict(given)


def test_files_folders_and_patterns_say_the_same(run, images, tmp_path, monkeypatch):
    monkeypatch.chdir(images)
    outputs = []
    for place, given in enumerate(
        (
            ['.'],
            ['image*.png', 'image00.png'],
            [f'image{i:02}.png' for i in range(8)],
            ['image0?.png', '--batch-size', '3', '--patient', r'image(\d)'],
        )
    ):
        outputs.append(tmp_path / f'{place}.csv')
        assert predict(run, outputs[-1], *given) == 0
    first, *others = ([row['shape_probability_oval'] for row in table(o)] for o in outputs)
    assert len(first) == 8
    for other in others:
        np.testing.assert_allclose(np.float64(other), np.float64(first), atol=1e-5)
    assert not (tmp_path / '0-patients.csv').exists()
    assert [row['patient'] for row in table(tmp_path / '3-patients.csv')] == ['0']


def test_what_cannot_be_read_is_named_and_skipped_when_told_to(run, images, tmp_path, capsys):
    (images / 'image03.png').write_bytes(b'')
    whole = (images / 'image04.png').read_bytes()
    (images / 'cut.png').write_bytes(whole[: len(whole) // 2])
    output = tmp_path / 'said.csv'
    assert predict(run, output, images) == 2
    shown = capsys.readouterr()
    assert (
        '--on-error skip' in shown.err
        and '2 of 9 images' in shown.err
        and 'image03.png is empty' in shown.err
    )
    assert not output.exists()
    assert predict(run, output, images, '--on-error', 'skip') == 0
    shown = capsys.readouterr().out
    assert 'classified 7 images, skipped 2' in shown
    assert sum(line.startswith('skipped ') and 'png' in line for line in shown.splitlines()) == 2
    assert len(table(output)) == 7
    assert len(json.loads((tmp_path / 'said.json').read_text())['skipped']) == 2


def test_a_probability_that_is_not_finite(run, images, tmp_path, capsys):
    weights = checkpoint.load(checkpoint.get_folder(run) / checkpoint.LAST)
    weights['state_dict']['heads.shape.linear.bias'][1] = float('nan')
    checkpoint.save(weights, tmp_path / 'nan.pth')
    given = [images, '--checkpoint', tmp_path / 'nan.pth']
    assert predict(run, tmp_path / 'said.csv', *given) == 1
    assert "task 'shape' are not finite for " in capsys.readouterr().err
    assert not (tmp_path / 'said.csv').exists()


def test_any_kind_of_image(run, tmp_path):
    folder = tmp_path / 'kinds'
    folder.mkdir()
    grey = Image.fromarray(np.arange(3600, dtype=np.uint16).reshape(60, 60) * 18)
    grey.save(folder / 'sixteen.png')
    Image.new('RGBA', (50, 20), (200, 0, 0, 100)).save(folder / 'rgba.png')
    Image.new('P', (9, 70)).save(folder / 'palette.png')
    np.save(folder / 'array.npy', np.full((33, 33), 0.5, np.float32))
    assert predict(run, tmp_path / 'said.csv', folder) == 0
    assert len(table(tmp_path / 'said.csv')) == 4


def test_every_file_is_predicted_or_named(run, images, tmp_path, monkeypatch, capsys):
    """Images of any name and all frames of a file; the others are named with the reason."""
    monkeypatch.chdir(images)
    names = ['image00.gif', 'image01.jp2', 'image02']
    for name, kind in zip(names, ('GIF', 'JPEG2000', 'PNG')):
        Image.open(f'{name.split(".")[0]}.png').save(name, kind)
    pages = [Image.open(f'image{i:02}.png') for i in range(3)]
    pages[0].save('pages.tif', save_all=True, append_images=pages[1:])
    (images / 'notes.txt').write_text('x')
    (images / '.hidden.png').write_bytes(b'')
    (images / 'again.png').symlink_to(images / 'image00.png')
    (images / 'linked').symlink_to(tmp_path)
    assert predict(run, tmp_path / 'said.csv', '.') == 0
    rows = {row['id']: row for row in table(tmp_path / 'said.csv')}
    assert len(rows) == 8 + 3 + 3
    assert set(names) <= rows.keys()
    shown = capsys.readouterr().out
    about = json.loads((tmp_path / 'said.json').read_text())['left_out']
    expected = {
        'manifest.csv': 'no image',
        'notes.txt': 'no image',
        '.hidden.png': 'hidden',
        'image00.png': 'same file as',
        'linked': 'link to a folder',
    }
    assert about.keys() == expected.keys()
    for name, reason in expected.items():
        assert reason in about[name] and f'left out {name}: ' in shown
    assert 'classified 14 images of 12 patients, left out 5' in shown
    # A page is predicted as the same image in a file of its own.
    for i in range(3):
        page = rows[f'pages.tif#{i}']
        assert (page['frame'], page['patient']) == (str(i), 'pages.tif')
        same = rows['again.png' if i == 0 else f'image{i:02}.png']
        assert page['shape_probability_oval'] == pytest.approx(same['shape_probability_oval'])
    people = {row['patient']: row for row in table(tmp_path / 'said-patients.csv')}
    assert people['pages.tif']['images'] == '3'
    assert people['image03.png']['images'] == '1'


def test_all_frames_of_dicom_without_a_suffix(run, tmp_path):
    pytest.importorskip('pydicom')
    from tests.plugins.classification.data.reading.test_dicom import write

    folder = tmp_path / 'cines'
    folder.mkdir()
    frames = (draw(1, 1, 5) * 255).astype(np.uint8) * np.ones((4, 1, 1), np.uint8)
    frames[2] = 0
    write(folder / 'IM0001', frames, frames=4)
    write(folder / 'DICOMDIR', None)
    assert predict(run, tmp_path / 'said.csv', folder, '--patient', r'(IM\d+)') == 0
    rows = table(tmp_path / 'said.csv')
    assert [row['frame'] for row in rows] == ['0', '1', '2', '3']
    assert rows[0]['pathology'] == 'malignant' and rows[2]['pathology'] == 'benign'
    (row,) = table(tmp_path / 'said-patients.csv')
    assert row['images'] == '4' and row['patient'] == 'IM0001'
    left_out = json.loads((tmp_path / 'said.json').read_text())['left_out']
    assert [Path(name).name for name in left_out] == ['DICOMDIR']
    assert 'no pixels' in next(iter(left_out.values()))


def test_one_id_in_two_manifests(tmp_path):
    paths = [str(save(tmp_path / name, 2)) for name in 'ab']
    with pytest.raises(ToolkitError, match="a/image00.png and .*b/image00.png .*id 'image00.png'"):
        find_images(paths)


def test_the_runs_own_test_data(tmp_path):
    run = run_of(tmp_path, default_hooks=NO_PICTURES)
    assert predict(run, tmp_path / 'own.csv') == 0
    rows = table(tmp_path / 'own.csv')
    assert len(rows) == 24 and len(table(tmp_path / 'own-patients.csv')) == 12


def save_groups(folder):
    """Images with a manifest whose patients are named after their first image; its path."""
    path = save(folder, len(GROUPS))
    rows = list(csv.DictReader(path.open()))
    with path.open('w') as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, 'patient': name} for row, name in zip(rows, GROUPS, strict=True))
    return path


@pytest.mark.parametrize('levels', [('patient',), ('image',), ('image', 'patient')])
def test_patients_are_those_of_the_test(tmp_path, levels):
    """Same patients, rule, probabilities and decisions as ClinicalMetrics of the same images."""
    manifest = save_groups(tmp_path / 'data')
    rules = {'pathology': 'noisy_or', 'shape': 'max'}
    metrics = {
        f'{task}_{level}': {
            **clinical_metrics()[task],
            'level': level,
            'aggregate': 'mean' if level != levels[-1] else rules[task],
        }
        for task in rules
        for level in levels
    }
    run = run_of(
        tmp_path,
        data=manifest_data(manifest),
        default_hooks=NO_PICTURES,
        test_evaluator={'metrics': metrics},
        custom_hooks={'report': {'type': 'ClinicalReport', 'resamples': 100}},
    )
    assert predict(run, tmp_path / 'own.csv') == 0
    assert predict(run, tmp_path / 'given.csv', manifest) == 0
    tested = json.loads((run / 'metrics.json').read_text())['rows']
    report = json.loads((run / 'clinical.json').read_text())['tasks']
    for name in ('own', 'given'):
        assert [row['patient'] for row in table(tmp_path / f'{name}.csv')] == list(GROUPS)
        people = table(tmp_path / f'{name}-patients.csv')
        assert [row['patient'] for row in people] == list(dict.fromkeys(GROUPS))
        assert [row['images'] for row in people] == ['3', '1', '2']
        about = json.loads((tmp_path / f'{name}.json').read_text())
        for task, rule in rules.items():
            assert about['tasks'][task]['aggregate'] == rule
            assert report[task]['patients']['aggregate'] == rule
            metric = ClinicalMetrics(task, TASKS, level='patient', aggregate=rule)
            rows = tested[f'{task}_{levels[0]}']
            # A test pools the labelled images, and the last patient has no shape.
            expected = metric.read_predictions([{**row, 'label': 0} for row in rows])
            assert list(expected.ids) == [row['patient'] for row in people]
            for k, label in enumerate(TASKS[task].classes):
                found = [float(row[f'{task}_probability_{label}']) for row in people]
                np.testing.assert_allclose(found, expected.probabilities[:, k], rtol=1e-5)
            decided = [TASKS[task].classes.index(row[task]) for row in people]
            assert decided == list(expected.decisions)
            if expected.threshold is not None:
                shown = {float(row[f'{task}_threshold']) for row in people}
                assert np.float32(shown.pop()) == np.float32(expected.threshold) and not shown
            images = table(tmp_path / f'{name}.csv')
            for row, row_of_test in zip(images, rows, strict=True):
                assert row[task] == TASKS[task].classes[row_of_test['decision']]
                found = [row[f'{task}_probability_{label}'] for label in TASKS[task].classes]
                np.testing.assert_allclose(
                    np.array(found, float), row_of_test['probabilities'], rtol=1e-5
                )


@pytest.mark.parametrize(
    ('given', 'said'),
    [
        (['gone.png'], 'no file or folder gone.png'),
        (['*.tiff'], r'no file matches \*.tiff'),
        (['empty'], 'empty holds no image'),
        (['image00.png', 'patient=x'], 'no file or folder patient=x'),
        (['image00.png', '--patient', 'x'], '--patient x has no group'),
        (['image00.png', '--patient', '('], r'--patient \( is no regular expression'),
        (['image00.png', '--patient', '(zzz)'], r"image00.png: --patient '\(zzz\)' finds no"),
        (['image00.png', '--on-error', 'ignore'], "--on-error: invalid choice: 'ignore'.*stop"),
        (['image00.png', '--batch-size', '0'], '--batch-size must be at least 1, found 0'),
        (['image00.png', '--batch-size', 'x'], "--batch-size: invalid int value: 'x'"),
        (['image00.png', '--columns', 'patient=x'], '--columns is an option for a manifest'),
        (['image00.png', '--columns', 'patient'], "--columns: found 'patient'"),
        (['image00.png', '--tile', '4'], 'toolkit predict: unrecognized arguments: --tile'),
        (['manifest.csv', '--patient', '(x)'], '--columns patient=COLUMN'),
        (['manifest.csv', '--columns', 'patient=nobody'], "no column 'nobody'"),
    ],
)
def test_bad_inputs(run, images, tmp_path, monkeypatch, capsys, given, said):
    import re

    monkeypatch.chdir(images)
    (images / 'empty').mkdir()
    try:
        status = predict(run, tmp_path / 'said.csv', *given)
    except SystemExit as exit_:  # argparse
        status = exit_.code
    assert status == 2
    error = capsys.readouterr().err
    assert re.search(said, error), error
    assert 'Traceback' not in error
    assert not (tmp_path / 'said.csv').exists()


def test_bad_outputs(run, images, tmp_path, capsys):
    for output, said in ((tmp_path / 'said.tif', 'said.csv'), (tmp_path / 'said', 'said.csv')):
        assert predict(run, output, images) == 2
        assert said in capsys.readouterr().err


def test_patients_are_of_inputs(run, tmp_path, capsys):
    given = ['--output', str(tmp_path / 'x.csv'), '--patient', '(x)']
    assert cli.main(['predict', '--run', str(run), *given]) == 2
    assert '--patient is an option for --input' in capsys.readouterr().err


def test_help_names_the_options_of_the_task(run, capsys):
    """Of a run's task where a run or a config is named, else those that all tasks share."""
    for argv, has in (
        (['predict', '--help'], False),
        (['predict', '--run', str(run), '--help'], True),
        (['predict', '-h', '--run', str(run)], True),
        (['predict', 'csasn/csasn', '--help'], True),
        (['predict', '--batch-size', '3', 'csasn/csasn', '--help'], True),
        (['predict', 'baselines/gsa', '--help'], False),
    ):
        with pytest.raises(SystemExit) as exit_:
            cli.main(argv)
        assert exit_.value.code == 0
        shown = capsys.readouterr().out
        assert '--checkpoint' in shown
        assert ('--batch-size N' in shown) is has
        assert ('options for Classifier' in shown) is has
        assert ('--tile N' in shown) is ('baselines/gsa' in argv)


def test_a_file_whose_name_has_an_equals_sign(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'a=b.png').write_bytes(b'x')
    assert [record.id for record in find_images(['a=b.png']).records] == ['a=b.png']
    with pytest.raises(ToolkitError):
        find_images(['c=d.png'])


def test_masks_and_frames_without_a_row_are_left_out_by_name(tmp_path):
    generator = np.random.default_rng(0)
    folder = tmp_path / 'scans'
    folder.mkdir()
    frames = [Image.fromarray(generator.integers(0, 256, (16, 16), np.uint8)) for _ in range(3)]
    frames[0].save(folder / 'cine.tif', save_all=True, append_images=frames[1:])
    frames[0].save(folder / 'x.png')
    Image.fromarray(np.uint8(np.tri(16) * 255)).save(folder / 'x_mask.png')
    found = find_images([str(folder)])
    assert sorted(Path(record.id).name for record in found.records) == [
        'cine.tif#0',
        'cine.tif#1',
        'cine.tif#2',
        'x.png',
    ]
    (reason,) = found.left_out.values()
    assert reason == f'a mask of {folder}/x.png'
    assert [r.path.name for r in find_images([str(folder / 'x_mask.png')]).records] == [
        'x_mask.png'
    ]
    table = folder / 'table.csv'
    table.write_text('image,frame\ncine.tif,1\nx.png,\n')
    found = find_images([str(table)])
    (reason,) = found.left_out.values()
    assert len(found.records) == 2 and '2 of 3 frames have no row' in reason and '0, 2' in reason


def test_a_part_of_the_test_data_is_predicted_for_a_try(images, tmp_path, monkeypatch):
    monkeypatch.setattr(predictor, 'BATCH_SIZE', 3)
    options = PredictOptions(
        argparse.Namespace(),
        lambda: ManifestImages(str(images / 'manifest.csv'), TASKS, size=SIDE),
        report=lambda line: None,
    )
    table_of_images, *_ = ImagePredictor().predict_part(classifier(), tmp_path, options)
    assert [row['id'] for row in table(table_of_images)] == [f'image{i:02}.png' for i in range(3)]
