"""Random patches for training, from one scene or from all scenes of a manifest."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import numpy as np
import torch

from plugins.pansharpening.data.identities import collect_identities
from plugins.pansharpening.data.scene_on_device import SceneOnDevice
from plugins.pansharpening.data.scene_set import ManifestData, read_scenes
from plugins.pansharpening.data.transforms import margin_of, transformed
from plugins.pansharpening.data.whole_scenes import Sample, SceneDataset, meta
from plugins.pansharpening.scenes.continuation import MS_SLOPE
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.scenes.window import Read, Window, read_around
from toolkit.errors import ToolkitError
from toolkit.interfaces import Identities, Transform
from toolkit.ranges import PositiveInt, Probability
from toolkit.registry import DATASETS, Slot

# MS pixels around a patch that its upsampling looks at: the 23 taps reach 5.5 of them.
CONTEXT = 6
# Places that are tried before the known one is taken.
TRIES = 100
# Bytes of a scene that are kept on a GPU.
MOST_MOVED = 2 * 2**30

Draw = Literal['area', 'equal', 'weight']


class Patches(SceneDataset):
    """Dataset of patches from random places of scenes at full resolution.

    A sample also holds `lrms_context` (C, h + 12, w + 12), the patch with 6 pixels on each side, so
    that it can be upsampled without border effects; at the border of a scene, pixels are repeated.

    A sample depends on the global random generators alone, not on its index.
    """

    def __init__(
        self,
        scenes: Sequence[Scene],
        size: int,
        length: int | None,
        transforms: Mapping[str, Slot[Transform]] | None,
        min_valid: float,
        region: tuple[float, float, float, float] | None = None,
        weights: Sequence[float] | None = None,
    ) -> None:
        """See the parts.

        Args:
            weights: how often each scene is drawn; None by the area that is used.
        """
        self._scenes, self.size, self.min_valid = scenes, size, min_valid
        first = scenes[0]
        self.bands, self.ratio = first.bands, first.ratio
        if size < 1 or size % self.ratio:
            raise ValueError(
                f'size must be a positive multiple of the ratio {self.ratio}, found {size}'
            )
        if length is not None and length < 1:
            raise ValueError(f'length must be at least 1, found {length}')
        if not 0 <= min_valid <= 1:
            raise ValueError(f'min_valid is a share from 0 to 1, found {min_valid}')
        self.transforms = {name: slot() for name, slot in (transforms or {}).items()}
        self._margin = margin_of(self.transforms)
        self._regions, self._known, fitting = [], [], []  # regions in MS pixels
        for scene in scenes:
            used = Window.fraction(scene.ms_shape, region or (0.0, 0.0, 1.0, 1.0))  # MS pixels
            rows, cols = (extent // (size // self.ratio) for extent in used[2:])
            if rows < 1 or cols < 1:
                height, width = used.enlarged(self.ratio)[2:]
                raise ValueError(
                    f'patches of {size} x {size} do not fit into the {height} x {width} PAN pixels '
                    f'of {scene.name} that are used; choose a smaller size or a larger region'
                )
            fitting.append(rows * cols)
            self._regions.append(used)
            # What cannot be read is said before any training; what is cached, loaders share.
            scene.read_ms(Window(*used[:2], 1, 1))
            self._known.append(self._search(scene, used))
        self._length = sum(fitting) if length is None else length
        areas = [float(used.height * used.width) for used in self._regions]
        self._by_area = weights is None
        self._on_device: SceneOnDevice | None = None
        self._sums = np.cumsum(areas if weights is None else weights)

    def __len__(self) -> int:
        return self._length

    def identities(self, content: bool = True) -> dict[str, Identities]:
        fine = [used.enlarged(self.ratio) for used in self._regions]
        windows = zip(self._scenes, fine, strict=True)
        apart = getattr(self, 'split', None) is not None
        return collect_identities(windows, 'full', content, apart, learned=True)

    def move_to(self, device: torch.device) -> bool:
        """Hold a single scene on a device, where no mask and no transform needs the CPU."""
        scene, transforms = self._scenes[0], self.transforms.values()
        images = (scene.bands * (1 + scene.has_reference * scene.ratio**2), scene.ratio**2)
        size = 4 * sum(images) * math.prod(scene.ms_shape)
        on_cpu = scene.masked or not all(getattr(t, 'any_device', False) for t in transforms)
        if len(self._scenes) > 1 or self.min_valid < 1 or on_cpu or size > MOST_MOVED:
            return False
        self._on_device = SceneOnDevice(scene, self._margin, CONTEXT, device)
        return True

    def __getitem__(self, index: int) -> Sample:
        """Reads a patch from a random place.

        Raises:
            DataError: the scene cannot be read there.
        """
        number, window = self._place()
        scene = self._scenes[number]
        fine = window.enlarged(self.ratio)
        if self._on_device is None:
            sample: Sample = {'lrms_context': torch.from_numpy(self._around(scene, window))}
            sample['pan'] = self._fine(scene.read_pan, scene, fine)
            if scene.has_reference:
                sample['hrms'] = self._fine(scene.read_reference, scene, fine)
        else:
            sample = self._on_device.cut(window, fine)
        if self.min_valid < 1:
            sample['mask'] = self._fine(lambda w: _mask(scene, w), scene, fine)
        row, col = fine[:2]
        sample['meta'] = meta(scene, fine, 'full', f'{scene.name}_{row}_{col}')
        if self.transforms:
            seed = int(torch.randint(2**62, ()))
            sample = transformed(sample, self.transforms, seed)
        margin, size = self._margin, self.size
        for key in ('pan', 'hrms', 'mask'):
            if key in sample and margin:
                cut = sample[key][..., margin : margin + size, margin : margin + size]
                sample[key] = cut.contiguous()
        context = sample['lrms_context']
        return {'lrms': context[:, CONTEXT:-CONTEXT, CONTEXT:-CONTEXT].clone(), **sample}

    def _place(self) -> tuple[int, Window]:
        """A scene and a window of its MS that holds enough data."""
        number = self._scene()
        for _ in range(TRIES):
            window = self._window(self._regions[number])
            if self._valid(self._scenes[number], window):
                return number, window
            if self._by_area:
                # The scene is drawn again too, so that its valid area counts.
                number = self._scene()
        return number, self._known[number]

    def _scene(self) -> int:
        if len(self._scenes) == 1:
            return 0
        place = float(torch.rand((), dtype=torch.float64)) * self._sums[-1]
        return min(int(np.searchsorted(self._sums, place, 'right')), len(self._scenes) - 1)

    def _window(self, used: Window) -> Window:
        low = self.size // self.ratio
        row, col = (
            start + int(torch.randint(extent - low + 1, ()))
            for start, extent in zip(used[:2], used[2:], strict=True)
        )
        return Window(row, col, low, low)

    def _valid(self, scene: Scene, window: Window) -> bool:
        """Tells whether a window of the MS has data, and at least the required share."""
        mask = scene.read_mask(window.enlarged(self.ratio))
        return mask is None or bool(mask.any() and mask.mean() >= self.min_valid)

    def _search(self, scene: Scene, used: Window) -> Window:
        """Any window with enough data: the first from the middle outwards, of those that tile.

        Raises:
            ValueError: there is none.
        """
        low = self.size // self.ratio
        places = [
            (used.row + row, used.col + col)
            for row in range(0, used.height - low + 1, low)
            for col in range(0, used.width - low + 1, low)
        ]
        centre = (used.row + (used.height - low) / 2, used.col + (used.width - low) / 2)
        places.sort(key=lambda p: max(abs(p[0] - centre[0]), abs(p[1] - centre[1])))
        for row, col in places:
            if self._valid(scene, window := Window(row, col, low, low)):
                return window
        raise ValueError(
            f'{scene.name}: found no patch of {self.size} x {self.size} PAN pixels with data in '
            f'{self.min_valid:.0%} of them; lower min_valid or size, or leave the scene out'
        )

    def _around(self, scene: Scene, window: Window) -> np.ndarray:
        """The MS of a window and CONTEXT pixels on each side."""
        return read_around(scene.read_ms, window, CONTEXT, scene.ms_shape, MS_SLOPE)

    def _fine(self, read: Read, scene: Scene, window: Window) -> torch.Tensor:
        """An image on PAN's grid, with the margin that transforms need."""
        return torch.from_numpy(read_around(read, window, self._margin, scene.pan_shape))


