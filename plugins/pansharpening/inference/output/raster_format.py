"""Format of the GeoTIFFs that scenes are written to: layout, compression, position and names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np

from plugins.pansharpening.scenes.raster_tags import RasterTags, write_tags
from plugins.pansharpening.scenes.rasters.alignment import RasterGrid
from plugins.pansharpening.scenes.scene import Georeference
from plugins.pansharpening.scenes.window import Window
from toolkit.errors import ToolkitError

Compression = Literal['none', 'deflate', 'zstd', 'lzw']

BLOCK = 256
# Fast levels: the others take several times as long for some 3 % less.
LEVELS = {'deflate': {'zlevel': 1}, 'zstd': {'zstd_level': 1}}


@dataclass(frozen=True)
class RasterFormat:
    """Format of a GeoTIFF with pixels of a scene.

    Args:
        bands: C.
        dtype: data type of the digital numbers.
        georeference: position of the whole PAN grid of the scene.
        names: descriptions of the bands.
        nodata: value of pixels without data; None if there is none.
        masked: true if the file has a mask of pixels with data.
        compress: compression method.
        tags: of the file; without any, it has none.
        shape: rows and columns of the whole scene.
    """

    bands: int
    dtype: np.dtype[Any]
    georeference: Georeference | None = None
    names: Sequence[str] = ()
    nodata: float | None = None
    masked: bool = False
    compress: Compression = 'deflate'
    tags: RasterTags = RasterTags()
    shape: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.compress not in get_args(Compression):
            raise ToolkitError(
                f'compression is one of {", ".join(get_args(Compression))}; found {self.compress!r}'
            )

    def describe(self, dataset: Any, extent: Window) -> None:
        """Writes names and tags of the bands into a new file that covers a part of the scene."""
        for i, name in enumerate(self.names, 1):
            dataset.set_band_description(i, name)
        whole = self.shape is None or extent == Window.whole(self.shape)
        write_tags(dataset, self.tags, whole)

    def profile(self, extent: Window) -> dict[str, Any]:
        """Returns rasterio's profile of a file that covers a part of the scene."""
        profile: dict[str, Any] = {
            'driver': 'GTiff',
            'dtype': self.dtype,
            'count': self.bands,
            'height': extent.height,
            'width': extent.width,
            'tiled': True,
            'blockxsize': BLOCK,
            'blockysize': BLOCK,
            'interleave': 'pixel',
            'bigtiff': 'if_safer',
            'nodata': self.nodata,
            # Any 4-band image would otherwise be taken for one with transparency.
            'photometric': 'RGB' if self.is_rgb else 'minisblack',
            'alpha': 'NO',
        }
        if self.compress != 'none':
            predictor = 3 if self.dtype.kind == 'f' else 2
            profile |= {'compress': self.compress, 'predictor': predictor} | self.levels
        if self.georeference is not None:
            grid = RasterGrid(0, 0, *self.georeference).part(*extent)
            profile |= {'crs': grid.crs, 'transform': grid.transform}
        return profile

    @property
    def is_rgb(self) -> bool:
        """True if the first bands are red, green and blue by their tags."""
        return [band.colour.name for band in self.tags.bands[:3]] == ['red', 'green', 'blue']

    @property
    def levels(self) -> dict[str, int]:
        """The compression level, which a file does not keep."""
        return LEVELS.get(self.compress, {})
