"""Cloud-optimized GeoTIFF (COG) of a finished output."""

from __future__ import annotations

from pathlib import Path

import rasterio.shutil

from plugins.pansharpening.inference.output.raster_format import RasterFormat
from plugins.pansharpening.scenes.rasters.raster_handles import allow_no_georeference
from plugins.pansharpening.scenes.rasters.raster_output import replace_atomically


def to_cog(path: Path, layout: RasterFormat) -> None:
    """Rewrites a GeoTIFF as a cloud-optimized one, with overviews.

    Raises:
        RunError: it cannot be written.
    """
    options = {'driver': 'COG', 'compress': layout.compress.upper(), 'bigtiff': 'IF_SAFER'}
    if layout.compress != 'none':
        options |= {'predictor': 'YES', 'level': 1} if layout.levels else {'predictor': 'YES'}
    with replace_atomically(path) as partial, allow_no_georeference():
        rasterio.shutil.copy(path, partial, **options)