def _mask(scene: Scene, window: Window) -> np.ndarray:
    mask = scene.read_mask(window)
    return np.ones((1, *window[2:]), bool) if mask is None else mask[None]


@DATASETS.register
class ScenePatches(Patches):
    """Dataset of patches from random places of a scene at full resolution.

    A sample also holds `lrms_context` (C, h + 12, w + 12), the patch with 6 pixels on each side, so
    that it can be upsampled without border effects. Outside the scene, pixels are repeated.

    Args:
        scene: scene of the patches.
        size: of a patch in PAN pixels, a multiple of the ratio.
        length: samples an epoch; None for as many as there are patches that do not overlap.
        transforms: augmentation by name, in this order, such as `Flip` and `QuarterTurns`.
        region: the part of the scene that is used: top, left, bottom, right as fractions of it;
            None for all. Regions that do not overlap keep training and test data apart.
        min_valid: share of a patch's pixels that must hold data; below 1, samples have a `mask`.
            Patches without any data are never drawn.
    Raises:
        ValueError: arguments out of range, patches larger than the region, or none with so much
            data.
    """

    def __init__(
        self,
        scene: Scene,
        size: PositiveInt = 256,
        length: PositiveInt | None = None,
        transforms: dict[str, Slot[Transform]] | None = None,
        region: tuple[Probability, Probability, Probability, Probability] | None = None,
        min_valid: Probability = 1.0,
    ) -> None:
        self.scene = scene
        super().__init__([scene], size, length, transforms, min_valid, region)

    def fingerprint(self) -> str:
        """Returns the fingerprint of the scene."""
        return self.scene.fingerprint()


