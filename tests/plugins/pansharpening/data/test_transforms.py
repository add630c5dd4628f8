from __future__ import annotations

import functools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.pansharpening.data.geometric_transforms import (
    Flip,
    Misregistration,
    QuarterTurns,
    shifted,
)
from plugins.pansharpening.data.patches import CONTEXT, ScenePatches
from plugins.pansharpening.data.radiometric_transforms import BandGain, GainOffset, SensorNoise
from plugins.pansharpening.data.transforms import margin_of, transformed
from plugins.pansharpening.imaging.resample import upsample
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.scenes.sensors import get_sensor
from plugins.pansharpening.scenes.window import Window
from plugins.pansharpening.synthetic.scene import SyntheticScene
from toolkit.registry import TRANSFORMS

ALL = (Flip, QuarterTurns, Misregistration, GainOffset, BandGain, SensorNoise)


class UpsampledScene(Scene):
    """A scene whose reference, and whose PAN, is its MS upsampled."""

    name, bits = 'upsampled', 16

    def __init__(self, ratio, method, size=24):
        self.sensor = get_sensor('generic')
        self._ms = np.random.default_rng(0).random((2, size, size + 4)).astype(np.float32)
        self._fine = upsample(torch.from_numpy(self._ms)[None], ratio, method)[0].numpy()

    bands = property(lambda self: 2)
    ms_shape = property(lambda self: self._ms.shape[1:])
    pan_shape = property(lambda self: self._fine.shape[1:])
    reference = property(lambda self: self._fine)

    def read_ms(self, window=None):
        return self._ms[(slice(None), *(window or Window(0, 0, *self.ms_shape)).slices)]

    def read_pan(self, window=None):
        return self._fine[:1][(slice(None), *(window or Window(0, 0, *self.pan_shape)).slices)]

    def fingerprint(self):
        return 'upsampled'


