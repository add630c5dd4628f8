from __future__ import annotations

import gc
from types import SimpleNamespace

import pytest
import torch

from plugins.pansharpening.data.whole_scenes import WholeScene
from plugins.pansharpening.imaging.masks import blank, coarse, valid_pixels
from plugins.pansharpening.metrics import functional, metric_inputs
from plugins.pansharpening.metrics.functional import no_reference, reprojection
from plugins.pansharpening.metrics.functional.cache import cached, use_cache
from plugins.pansharpening.metrics.functional.upsampling import upsample_lrms
from plugins.pansharpening.metrics.no_reference import DS, HQNR, QNR, RQNR, DLambda, DLambdaK, DRho
from plugins.pansharpening.metrics.reference import SCC
from plugins.pansharpening.metrics.reprojection import RSAM, DLambdaAlign, RQ2n
from tests.plugins.pansharpening.metrics.functional.test_no_reference import GRIP, TOOLBOX
from tests.support.full_resolution import images
from tests.support.reference_images import scene
from toolkit.errors import DataError
from toolkit.registry import METRICS
from toolkit.registry.build import build

FULL = {'D_lambda': False, 'D_s': False, 'QNR': True, 'D_lambda_K': False, 'HQNR': True}
GRIPS = {'D_rho': False, 'D_sR': False, 'R_Q2n': True, 'R_Q': True, 'R_SAM': False}
GRIPS['R_ERGAS'] = False
OTHERS = {'RQNR': True, 'D_lambda_align': False}
REFERENCE = {'SCC': True, 'Q': True, 'PSNR': True, 'SSIM': True, 'RMSE': False}


def _metric(name: str, **arguments):
    return build({'type': name, **arguments}, METRICS)


def _batch(scale: float = 1.0, items: int = 1) -> dict:
    torch.manual_seed(0)
    lrms = torch.rand(items, 3, 48, 48)
    up = torch.nn.functional.interpolate(lrms, scale_factor=4, mode='bicubic')
    meta = [{'ratio': 4, 'scale': scale, 'sensor': 'GE1'}] * items
    return {'lrms': lrms, 'pan': up.mean(1, keepdim=True), 'meta': meta}


def _fused(batch: dict) -> torch.Tensor:
    up = torch.nn.functional.interpolate(batch['lrms'], scale_factor=4, mode='bilinear')
    return up + 0.1 * torch.rand_like(up)


@pytest.mark.parametrize('name', ['ik', 'wv2'])
def test_float32_samples_give_the_reference_values(data_root, name):
    sample = WholeScene(scene(data_root, name), 'full', crop=256)[0]
    batch = {key: value[None] for key, value in sample.items() if key != 'meta'}
    batch['meta'] = [sample['meta']]
    for method in ('BIC', 'BROVEY'):
        outputs = {'hrms': (images(data_root, name, 'crop')[method] / 2047).float()}
        found = {}
        for column in (*FULL, *GRIPS):
            rows = _metric(column).measure(outputs, batch)
            found |= _metric(column).summarize(rows)
        expected = dict(zip(FULL, TOOLBOX[name, 'crop', method]))
        expected |= dict(zip(GRIPS, GRIP[name, method]))
        assert found == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize('name', [*FULL, *GRIPS, *OTHERS, *REFERENCE])
def test_each_is_registered_and_scores_batches(name):
    batch = _batch(items=2)
    batch['hrms'] = _fused(batch)
    metric = _metric(name)
    assert dict(metric.directions) == {name: {**FULL, **GRIPS, **OTHERS, **REFERENCE}[name]}
    rows = metric.measure({'hrms': _fused(batch)}, batch)
    assert [list(row) for row in rows] == [[name], [name]]
    assert all(isinstance(row[name], float) and row[name] == row[name] for row in rows)
    assert rows[0] != rows[1]


def test_products_are_made_of_the_columns():
    batch = _batch()
    outputs = {'hrms': _fused(batch)}
    value = {
        name: _metric(name).measure(outputs, batch)[0][name]
        for name in (*FULL, 'D_sR', 'RQNR', 'D_rho', 'HQNR_rho')
    }
    assert value['QNR'] == pytest.approx((1 - value['D_lambda']) * (1 - value['D_s']))
    assert value['HQNR'] == pytest.approx((1 - value['D_lambda_K']) * (1 - value['D_s']))
    assert value['RQNR'] == pytest.approx((1 - value['D_lambda_K']) * (1 - value['D_sR']))
    assert value['HQNR_rho'] == pytest.approx(value['HQNR'] * (1 - value['D_rho']))