@DATASETS.register
class ManifestPatches(ManifestData, Patches):
    """Dataset of patches from random places of the scenes in a manifest; see `ScenePatches`.

    Scenes are opened when a patch of them is drawn, and few are open at a time.

    Args:
        manifest: CSV file with a row for each scene (docs/pansharpening); absolute, or below
            $TOOLKIT_DATA, or from here.
        split: which of its scenes; None for all.
        splits: file that `toolkit split` has written; None where the manifest has a column `split`.
        size: of a patch in PAN pixels, a multiple of the ratio.
        length: samples an epoch; None for as many as there are patches that do not overlap.
        draw: how often a scene is drawn: by its 'area' with data, all 'equal', or by the manifest's
            column 'weight'.
        transforms: augmentation by name, in this order.
        min_valid: share of a patch's pixels that must hold data; below 1, samples have a `mask`.
        protocol: 'full' for the scenes as they are; 'reduced' for patches of reduced scenes with
            their own MS as the reference, see `ReducedScene`.
        outside: paths in the manifest may leave its folder.
    Raises:
        ToolkitError: mistakes in the manifest, scenes that cannot be read or are not what it
            states, splits that do not belong to it.
        ValueError: arguments out of range.
    """

    def __init__(
        self,
        manifest: str,
        split: str | None = None,
        splits: str | None = None,
        size: PositiveInt = 256,
        length: PositiveInt | None = None,
        draw: Draw = 'area',
        transforms: dict[str, Slot[Transform]] | None = None,
        min_valid: Probability = 1.0,
        protocol: Literal['full', 'reduced'] = 'full',
        outside: bool = False,
    ) -> None:
        if draw not in get_args(Draw):
            raise ValueError(f'draw must be one of {", ".join(get_args(Draw))}; found {draw!r}')
        self.split = split
        self.scenes = read_scenes(manifest, split, splits, protocol, outside)
        weights = {
            'area': None,
            'equal': [1.0] * len(self.scenes),
            'weight': [row.weight for row in self.scenes.rows],
        }[draw]
        if weights is not None and not sum(weights):
            raise ToolkitError(f'{manifest}: all scenes have the weight 0; none can be drawn')
        super().__init__(self.scenes, size, length, transforms, min_valid, None, weights)
