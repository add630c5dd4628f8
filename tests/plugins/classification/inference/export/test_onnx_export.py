"""ONNX export: what the file says, what is kept in it, and what is refused."""

from __future__ import annotations

import builtins
import functools
import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from plugins.classification.data.image_files import ManifestImages
from plugins.classification.inference.export.export_check import (
    Disagreement,
    compare_decisions,
    match_positions,
    refuse_flips,
)
from plugins.classification.inference.export.export_recipe import ScriptImages, write_script
from plugins.classification.inference.export.onnx_export import export
from plugins.classification.metrics.clinical_metrics import ClinicalMetrics, build_clinical_metrics
from plugins.classification.metrics.predictions import read_rows
from tests.support.patch_classifier import (
    TASKS,
    PatchImages,
    classifier,
    clinical_metrics,
    manifest_data,
    run_of,
    save,
)
from toolkit import cli
from toolkit.errors import RunError, ToolkitError

NO_PICTURES = {'pictures': {'type': 'Pictures', 'count': 0}}


def run_with_rows(folder, *overrides, **more):
    """Returns a run with rows of `ClinicalMetrics`."""
    metrics = {'metrics': clinical_metrics()}
    return run_of(folder, *overrides, default_hooks=NO_PICTURES, test_evaluator=metrics, **more)


@pytest.mark.slow
def test_the_file_says_what_the_system_says_for_any_batch(tmp_path, capsys):
    onnx = pytest.importorskip('onnx')
    runtime = pytest.importorskip('onnxruntime')
    run = run_with_rows(tmp_path)
    output = tmp_path / 'model.onnx'
    assert cli.main(['export', '--run', str(run), '--output', str(output)]) == 0
    shown = capsys.readouterr().out
    assert 'Research use only' in shown and '8 of the test data' in shown
    assert 'pathology: 0 of 24 decisions differ' in shown
    session = runtime.InferenceSession(output, providers=['CPUExecutionProvider'])
    data, system = PatchImages(), classifier()
    for count in (1, 2, 7):
        images = torch.stack([data.pool_image(i) for i in range(count)])
        found = session.run(['pathology_probabilities', 'shape_logits'], {'image': images.numpy()})
        with torch.no_grad():
            expected = system.predict({'image': images})
        np.testing.assert_allclose(found[0], expected['probabilities']['pathology'], atol=1e-4)
        np.testing.assert_allclose(found[1], expected['logits']['shape'], atol=1e-4)
    model = onnx.load(output)
    (about,) = [json.loads(x.value) for x in model.metadata_props if x.key == 'ablakit']
    assert about['note'].startswith('Research use only')
    assert about['tasks']['pathology']['classes'] == ['benign', 'malignant']
    assert about['tasks']['pathology']['threshold'] == pytest.approx(0.4)
    assert about['tasks']['shape']['threshold'] is None
    assert (
        __file__.rsplit('/', 1)[0].encode() not in output.read_bytes()
    )  # no paths of this machine


class Fixed(nn.Module):
    """Works for batches of one size alone once it is traced."""

    def forward(self, features):
        return features.view(len(features), -1).view(features.shape) * float(len(features))


class Untraceable(nn.Module):
    def forward(self, features):
        return features * (1 if features.sum() > 0 else 2)


@pytest.mark.slow
@pytest.mark.parametrize(('part', 'said'), [(Fixed, 'batch'), (Untraceable, 'cannot be exported')])
def test_what_cannot_be_exported_says_so_and_leaves_no_file(tmp_path, part, said):
    pytest.importorskip('onnxscript')
    system = classifier()
    system.neck = part()
    system.join = lambda features: system.neck(features['cells'])
    with pytest.raises(ToolkitError, match=said):
        export(system, tmp_path / 'model.onnx')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_file_that_differs_is_not_put_in_place(tmp_path, monkeypatch):
    pytest.importorskip('onnxscript')
    monkeypatch.setattr('plugins.classification.inference.export.onnx_export.TOLERANCE', -1.0)
    with pytest.raises(RunError, match='differs from torch'):
        export(classifier(), tmp_path / 'model.onnx')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_export_decides_as_the_test_did_on_all_its_images(tmp_path, capsys):
    """Of a run tested in bf16, what flips is counted, and refused unless it is allowed."""
    onnx = pytest.importorskip('onnx')
    pytest.importorskip('onnxscript')
    data = manifest_data(save(tmp_path / 'images'))
    run = run_with_rows(tmp_path, '+runtime.precision=bf16', data=data)
    path = run / 'metrics.json'
    record = json.loads(path.read_text())
    for row in record['rows']['pathology'][:2]:  # as if bf16 had decided otherwise
        row['decision'] = 1 - row['decision']
    path.write_text(json.dumps(record))
    output = tmp_path / 'model.onnx'
    ask = ['export', '--run', str(run), '--output', str(output)]
    assert cli.main(ask) == 1
    said = capsys.readouterr().err
    assert '2 of 24 of pathology (image00.png, image01.png)' in said and 'in bf16' in said
    assert '--allow-flips 2' in said and not list(tmp_path.glob('model*'))
    assert cli.main([*ask, '--allow-flips', '2']) == 0
    said = capsys.readouterr().out
    assert '2 of 24 decisions differ' in said and 'with the script' in said
    (entry,) = [x for x in onnx.load(output).metadata_props if x.key == 'ablakit']
    about = json.loads(entry.value)
    assert about['preparation']['size'] == 32 and about['preparation']['fit'] == 'squash'
    for key in ('test', 'test_with_script'):
        assert about['comparison'][key]['pathology']['flipped'] == 2
        assert about['comparison'][key]['shape']['flipped'] == 0
    assert 'def prepare(pixels):' in (tmp_path / 'model_prepare.py').read_text()


