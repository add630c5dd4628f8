from __future__ import annotations

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from plugins.pansharpening.imaging.resample import decimate, low_pass
from plugins.pansharpening.interfaces import GENERATORS, Generator
from plugins.pansharpening.system import OUTPUTS, Pansharpener
from plugins.pansharpening.zero_shot_losses import Guidance, ReducedScale
from toolkit.errors import ComponentError, DataError, ToolkitError
from toolkit.interfaces import Degradation, Loss
from toolkit.registry.build import ComponentFactory


class Fuse(Generator):
    """One convolution over both images; counts its calls."""

    halo = 1

    def __init__(self, bands: int, ratio: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(bands + 1, bands, 3, padding=1)
        self.injected = (bands, ratio)
        self.calls = 0

    def forward(self, lrms_up: Tensor, pan: Tensor) -> Tensor:
        self.calls += 1
        return self.conv(torch.cat([lrms_up, pan], 1))


class Blur(Degradation):
    def __init__(self, bands: int, ratio: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(bands, bands, 3, padding=1, bias=False)
        self.seen: list[Tensor] = []

    def forward(self, image: Tensor) -> Tensor:
        self.seen.append(image)
        return self.conv(image)


class Gray(Degradation):
    out_bands = 1

    def __init__(self, bands: int, ratio: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(bands, 1, 1, bias=False)
        self.seen: list[Tensor] = []

    def forward(self, image: Tensor) -> Tensor:
        self.seen.append(image)
        return self.conv(image)


class ToPan(Loss):
    def forward(self, hrms_gray: Tensor, pan: Tensor) -> Tensor:
        return (hrms_gray - pan).square().mean()


class ToReference(Loss):
    def forward(self, hrms: Tensor, reference: Tensor) -> Tensor:
        return (hrms - reference).abs().mean()


class OfPan(Loss):
    def forward(self, pan_reblurred: Tensor) -> Tensor:
        return pan_reblurred.square().mean()


class OfBlur(Loss):
    def forward(self, hrms_reblurred: Tensor, lrms_up: Tensor) -> Tensor:
        return (hrms_reblurred - lrms_up).abs().mean()


class OfAgain(Loss):
    def forward(self, hrms_again: Tensor) -> Tensor:
        return hrms_again.square().mean()


class OfNothingKnown(Loss):
    def forward(self, hrms: Tensor, texture: Tensor) -> Tensor:
        return hrms.mean() + texture.mean()


class OfEverything(Loss):
    def forward(self, **outputs: Tensor) -> Tensor:
        return outputs['hrms'].mean()


def system(**arguments: Any) -> Pansharpener:
    torch.manual_seed(0)
    defaults = {'bands': 4, 'ratio': 4, 'generator': Fuse, 'reblur': Blur, 'gray': Gray}
    return Pansharpener(**{**defaults, **arguments})


def batch(bands: int = 4, low: int = 8, ratio: int = 4, reference: bool = False) -> dict[str, Any]:
    torch.manual_seed(1)
    size = low * ratio
    images = {'lrms': torch.rand(2, bands, low, low), 'pan': torch.rand(2, 1, size, size)}
    if reference:
        images['hrms'] = torch.rand(2, bands, size, size)
    return {**images, 'meta': [{}, {}]}


# -- wiring ----------------------------------------------------------------------------------------


def test_slots_get_bands_and_ratio() -> None:
    assert system(bands=8, ratio=2).generator.injected == (8, 2)
    assert system(generator=ComponentFactory(Fuse, {})).generator.injected == (4, 4)


@pytest.mark.parametrize('method', ['interp23tap', 'bicubic', 'bilinear', 'nearest'])
def test_upsampling_methods(method: str) -> None:
    given = batch()
    up = system(upsample=method).predict(given)['lrms_up']
    assert up.shape == (2, 4, 32, 32)
    # Each keeps the image's mean, up to what borders do.
    assert up.mean().item() == pytest.approx(given['lrms'].mean().item(), rel=0.02)


def test_refuses_a_ratio_that_the_upsampling_cannot_do() -> None:
    with pytest.raises(ValueError, match='3'):
        system(ratio=3)
    assert system(ratio=3, upsample='bicubic').ratio == 3


@pytest.mark.parametrize(('bands', 'ratio'), [(0, 4), (4, 0), (-1, 2)])
def test_refuses_bands_and_ratio(bands: int, ratio: int) -> None:
    with pytest.raises(ValueError, match=f'found {bands} and {ratio}'):
        system(bands=bands, ratio=ratio)


def test_refuses_a_degradation_of_the_other_kind() -> None:
    with pytest.raises(ValueError, match='gray must give one band, Blur gives as many'):
        system(gray=Blur)
    with pytest.raises(ValueError, match='reblur must give as many bands .*, Gray gives one band'):
        system(reblur=Gray)


def test_refuses_a_loss_that_names_what_is_not_there() -> None:
    message = r"losses\.texture: OfNothingKnown \(.*\) takes 'texture', .* there are: lrms, pan, "
    with pytest.raises(ComponentError, match=message):
        system(losses={'texture': OfNothingKnown})


def test_refuses_a_loss_that_does_not_name_its_inputs() -> None:
    with pytest.raises(ComponentError, match=r'losses\.all: OfEverything \(.*\) takes \*\*outputs'):
        system(losses={'all': OfEverything})


@pytest.mark.parametrize(
    ('slot', 'key', 'loss', 'output'),
    [('gray', 'spatial', ToPan, 'hrms_gray'), ('reblur', 'pan', OfPan, 'pan_reblurred')],
)
def test_refuses_a_loss_whose_slot_is_empty(
    slot: str, key: str, loss: type[Loss], output: str
) -> None:
    message = rf"losses\.{key}: .* takes '{output}', which needs {slot}: fill model\.{slot}"
    with pytest.raises(ComponentError, match=message):
        system(losses={key: loss}, **{slot: None})


@pytest.mark.parametrize('key', ['keys', 'a.b'])
def test_refuses_a_name_that_torch_keeps(key: str) -> None:
    with pytest.raises(ValueError, match='no loss can have this name'):
        system(losses={key: ToPan})


# -- losses ----------------------------------------------------------------------------------------


def test_terms_are_weighted_and_named_as_in_the_config() -> None:
    losses = {'to_pan': partial(ToPan, weight=3.0), 'blurred': partial(OfBlur, weight=0.5)}
    model = system(losses=losses)
    terms = model(batch(), 'loss')
    outputs = model(batch(), 'tensor')
    assert list(terms) == ['to_pan', 'blurred']
    expected = 3 * (outputs['hrms_gray'] - outputs['pan']).square().mean()
    torch.testing.assert_close(terms['to_pan'], expected)
    expected = 0.5 * (outputs['hrms_reblurred'] - outputs['lrms_up']).abs().mean()
    torch.testing.assert_close(terms['blurred'], expected)


def test_computes_only_what_losses_name() -> None:
    model = system(losses={'to_pan': ToPan})
    model.loss(batch())
    assert model.generator.calls == 1
    assert len(model.gray.seen) == 1  # not the gray version of the upsampled image
    assert not model.reblur.seen
    model = system(losses={'of_pan': OfPan})
    model.loss(batch())
    assert model.generator.calls == 0
    assert len(model.reblur.seen) == 1


def test_pan_is_repeated_for_the_reblur() -> None:
    model = system(losses={'of_pan': OfPan})
    given = batch()
    model.loss(given)
    assert torch.equal(model.reblur.seen[0], given['pan'].repeat(1, 4, 1, 1))


def test_what_no_loss_reaches_is_frozen() -> None:
    model = system(losses={'to_pan': ToPan})
    assert all(p.requires_grad for p in [*model.generator.parameters(), *model.gray.parameters()])
    assert not any(p.requires_grad for p in model.reblur.parameters())
    sum(model.loss(batch()).values()).backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)
    model = system(losses={'of_pan': OfPan})
    assert not any(p.requires_grad for p in model.generator.parameters())


def test_without_losses_nothing_is_frozen() -> None:
    model = system()
    assert model.loss(batch()) == {}
    assert all(p.requires_grad for p in model.parameters())


def test_reference_is_the_images_own() -> None:
    model = system(losses={'supervised': ToReference})
    given = batch(reference=True)
    expected = (model.predict(given)['hrms'] - given['hrms']).abs().mean()
    torch.testing.assert_close(model.loss(given)['supervised'], expected)
    with pytest.raises(DataError, match='takes the reference, and the data has none'):
        model.loss(batch())


# -- modes -----------------------------------------------------------------------------------------


def test_tensor_gives_what_the_parts_allow() -> None:
    full = system(losses={'again': OfAgain, 'reduced': ReducedScale}, guide=Fuse)
    assert set(full(batch(reference=True))) == set(OUTPUTS)
    twice = {'hrms_again', 'lrms_again'}
    assert set(system()(batch(reference=True))) == set(OUTPUTS) - twice - {'guide'}
    assert set(system(gray=None)(batch())) == {
        'lrms', 'pan', 'lrms_up', 'hrms', 'hrms_reblurred', 'pan_reblurred', 'hrms_low',
    }  # fmt: skip
    shapes = {name: tuple(value.shape) for name, value in system()(batch()).items()}
    assert shapes['hrms'] == shapes['hrms_reblurred'] == shapes['pan_reblurred'] == (2, 4, 32, 32)
    assert shapes['hrms_low'] == shapes['lrms']
    assert shapes['hrms_gray'] == shapes['lrms_up_gray'] == (2, 1, 32, 32)


def test_sharpen_runs_no_other_branch() -> None:
    model = system(losses={'to_pan': ToPan, 'blurred': OfBlur})
    given = batch()
    hrms = model.sharpen(given['lrms'], given['pan'])
    assert torch.equal(hrms, model.predict(given)['hrms'])
    assert not model.gray.seen
    assert not model.reblur.seen


def test_autocast_leaves_the_upsampling_alone() -> None:
    model = system()
    expected = model.predict(batch())
    with torch.autocast('cpu', torch.bfloat16):
        outputs = model(batch(), 'predict')
    assert torch.equal(outputs['lrms_up'], expected['lrms_up'])
    assert outputs['hrms'].dtype == torch.float32
    torch.testing.assert_close(outputs['hrms'], expected['hrms'], rtol=0.05, atol=0.02)


def test_example_fits() -> None:
    model = system(bands=8, ratio=2)
    given = model.example(batch_size=3, size=24)
    assert given['lrms'].shape == (3, 8, 12, 12)
    assert given['pan'].shape == (3, 1, 24, 24)
    assert len(given['meta']) == 3
    assert model.predict(given)['hrms'].shape == (3, 8, 24, 24)
    assert model.example()['pan'].shape == (1, 1, 128, 128)
    with pytest.raises(ValueError, match='multiple of the ratio 2, found 25'):
        model.example(size=25)


def test_on_the_meta_device() -> None:
    with torch.device('meta'):
        model = system()
        outputs = model(model.example())
    assert outputs['hrms'].shape == (1, 4, 256, 256)
    assert outputs['hrms'].is_meta


# -- data ------------------------------------------------------------------------------------------


def test_refuses_images_that_do_not_fit() -> None:
    model = system()
    with pytest.raises(DataError, match=r'lrms has shape \(2, 8, 8, 8\), expected \(B, 4, h, w\)'):
        model.predict(batch(bands=8))
    message = r'pan has shape \(2, 1, 16, 16\), expected \(2, 1, 32, 32\) .* ratio 4'
    with pytest.raises(DataError, match=message):
        model.sharpen(*(batch(ratio=2)[name] for name in ('lrms', 'pan')))
    with pytest.raises(DataError, match='pan has shape'):
        model.sharpen(torch.rand(1, 4, 8, 8), torch.rand(1, 4, 32, 32))


def dataset(bands: int, ratio: int) -> SimpleNamespace:
    scene = SimpleNamespace(name='fields.mat', sensor=SimpleNamespace(name='WV2'))
    return SimpleNamespace(bands=bands, ratio=ratio, scene=scene)


def test_check_data() -> None:
    system().check_data(dataset(4, 4))
    message = (
        r'fields\.mat has 8 bands at ratio 4, the config states model\.bands 4 and model\.ratio 4: '
        r'set model\.bands=8 model\.ratio=4, or choose another data file'
    )
    with pytest.raises(ToolkitError, match=message):
        system().check_data(dataset(8, 4))
    with pytest.raises(ToolkitError, match='at ratio 2'):
        system().check_data(dataset(4, 2))


def test_a_scene_that_is_read_for_another_upsampling_is_refused(capsys) -> None:
    data = dataset(4, 4)
    data.scene.samples = 'interp23tap'
    system().check_data(data)
    with pytest.raises(ToolkitError, match=r'fields\.mat is read .* set `samples: centre`'):
        system(upsample='bicubic').check_data(data)
    data.scene.samples = 'centre'
    system(upsample='bicubic').check_data(data)
    assert not capsys.readouterr().out
    system().check_data(data)
    assert 'fields.mat: its MS samples are read at the centres' in capsys.readouterr().out


# -- ranges ----------------------------------------------------------------------------------------


def test_symmetric_parts_see_from_minus_one_to_one() -> None:
    """Inside, all is as in another system that is given such images; outside nothing shows it."""
    losses = {'to_pan': ToPan, 'blurred': OfBlur, 'reference': ToReference}
    # Extrapolation ends at black, which is not the same in both.
    options = {'losses': losses, 'border': 'replicate'}
    model, plain = system(symmetric=True, **options), system(**options)
    given = batch(reference=True)
    shifted = {k: 2 * v - 1 if k != 'meta' else v for k, v in given.items()}
    # The interpolation's weights add up to one but for some 1e-10.
    torch.testing.assert_close(model.loss(given), plain.loss(shifted), rtol=1e-5, atol=1e-6)
    expected = (plain.predict(shifted)['hrms'] + 1) / 2
    torch.testing.assert_close(model.predict(given)['hrms'], expected)
    torch.testing.assert_close(model.sharpen(given['lrms'], given['pan']), expected)
    torch.testing.assert_close(model.predict(given)['lrms_up'], model.upsampled(given['lrms']))


def test_symmetric_parts_get_the_upsampled_image_that_is_sharpened() -> None:
    model, given = system(symmetric=True), batch()
    given['lrms'][..., 0] *= 0.1  # falls towards a dark border
    predicted = model.predict(given)
    torch.testing.assert_close(predicted['lrms_up'], model.upsampled(given['lrms']))
    expected = model.sharpen(given['lrms'], given['pan'])
    torch.testing.assert_close(predicted['hrms'], expected)


class Framed(Fuse):
    """Has an attribute with the name of one that classes may declare."""

    def __init__(self, bands: int, ratio: int) -> None:
        super().__init__(bands, ratio)
        self.border = 3


class Placed(Fuse):
    """Declares a rule at the border."""

    border = 'replicate'


def test_only_a_declared_border_is_set() -> None:
    assert system(generator=Framed, border='wrap').generator.border == 3
    assert system(generator=Placed, border='wrap').generator.border == 'wrap'
    assert system(generator=Placed).generator.border == 'replicate'


def test_symmetric_refuses_methods_of_plain_images() -> None:
    with pytest.raises(ValueError, match=r'works on images in \[0, 1\]: leave out model.symmetric'):
        system(generator=ComponentFactory(GENERATORS.get('Brovey'), {}), symmetric=True)


def test_fused_again_is_of_both_degradations() -> None:
    """Where the degradations give the input back, so does the second run of the generator."""
    model = system(losses={'again': OfAgain})
    given = batch(low=24)
    outputs = model.tensor(given)
    assert model.generator.calls == 2
    assert outputs['hrms_again'].shape == outputs['hrms'].shape
    up = model.upsampled(outputs['hrms_low'])
    expected = model.generator(up, outputs['hrms_gray'])
    inner = slice(28, -28)  # what the border of a patch does not reach
    torch.testing.assert_close(
        outputs['hrms_again'][..., inner, inner], expected[..., inner, inner], rtol=0, atol=1e-4
    )


def test_fusion_of_both_images_degraded() -> None:
    """As the generator makes it of the images one scale down; what the ratio leaves over is cut."""
    model = system(losses={'reduced': ReducedScale})
    given = batch(low=94)
    found = model.tensor(given)['lrms_again']
    assert found.shape == (2, 4, 92, 92)
    low = decimate(model.reblur(given['lrms'][..., :92, :92]), 4)
    pan = decimate(low_pass(given['pan'], 4), 4)[..., :92, :92]
    expected = model.generator(model.upsampled(low), pan)
    inner = slice(28, -28)  # what the border of a patch does not reach
    torch.testing.assert_close(
        found[..., inner, inner], expected[..., inner, inner], rtol=0, atol=1e-4
    )
    with pytest.raises(DataError, match=r'have \(3, 3\) multispectral pixels: use larger patches'):
        model.loss(batch(low=3))


def test_the_guide_is_frozen() -> None:
    class Noisy(Fuse):
        def forward(self, lrms_up: Tensor, pan: Tensor) -> Tensor:
            return nn.functional.dropout(super().forward(lrms_up, pan), training=self.training)

    model = system(guide=Noisy, losses={'guidance': Guidance}).train()
    given = batch()
    kept = model.guide.state_dict()
    sum(model.loss(given).values()).backward()
    assert all(p.grad is not None for p in model.generator.parameters())
    assert all(p.grad is None and not p.requires_grad for p in model.guide.parameters())
    expected = model.guide.eval()(model.upsampled(given['lrms']), given['pan'])
    assert torch.equal(model.tensor(given)['guide'], expected)  # no noise of training
    assert all(torch.equal(value, kept[key]) for key, value in model.guide.state_dict().items())
    calls = model.guide.calls
    model.sharpen(given['lrms'], given['pan'])
    assert model.guide.calls == calls
    with pytest.raises(ComponentError, match='needs guide: fill model.guide'):
        system(losses={'guidance': Guidance})


def test_a_guide_of_plain_images_is_refused_where_images_are_symmetric() -> None:
    with pytest.raises(ValueError, match='Brovey works on images'):
        system(guide=ComponentFactory(GENERATORS.get('Brovey'), {}), symmetric=True)
