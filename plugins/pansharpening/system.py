"""The pansharpening system: a generator, two optional degradations and losses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from plugins.pansharpening.component_sensors import ComponentSensors
from plugins.pansharpening.data_init import DataInitialized, pixels
from plugins.pansharpening.imaging.lazy_image import Border
from plugins.pansharpening.imaging.resample import Method, upsample
from plugins.pansharpening.imaging.sample_position import describe_misplacement
from plugins.pansharpening.imaging.two_pass_generator import TwoPassGenerator
from plugins.pansharpening.interfaces import Generator
from plugins.pansharpening.loss_inputs import collect_losses, find_loss_inputs, list_outputs
from plugins.pansharpening.outputs import OUTPUTS, Outputs
from toolkit.errors import ComponentError, DataError, ToolkitError
from toolkit.interfaces import Batch, Dataset, Degradation, Loss, System
from toolkit.ranges import Ge, Le, PositiveInt
from toolkit.registry import SYSTEMS, Slot
from toolkit.testing.samples import check_unit_range

# Keys of a batch that are images.
IMAGES = ('lrms', 'lrms_context', 'pan', 'hrms')
# Imaging spectrometers have some hundred.
MOST_BANDS = 10_000


@SYSTEMS.register
class Pansharpener(System):
    """Fuses a multispectral image with a panchromatic one; trained with or without a reference.

    A batch holds `lrms` (B, C, h, w) and `pan` (B, 1, ratio h, ratio w), float32 in [0, 1], and
    if there is a reference `hrms` (B, C, ratio h, ratio w). A patch may have a margin around it,
    `lrms_context` (B, C, h + 2m, w + 2m), and is then upsampled without effects of the border.

    The `forward` of a loss names the outputs that it compares; no other outputs are computed:

    - `lrms`, `pan`: of the batch; `reference`: its `hrms`
    - `lrms_up`: upsampled to the PAN's size; `hrms`: the generator's result
    - `hrms_reblurred`, `pan_reblurred` (B, C, H, W): through `reblur`, the PAN repeated to C bands
    - `hrms_gray`, `lrms_up_gray` (B, 1, H, W): through `gray`
    - `hrms_low` (B, C, h, w): `hrms_reblurred` at the places of the samples of `lrms`
    - `hrms_again` (B, C, H, W): the generator on `hrms_low`, upsampled, and `hrms_gray`
    - `lrms_again` (B, C, h, w): the generator on `lrms` and `pan`, both degraded by the ratio
    - `guide` (B, C, H, W): the result of `guide`, without gradients

    Args:
        bands: C of the multispectral image.
        ratio: PAN pixels per multispectral pixel, along each axis.
        generator: makes the sharpened image.
        reblur: low-pass filter of an image of C bands, at PAN scale.
        gray: estimates the PAN of an image of C bands.
        losses: terms by name; without any the system cannot be trained. A component that no term
            reaches is frozen, so that optimizers and distributed training ignore it.
        guide: frozen generator whose result losses may compare; it is used in training alone. Its
            statistics, if it collects any, are those of each patch.
        upsample: method that brings `lrms` to the size of the PAN. 'interp23tap', the standard of
            the field (ratios that are powers of 2), puts sample i at ratio i + ratio / 2, as the
            protocol of reduced resolution does; the others put it half a pixel before that.
        border: how the upsampling continues images beyond their border: 'extrapolate' by a part of
            the last step, 'replicate', or 'wrap', as the toolbox's 'interp23tap' does, to reproduce
            its tables. Scenes are written to files with 'extrapolate'.
        symmetric: components and losses get images in [-1, 1] in place of [0, 1]; inputs and
            results of the system are in [0, 1] all the same.
    Raises:
        ValueError: bands or ratio below 1, a degradation of the wrong kind, a ratio that the
            upsampling does not support, or a method that needs [0, 1].
        ComponentError: a loss that names an output that does not exist.
    """

    uncompiled = ('upsampled',)  # its filters are laid out in numpy
    capturable = True
    pipeline_tag = 'image-to-image'

    def __init__(
        self,
        bands: Annotated[int, Ge(1), Le(MOST_BANDS)],
        ratio: PositiveInt,
        generator: Slot[Generator],
        reblur: Slot[Degradation] | None = None,
        gray: Slot[Degradation] | None = None,
        losses: dict[str, Slot[Loss]] | None = None,
        upsample: Method = 'interp23tap',
        symmetric: bool = False,
        border: Literal['extrapolate', 'replicate', 'wrap'] = 'extrapolate',
        guide: Slot[Generator] | None = None,
    ) -> None:
        super().__init__()
        if bands < 1 or ratio < 1:
            raise ValueError(f'bands and ratio must be at least 1, found {bands} and {ratio}')
        self.bands = bands
        self.ratio = ratio
        self.upsampling = upsample
        self.border: Border = border
        self.symmetric = symmetric
        self.upsampled(torch.zeros(1, bands, 8, 8))  # a ratio that the method cannot do fails here
        slots = {'generator': generator, 'reblur': reblur, 'gray': gray, 'guide': guide}
        slots |= {f'losses.{key}': slot for key, slot in (losses or {}).items()}
        self._sensors = ComponentSensors(slots)
        self.generator = generator(bands=bands, ratio=ratio)
        if hasattr(type(self.generator), 'border'):  # not one that an author keeps for himself
            self.generator.border = 'wrap' if border == 'wrap' else 'replicate'
        self.reblur = reblur(bands=bands, ratio=ratio) if reblur else None
        self.gray = gray(bands=bands, ratio=ratio) if gray else None
        self.guide = guide(bands=bands, ratio=ratio) if guide else None
        if self.guide is not None:
            self.guide.requires_grad_(False)
            # Statistics of a whole patch are looked at on the CPU.
            self.capturable = not isinstance(self.guide, TwoPassGenerator)
        _check_degradation('reblur', self.reblur, 'same')
        _check_degradation('gray', self.gray, 1)
        for part in (self.generator, self.guide):
            if symmetric and part is not None and part.unit_range:
                raise ValueError(
                    f'{type(part).__name__} works on images in [0, 1]: leave out model.symmetric'
                )
        self.losses = collect_losses({key: slot() for key, slot in (losses or {}).items()})
        self._filled = [slot for slot in slots if getattr(self, slot, None) is not None]
        self._loss_inputs = {
            key: find_loss_inputs(key, loss, self._filled) for key, loss in self.losses.items()
        }
        if self.losses:
            self._freeze_unreached()

    # -- the engine's modes --------------------------------------------------------------------

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """The weighted terms by name; outputs that no term needs are not computed.

        Raises:
            DataError: images whose bands or sizes do not fit, or a missing reference.
        """
        outputs = self._outputs(batch)
        return {
            key: loss.weight
            * loss(**{name: getattr(outputs, name) for name in self._loss_inputs[key]})
            for key, loss in self.losses.items()
        }

    def predict(self, batch: Batch) -> dict[str, Any]:
        """`hrms` (B, C, H, W) and, to compare it with, `lrms_up` (B, C, H, W), both float32."""
        outputs = self._outputs(batch)
        return {
            name: self._denormalize(getattr(outputs, name)).float() for name in ('hrms', 'lrms_up')
        }

    def tensor(self, batch: Batch) -> dict[str, Tensor]:
        """All outputs that the components and the batch allow, by name; `hrms_again` and
        `lrms_again`, for which the generator runs twice, only if a loss takes them."""
        outputs = self._outputs(batch)
        named = {name for names in self._loss_inputs.values() for name in names}
        left_out = {'hrms_again', 'lrms_again'} - named
        left_out |= set() if 'hrms' in batch else {'reference'}
        names = [name for name in list_outputs(self._filled) if name not in left_out]
        return {name: getattr(outputs, name) for name in names}

    def example(self, batch_size: int = 1, size: int | None = None) -> Batch:
        """A batch of zeros, as a dataset without reference gives it.

        Args:
            batch_size: B.
            size: height and width of the PAN in pixels, a multiple of the ratio; 64 multispectral
                pixels where None.
        Raises:
            ValueError: a size that is no multiple of the ratio.
        """
        size = 64 * self.ratio if size is None else size
        if size < self.ratio or size % self.ratio:
            raise ValueError(f'size must be a multiple of the ratio {self.ratio}, found {size}')
        low = size // self.ratio
        return {
            'lrms': torch.zeros(batch_size, self.bands, low, low),
            'pan': torch.zeros(batch_size, 1, size, size),
            'meta': [{'ratio': self.ratio, 'scale': 1.0} for _ in range(batch_size)],
        }

    @classmethod
    def example_outputs(cls) -> dict[str, Tensor]:
        """Random outputs of 4 bands, of 64 PAN pixels a side at ratio 4."""
        low, gray = ('lrms', 'hrms_low', 'lrms_again'), ('pan', 'hrms_gray', 'lrms_up_gray')
        return {
            name: torch.rand(2, 1 if name in gray else 4, *((16, 16) if name in low else (64, 64)))
            for name in OUTPUTS
        }

    def training_example(self, batch_size: int = 2) -> Batch:
        """A batch of random images with a reference, of 16 multispectral pixels a side."""
        side = 16 * self.ratio
        batch = self.example(batch_size, side)
        batch['hrms'] = torch.zeros(batch_size, self.bands, side, side)
        return {k: torch.rand_like(v) if k in IMAGES else v for k, v in batch.items()}

    # -- pansharpening -------------------------------------------------------------------------

    def sharpen(self, lrms: Tensor, pan: Tensor) -> Tensor:
        """Upsamples and fuses images in [0, 1]; no other branch is computed.

        Shape: lrms (B, C, h, w), pan (B, 1, ratio h, ratio w) -> (B, C, ratio h, ratio w).
        Raises:
            DataError: images whose bands or sizes do not fit.
        """
        self.check_images(lrms, pan)
        return self.fuse(self.upsampled(lrms), pan)  # (B, C, H, W)

    def fuse(self, lrms_up: Tensor, pan: Tensor) -> Tensor:
        """Fuses images in [0, 1].

        Shape: lrms_up (B, C, H, W), pan (B, 1, H, W) -> (B, C, H, W).
        """
        return self._denormalize(self.generator(self._normalize(lrms_up), self._normalize(pan)))

    def upsampled(self, lrms: Tensor) -> Tensor:
        """Upsamples an image: (B, C, h, w) -> (B, C, ratio h, ratio w)."""
        return upsample(lrms, self.ratio, self.upsampling, self.border)

    def prepare(self, datasets: Mapping[str, Dataset], **options: Any) -> None:
        """Initializes data-initialized components with the training data.

        Raises:
            DataError: the data cannot be read, or hold no valid pixels.
        """
        parts = {
            name: part
            for name, part in self.named_modules()
            if isinstance(part, DataInitialized) and not bool(part.fitted)
        }
        if not parts or 'train' not in datasets:
            return
        ms, pan = (
            self._normalize(values)
            for values in pixels(datasets['train'], self.ratio, self.upsampling)
        )
        for name, part in parts.items():
            options['say'](f'{name}: {part.fit(ms, pan)}')

    def train(self, mode: bool = True) -> Pansharpener:
        """Sets the mode of all parts but the guide, which stays in evaluation."""
        super().train(mode)
        if self.guide is not None:
            self.guide.eval()
        return self

    def check_training(self) -> None:
        """Checks that a loss is left, with a weight.

        Raises:
            ComponentError: there is none.
        """
        if not any(loss.weight for loss in self.losses.values()):
            found = 'all losses have the weight 0' if self.losses else 'no loss is left'
            raise ComponentError('model.losses', f'{found}: nothing would be learned; give one')

    def may_share(self, group: str) -> bool:
        """True for references if no loss takes one."""
        return group == 'reference' and not any(
            'reference' in names for names in self._loss_inputs.values()
        )

    def check_data(self, dataset: Any) -> None:
        """Compares bands, ratio and sensor of a dataset with those of the system.

        A component with the MTF gains of another sensor is allowed and reported.

        Raises:
            ToolkitError: bands or ratio differ, or a scene is read for another upsampling.
        """
        self._sensors.compare(dataset)
        self._check_samples(dataset)
        found = (getattr(dataset, 'bands', None), getattr(dataset, 'ratio', None))
        if None in found or found == (self.bands, self.ratio):
            return
        scene = getattr(getattr(dataset, 'scene', None), 'name', type(dataset).__name__)
        raise ToolkitError(
            f'{scene} has {found[0]} bands at ratio {found[1]}, the config states model.bands '
            f'{self.bands} and model.ratio {self.ratio}: set model.bands={found[0]} '
            f'model.ratio={found[1]}, or choose another data file'
        )

    def check_batch(self, batch: Batch) -> None:
        """Looks for the images, their range and `meta`.

        Raises:
            DataError: an image or the ratio is missing, or values are far from [0, 1].
        """
        for key in ('lrms', 'pan', 'meta'):
            if key not in batch:
                raise DataError(
                    f'the samples have no {key!r}; they have {", ".join(map(repr, batch))}: a '
                    "sample has 'lrms', 'pan' and 'meta' (docs/guides/component_kinds.md)"
                )
        for key in (key for key in IMAGES if key in batch):
            check_unit_range(key, batch[key])
        for meta in batch['meta']:
            ratio = meta.get('ratio') if isinstance(meta, Mapping) else None
            if ratio != self.ratio:
                found = 'no ratio' if ratio is None else f'ratio {ratio}'
                raise DataError(
                    f"the samples' meta has {found}, and model.ratio is {self.ratio}: a dataset "
                    "gives meta['ratio'], PAN pixels per multispectral pixel"
                )

    # -- inside --------------------------------------------------------------------------------

    def _check_samples(self, dataset: Any) -> None:
        scene = getattr(dataset, 'scene', None) or next(iter(getattr(dataset, 'scenes', ())), None)
        samples = getattr(scene, 'samples', None)
        full = getattr(dataset, 'protocol', 'full') == 'full' and self.ratio % 2 == 0
        if full and samples == 'interp23tap' != self.upsampling:
            raise ToolkitError(
                f'{scene.name} is read with its MS samples where interp23tap takes them to be, and '
                f'model.upsample is {self.upsampling}, which takes them half a PAN pixel before '
                'that: set `samples: centre` in the scene (a column of a manifest), or '
                'model.upsample=interp23tap'
            )
        if full and (line := describe_misplacement(scene, self.upsampling, self.ratio)):
            print(f'warning: {line}')

    def _outputs(self, batch: Batch) -> Outputs:
        self.check_images(batch['lrms'], batch['pan'])
        return Outputs(
            {key: self._normalize(v) if key in IMAGES else v for key, v in batch.items()},
            self.ratio,
            self.upsampling,
            self._upsample_normalized,
            self.generator,
            self.reblur,
            self.gray,
            self.guide,
        )

    def _upsample_normalized(self, image: Tensor) -> Tensor:
        # Beyond a border an image goes on down to black at most, which is 0 in [0, 1] alone.
        return self._normalize(self.upsampled(self._denormalize(image)))

    def _normalize(self, image: Tensor) -> Tensor:
        return 2 * image - 1 if self.symmetric else image

    def _denormalize(self, image: Tensor) -> Tensor:
        return (image + 1) / 2 if self.symmetric else image

    def check_images(self, lrms: Tensor, pan: Tensor) -> None:
        if lrms.ndim != 4 or lrms.shape[1] != self.bands:
            raise DataError(
                f'lrms has shape {tuple(lrms.shape)}, expected (B, {self.bands}, h, w): '
                'set model.bands to the bands of the data'
            )
        expected = (lrms.shape[0], 1, lrms.shape[2] * self.ratio, lrms.shape[3] * self.ratio)
        if tuple(pan.shape) != expected:
            raise DataError(
                f'pan has shape {tuple(pan.shape)}, expected {expected} beside lrms of shape '
                f'{tuple(lrms.shape)} at ratio {self.ratio}: set model.ratio to the ratio of the '
                'data, and give images that cover the same ground'
            )

    def _freeze_unreached(self) -> None:
        reached = {
            slot for names in self._loss_inputs.values() for n in names for slot in OUTPUTS[n]
        }
        for slot in ('generator', 'reblur', 'gray'):
            part = getattr(self, slot)
            if part is not None and slot not in reached:
                part.requires_grad_(False)


def _check_degradation(slot: str, part: nn.Module | None, out_bands: Literal['same', 1]) -> None:
    if part is not None and part.out_bands != out_bands:
        wanted, found = (
            'one band' if bands == 1 else 'as many bands as it gets'
            for bands in (out_bands, part.out_bands)
        )
        raise ValueError(f'{slot} must give {wanted}, {type(part).__name__} gives {found}')
