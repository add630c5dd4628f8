"""Opens scenes and images from paths, in all known formats."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.io
from rasterio.transform import Affine

from plugins.pansharpening.scenes.arrays.matlab import read_matlab_variables
from plugins.pansharpening.scenes.rasters.alignment import RasterGrid
from plugins.pansharpening.scenes.rasters.band_files import BandFiles
from plugins.pansharpening.scenes.rasters.raster_names import GdalName, find_raster, is_gdal_name
from plugins.pansharpening.scenes.scene import SCENES, Scene
from plugins.pansharpening.scenes.sensors import SensorSpec
from plugins.pansharpening.scenes.window import Window
from toolkit.errors import DataError, ToolkitError


def open_scene(
    ms: Sequence[str],
    pan: str | None,
    sensor: SensorSpec | None,
    bit_depth: int | None = None,
    ratio: int | None = None,
    samples: str = 'auto',
    **options: Any,
) -> Scene:
    """Opens a scene: one .mat or .npz with both images, two .npy files, or rasters.

    Args:
        ms: path of the MS, or of the rasters that hold its bands.
        pan: path of the PAN; None if one file holds both.
        sensor: see `get_sensor`; None for the one that a .mat names, or 'generic'.
        bit_depth: of the digital numbers; None for the sensor's.
        ratio: for rasters, see `RasterScene`; arrays must have it.
        samples: for rasters, see `RasterScene`.
        options: further arguments of the scene that the files make.
    Raises:
        ToolkitError: other files than these, or arguments that the scene refuses.
        DataError: no such file, or one that cannot be used.
    """
    return build_scene(make_scene_config(ms, pan, sensor, bit_depth, ratio, samples, **options))


def make_scene_config(
    ms: Sequence[str],
    pan: str | None,
    sensor: SensorSpec | None,
    bit_depth: int | None = None,
    ratio: int | None = None,
    samples: str = 'auto',
    **options: Any,
) -> dict[str, Any]:
    """Makes the config of the scene that `open_scene` opens: a `type` with arguments.

    Raises:
        ToolkitError: other files than `open_scene` knows, or options of other files than these.
    """
    suffixes = [get_suffix(path) for path in (*ms, *([] if pan is None else [pan]))]
    common: dict[str, Any] = {'sensor': sensor or 'generic', 'bit_depth': bit_depth}
    if suffixes == ['.mat']:
        config = {'type': 'MatScene', 'path': ms[0], **common, 'sensor': sensor, 'ratio': ratio}
        known = ('bands', 'ms_key', 'pan_key')
    elif suffixes in (['.npz'], ['.npy', '.npy']):
        config = {'type': 'ArrayScene', 'ms': ms[0], 'pan': pan, **common, 'ratio': ratio}
        keys = ('ms_key', 'pan_key') if pan is None else ()
        known = ('bands', *keys, 'channels_last')
    elif ms and pan is not None and not {'.mat', '.npz', '.npy'} & set(suffixes):
        paths = ms[0] if len(ms) == 1 else list(ms)
        of_rasters = {'ratio': ratio, 'samples': samples}
        config = {'type': 'RasterScene', 'ms': paths, 'pan': pan, **common, **of_rasters}
        known = ('bands', 'outside')
    else:
        raise ToolkitError(
            f'found the MS {" ".join(ms) or "(none)"} and the PAN {pan or "(none)"}; expected one '
            '.mat or .npz that holds both, two .npy, or rasters'
        )
    if foreign := [name for name in options if name not in known]:
        words = ', '.join(f'--{name.replace("_", "-")}' for name in foreign)
        raise ToolkitError(
            f'{words}: not for {" and ".join(dict.fromkeys(suffixes))}; leave it out'
        )
    return {**config, **options}


def get_suffix(path: str) -> str:
    """Returns the lower-case extension of a path or of a name that GDAL resolves."""
    return (GdalName(path) if is_gdal_name(path) else Path(path)).suffix.lower()


def build_scene(config: dict[str, Any]) -> Scene:
    """Builds the scene of a config from `make_scene_config`.

    Raises:
        ToolkitError: arguments that the scene refuses.
        DataError: no such file, or one that cannot be used.
    """
    arguments = dict(config)
    try:
        return SCENES.get(arguments.pop('type'))(**arguments)
    except ValueError as error:
        raise ToolkitError(str(error)) from error


class ImageFile(NamedTuple):
    """An image from a file.

    Attributes:
        values: (C, H, W) digital numbers.
        valid: (H, W) bool, pixels with data; None if the file declares no nodata.
        grid: pixel grid; without georeference for arrays.
    """

    values: np.ndarray
    valid: np.ndarray | None
    grid: RasterGrid


def read_image(path: str, bands: int, outside: bool = False) -> ImageFile:
    """Reads an image from a raster, an .npy file, or a .mat file with one such array.

    Args:
        path: absolute, or below $TOOLKIT_DATA, or below the current folder, or a name that GDAL
            resolves.
        bands: expected number of bands; also tells (H, W, C) arrays from (C, H, W).
        outside: a VRT may name files outside its folder and on the network.
    Raises:
        DataError: no such file, unreadable, or no image with this number of bands in it.
    """
    file = find_raster(path)
    suffix = file.suffix.lower()
    if suffix not in ('.npy', '.mat') or isinstance(file, GdalName):
        source = BandFiles([file], outside=outside)
        grid = source.header.grid
        if len(source.header.bands) != bands:
            raise DataError(
                f'{file}: found {len(source.header.bands)} bands, expected {bands} as in the MS'
            )
        return ImageFile(*source.read(Window.whole((grid.height, grid.width))), grid)
    arrays = _read_arrays(file)
    fitting = {
        name: image for name, a in arrays.items() if (image := _as_image(a, bands)) is not None
    }
    if len(fitting) != 1:
        found = ', '.join(f'{name} {a.shape}' for name, a in arrays.items()) or 'nothing'
        raise DataError(f'{file}: found {found}; expected one image of {bands} bands')
    (values,) = fitting.values()
    return ImageFile(values, None, RasterGrid(*values.shape[1:], None, Affine.identity()))


def _read_arrays(file: Path) -> dict[str, np.ndarray]:
    try:
        if file.suffix.lower() == '.npy':
            return {'an array': np.load(file, allow_pickle=False)}
        variables = scipy.io.loadmat(file)
    except NotImplementedError:
        return read_matlab_variables(file)[0]
    except Exception as error:  # both raise many kinds for files that are cut or another format
        raise DataError(f'{file} cannot be read: {error}') from error
    return {n: a for n, a in variables.items() if isinstance(a, np.ndarray)}


def _as_image(array: np.ndarray, bands: int) -> np.ndarray | None:
    """Returns an array as (C, H, W), or None if it is no image with this number of bands."""
    if array.ndim != 3 or array.dtype.kind not in 'uif':
        return None
    if array.shape[0] == bands:
        return array
    return array.transpose(2, 0, 1) if array.shape[2] == bands else None
