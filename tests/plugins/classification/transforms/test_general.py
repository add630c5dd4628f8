import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from plugins.classification.transforms.class_balanced import ClassBalanced
from plugins.classification.transforms.general import (
    BoxCrop,
    ColorJitter,
    RandAugment,
    RandomAffine,
    RandomErasing,
    RandomFlip,
    RandomResizedCrop,
    TrivialAugment,
)
from plugins.classification.transforms.pipeline import (
    PixelTransform,
    ResizeToSquare,
    TransformPipeline,
    describe,
)
from plugins.classification.transforms.ultrasound import (
    DepthCrop,
    DepthGain,
    DynamicRange,
    ProbeBlur,
    Speckle,
    blur,
)
from toolkit.errors import DataError

EVERY = {
    'flip': RandomFlip(vertical=0.5),
    'affine': RandomAffine(shear=5),
    'resized': RandomResizedCrop(),
    'jitter': ColorJitter(saturation=0.2, hue=0.1),
    'erasing': RandomErasing(probability=1),
    'randaugment': RandAugment(),
    'trivial': TrivialAugment(),
    'speckle': Speckle(),
    'depthgain': DepthGain(),
    'depthcrop': DepthCrop(),
    'range': DynamicRange(),
    'blur': ProbeBlur(probability=1),
}


def image(channels=1, height=20, width=24, seed=0):
    return torch.rand(channels, height, width, generator=torch.Generator().manual_seed(seed))


def applied(transform, pixels, boxes=(), label=0, seed=0):
    torch.manual_seed(seed)
    return transform({'image': pixels, 'boxes': boxes, 'labels': {'kind': label}})


@pytest.mark.parametrize('name', EVERY)
@pytest.mark.parametrize('channels', [1, 3])
def test_it_keeps_the_range_and_the_input_and_follows_the_seed(name, channels):
    pixels = image(channels)
    before = pixels.clone()
    found = [applied(EVERY[name], pixels, seed=seed)['image'] for seed in range(6)]
    for result in found:
        assert result.dtype == torch.float32
        assert 0 <= result.min() <= result.max() <= 1
        assert result.shape[0] == channels
        assert result.shape[2] == 24
        assert result.shape[1] == 20 or (name == 'depthcrop' and 15 <= result.shape[1] < 20)
    assert torch.equal(pixels, before)
    assert torch.equal(applied(EVERY[name], pixels, seed=3)['image'], found[3])
    assert len({result.numpy().tobytes() for result in found}) > 1


@pytest.mark.parametrize(
    ('part', 'arguments', 'message'),
    [
        (
            RandomFlip,
            {'horizontal': 1.5},
            'horizontal must be a probability from 0 to 1, found 1.5',
        ),
        (RandomAffine, {'degrees': -1}, 'degrees must be a number from 0 to 180, found -1'),
        (
            RandomAffine,
            {'scale': [1.2, 0.8]},
            r'scale must be a range \[low, .*found \[1.2, 0.8\]',
        ),
        (RandomAffine, {'scale': 0.8}, 'scale must be a range'),
        (RandomResizedCrop, {'scale': [0.5, 2]}, 'from 0.01 to 1'),
        (ColorJitter, {'hue': 0.7}, 'hue must be a number from 0 to 0.5'),
        (RandomErasing, {'probability': math.nan}, 'probability must be a probability'),
        (RandAugment, {'operations': 0}, 'operations must be at least 1'),
        (RandAugment, {'magnitude': 31}, 'magnitude must be a number from 0 to 30'),
        (Speckle, {'strength': [0.1, math.inf]}, 'strength must be a range'),
        (DepthGain, {'gain': 1.5}, 'gain must be a number from 0 to 1'),
        (DepthGain, {'sliders': 0}, 'sliders must be at least 1'),
        (DepthCrop, {'keep': [0, 1]}, 'keep must be a range'),
        (DynamicRange, {'ratio': [0, 1]}, 'ratio must be a range'),
        (ProbeBlur, {'focus': [0.5, 1.5]}, 'focus must be a range'),
        (BoxCrop, {'margin': -0.1}, 'margin must be a number of 0 or more'),
    ],
)
def test_ranges_are_checked(part, arguments, message):
    with pytest.raises(ValueError, match=message):
        part(**arguments)


# -- each transform --------------------------------------------------------------------------------


