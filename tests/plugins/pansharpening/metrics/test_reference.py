from __future__ import annotations

import pytest
import torch

from plugins.pansharpening.data.whole_scenes import WholeScene
from plugins.pansharpening.imaging.resample import upsample
from plugins.pansharpening.metrics.reference import ERGAS, SAM, Q2n, ZeroFraction
from tests.support.reference_images import scene
from toolkit.errors import DataError
from toolkit.registry import METRICS

EXP = {'ik': (3.486377, 3.769005, 0.604880), 'wv2': (7.715399, 7.607753, 0.663528)}


@pytest.mark.parametrize('name', EXP)
def test_float32_samples_give_the_toolbox_values(data_root, name):
    sample = WholeScene(scene(data_root, name), 'reduced')[0]
    batch = {key: value[None] for key, value in sample.items() if key != 'meta'}
    batch['meta'] = [sample['meta']]
    outputs = {'lrms_up': upsample(batch['lrms'], 4, border='wrap'), 'hrms': batch['hrms']}
    found = []
    for metric in (SAM('lrms_up'), ERGAS('lrms_up'), Q2n('lrms_up')):
        rows = metric.measure(outputs, batch)
        assert len(rows) == 1
        values = metric.summarize(rows)
        assert set(values) == set(metric.directions)
        found += values.values()
    assert found == pytest.approx(EXP[name], abs=1e-5)
    assert Q2n().measure(outputs, batch) == [{'Q2n': pytest.approx(1)}]


@pytest.mark.parametrize('metric', [SAM, ERGAS, Q2n])
def test_a_missing_reference_is_explained(metric):
    batch = {'lrms': torch.zeros(1, 4, 8, 8), 'meta': [{}]}
    with pytest.raises(DataError, match=f"{metric.__name__} compares.*protocol='reduced'"):
        metric().measure({'hrms': torch.zeros(1, 4, 32, 32)}, batch)


def test_a_missing_output_and_wrong_sizes_are_explained():
    outputs = {'hrms': torch.zeros(1, 4, 32, 32), 'lrms_up': torch.zeros(1, 4, 32, 32)}
    batch = {'hrms': torch.zeros(1, 4, 16, 16), 'meta': [{}]}
    with pytest.raises(DataError, match="scores 'fused', .*it gives: hrms, lrms_up"):
        SAM('fused').measure(outputs, batch)
    with pytest.raises(DataError, match=r'\(4, 32, 32\)|\(1, 4, 32, 32\)'):
        SAM().measure(outputs, batch)


def test_zero_fraction_needs_no_reference():
    image = torch.ones(2, 1, 4, 4)
    image[1, 0, 0] = 0
    rows = ZeroFraction().measure({'hrms': image}, {'meta': [{}, {}]})
    assert rows == [{'ZeroFraction': 0.0}, {'ZeroFraction': 0.25}]


def test_registered():
    for part in (SAM, ERGAS, Q2n, ZeroFraction):
        assert METRICS.get(part.__name__) is part
        assert set(part.directions) == {part.__name__}