GAINS = (0.23, 0.23, 0.23)  # of GE1
FUNCTIONS = {
    'QNR': lambda x: functional.qnr(x.fused, x.up, x.pan, 4, mask=x.mask),
    'HQNR': lambda x: functional.hqnr(x.fused, x.up, x.pan, GAINS, 4, mask=x.mask),
    'RQNR': lambda x: functional.rqnr(x.fused, x.up, x.pan, GAINS, 4, mask=x.mask),
    'HQNR_rho': lambda x: functional.hqnr_rho(x.fused, x.up, x.pan, GAINS, 4, mask=x.mask),
    'R_SAM': lambda x: functional.r_sam(x.fused, x.ms, x.pan, GAINS, 4, mask=x.mask),
    'R_ERGAS': lambda x: functional.r_ergas(x.fused, x.ms, x.pan, GAINS, 4, mask=x.mask),
    'R_Q2n': lambda x: functional.r_q2n(x.fused, x.ms, x.pan, GAINS, 4, mask=x.mask),
    'R_Q': lambda x: functional.r_q(x.fused, x.ms, x.pan, GAINS, 4, mask=x.mask),
    'D_lambda_align': lambda x: functional.d_lambda_align(
        x.fused, x.ms, x.pan, GAINS, 4, mask=x.mask
    ),
    'D_rho': lambda x: functional.d_rho(x.fused, x.pan, 4, mask=x.mask),
    'D_sR': lambda x: functional.d_sr(x.fused, x.pan, mask=x.mask),
    'D_s': lambda x: functional.d_s(x.fused, x.up, x.pan, 4, mask=x.mask),
}


@pytest.mark.parametrize('masked', [False, True])
@pytest.mark.parametrize('name', FUNCTIONS)
def test_the_function_equals_the_registered_metric(name, masked):
    batch = _batch(scale=2047, items=2)
    outputs = {'hrms': _fused(batch)}
    if masked:
        batch['mask'] = torch.ones(2, 1, 192, 192, dtype=torch.bool)
        batch['mask'][..., :16, 150:] = False
    values = [row[name] for row in _metric(name).measure(outputs, batch)]
    fused, pan, ms = (
        image.double() * 2047 for image in (*outputs.values(), batch['pan'], batch['lrms'])
    )
    for i, value in enumerate(values):
        mask = batch['mask'][i] if masked else None
        low = blank(ms[i][None], coarse(valid_pixels(mask, fused[i][None]), 4))
        x = SimpleNamespace(fused=fused[i], pan=pan[i], ms=ms[i], mask=mask)
        x.up = upsample_lrms(low, 4)[0]
        assert float(FUNCTIONS[name](x)) == value


def test_intermediate_results_are_computed_once_and_forgotten(monkeypatch):
    calls = []
    for module, name in (
        (no_reference, 'compare_bands'),  # of d_lambda and d_s, twice each
        (no_reference, 'q2n'),
        (reprojection, 'find_alignment'),
    ):
        original = getattr(module, name)

        def count(*arguments, _name=name, _original=original, **named):
            calls.append(_name)
            return _original(*arguments, **named)

        monkeypatch.setattr(module, name, count)
    batch = _batch()
    outputs = {'hrms': _fused(batch)}
    for metric in (DS(), QNR(), HQNR(), DLambdaK(), RQNR(), RSAM(), RQ2n(), DLambdaAlign()):
        metric.measure(outputs, batch)
    assert sorted(calls) == [*['compare_bands'] * 4, 'find_alignment', 'q2n']
    HQNR(variant='grip').measure(outputs, batch)
    assert sorted(calls) == [*['compare_bands'] * 4, 'find_alignment', 'q2n', 'q2n']
    # The same image beside another PAN is another matter.
    other = {**batch, 'pan': batch['pan'] * 0.5}
    assert DS().measure(outputs, other) != DS().measure(outputs, batch)
    del outputs
    gc.collect()
    assert len(metric_inputs._INPUTS) == 0


