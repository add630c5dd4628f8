"""Export of generators: any size, the run's own images, and what is refused."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy
import pytest
import torch
from torch import nn

from plugins.pansharpening.imaging.resample import low_pass, upsample
from plugins.pansharpening.inference import generator_export
from plugins.pansharpening.inference.predictor import ScenePredictor
from plugins.pansharpening.interfaces import GENERATORS
from plugins.pansharpening.system import Pansharpener
from toolkit import load_run
from toolkit.cli import main
from toolkit.engine.export.exporter import check_export
from toolkit.errors import RunError, ToolkitError
from toolkit.interfaces import Predictor
from toolkit.registry.build import ComponentFactory

ROOT = Path(__file__).parents[4]


def make_system(name: str, ratio: int = 4, **options) -> Pansharpener:
    generator = ComponentFactory(GENERATORS.get(name), {})
    return Pansharpener(4, ratio, generator, **options).eval().requires_grad_(False)


class Enlarging(nn.Module):
    """An upsampling and a low-pass filter."""

    def __init__(self, method: str, border: str) -> None:
        super().__init__()
        self.method, self.border = method, border

    def forward(self, image):
        return low_pass(upsample(image, 4, self.method, self.border), 4)


@pytest.mark.slow
@pytest.mark.parametrize(
    ('method', 'border'),
    [
        ('interp23tap', 'wrap'),
        ('bicubic', 'extrapolate'),
    ],
)
def test_filters_are_recorded_for_any_size(method, border):
    module, size = Enlarging(method, border), torch.export.Dim
    program = torch.export.export(
        module,
        (torch.rand(2, 3, 20, 28),),
        dynamic_shapes={'image': {0: size('b'), 2: size('h', min=8), 3: size('w', min=8)}},
    ).module()
    for shape in ((1, 3, 16, 40), (3, 3, 37, 23)):
        image = torch.rand(shape)
        torch.testing.assert_close(program(image), module(image), rtol=0, atol=2e-6)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['LDPNet', 'Modulated'])
def test_a_generator_is_exported_for_any_size(name, tmp_path):
    pytest.importorskip('onnxscript')
    runtime = pytest.importorskip('onnxruntime')
    onnx = pytest.importorskip('onnx')
    system, output = make_system(name), tmp_path / 'model.onnx'
    generator_export.export(system, output, None, {'checkpoint': 'best.pth'}, lambda line: None)
    session = runtime.InferenceSession(output, providers=['CPUExecutionProvider'])
    lrms, pan = torch.rand(1, 4, 19, 50), torch.rand(1, 1, 76, 200)
    (found,) = session.run(None, {'lrms': lrms.numpy(), 'pan': pan.numpy()})
    expected = system.sharpen(lrms, pan)
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-5, atol=1e-5)
    entries = {e.key: json.loads(e.value) for e in onnx.load(output).metadata_props}
    about = entries['ablakit']
    assert (about['generator'], about['ratio'], about['multiple_of']) == (name, 4, 1)
    assert about['checkpoint'] == 'best.pth'
    assert about['compared_with_torch']['difference'] <= generator_export.TOLERANCE
    assert b'/tests/' not in output.read_bytes()  # no paths of this machine


@pytest.mark.slow
def test_a_program_of_torch_is_exported_for_all_sizes_that_a_stride_takes(tmp_path, monkeypatch):
    system, output = make_system('LDPNet', 3, upsample='bicubic'), tmp_path / 'model.pt2'
    generator_export.export(system, output, None, {'checkpoint': 'best.pth'}, lambda line: None)
    held = {'ablakit.json': ''}
    program = torch.export.load(output, extra_files=held).module()
    about = json.loads(held['ablakit.json'])
    assert (about['ratio'], about['multiple_of'], about['checkpoint']) == (3, 2, 'best.pth')
    assert about['compared_with_torch']['difference'] <= generator_export.TOLERANCE
    for rows, columns in ((16, 50), (38, 20)):
        pair = torch.rand(1, 4, rows, columns), torch.rand(1, 1, 3 * rows, 3 * columns)
        found = program(lrms=pair[0], pan=pair[1])
        torch.testing.assert_close(found, system.sharpen(*pair), rtol=1e-5, atol=1e-5)
    for bands, rows in ((3, 20), (4, 19), (4, 10)):
        with pytest.raises(Exception, match='Guard failed'):
            program(lrms=torch.rand(1, bands, rows, 20), pan=torch.rand(1, 1, 3 * rows, 60))
    with zipfile.ZipFile(output) as archive:  # no paths of this machine
        assert not any(str(ROOT).encode() in archive.read(name) for name in archive.namelist())
    kept = output.read_bytes()
    monkeypatch.setattr(generator_export, 'TOLERANCE', -1.0)
    with pytest.raises(RunError, match='differs from torch'):
        generator_export.export(system, output, None, {}, lambda line: None)
    assert output.read_bytes() == kept


def test_the_suffix_is_the_format():
    check_export(Path('m.pt2'), ScenePredictor.export_suffixes)
    with pytest.raises(ToolkitError, match=r'm\.pth needs a name such as m\.onnx or m\.pt2'):
        check_export(Path('m.pth'), ScenePredictor.export_suffixes)
    with pytest.raises(ToolkitError, match=r'm\.pt2 needs a name such as m\.onnx$'):
        check_export(Path('m.pt2'), Predictor.export_suffixes)


@pytest.mark.parametrize('name', ['GSA', 'SR-D', 'MTF-GLP-HPM'])
def test_statistics_of_a_scene_are_refused_with_the_reason(name, tmp_path):
    with pytest.raises(ToolkitError, match='statistics of the whole scene.*toolkit predict'):
        generator_export.export(make_system(name), tmp_path / 'm.onnx', None, {})
    assert list(tmp_path.iterdir()) == []


def test_a_generator_may_declare_that_it_cannot_be_exported(tmp_path):
    with pytest.raises(ToolkitError, match='TV cannot be exported .*`toolkit predict`'):
        generator_export.export(make_system('TV'), tmp_path / 'm.onnx', None, {})
    assert list(tmp_path.iterdir()) == []


def test_multiples_follow_from_stride_and_ratio():
    assert generator_export.get_step(make_system('LDPNet', 4)) == 1
    assert generator_export.get_step(make_system('LDPNet', 3, upsample='bicubic')) == 2


@pytest.mark.slow
def test_a_run_is_exported_after_a_comparison_on_its_own_images(tmp_path, capsys, monkeypatch):
    pytest.importorskip('onnxscript')
    pytest.importorskip('onnxruntime')
    run, output = tmp_path / 'run', tmp_path / 'model.onnx'
    config = ['baselines/exp_synthetic', 'model.generator.type=WeightedBrovey']
    config += ['test_dataloader.dataset.scene.size=512', 'runtime.precision=bf16']
    assert main(['test', *config, '--work-dir', str(run)]) == 0
    words = ['export', '--run', str(run), '--output', str(output)]
    assert main(words) == 0
    shown = capsys.readouterr().out
    assert '40 x 52 of the test data' in shown
    assert 'pan (batch, 1, 4 h, 4 w), h and w of any size' in shown
    assert "the run's tests compute in bf16, the file in fp32" in shown
    # The example of the docs, on arrays of another size than the data.
    rng = numpy.random.default_rng(0)
    ms, pan = (rng.integers(0, 2048, shape, 'uint16') for shape in ((4, 18, 31), (72, 124)))
    monkeypatch.chdir(tmp_path)
    numpy.save('ms.npy', ms)
    numpy.save('pan.npy', pan)
    page = (ROOT / 'docs/pansharpening/scenes.md').read_text(encoding='utf-8')
    exec(page.split('```python sharpen_by_onnx.py')[1].split('```')[0], {})
    lrms, wide = (torch.from_numpy(each.astype('float32') / 2047) for each in (ms, pan))
    expected = load_run(run).system.sharpen(lrms[None], wide[None, None])[0] * 2047
    found = numpy.load('sharp.npy').astype(float)
    numpy.testing.assert_allclose(found, expected.clip(0, 65535).round(), rtol=0, atol=1)
    kept = output.read_bytes()
    assert main(words) == 2
    assert '--overwrite' in capsys.readouterr().err
    monkeypatch.setattr(generator_export, 'TOLERANCE', -1.0)
    assert main([*words, '--overwrite']) == RunError.exit_status
    assert 'differs from torch' in capsys.readouterr().err
    assert output.read_bytes() == kept