@pytest.mark.parametrize('fit', ['squash', 'pad', 'crop'])
@pytest.mark.parametrize('channels', [1, 3])
def test_the_script_prepares_images_as_the_data_set_does(tmp_path, fit, channels):
    generator = np.random.default_rng(0)
    lines = ['image,pathology']
    for name, shape in (('a', (41, 30)), ('b', (20, 57, 3)), ('c', (9, 8)), ('d', (16, 16, 4))):
        Image.fromarray(generator.integers(0, 256, shape, np.uint8)).save(tmp_path / f'{name}.png')
        lines.append(f'{name}.png,benign')
    (tmp_path / 'm.csv').write_text('\n'.join(lines))
    tasks = {'pathology': classifier().tasks['pathology']}
    data = ManifestImages(str(tmp_path / 'm.csv'), tasks, size=16, channels=channels, fit=fit)
    images = ScriptImages(data, write_script(data, 'model.onnx'))
    for position in data.positions:
        np.testing.assert_allclose(images(position), data.pool_image(position).numpy(), atol=3e-6)
    assert images.by_product == 1  # the transparent one


def test_an_export_is_of_the_tested_checkpoint_and_images(tmp_path, capsys):
    pytest.importorskip('onnxscript')
    run = run_with_rows(tmp_path)
    path = run / 'metrics.json'
    written = path.read_text()
    record = json.loads(written)
    ask = ['export', '--run', str(run), '--output', str(tmp_path / 'model.onnx')]
    for rows in record['rows'].values():
        rows.pop()
    path.write_text(json.dumps(record))
    metrics = {
        name: functools.partial(ClinicalMetrics, name, TASKS) for name in ('pathology', 'shape')
    }
    assert build_clinical_metrics(metrics) == {}  # slots of components alone are known
    data = PatchImages()
    tested = {'shape': read_rows(record['rows']['shape'], TASKS['shape'])}
    with pytest.raises(ToolkitError, match='23 images and the test data have 24 now'):
        match_positions(data, tested)
    path.write_text('{}')
    assert cli.main(ask) == 2
    said = capsys.readouterr().err
    assert 'toolkit test' in said and '--untested' in said
    assert not (tmp_path / 'model.onnx').exists()


def test_decisions_are_compared_with_those_of_the_test():
    rows = [
        {'id': f'i{i}', 'label': 0, 'logits': [0, 0], 'probabilities': [0.5, 0.5], 'decision': 1,
         'threshold': 0.5}
        for i in range(9)
    ]  # fmt: skip
    tested = {'pathology': read_rows(rows, TASKS['pathology'])}

    def predict(images):
        high = images[:, 0, 0, 0]
        return [np.stack([1 - high, high], 1), (high >= 0.5).astype(int)]

    values = np.full((9, 1, 2, 2), 0.5)
    found = compare_decisions(predict, values, tested)
    assert found['pathology'] == Disagreement(9, (), 0.0)
    refuse_flips(found, 0, 'it', 'fp32')
    values[8] = 0.25
    found = compare_decisions(predict, values, tested)
    assert found['pathology'] == Disagreement(9, ('i8',), 0.25)
    with pytest.raises(RunError, match=r'1 of 9 of pathology \(i8\).* --allow-flips 1'):
        refuse_flips(found, 0, 'it', 'fp32')
    refuse_flips(found, 1, 'it', 'fp32')
    values[8], values[3] = 0.5, np.nan  # decided for class 0 by any comparison
    rows[3]['decision'] = 0
    found = compare_decisions(predict, values, {'pathology': read_rows(rows, TASKS['pathology'])})
    assert found['pathology'] == Disagreement(9, ('i3',), 0.0)


def test_bad_asks(tmp_path, capsys, monkeypatch):
    run = run_of(tmp_path, default_hooks=NO_PICTURES)
    assert cli.main(['export', '--run', str(run), '--output', 'model.pt']) == 2
    assert 'model.onnx' in capsys.readouterr().err
    given = ['export', '--output', str(tmp_path / 'm.onnx'), '--run']
    assert cli.main([*given, str(tmp_path)]) == 2
    assert 'holds no run' in capsys.readouterr().err
    assert cli.main([*given, str(run), '--checkpoint', str(tmp_path / 'gone.pth')]) == 2
    assert 'no checkpoint' in capsys.readouterr().err
    release = builtins.__import__

    def without(name, *arguments, **keywords):
        if name.startswith('onnxscript'):
            raise ImportError(name)
        return release(name, *arguments, **keywords)

    monkeypatch.setattr(
        'toolkit.engine.export.exporter.importlib.import_module',
        lambda name: without(name),
    )
    assert cli.main([*given, str(run)]) == 2
    assert 'pip install "ablakit[onnx]"' in capsys.readouterr().err
