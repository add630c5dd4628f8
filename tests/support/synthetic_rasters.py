"""GeoTIFFs for tests."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import rasterio

from plugins.pansharpening.scenes.rasters.raster_handles import allow_no_georeference
from plugins.pansharpening.scenes.scene import Georeference


def write_geotiff(
    path: Path,
    image: np.ndarray,
    georeference: Georeference | None = None,
    names: Sequence[str] = (),
    nodata: float | None = None,
    **options: object,
) -> None:
    """Write an image (C, H, W) with a coordinate system, band names and a value for no data."""
    bands, height, width = image.shape
    profile = {
        'driver': 'GTiff',
        'dtype': image.dtype,
        'count': bands,
        'height': height,
        'width': width,
        'nodata': nodata,
        'photometric': 'minisblack',
        **options,
    }
    if georeference is not None:
        profile |= {'crs': georeference.crs, 'transform': georeference.transform}
    with allow_no_georeference(), rasterio.open(path, 'w', **profile) as raster:
        raster.write(image)
        for i, name in enumerate(names, 1):
            raster.set_band_description(i, name)
