"""ONNX export: what the file says, what is kept in it, and what is refused."""

from __future__ import annotations

import builtins
import json

import numpy as np
import pytest
import torch
from torch import nn

from plugins.classification.inference.onnx_export import export
from tests.support.patch_classifier import PatchImages, classifier, run_of
from toolkit import cli
from toolkit.errors import RunError, ToolkitError

NO_PICTURES = {'pictures': {'type': 'Pictures', 'count': 0}}


@pytest.mark.slow
def test_the_file_says_what_the_system_says_for_any_batch(tmp_path, capsys):
    onnx = pytest.importorskip('onnx')
    runtime = pytest.importorskip('onnxruntime')
    run = run_of(tmp_path, default_hooks=NO_PICTURES)
    output = tmp_path / 'model.onnx'
    assert cli.main(['export', '--run', str(run), '--output', str(output)]) == 0
    shown = capsys.readouterr().out
    assert 'Research use only' in shown and '8 of the test data' in shown
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
    monkeypatch.setattr('plugins.classification.inference.onnx_export.TOLERANCE', -1.0)
    with pytest.raises(RunError, match='differs from torch'):
        export(classifier(), tmp_path / 'model.onnx')
    assert list(tmp_path.iterdir()) == []


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
        'plugins.classification.inference.onnx_export.importlib.import_module',
        lambda name: without(name),
    )
    assert cli.main([*given, str(run)]) == 2
    assert 'pip install "ablakit[onnx]"' in capsys.readouterr().err
