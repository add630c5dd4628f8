"""The index with registration falls where the true error rises, however the PAN is moved."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from plugins.pansharpening.benchmark.misregistration import REFERENCE, score_shifted
from plugins.pansharpening.data.wald_protocol import ReducedScene
from plugins.pansharpening.imaging.resample import interp23tap
from plugins.pansharpening.interfaces import GENERATORS
from plugins.pansharpening.metrics import functional
from plugins.pansharpening.metrics.score_image import build_metrics
from plugins.pansharpening.scenes.arrays.matlab import MatScene
from plugins.pansharpening.synthetic.scene import SyntheticScene
from toolkit.cli import main
from toolkit.errors import ToolkitError
from toolkit.registry import plugin_index


def list_methods():
    plugin_index.import_all()
    return [
        name
        for name in GENERATORS.names()
        if GENERATORS.get(name).__module__.startswith('plugins.classical.')
    ]


def check_falls(scene, methods, shifts):
    """Checks that each shift is measured, and that the index falls with it, for all methods."""
    found = list(score_shifted(scene, methods, shifts))
    for method in methods:
        none, *moved = (r for r in found if r.method == method)
        for other in moved:
            case = (method, other.shift, none.scores, other.scores)
            assert other.scores['offset'] >= np.hypot(*other.shift) - 0.25, case
            assert other.scores['HQNR_reg'] < none.scores['HQNR_reg'], case
            if method != 'EXP':  # which the PAN does not change
                assert other.scores['ERGAS'] > none.scores['ERGAS'], case


def test_it_falls_on_a_scene_of_known_truth():
    methods = ('EXP', 'GSA', 'MTF-GLP')
    check_falls(SyntheticScene(4, 128), methods, [(0.0, 0.0), (0.0, 1.0), (-2.0, 0.0)])


def test_the_true_image_follows_the_pan_less_than_methods_do():
    methods, place = (REFERENCE, 'GSA', 'MTF-GLP-HPM'), [(0.0, 0.0)]
    found = score_shifted(SyntheticScene(4, 128), methods, place, ('ERGAS', 'D_rho', 'HQNR'))
    truth, *others = (result.scores for result in found)
    assert truth['ERGAS'] == 0
    for other in others:
        assert truth['D_rho'] > 2 * other['D_rho']
        assert truth['HQNR'] > other['HQNR']


def test_only_images_that_lie_on_each_other_have_no_offset():
    scene = SyntheticScene(4, 128)
    ms, pan, truth = (
        torch.from_numpy(i).double() * 2047
        for i in (scene.read_ms(), scene.read_pan(), scene.reference)
    )
    up, gains = interp23tap(ms[None], 4)[0], (0.3,) * 4
    assert float(functional.offset(truth, up, pan, gains, 4)) < 0.2
    assert float(functional.d_reg(truth, up, pan, gains, 4)) < 0.02
    moved = [torch.roll(image, 1, -1) for image in (truth, pan)]
    for fused, other in ((moved[0], pan), (truth, moved[1]), (moved[0], moved[1])):
        distance = float(functional.offset(fused, up, other, gains, 4))
        assert distance >= 0.8  # two of the three lie apart
        assert float(functional.d_reg(fused, up, other, gains, 4)) == pytest.approx(
            1 - math.cos(math.pi * min(distance, 2) / 4)
        )
    far = torch.roll(truth, 3, -2)
    assert float(functional.d_reg(far, up, pan, gains, 4)) == pytest.approx(1)
    assert float(functional.hqnr_reg(far, up, pan, gains, 4)) == pytest.approx(0, abs=1e-9)
    expected = functional.hqnr(truth, up, pan, gains, 4)
    expected *= 1 - functional.d_reg(truth, up, pan, gains, 4)
    assert functional.hqnr_reg(truth, up, pan, gains, 4) == pytest.approx(float(expected))
    noise = torch.rand(truth.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert math.isnan(float(functional.offset(noise, up, pan, gains, 4)))
    mask = np.ones((128, 128), bool)
    mask[:30, :40] = False
    holed = truth.clone()
    holed[:, ~torch.from_numpy(mask)] = float('nan')
    assert float(functional.offset(holed, up, pan, gains, 4, mask=mask)) < 0.4


def test_metrics_that_cannot_be_built_are_named():
    plugin_index.import_all()
    with pytest.raises(ToolkitError, match="did you mean 'D_rho'"):
        build_metrics(['D_rhoo'])
    with pytest.raises(ToolkitError, match='ClinicalMetrics needs task and tasks'):
        build_metrics(['D_rho', 'ClinicalMetrics'])


def test_the_bench(capsys):
    argv = ['bench', 'misregistration', '--methods', 'EXP', '--axis', 'rows', '--shifts']
    assert main([*argv, '0,2']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 4
    assert lines[0] == '| method | shift | ERGAS | D_s | HQNR | HQNR_reg | offset |'
    wanted = ['--methods', 'reference', '--shifts', '0', '--indices', 'ERGAS,D_rho']
    assert main(['bench', 'misregistration', *wanted]) == 0
    head, _, row = capsys.readouterr().out.splitlines()
    assert head == '| method | shift | ERGAS | D_rho |'
    assert row.startswith('| reference | 0 | 0.000 | 0.')
    for wrong in ('a', '0,nan', 'inf', '256'):
        assert main([*argv, wrong]) == 2
        assert 'expected numbers such as 0,1,2' in capsys.readouterr().err
    assert main(['bench', 'misregistration', '--methods', 'EXP,LDPNet']) == 2
    assert 'LDPNet is a network and has random weights here' in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize('name', ['IKONOS', 'drawn'])
def test_it_falls_for_all_methods(name, request):
    scene = SyntheticScene(4, 128)
    if name == 'IKONOS':
        root = request.getfixturevalue('data_root')
        scene = ReducedScene(MatScene(str(root / 'ikonos/imgIK.mat'), name))
        methods = ('EXP', 'Brovey', 'GSA', 'BDSD-PC', 'MTF-GLP-HPM')
        check_falls(scene, methods, [(0.0, 0.0), (0.0, 1.7)])
    else:
        check_falls(scene, list_methods(), [(0.0, 0.0), (0.0, 1.0), (-2.0, 0.0)])