def test_flip():
    pixels = image()
    assert torch.equal(applied(RandomFlip(1.0), pixels)['image'], pixels.flip(-1))
    assert torch.equal(applied(RandomFlip(0.0, 1.0), pixels)['image'], pixels.flip(-2))
    assert torch.equal(applied(RandomFlip(0.0, 0.0), pixels)['image'], pixels)


def test_speckle_is_in_proportion_to_the_signal():
    pixels = torch.full((1, 64, 64), 0.5)
    pixels[:, 32:] = 0.1
    noise = applied(Speckle(strength=(0.1, 0.1)), pixels)['image'] - pixels
    ratio = noise[:, :32].std() / noise[:, 32:].std()
    assert ratio == pytest.approx(5, rel=0.2)
    assert noise[:, :32].std() == pytest.approx(0.05, rel=0.2)
    colour = applied(Speckle(), image(1).expand(3, -1, -1))['image']
    assert torch.equal(colour[0], colour[2])


def test_speckle_has_wider_grains_across_the_beam():
    flat = torch.full((1, 128, 128), 0.5)
    noise = applied(Speckle((0.1, 0.1), grain=(1, 1)), flat)['image'][0] - 0.5

    def likeness(axis):
        return float((noise * noise.roll(2, axis)).mean() / noise.pow(2).mean())

    assert likeness(1) > likeness(0) + 0.2


def test_gain_by_depth_is_a_smooth_curve_of_rows():
    found = applied(DepthGain(gain=0.4, sliders=3), torch.full((1, 41, 5), 0.5))['image'][0]
    assert torch.equal(found, found[:, :1].expand(-1, 5))
    curve = found[:, 0] / 0.5
    assert 0.6 <= curve.min() < curve.max() <= 1.4
    bends = curve.diff().diff().abs()  # straight between sliders at rows 0, 20 and 40
    assert bends.argmax() == 19
    assert bends.sort().values[-2] < 1e-5
    flat = applied(DepthGain(gain=0.4, sliders=1), torch.full((1, 9, 5), 0.5))['image']
    assert torch.allclose(flat, flat[0, 0, 0].expand_as(flat))


def test_depth_crop_takes_from_the_bottom_but_never_from_a_box():
    pixels = image(height=40)
    result = applied(DepthCrop((0.5, 0.5)), pixels)['image']
    assert torch.equal(result, pixels[:, :20])
    result = applied(DepthCrop((0.5, 0.5)), pixels, boxes=((1, 2, 5, 30.5),))['image']
    assert torch.equal(result, pixels[:, :31])


def test_dynamic_range_is_that_of_a_scanner():
    echoes = torch.tensor([1.0, 0.1, 0.01, 0.0001])  # amplitudes
    shown = {dB: (1 + 20 * echoes.log10() / dB).clamp(0, 1) for dB in (60, 50)}
    wider = applied(DynamicRange((60 / 50, 60 / 50)), shown[60].reshape(1, 1, 4))['image']
    torch.testing.assert_close(wider.flatten(), shown[50])
    narrower = applied(DynamicRange((0.5, 0.5)), torch.tensor([[[0.0, 0.5]]]))['image']
    torch.testing.assert_close(narrower.flatten(), torch.tensor([0.0, 0.75]))


def test_blur_spares_the_focus():
    pixels = image(height=41, width=40)
    blur = ProbeBlur(lateral=(2, 2), axial=(0, 0), focus=(0.5, 0.5), probability=1)
    result = applied(blur, pixels)['image']
    assert torch.equal(result[:, 20], pixels[:, 20])
    change = (result - pixels).abs().mean((0, 2))
    assert change[0] > change[10] > change[18] > 0
    assert torch.equal(applied(ProbeBlur(probability=0), pixels)['image'], pixels)


@settings(max_examples=20, deadline=None)
@given(down=st.floats(0, 3), across=st.floats(0, 3))
def test_blurring_keeps_what_is_flat_and_the_mean_of_an_impulse(down, across):
    flat = torch.full((2, 9, 11), 0.3)
    torch.testing.assert_close(blur(flat, down, across), flat)
    impulse = torch.zeros(1, 41, 41)
    impulse[0, 20, 20] = 1
    assert float(blur(impulse, down, across).sum()) == pytest.approx(1, abs=1e-4)


box = st.tuples(st.integers(0, 17), st.integers(0, 13), st.integers(1, 12), st.integers(1, 12)).map(
    lambda b: (b[0], b[1], min(b[0] + b[2], 18), min(b[1] + b[3], 14))
)


