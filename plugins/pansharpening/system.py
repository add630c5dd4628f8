"""The pansharpening system: a generator, two optional degradations, and losses between them."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from plugins.pansharpening.resample import Method, upsample
from toolkit.errors import DataError, ToolkitError
from toolkit.interfaces import Batch, Degradation, Generator, Loss, System
from toolkit.registry import SYSTEMS, Slot

# What a loss can name, in the order of computing, with the slot that it needs.
OUTPUTS: dict[str, str | None] = {
    'lrms': None,
    'pan': None,
    'reference': None,
    'lrms_up': None,
    'hrms': None,
    'hrms_reblurred': 'reblur',
    'pan_reblurred': 'reblur',
    'hrms_gray': 'gray',
    'lrms_up_gray': 'gray',
}


@SYSTEMS.register
class Pansharpener(System):
    """Sharpens a multispectral image with a panchromatic one; trained with or without a reference.

    A batch holds `lrms` (B, C, h, w) and `pan` (B, 1, ratio h, ratio w), float32 in [0, 1], and
    where there is a reference `hrms` (B, C, ratio h, ratio w). A patch may come with what lies
    around it, `lrms_context` (B, C, h + 2m, w + 2m), and is then upsampled without a border.

    A loss takes by name, in its `forward`, what it compares; only what some loss names is computed:

    - `lrms`, `pan`: as given; `reference`: the batch's `hrms`
    - `lrms_up`: upsampled to the PAN's size; `hrms`: the generator's result
    - `hrms_reblurred`, `pan_reblurred` (B, C, H, W): through `reblur`, the PAN repeated to C bands
    - `hrms_gray`, `lrms_up_gray` (B, 1, H, W): through `gray`

    Args:
        bands: C of the multispectral image.
        ratio: PAN pixels per multispectral pixel, along each axis.
        generator: makes the sharpened image.
        reblur: low-pass of an image of C bands, at PAN scale.
        gray: the PAN that an image of C bands would show.
        losses: terms by name. Where there are none, nothing can be trained. A part that no term
            reaches is frozen, so that optimizers and distributed training pass it by.
        upsample: how `lrms` is brought to the PAN's size. 'interp23tap', the field's own (ratios
            that are powers of 2), puts sample i at ratio i + ratio / 2, where the protocol of
            reduced resolution takes it from; the others put it half a pixel before that.
    Raises:
        ValueError: bands or ratio below 1, a degradation of the wrong kind, a loss that names what
            is not there.
    """

    uncompiled = ('_upsample',)  # its filters are laid out in numpy

    def __init__(
        self,
        bands: int,
        ratio: int,
        generator: Slot[Generator],
        reblur: Slot[Degradation] | None = None,
        gray: Slot[Degradation] | None = None,
        losses: dict[str, Slot[Loss]] | None = None,
        upsample: Method = 'interp23tap',
    ) -> None:
        super().__init__()
        if bands < 1 or ratio < 1:
            raise ValueError(f'bands and ratio must be at least 1, found {bands} and {ratio}')
        self.bands = bands
        self.ratio = ratio
        self.upsampling = upsample
        self._upsample(torch.zeros(1, bands, 8, 8))  # a ratio that the method cannot do fails here
        self.generator = generator(bands=bands, ratio=ratio)
        self.reblur = reblur(bands=bands, ratio=ratio) if reblur else None
        self.gray = gray(bands=bands, ratio=ratio) if gray else None
        _check_degradation('reblur', self.reblur, 'same')
        _check_degradation('gray', self.gray, 1)
        self.losses = _loss_modules({key: slot() for key, slot in (losses or {}).items()})
        self._names = {key: self._inputs_of(key, loss) for key, loss in self.losses.items()}
        if self.losses:
            self._freeze_unreached()

    # -- the engine's modes --------------------------------------------------------------------

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Each term times its weight, by the config's name; computes no branch that none needs.

        Raises:
            DataError: images whose bands or sizes do not fit, or a missing reference.
        """
        outputs = self._outputs(batch, {name for names in self._names.values() for name in names})
        return {
            key: loss.weight * loss(**{name: outputs[name] for name in self._names[key]})
            for key, loss in self.losses.items()
        }

    def predict(self, batch: Batch) -> dict[str, Any]:
        """`hrms` (B, C, H, W) and, to compare it with, `lrms_up` (B, C, H, W), both float32."""
        outputs = self._outputs(batch, {'hrms'})
        return {'hrms': outputs['hrms'].float(), 'lrms_up': outputs['lrms_up']}

    def tensor(self, batch: Batch) -> dict[str, Tensor]:
        """Everything that the given parts and the batch allow, by name."""
        slots = {None, *(slot for slot in ('reblur', 'gray') if getattr(self, slot) is not None)}
        names = {name for name, slot in OUTPUTS.items() if slot in slots}
        return self._outputs(batch, names if 'hrms' in batch else names - {'reference'})

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

    # -- pansharpening -------------------------------------------------------------------------

    def sharpen(self, lrms: Tensor, pan: Tensor) -> Tensor:
        """The sharpened image alone: upsampling and generator, no other branch.

        Shape: lrms (B, C, h, w), pan (B, 1, ratio h, ratio w) -> (B, C, ratio h, ratio w).
        Raises:
            DataError: images whose bands or sizes do not fit.
        """
        self._check_images(lrms, pan)
        return self.generator(self._upsample(lrms), pan)  # (B, C, H, W)

    def predict_files(self, inputs: Sequence[str], output: Path, **options: Any) -> list[Path]:
        """Pansharpen a scene and write it as GeoTIFF, with a picture beside it.

        Args:
            inputs: a `.mat` file, or the multispectral and the PAN raster (also as `ms=PATH
                pan=PATH`); empty for the scene of the run's own test data.
            output: the GeoTIFF to write.
            **options: `dataset`, a slot of the run's test data, which give the scene and the
                default sensor; `sensor`, a sensor's name; `shard`, as i/n; what else
                `predict_scene` takes.
        Returns:
            The files written.
        Raises:
            ToolkitError: neither inputs nor a scene, inputs without a known sensor, or data that
                cannot be used.
        """
        from plugins.pansharpening.predict import predict_scene, scene_from_inputs
        from plugins.pansharpening.streaming.tiles import Shard

        if options.get('shard') is not None:
            options['shard'] = Shard.parse(options['shard'])
        dataset = options.pop('dataset', None)
        sensor = options.pop('sensor', None)
        needed = dataset is not None and (not inputs or sensor is None)
        scene = getattr(dataset(), 'scene', None) if needed else None
        if inputs:
            if sensor is None and scene is None:
                raise ToolkitError(
                    'the sensor of the inputs is not known: give its name, or a config whose '
                    'test data is of the same sensor'
                )
            scene = scene_from_inputs(inputs, sensor or scene.sensor.name)
        elif scene is None:
            raise ToolkitError(
                'there is nothing to pansharpen: give --input, or a config with test data'
            )
        return predict_scene(self, scene, Path(output), **options)

    def pictures(
        self, outputs: Mapping[str, Any], batch: Batch, index: int, folder: Path, stem: str
    ) -> None:
        """Quick-looks, details, maps of the error and layers of one item.

        Args:
            outputs: of `predict`.
            batch: what it was given.
            index: of the item.
            folder: where to.
            stem: of the files' names; see `plugins.pansharpening.pictures.batch_pictures`.
        Raises:
            RunError: a file cannot be written.
        """
        from plugins.pansharpening.pictures import batch_pictures

        batch_pictures(outputs, batch, index, folder, stem)

    def check_data(self, dataset: Any) -> None:
        """Compare a dataset's bands and ratio with the system's, before any work.

        Raises:
            ToolkitError: they differ.
        """
        found = (getattr(dataset, 'bands', None), getattr(dataset, 'ratio', None))
        if None in found or found == (self.bands, self.ratio):
            return
        scene = getattr(getattr(dataset, 'scene', None), 'name', type(dataset).__name__)
        raise ToolkitError(
            f'{scene} has {found[0]} bands at ratio {found[1]}, the config states model.bands '
            f'{self.bands} and model.ratio {self.ratio}: set model.bands={found[0]} '
            f'model.ratio={found[1]}, or choose another data file'
        )

    # -- inside --------------------------------------------------------------------------------

    def _outputs(self, batch: Batch, names: Iterable[str]) -> dict[str, Tensor]:
        names = set(names)
        lrms, pan = batch['lrms'], batch['pan']  # (B, C, h, w), (B, 1, H, W)
        self._check_images(lrms, pan)
        out = {'lrms': lrms, 'pan': pan, 'lrms_up': self._upsample_patch(batch)}  # (B, C, H, W)
        if 'reference' in names:
            out['reference'] = _reference(batch)  # (B, C, H, W)
        if names & {'hrms', 'hrms_reblurred', 'hrms_gray'}:
            out['hrms'] = self.generator(out['lrms_up'], pan)  # (B, C, H, W)
        if 'hrms_reblurred' in names:
            out['hrms_reblurred'] = self.reblur(out['hrms'])  # (B, C, H, W)
        if 'pan_reblurred' in names:
            out['pan_reblurred'] = self.reblur(pan.expand(-1, self.bands, -1, -1))  # (B, C, H, W)
        if 'hrms_gray' in names:
            out['hrms_gray'] = self.gray(out['hrms'])  # (B, 1, H, W)
        if 'lrms_up_gray' in names:
            out['lrms_up_gray'] = self.gray(out['lrms_up'])  # (B, 1, H, W)
        return out

    def _upsample_patch(self, batch: Batch) -> Tensor:
        """Without context a patch's border would be made from its opposite one."""
        if 'lrms_context' not in batch:
            return self._upsample(batch['lrms'])  # (B, C, H, W)
        context = batch['lrms_context']  # (B, C, h + 2m, w + 2m)
        margin = (context.shape[-1] - batch['lrms'].shape[-1]) // 2 * self.ratio
        return self._upsample(context)[..., margin:-margin, margin:-margin]  # (B, C, H, W)

    def _upsample(self, lrms: Tensor) -> Tensor:
        return upsample(lrms, self.ratio, self.upsampling)  # (B, C, H, W)

    def _check_images(self, lrms: Tensor, pan: Tensor) -> None:
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

    def _inputs_of(self, key: str, loss: Loss) -> tuple[str, ...]:
        """What a loss's `forward` names, once sure that all of it can be had."""
        label = f'losses.{key} ({type(loss).__name__})'
        parameters = inspect.signature(loss.forward).parameters.values()
        for parameter in parameters:
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise ValueError(
                    f'{label} takes {parameter}; a loss names each of its inputs: '
                    f'{", ".join(self._available())}'
                )
            if parameter.name not in OUTPUTS:
                raise ValueError(
                    f'{label} takes {parameter.name!r}, which is no output of this system; '
                    f'there are: {", ".join(self._available())}'
                )
            slot = OUTPUTS[parameter.name]
            if slot is not None and getattr(self, slot) is None:
                raise ValueError(
                    f'{label} takes {parameter.name!r}, which needs {slot}: fill model.{slot}, or '
                    f'set model.losses.{key} to null'
                )
        return tuple(parameter.name for parameter in parameters)

    def _available(self) -> list[str]:
        return [
            name
            for name, slot in OUTPUTS.items()
            if slot is None or getattr(self, slot) is not None
        ]

    def _freeze_unreached(self) -> None:
        names = {name for names in self._names.values() for name in names}
        reached = {OUTPUTS[name] for name in names}
        if names & {'hrms', 'hrms_reblurred', 'hrms_gray'}:
            reached.add('generator')
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


def _loss_modules(losses: Mapping[str, Loss]) -> nn.ModuleDict:
    modules = nn.ModuleDict()
    for key, loss in losses.items():
        try:
            modules[key] = loss
        except KeyError as error:  # torch keeps some names for itself
            raise ValueError(f'losses.{key}: no loss can have this name: {error}') from error
    return modules


def _reference(batch: Batch) -> Tensor:
    if 'hrms' not in batch:
        raise DataError(
            'a loss takes the reference, and the data has none: train on a dataset with `hrms` '
            '(a scene with a true reference, or the reduced protocol)'
        )
    return batch['hrms']
