"""Good components of all kinds, and broken ones made of them; a comment names what must be said.

A class `KIND_fault` is registered in the kind of its base class while `registered` is entered.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import nn

from plugins.classification.interfaces import TASK_WEIGHTINGS, ClassLoss, TaskWeighting
from plugins.pansharpening.interfaces import GENERATORS, Generator
from toolkit.interfaces import Attention, Backbone, Degradation, Head, Loss, Neck
from toolkit.registry import ATTENTIONS, BACKBONES, DEGRADATIONS, HEADS, LOSSES, NECKS

KINDS = {
    Generator: GENERATORS,
    Degradation: DEGRADATIONS,
    Loss: LOSSES,
    Backbone: BACKBONES,
    Neck: NECKS,
    Attention: ATTENTIONS,
    Head: HEADS,
    TaskWeighting: TASK_WEIGHTINGS,
}


@contextmanager
def registered() -> Iterator[None]:
    """Registers the classes of this module; afterwards the registries are as before."""
    before = {kind.name: dict(kind._module_dict) for kind in KINDS.values()}
    for cls in list(globals().values()):
        if isinstance(cls, type) and cls.__module__ == __name__:
            kind = next(kind for interface, kind in KINDS.items() if issubclass(cls, interface))
            kind.register(cls)
    yield
    for kind in KINDS.values():
        kind._module_dict.clear()
        kind._module_dict.update(before[kind.name])


GOOD = {
    'generator': 'Generator',
    'degradation': 'Degradation',
    'loss': 'Loss',
    'backbone': 'Backbone',
    'neck': 'Neck',
    'attention': 'Attention',
    'trunk': 'Trunk',
    'head': 'Head',
    'classloss': 'ClassLoss',
    'taskweighting': 'TaskWeighting',
}


# -- good ones -------------------------------------------------------------------------------------


class GoodGenerator(Generator):
    halo = 1

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(bands + 1, bands, 3, padding=1)

    def forward(self, lrms_up, pan):
        return lrms_up + self.conv(torch.cat([lrms_up, pan], 1))


class GoodDegradation(Degradation):
    def __init__(self, bands: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(bands, bands, 3, padding=1, groups=bands)

    def forward(self, image):
        return self.conv(image)


class GoodLoss(Loss):
    def forward(self, hrms, reference):
        return F.l1_loss(hrms, reference)


class GoodBlurredLoss(Loss):
    def forward(self, hrms_reblurred, lrms_up):
        return F.mse_loss(hrms_reblurred, lrms_up)


class GoodBackbone(Backbone):
    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.out_channels, self.stride = 8, 8
        self.conv = nn.Conv2d(in_channels, 8, 8, stride=8)

    def forward(self, image):
        return self.conv(image).relu()


class GoodNeck(Neck):
    def __init__(self, in_channels: dict[str, int], strides: dict[str, int]) -> None:
        super().__init__()
        self.out_channels = sum(in_channels.values())

    def forward(self, features):
        return torch.cat(list(features.values()), 1)


class GoodAttention(Attention):
    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, in_channels, 1)

    def forward(self, features):
        return features * self.conv(features).sigmoid()


class GoodTrunk(Neck):
    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.out_channels = 12
        self.linear = nn.Linear(in_channels, 12)

    def forward(self, features):
        return self.linear(features)


class GoodHead(Head):
    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(in_channels, num_classes)

    def forward(self, features):
        return self.linear(features)


class GoodClassLoss(ClassLoss):
    def forward(self, logits, labels):
        return F.cross_entropy(logits, labels) if len(labels) else logits.sum() * 0


class GoodTaskWeighting(TaskWeighting):
    def forward(self, losses, counts):
        return {name: 2 * loss for name, loss in losses.items()}


# -- generators ------------------------------------------------------------------------------------


class Generator_two_pixels_short(GoodGenerator):  # gives \(2, 4, 62, 62\) of lrms_up .*here \(2, 4
    def forward(self, lrms_up, pan):
        return super().forward(lrms_up, pan)[..., 1:-1, 1:-1]


class Generator_one_band_more(GoodGenerator):  # gives \(2, 5, 64, 64\)
    def forward(self, lrms_up, pan):
        return torch.cat([super().forward(lrms_up, pan), pan], 1)


class Generator_at_low_resolution(GoodGenerator):  # gives \(2, 4, 16, 16\)
    def forward(self, lrms_up, pan):
        return F.avg_pool2d(super().forward(lrms_up, pan), 4)


class Generator_in_double(GoodGenerator):  # gives float64 of float32; keep the dtype
    def forward(self, lrms_up, pan):
        return super().forward(lrms_up, pan).double()


class Generator_gives_a_list(GoodGenerator):  # gives a list; a generator gives hrms
    def forward(self, lrms_up, pan):
        return [super().forward(lrms_up, pan)]


class Generator_gives_nothing(GoodGenerator):  # gives a NoneType
    def forward(self, lrms_up, pan):
        super().forward(lrms_up, pan)


class Generator_without_halo(Generator):  # states no halo: set `halo` to
    def __init__(self, bands: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(bands, 1, 1))

    def forward(self, lrms_up, pan):
        return lrms_up * self.gain


class Generator_halo_is_a_word(GoodGenerator):  # states halo 'all'
    halo = 'all'


class Generator_halo_too_small(GoodGenerator):  # pixels 1 from a pixel, but its halo is 0
    halo = 0


class Generator_two_layers_halo_of_one(GoodGenerator):  # pixels 2 from a pixel, but its halo is 1
    def forward(self, lrms_up, pan):
        first = super().forward(lrms_up, pan)
        return super().forward(first, pan)


class Generator_global_but_says_local(GoodGenerator):  # its halo is 1: .*seams.*'global'
    def forward(self, lrms_up, pan):
        return super().forward(lrms_up - lrms_up.mean((2, 3), keepdim=True), pan)


class Generator_stride_of_one_for_two(Generator):  # multiple of its stride 1: .*seams
    halo = 3

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(bands + 1, bands, 2, stride=2)
        self.up = nn.ConvTranspose2d(bands, bands, 2, stride=2)

    def forward(self, lrms_up, pan):
        return lrms_up + self.up(self.down(torch.cat([lrms_up, pan], 1)))


class Generator_stride_of_zero(GoodGenerator):  # states stride 0
    stride = 0


class Generator_changes_lrms_up(GoodGenerator):  # changes its input 'lrms_up' in place
    def forward(self, lrms_up, pan):
        lrms_up += pan
        return super().forward(lrms_up, pan)


class Generator_changes_pan_behind_autograd(GoodGenerator):  # changes its input 'pan' in place
    def forward(self, lrms_up, pan):
        pan.data.mul_(2)
        return super().forward(lrms_up, pan)


class Generator_makes_parameters_late(GoodGenerator):  # makes 'gain' in its forward
    def forward(self, lrms_up, pan):
        if not hasattr(self, 'gain'):
            self.gain = nn.Parameter(torch.ones(()))
        return self.gain * super().forward(lrms_up, pan)


class Generator_makes_buffers_late(GoodGenerator):  # makes 'seen' in its forward
    def forward(self, lrms_up, pan):
        if not hasattr(self, 'seen'):
            self.register_buffer('seen', torch.zeros(()))
        return super().forward(lrms_up, pan)


class Generator_detached(GoodGenerator):  # output is detached .* no gradient reaches any parameter
    def forward(self, lrms_up, pan):
        return super().forward(lrms_up, pan).detach()


class Generator_without_grad(GoodGenerator):  # output is detached
    @torch.no_grad()
    def forward(self, lrms_up, pan):
        return super().forward(lrms_up, pan)


class Generator_with_an_idle_layer(GoodGenerator):  # 2 of 4 parameters .*idle.weight, idle.bias
    def __init__(self, bands: int) -> None:
        super().__init__(bands)
        self.idle = nn.Linear(3, 3)


class Generator_with_a_detached_half(GoodGenerator):  # 2 of 4 parameters .*other.weight
    def __init__(self, bands: int) -> None:
        super().__init__(bands)
        self.other = nn.Conv2d(bands, bands, 1)

    def forward(self, lrms_up, pan):
        return super().forward(lrms_up, pan) + self.other(lrms_up).detach()


class Generator_with_layers_in_a_list(GoodGenerator):  # keeps layers in 'layers', a plain list
    def __init__(self, bands: int) -> None:
        super().__init__(bands)
        self.layers = [nn.Conv2d(bands, bands, 1)]

    def forward(self, lrms_up, pan):
        return self.layers[0](super().forward(lrms_up, pan))


class Generator_gives_nan(GoodGenerator):  # not finite
    def forward(self, lrms_up, pan):
        return super().forward(lrms_up, pan) + (lrms_up - 2).sqrt()


class Generator_random_in_evaluation(GoodGenerator):  # two results of one input
    def forward(self, lrms_up, pan):
        return super().forward(lrms_up, pan) + torch.rand_like(lrms_up)


class Generator_forgets_its_state(GoodGenerator):  # another result after its state was saved
    def __init__(self, bands: int) -> None:
        super().__init__(bands)
        self.shift = random.random()

    def forward(self, lrms_up, pan):
        return super().forward(lrms_up, pan) + self.shift


class Generator_mixes_the_batch(GoodGenerator):  # another result within a batch than alone
    def forward(self, lrms_up, pan):
        result = super().forward(lrms_up, pan)
        return result + 0.1 * result.flip(0)


class Generator_scales_by_the_batch(GoodGenerator):  # another result within a batch than alone
    def forward(self, lrms_up, pan):
        return super().forward(lrms_up, pan) / (1 + lrms_up.amax())


class Generator_has_a_constant_elsewhere(GoodGenerator):  # fails at .*moved to another device
    def __init__(self, bands: int) -> None:
        super().__init__(bands)
        self.means = torch.full((bands, 1, 1), 0.5)

    def forward(self, lrms_up, pan):
        return super().forward(lrms_up, pan) + self.means


class Generator_trains_a_plain_tensor(GoodGenerator):  # tensor \(4, 1, 1\) that takes a gradient
    def __init__(self, bands: int) -> None:
        super().__init__(bands)
        self.gain = torch.ones(bands, 1, 1, requires_grad=True)

    def forward(self, lrms_up, pan):
        return self.gain.to(pan.device) * super().forward(lrms_up, pan)


class Generator_hides_a_layer(GoodGenerator):  # takes a gradient and is no parameter
    def __init__(self, bands: int) -> None:
        super().__init__(bands)
        layer = nn.Conv2d(bands, bands, 1)
        self.project = lambda image: layer.to(image.device)(image)

    def forward(self, lrms_up, pan):
        return self.project(super().forward(lrms_up, pan))


DEFAULT = nn.PReLU()


class Generator_shares_a_default(GoodGenerator):  # shares the parameter 'activation.weight'
    def __init__(self, bands: int, activation: nn.Module = DEFAULT) -> None:
        super().__init__(bands)
        self.activation = activation

    def forward(self, lrms_up, pan):
        return self.activation.to(pan.device)(super().forward(lrms_up, pan))


class Generator_changes_its_weights(GoodGenerator):  # changes its parameter 'conv.weight'
    def forward(self, lrms_up, pan):
        if self.training:
            self.conv.weight.data *= 0.9
        return super().forward(lrms_up, pan)


class Generator_has_no_effect(GoodGenerator):  # gradient of 0 for each of its parameters
    def forward(self, lrms_up, pan):
        return lrms_up + 0 * super().forward(lrms_up, pan)


class Generator_divides_by_a_deviation(GoodGenerator):  # not finite .*of a sample of zeros
    halo = 'global'

    def forward(self, lrms_up, pan):
        return super().forward(lrms_up, (pan - pan.mean()) / pan.std((2, 3), keepdim=True))


class Generator_keeps_all_results(GoodGenerator):  # adds to 'kept' with each call
    def __init__(self, bands: int) -> None:
        super().__init__(bands)
        self.kept = []

    def forward(self, lrms_up, pan):
        self.kept.append(super().forward(lrms_up, pan))
        return self.kept[-1]


class Generator_keeps_the_first_input(GoodGenerator):  # after a call with another input
    def forward(self, lrms_up, pan):
        if not self.training and not hasattr(self, 'first'):
            self.first = lrms_up.mean()
        return super().forward(lrms_up, pan) + getattr(self, 'first', 0)


class Generator_seeds_the_process(GoodGenerator):  # seeds the random numbers of the whole process
    def forward(self, lrms_up, pan):
        torch.manual_seed(0)
        return super().forward(lrms_up, pan)


class Generator_sets_the_threads(GoodGenerator):  # changes the number of threads
    def __init__(self, bands: int) -> None:
        super().__init__(bands)
        torch.set_num_threads(torch.get_num_threads() + 1)


class Generator_nan_in_evaluation(GoodGenerator):  # not finite .*in evaluation mode
    def forward(self, lrms_up, pan):
        return super().forward(lrms_up, pan) / (1.0 if self.training else 0.0)


class Generator_changes_pan_in_evaluation(GoodGenerator):  # changes its input 'pan' in place
    def forward(self, lrms_up, pan):
        return super().forward(lrms_up, pan if self.training else pan.mul_(2))


class Generator_without_channels(GoodGenerator):  # 'conv.weight' without a shape
    def __init__(self, bands: int) -> None:
        super().__init__(bands)
        self.conv = nn.LazyConv2d(bands, 3, padding=1)


class Generator_has_a_call(GoodGenerator):  # has a __call__ of its own
    def __call__(self, lrms_up, pan):
        return self.forward(lrms_up, pan)


class Generator_takes_pan_first(GoodGenerator):  # takes pan before lrms_up
    def forward(self, pan, lrms_up):
        return super().forward(lrms_up, pan)


class Generator_makes_another_module(GoodGenerator):  # makes a Conv2d when it is called
    def __new__(cls, *args, **kwargs):
        return nn.Conv2d(4, 4, 1)


class Generator_is_equal_to_all(GoodGenerator):  # has an equality and no hash
    def __eq__(self, other):
        return True


class Generator_exits(GoodGenerator):  # fails at .*SystemExit
    def __init__(self, bands: int) -> None:
        raise SystemExit(0)


class Generator_multiplies_wrong_sizes(GoodGenerator):  # fails at .*: RuntimeError: .*size
    def forward(self, lrms_up, pan):
        return lrms_up + pan @ lrms_up[:, :, :3]


class Generator_names_a_missing_attribute(GoodGenerator):  # fails at .*AttributeError: .*conv2
    def forward(self, lrms_up, pan):
        return self.conv2(lrms_up)


class Generator_fails_in_its_constructor(GoodGenerator):  # fails at .*KeyError: 'width'
    def __init__(self, bands: int) -> None:
        super().__init__({'bands': bands}['width'])


class Generator_misses_an_attribute_in_init(Generator):  # fails at .*before Module.__init__
    halo = 0

    def __init__(self, bands: int) -> None:
        self.conv = nn.Conv2d(bands, bands, 1)

    def forward(self, lrms_up, pan):
        return self.conv(lrms_up)


class Generator_is_abstract(Generator):  # abstract
    halo = 0


# -- degradations ----------------------------------------------------------------------------------


class Degradation_without_padding(GoodDegradation):  # gives \(2, 4, 62, 62\) of image
    def forward(self, image):
        return super().forward(image)[..., 1:-1, 1:-1]


class Degradation_gray_as_reblur(GoodDegradation):  # gives \(2, 1, 64, 64\) of image
    def forward(self, image):
        return super().forward(image).mean(1, keepdim=True)


class Degradation_in_place(GoodDegradation):  # changes its input 'image' in place
    def forward(self, image):
        return super().forward(image.clamp_(0, 1))


class Degradation_detached(GoodDegradation):  # output is detached
    def forward(self, image):
        return super().forward(image).detach()


class Degradation_of_a_detached_image(GoodDegradation):  # lets no gradient through to its image
    def forward(self, image):
        return super().forward(image.detach())


class Degradation_fails(GoodDegradation):  # fails at .*IndexError
    def forward(self, image):
        return super().forward(image)[:, 9]


# -- losses ----------------------------------------------------------------------------------------


class Loss_is_a_vector(Loss):  # gives \(2,\) of hrms .*a loss gives a scalar: end with .mean
    def forward(self, hrms, reference):
        return (hrms - reference).abs().mean((1, 2, 3))


class Loss_is_a_number(Loss):  # gives a float; a loss gives a scalar tensor
    def forward(self, hrms, reference):
        return float(hrms.shape[0])


class Loss_detached(Loss):  # gives a scalar without gradient
    def forward(self, hrms, reference):
        return F.l1_loss(hrms.detach(), reference)


class Loss_counts(Loss):  # gives a scalar without gradient
    def forward(self, hrms, reference):
        return (hrms > reference).float().mean()


class Loss_in_place(Loss):  # changes its input 'hrms' in place
    def forward(self, hrms, reference):
        hrms -= reference
        return hrms.abs().mean()


class Loss_names_no_output(Loss):  # takes 'prediction', which is no output
    def forward(self, prediction, reference):
        return F.l1_loss(prediction, reference)


class Loss_takes_anything(Loss):  # a loss names each of its inputs
    def forward(self, *images):
        return images[0].mean()


class Loss_without_weight(Loss):  # has no weight; call super
    def __init__(self) -> None:
        nn.Module.__init__(self)

    def forward(self, hrms, reference):
        return F.l1_loss(hrms, reference)


class Loss_gives_nan(Loss):  # not finite
    def forward(self, hrms, reference):
        return (hrms - reference - 9).log().mean()


class Loss_of_a_root(Loss):  # gradients that are not finite .*of a sample of zeros
    def forward(self, hrms, reference):
        return (hrms - reference).square().mean((1, 2, 3)).sqrt().mean()


class Loss_of_a_new_tensor(Loss):  # tensor \(\) that takes a gradient
    def forward(self, hrms, reference):
        return torch.tensor(float((hrms - reference).abs().mean()), requires_grad=True)


class Loss_fails(Loss):  # fails at .*RuntimeError: .*size
    def forward(self, hrms, reference):
        return F.l1_loss(hrms[..., :-1] + reference, reference)


# -- backbones -------------------------------------------------------------------------------------


class Backbone_states_no_channels(GoodBackbone):  # out_channels
    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        del self.out_channels


class Backbone_states_other_channels(GoodBackbone):  # gives .* out_channels is 16
    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        self.out_channels = 16


class Backbone_states_other_stride(GoodBackbone):  # gives 4 rows of .*its stride is 4
    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        self.stride = 4


class Backbone_gives_five_axes(GoodBackbone):  # gives \(2, 8, 1, 4, 4\) of image
    def forward(self, image):
        return super().forward(image)[:, :, None]


class Backbone_gives_a_list(GoodBackbone):  # gives list of image
    def forward(self, image):
        return [super().forward(image)]


class Backbone_vector_with_stride(GoodBackbone):  # gives a vector, but its stride is 8
    def forward(self, image):
        return super().forward(image).mean((2, 3))


class Backbone_normalizes_in_place(GoodBackbone):  # changes its input 'image' in place
    def forward(self, image):
        return super().forward(image.sub_(0.5))


class Backbone_detached(GoodBackbone):  # output is detached
    def forward(self, image):
        return super().forward(image).detach()


class Backbone_with_an_idle_layer(GoodBackbone):  # 2 of 4 parameters .*classifier.weight
    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        self.classifier = nn.Linear(8, 1000)


class Backbone_makes_layers_late(GoodBackbone):  # makes 'norm.bias' in its forward
    def forward(self, image):
        features = super().forward(image)
        if not hasattr(self, 'norm'):
            self.norm = nn.BatchNorm2d(8)
        return self.norm(features)


class Backbone_fails(GoodBackbone):  # fails at .*RuntimeError
    def forward(self, image):
        return super().forward(image.mean(1, keepdim=True))


# -- necks and trunks ------------------------------------------------------------------------------


class Neck_states_other_channels(GoodNeck):  # gives \(2, 16, 4, 4\) .*out_channels is 8
    def __init__(self, in_channels: dict[str, int], strides: dict[str, int]) -> None:
        super().__init__(in_channels, strides)
        self.out_channels = 8


class Neck_states_no_channels(Neck):  # out_channels
    def __init__(self, in_channels: dict[str, int], strides: dict[str, int]) -> None:
        super().__init__()

    def forward(self, features):
        return torch.cat(list(features.values()), 1)


class Neck_in_place(GoodNeck):  # changes its input "features\['one'\]" in place
    def forward(self, features):
        features['one'].mul_(2)
        return super().forward(features)


class Neck_gives_a_mapping(GoodNeck):  # gives dict of features
    def forward(self, features):
        return features


class Neck_fails(GoodNeck):  # fails at .*KeyError: 'three'
    def forward(self, features):
        return features['three']


class Trunk_states_other_channels(GoodTrunk):  # gives \(2, 12\) .*out_channels is 20
    def __init__(self, in_channels: int) -> None:
        super().__init__(in_channels)
        self.out_channels = 20


class Trunk_random_in_evaluation(GoodTrunk):  # two results of one input
    def forward(self, features):
        return F.dropout(super().forward(features), 0.5)


# -- attentions ------------------------------------------------------------------------------------


class Attention_halves_the_map(GoodAttention):  # gives \(2, 16, 2, 2\) .*here \(2, 16, 4, 4\)
    def forward(self, features):
        return F.avg_pool2d(super().forward(features), 2)


class Attention_gives_weights(GoodAttention):  # gives \(2, 1, 4, 4\)
    def forward(self, features):
        return super().forward(features).mean(1, keepdim=True)


class Attention_in_place(GoodAttention):  # changes its input 'features' in place
    def forward(self, features):
        return features.mul_(self.conv(features).sigmoid())


class Attention_detached(GoodAttention):  # output is detached
    def forward(self, features):
        return super().forward(features).detach()


class Attention_over_the_batch(GoodAttention):  # another result within a batch than alone
    def forward(self, features):
        return features * self.conv(features).softmax(0)


class Attention_fails(GoodAttention):  # fails at .*RuntimeError
    def forward(self, features):
        return self.conv(features[:, :3])


# -- heads -----------------------------------------------------------------------------------------


class Head_of_three_classes(GoodHead):  # gives \(2, 3\) .*here \(2, 2\)
    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, 3)


class Head_of_probabilities_by_place(GoodHead):  # gives \(2, 2, 1\)
    def forward(self, features):
        return super().forward(features)[..., None]


class Head_of_probabilities(GoodHead):  # gives probabilities: .* a head gives logits
    def forward(self, features):
        return super().forward(features).softmax(1)


class Head_decides(GoodHead):  # gives \(2,\)
    def forward(self, features):
        return super().forward(features).argmax(1)


class Head_detached(GoodHead):  # output is detached
    def forward(self, features):
        return super().forward(features).detach()


class Head_in_place(GoodHead):  # changes its input 'features' in place
    def forward(self, features):
        return super().forward(features.div_(2))


class Head_fails(GoodHead):  # fails at .*NameError: .*torh
    def forward(self, features):
        return torh.tanh(super().forward(features))  # noqa: F821


# -- losses of classes, task weightings ------------------------------------------------------------


class ClassLoss_is_a_vector(ClassLoss):  # gives \(2,\) of logits .*end with .mean
    def forward(self, logits, labels):
        return F.cross_entropy(logits, labels, reduction='none')


class ClassLoss_nan_without_samples(ClassLoss):  # is not 0 for a batch without labelled samples
    def forward(self, logits, labels):
        return F.cross_entropy(logits, labels)


class ClassLoss_of_images(Loss):  # compares no logits with labels.*interfaces.ClassLoss
    def forward(self, logits, labels):
        return F.cross_entropy(logits, labels)


class ClassLoss_detached(ClassLoss):  # gives a scalar without gradient
    def forward(self, logits, labels):
        return F.cross_entropy(logits.detach(), labels)


class ClassLoss_takes_other_names(ClassLoss):  # fails
    def forward(self, predictions):
        return predictions.mean()


class TaskWeighting_sums(TaskWeighting):  # gives a Tensor; a task weighting gives a mapping
    def forward(self, losses, counts):
        return sum(losses.values())


class TaskWeighting_drops_a_task(TaskWeighting):  # gives no term of the task 'margin'
    def forward(self, losses, counts):
        return {'kind': losses['kind']}


class TaskWeighting_fails(TaskWeighting):  # fails at .*ZeroDivisionError
    def forward(self, losses, counts):
        return {name: loss * (1 // (counts[name] - counts[name])) for name, loss in losses.items()}