@settings(max_examples=60, deadline=None)
@given(
    boxes=st.lists(box, min_size=1, max_size=3),
    margin=st.floats(0, 2),
    square=st.booleans(),
    which=st.sampled_from(['all', 'largest']),
)
def test_a_crop_holds_its_boxes_and_stays_inside(boxes, margin, square, which):
    pixels = torch.arange(14 * 18, dtype=torch.float32).reshape(1, 14, 18)
    crop = BoxCrop(margin=margin, square=square, boxes=which)
    found = crop({'image': pixels, 'boxes': tuple(boxes), 'labels': {}})
    result = found['image'][0]
    y, x = divmod(int(result[0, 0]), 18)
    assert torch.equal(result, pixels[0, y : y + result.shape[0], x : x + result.shape[1]])
    areas = [(c - a) * (d - b) for a, b, c, d in boxes]
    held = boxes if which == 'all' else [boxes[int(np.argmax(areas))]]
    for x0, y0, x1, y1 in held:
        assert x <= x0 and y <= y0 and x + result.shape[1] >= x1 and y + result.shape[0] >= y1
    assert found['boxes'][0] == tuple(
        edge - shift for edge, shift in zip(boxes[0], (x, y, x, y), strict=True)
    )


def test_a_square_crop_moves_inside_before_it_is_cut():
    found = applied(BoxCrop(margin=0), image(height=20, width=24), boxes=((20, 2, 24, 12),))
    assert found['image'].shape == (1, 10, 10)
    with pytest.raises(DataError, match=r'its box \(30, 2, 34, 12\) lies outside of its 24 x 20'):
        applied(BoxCrop(margin=0, square=False), image(), boxes=((30, 2, 34, 12),))


# -- classes ---------------------------------------------------------------------------------------


class Whiten(PixelTransform):
    def apply(self, pixels):
        return torch.ones_like(pixels)


def test_rarer_classes_are_changed_more_often():
    balanced = ClassBalanced('kind', {'white': Whiten()}, chance=(0.2, 0.9), power=0.5)
    balanced.use_counts({'kind': torch.tensor([400, 100, 0, 25])})
    assert balanced.chances == pytest.approx([0.225, 0.45, 0.9, 0.9])

    pixels = image(height=2, width=2)

    def share(label):
        found = [applied(balanced, pixels, label=label, seed=seed) for seed in range(200)]
        return np.mean([bool((sample['image'] == 1).all()) for sample in found])

    assert share(0) == pytest.approx(0.225, abs=0.1)
    assert share(3) == pytest.approx(0.9, abs=0.1)
    assert share(-1) == pytest.approx(0.2, abs=0.1)


@pytest.mark.parametrize(
    ('transforms', 'message'),
    [
        ({}, 'transforms is empty'),
        ({'a': object()}, 'transforms.a must be a transform of images'),
        ({'a': DepthCrop(), 'b': RandomFlip()}, 'some transforms are for the whole image and some'),
    ],
)
def test_invalid_balancing_is_refused(transforms, message):
    with pytest.raises(ValueError, match=message):
        ClassBalanced('kind', transforms)


# -- pipeline ------------------------------------------------------------------------------------


def test_transforms_of_the_whole_image_come_before_resizing():
    pipeline = TransformPipeline(
        8, 'squash', {'flip': RandomFlip(), 'box': BoxCrop(), 'depth': DepthCrop()}
    )
    assert list(pipeline.fixed) == ['box']
    assert list(pipeline.random) == ['depth', 'fit', 'flip']
    start = pipeline.apply_fixed(image(), ((2, 3, 12, 9),), {})
    assert pipeline.apply_random(start, 1).shape == (1, 8, 8)
    assert torch.equal(pipeline.apply_random(start, 1), pipeline.apply_random(start, 1))


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    size=st.integers(1, 20),
    fit=st.sampled_from(['squash', 'pad', 'crop']),
)
def test_any_image_is_resized_to_a_square(height, width, size, fit):
    found = ResizeToSquare(size, fit)({'image': image(1, height, width), 'boxes': ()})
    assert found['image'].shape == (1, size, size)
    assert 'boxes' not in found


def test_a_component_is_described_by_its_public_attributes():
    assert describe(RandomFlip()) == describe(RandomFlip(0.5, 0.0))
    assert describe(RandomFlip()) != describe(RandomFlip(0.4))
    one, other = (ClassBalanced('kind', {'flip': RandomFlip(p)}) for p in (0.1, 0.2))
    assert describe(one) != describe(other)
    assert describe(torch.ones(3)) != describe(torch.zeros(3))