def test_the_cache_tells_images_apart_by_identity_and_numbers_by_value():
    calls = []

    @cached
    def add(image, number, scale=2.0):
        calls.append(number)
        return image + number * scale

    image, cache = torch.zeros(3), {}
    assert add(image, 1) is not add(image, 1)
    calls.clear()
    with use_cache(cache):
        assert add(image, 1) is add(image, number=1, scale=2.0)
        assert add(image, 2) is not add(image.clone(), 2)
        # Kept arguments: the clone above cannot leave its identity to another tensor.
        assert all(add(torch.full((3,), float(i)), 2)[0] == 4 + i for i in range(20))
    assert calls == [1, 2, 2, *[2] * 20]
    add(image, 1)
    assert calls[-1] == 1
    assert len(cache) == 23


def test_a_variant_has_a_column_of_its_own():
    batch = _batch(scale=2047)
    outputs = {'hrms': _fused(batch)}
    toolbox, grip = DLambdaK(), DLambdaK(variant='grip')
    assert dict(grip.directions) == {'D_lambda_K_grip': False}
    assert dict(HQNR(variant='toolbox').directions) == {'HQNR': True}
    assert dict(RSAM(variant='toolbox').directions) == {'R_SAM_toolbox': False}
    assert dict(SCC(border='interior').directions) == {'SCC_interior': True}
    first = toolbox.summarize(toolbox.measure(outputs, batch))
    second = grip.summarize(grip.measure(outputs, batch))
    assert first['D_lambda_K'] != second['D_lambda_K_grip']
    assert dict(DLambdaK().directions) == {'D_lambda_K': False}


def test_gains_of_ones_own_stand_in_for_the_sensor():
    batch = _batch(scale=2047)
    outputs = {'hrms': _fused(batch)}
    given = _metric('D_lambda_K', gains=[0.23, 0.23, 0.23])
    assert given.measure(outputs, batch) == DLambdaK().measure(outputs, batch)
    batch['meta'] = [{'ratio': 4, 'scale': 2047, 'sensor': 'Mine'}]
    fresh = {'hrms': outputs['hrms'].clone()}
    assert given.measure(fresh, batch)
    with pytest.raises(DataError, match="D_lambda_K: no sensor is named 'Mine'"):
        DLambdaK().measure(fresh, batch)
    with pytest.raises(ValueError, match='between 0 and 1, found'):
        DLambdaK(gains=(0.3, 1.5))
    with pytest.raises(ValueError, match="found 'matlab'"):
        HQNR(variant='matlab')


def test_a_mask_in_the_batch_is_heeded():
    batch = _batch(scale=2047)
    batch['hrms'] = _fused(batch)
    plain = {'hrms': _fused(batch)}
    mask = torch.ones(1, 1, 192, 192, dtype=torch.bool)
    mask[..., :16, 150:] = False
    batch['mask'] = mask
    spoilt = {'hrms': plain['hrms'].where(mask, torch.nan)}
    holes = {**batch, 'pan': batch['pan'].where(mask, torch.nan)}
    holes['hrms'] = batch['hrms'].where(mask, torch.nan)
    for name in (*FULL, *GRIPS, *OTHERS, *REFERENCE):
        found = _metric(name).measure(spoilt, holes)
        assert found == _metric(name).measure(plain, batch)
        assert found[0][name] == found[0][name]


def test_sizes_and_outputs_that_do_not_fit_are_explained():
    batch = _batch()
    with pytest.raises(DataError, match="D_lambda scores 'fused', .*it gives: hrms"):
        DLambda('fused').measure({'hrms': _fused(batch)}, batch)
    with pytest.raises(DataError, match='D_rho: a PAN must have the size of the fused image'):
        DRho().measure({'hrms': torch.rand(1, 3, 96, 96)}, batch)
    batch['mask'] = torch.ones(1, 1, 48, 48, dtype=torch.bool)
    with pytest.raises(DataError, match=r'D_rho: a mask has shape .*found \(1, 48, 48\)'):
        DRho().measure({'hrms': _fused(batch)}, batch)