@pytest.mark.parametrize(
    ('method', 'ratio', 'samples'),
    [
        ('interp23tap', 2, 'interp23tap'),
        ('interp23tap', 4, 'interp23tap'),
        ('interp23tap', 8, 'interp23tap'),
        ('bicubic', 3, 'centre'),
        ('bicubic', 4, 'centre'),
    ],
)
def test_upsampling_then_turning_is_turning_then_upsampling(method, ratio, samples):
    """To rounding, for every symmetry of a square, and PAN moves along."""
    scene = UpsampledScene(ratio, method)
    turns = {'flip': functools.partial(Flip, samples=samples)}
    turns['turn'] = functools.partial(QuarterTurns, samples=samples)
    data = ScenePatches(scene, 8 * ratio, transforms=turns)
    seen, checked = set(), 0
    for seed in range(120):
        torch.manual_seed(seed)
        sample = data[0]
        plain = scene.read_ms(Window(*(v // ratio for v in sample['meta']['window'])))
        for number in range(8):
            turned = np.rot90(plain[:, ::-1] if number >= 4 else plain, number % 4, (1, 2))
            if np.array_equal(sample['lrms'].numpy(), turned):
                seen.add(number)
        row, col, height, width = sample['meta']['window']
        below = scene.pan_shape[0] - row - height
        right = scene.pan_shape[1] - col - width
        if min(row, col, below, right) < CONTEXT * ratio:
            continue  # a scene's border wraps around where it is upsampled whole
        checked += 1
        context = upsample(sample['lrms_context'][None], ratio, method)[0]
        margin = CONTEXT * ratio
        upsampled = context[:, margin:-margin, margin:-margin]
        torch.testing.assert_close(upsampled, sample['hrms'], rtol=0, atol=1e-5)
        torch.testing.assert_close(sample['pan'], sample['hrms'][:1], rtol=0, atol=0)
    assert seen == set(range(8))
    assert checked >= 8


def test_plain_mirroring_would_be_a_pixel_off():
    """What the shift is for: without it, the images of a mirrored patch part by a PAN pixel."""
    scene = UpsampledScene(4, 'interp23tap', size=40)
    flip = {'flip': functools.partial(Flip, 1.0, 1.0, 'centre')}
    data = ScenePatches(scene, 32, transforms=flip, region=(0.2, 0.2, 0.8, 0.8))
    sample = data[0]
    upsampled = upsample(sample['lrms_context'][None], 4)[0][:, 24:-24, 24:-24]
    assert (upsampled - sample['hrms']).abs().max() > 0.01
    torch.testing.assert_close(upsampled[:, 1:, 1:], sample['hrms'][:, :-1, :-1], rtol=0, atol=1e-5)


def sample(size=32, ratio=4, bands=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    low = size // ratio
    return {
        'lrms_context': torch.rand(bands, low + 12, low + 12, generator=generator),
        'pan': torch.rand(1, size, size, generator=generator),
        'hrms': torch.rand(bands, size, size, generator=generator),
        'mask': torch.rand(1, size, size, generator=generator) > 0.1,
        'meta': {'ratio': ratio, 'sensor': 'WV2'},
    }


def equal(a, b):
    return all(torch.equal(a[key], b[key]) for key in ('lrms_context', 'pan', 'hrms', 'mask'))


@pytest.mark.parametrize('cls', ALL, ids=lambda cls: cls.__name__)
def test_every_transform(cls):
    """Registered; the seed alone decides; images keep their shape, the mask its type."""
    assert TRANSFORMS.get(cls.__name__) is cls
    before = sample()
    first, again, other = (transformed(sample(), {'it': cls()}, seed) for seed in (3, 3, 4))
    assert equal(first, again)
    assert not all(
        equal(first, transformed(sample(), {'it': cls()}, seed)) for seed in range(4, 12)
    )
    assert set(first) == set(before)
    assert all(first[k].shape == before[k].shape for k in ('lrms_context', 'pan', 'hrms', 'mask'))
    assert first['mask'].dtype == torch.bool
    assert other['pan'].dtype == torch.float32
    assert equal(before, sample())  # what came in is not changed


def test_one_transform_does_not_move_what_another_draws():
    flip, gain = functools.partial(Flip, 0.5, 0.5), BandGain(0.3)
    for seed in range(8):
        both = transformed(sample(), {'flip': flip(), 'gain': gain}, seed)
        alone = transformed(sample(), {'gain': gain}, seed)
        torch.testing.assert_close(
            both['hrms'].mean((1, 2)), alone['hrms'].mean((1, 2)), rtol=0.05, atol=0
        )
        ratio = both['lrms_context'].mean((1, 2)) / alone['lrms_context'].mean((1, 2))
        torch.testing.assert_close(ratio, torch.ones(4), rtol=1e-5, atol=0)
    # The same part twice, by two names, draws twice.
    twice = transformed(sample(), {'a': GainOffset(0.5), 'b': GainOffset(0.5)}, 0)
    single = transformed(sample(), {'a': GainOffset(0.5)}, 0)
    factor = (single['pan'] / sample()['pan']).mean()
    assert not torch.isclose((twice['pan'] / single['pan']).mean(), factor)


@settings(max_examples=25, deadline=None)
@given(st.floats(-3, 3), st.sampled_from([-1, -2]))
def test_a_shift_is_exact_for_ramps(distance, axis):
    """Cubic convolution keeps straight lines: pixel q becomes q + distance."""
    ramp = torch.arange(40, dtype=torch.float32).expand(1, 40, 40)
    ramp = ramp if axis == -1 else ramp.transpose(1, 2)
    found = shifted(ramp, distance, axis).narrow(axis, 6, 28)
    torch.testing.assert_close(found, ramp.narrow(axis, 6, 28) + distance, rtol=0, atol=2e-5)


def test_misregistration_moves_pan_alone_and_takes_it_from_the_scene():
    scene = SyntheticScene(4, 256)
    part = functools.partial(Misregistration, 3, whole=True)
    data = ScenePatches(scene, 64, transforms={'shift': part}, region=(0.1, 0.1, 0.9, 0.9))
    found = set()
    for seed in range(40):
        torch.manual_seed(seed)
        moved = data[0]
        row, col, *size = moved['meta']['window']
        np.testing.assert_array_equal(moved['hrms'], scene.read_reference(Window(row, col, *size)))
        for down in range(-3, 4):
            for right in range(-3, 4):
                there = scene.read_pan(Window(row + down, col + right, *size))
                if np.array_equal(moved['pan'].numpy(), there):
                    found.add((down, right))
    assert len(found) > 15
    assert margin_of({'a': Misregistration(1.5), 'b': Flip()}) == 5


def test_radiometry():
    before = sample()
    after = transformed(sample(), {'g': GainOffset(0.3, 0.1)}, 5)
    gain = (after['pan'][0, 0, 0] - after['pan'][0, 0, 1]) / (
        before['pan'][0, 0, 0] - before['pan'][0, 0, 1]
    )
    assert 0.7 <= gain <= 1.3
    for key in ('lrms_context', 'pan', 'hrms'):
        offset = after[key] - gain * before[key]
        torch.testing.assert_close(offset, offset.mean().expand_as(offset), rtol=0, atol=1e-5)
    bands = transformed(sample(), {'b': BandGain(0.3)}, 5)
    assert torch.equal(bands['pan'], before['pan'])
    gains = (bands['hrms'] / before['hrms']).mean((1, 2))
    assert len({round(float(g), 4) for g in gains}) == 4
    torch.testing.assert_close(
        bands['lrms_context'], before['lrms_context'] * gains[:, None, None], rtol=1e-4, atol=0
    )


def test_noise_by_sensor():
    flat = {**sample(256), 'pan': torch.full((1, 256, 256), 0.5)}
    flat['lrms_context'] = torch.full((4, 76, 76), 0.5)
    plain = transformed(dict(flat), {'n': SensorNoise((2, 0), (1, 0.1))}, 0)
    assert torch.equal(plain['hrms'], flat['hrms'])
    assert float((plain['lrms_context'] * 2047).std()) == pytest.approx(2, rel=0.02)
    expected = math.sqrt(1 + 0.1 * 0.5 * 2047)
    assert float((plain['pan'] * 2047).std()) == pytest.approx(expected, rel=0.02)
    assert float(plain['pan'].mean()) == pytest.approx(0.5, abs=1e-4)
    own = SensorNoise((2, 0), (1, 0.1), {'WV2': (0, 0, 7, 0)})
    loud = transformed(dict(flat), {'n': own}, 0)
    assert torch.equal(loud['lrms_context'], flat['lrms_context'])
    assert float((loud['pan'] * 2047).std()) == pytest.approx(7, rel=0.02)


@pytest.mark.parametrize(
    ('build', 'message'),
    [
        (lambda: Flip(1.5), 'horizontal is a probability from 0 to 1, found 1.5'),
        (lambda: Flip(samples='corner'), "'centre' or 'interp23tap', found 'corner'"),
        (lambda: QuarterTurns('corner'), "'centre' or 'interp23tap', found 'corner'"),
        (lambda: Misregistration(-1), 'shift must be 0 or more'),
        (lambda: Misregistration(1.5, whole=True), 'must be whole'),
        (lambda: GainOffset(1), 'gain must be from 0 to below 1, found 1'),
        (lambda: GainOffset(0.1, -1), 'offset must be 0 or more'),
        (lambda: BandGain(-0.1), 'gain must be from 0 to below 1'),
        (lambda: SensorNoise((-1, 0)), 'a constant and a linear term, 0 or more'),
        (lambda: SensorNoise(sensors={'WV2': (1, 1)}), 'a constant and a linear term'),
    ],
)
def test_refusals(build, message):
    with pytest.raises(ValueError, match=message):
        build()
