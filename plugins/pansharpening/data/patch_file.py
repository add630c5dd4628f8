"""Files of ready-made patches, as PanCollection distributes them."""

from __future__ import annotations

import functools
import os
from typing import Annotated, Any

import numpy as np
import torch

from plugins.pansharpening.data.transforms import margin_of, transformed
from plugins.pansharpening.scenes.arrays.matlab import open_hdf5
from plugins.pansharpening.scenes.scene import check_bit_depth, check_pair, scale_to_unit
from plugins.pansharpening.scenes.sensors import SensorSpec, get_sensor
from toolkit.errors import DataError
from toolkit.interfaces import Dataset, Identities, Transform
from toolkit.io.data_paths import find_data_file
from toolkit.io.verification.hashing import hash_files
from toolkit.ranges import Ge, Le, PositiveInt
from toolkit.registry import DATASETS, Slot

Sample = dict[str, Any]


@DATASETS.register
class PatchFile(Dataset):
    """Samples of an HDF5 file of patches in PanCollection's layout; needs the extra `h5`.

    Arrays, each with the patches as first axis: `ms` (N, C, h, w), `pan` (N, 1, H, W) and, in files
    at reduced resolution, `gt` (N, C, H, W), in digital numbers. `lms`, the MS upsampled
    beforehand, is left aside: the system upsamples. A sample has `lrms` (C, h, w), `pan` (1, H, W)
    and, where the file has `gt`, `hrms` (C, H, W), float32 in [0, 1].

    Args:
        path: absolute, or below $TOOLKIT_DATA, or from here.
        sensor: name of the sensor, or its description; see `get_sensor`.
        bit_depth: of the digital numbers; None for the sensor's.
        limit: use only so many patches, from the first on; None for all.
        transforms: augmentation by name, in this order; only those that need nothing from around a
            patch, such as `Flip` with `samples: centre`.
    Raises:
        ValueError: no such sensor, a limit below 1, or a transform that looks beyond the patch.
        DataError: no such file, h5py is missing, or arrays that are missing or do not fit.

    Source: Deng et al., "Machine learning in pansharpening: a benchmark", IEEE GRSM 10(3), 2022.
    """

    def __init__(
        self,
        path: str,
        sensor: SensorSpec,
        bit_depth: Annotated[int, Ge(1), Le(32)] | None = None,
        limit: PositiveInt | None = None,
        transforms: dict[str, Slot[Transform]] | None = None,
    ) -> None:
        self.path, self.sensor = find_data_file(path), get_sensor(sensor)
        self.bits = check_bit_depth(self.sensor.bits if bit_depth is None else bit_depth)
        if limit is not None and limit < 1:
            raise ValueError(f'limit must be at least 1, found {limit}')
        self.transforms = {name: slot() for name, slot in (transforms or {}).items()}
        if margin := margin_of(self.transforms):
            raise ValueError(
                f'these transforms need {margin} PAN pixels around a patch, which a file of '
                'patches has not; set their `samples: centre`, or draw patches from scenes'
            )
        shapes = self._shapes()
        self.bands, self.ratio = shapes['ms'][1], shapes['pan'][2] // shapes['ms'][2]
        self._length = min(shapes['ms'][0], limit or shapes['ms'][0])
        self._keys = {'lrms': 'ms', 'pan': 'pan'} | ({'hrms': 'gt'} if 'gt' in shapes else {})

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Sample:
        """One patch.

        Raises:
            IndexError: there is no such patch.
            DataError: it cannot be read, or holds values that are not finite or too large.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f'{self.path} has {len(self)} patches, found index {index}')
        index %= len(self)
        with open_hdf5(self.path) as file:
            found = {name: np.asarray(file[key][index]) for name, key in self._keys.items()}
        sample: Sample = {
            name: torch.from_numpy(scale_to_unit(values, self.bits, f'{self.path}: {name} {index}'))
            for name, values in found.items()
        }
        height, width = found['pan'].shape[1:]
        sample['meta'] = {
            'item': f'{self.path.stem}_{index}',
            'scene': f'{self.path.stem}_{index}',
            'window': (0, 0, height, width),
            'sensor': self.sensor.name,
            'scale': 2**self.bits - 1,
            'ratio': self.ratio,
            'protocol': 'reduced' if 'hrms' in found else 'full',
        }
        if self.transforms:
            sample = transformed(sample, self.transforms, int(torch.randint(2**62, ())))
        return sample

    @functools.cached_property
    def _digest(self) -> str:
        return hash_files(self.path)

    def fingerprint(self) -> str:
        """A short hash of the file."""
        return self._digest

    def identities(self, content: bool = True) -> dict[str, Identities]:
        if 'hrms' not in self._keys:
            return {}
        name = self._digest if content else os.path.realpath(self.path)
        patches = (0, 0, len(self), 1)
        return {'reference': Identities({name: self.path.name}, {name: [patches]})}

    def _shapes(self) -> dict[str, tuple[int, ...]]:
        with open_hdf5(self.path) as file:
            known = {name: tuple(getattr(item, 'shape', ())) for name, item in file.items()}
        shapes = {name: known[name] for name in ('ms', 'pan', 'gt') if name in known}
        missing = {'ms', 'pan'} - set(shapes)
        if missing:
            raise DataError(
                f'{self.path} has no array {" and ".join(sorted(missing))}; there are: '
                f'{", ".join(known) or "none"}; expected ms, pan and, at reduced resolution, gt'
            )
        ms, pan = shapes['ms'], shapes['pan']
        if len(ms) != 4 or len(pan) != 4 or ms[0] != pan[0] or pan[1] != 1 or not ms[0]:
            raise DataError(
                f'{self.path}: found ms of shape {ms} and pan of shape {pan}; expected '
                '(patches, bands, height, width) and (patches, 1, height, width)'
            )
        check_pair(self.sensor, ms[1:], pan[2:], str(self.path))
        if 'gt' in shapes and shapes['gt'] != (*ms[:2], *pan[2:]):
            raise DataError(
                f'{self.path}: found gt of shape {shapes["gt"]}, expected {(*ms[:2], *pan[2:])}'
            )
        return shapes
