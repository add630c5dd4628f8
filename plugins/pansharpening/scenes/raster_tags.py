"""Metadata of a raster beside its pixels: tags, units, colours, control points; and copies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp

# Tags that are of the pixels or of the layout of the old file.
OF_THE_OLD = ('AREA_OR_POINT', 'STATISTICS_', 'TIFFTAG_XRES', 'TIFFTAG_YRES', 'TIFFTAG_RESOLUTION')
# Colour interpretations that a band of a result may have.
NOT_OF_A_BAND = (ColorInterp.alpha, ColorInterp.palette)


@dataclass(frozen=True)
class BandTags:
    """Tags of one band.

    Attributes:
        colour: interpretation.
        unit: of its numbers; '' for none.
        scale: of physical units per digital number.
        offset: in physical units.
        tags: further ones by name.
    """

    colour: ColorInterp = ColorInterp.undefined
    unit: str = ''
    scale: float = 1.0
    offset: float = 0.0
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RasterTags:
    """Tags of a result: bands and tags of the MS, control points and RPCs of the PAN.

    Attributes:
        bands: of the MS.
        tags: of the MS.
        gcps: ground control points and their CRS; None for none.
        rpcs: rational polynomial coefficients; None for none.
        lost: what the result cannot have, in words.
    """

    bands: tuple[BandTags, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    gcps: tuple[Sequence[GroundControlPoint], Any] | None = None
    rpcs: Any = None
    lost: tuple[str, ...] = ()


def read_band_tags(raster: Any, number: int) -> BandTags:
    """Reads the tags of a band, by its number from 1."""
    colour = raster.colorinterp[number - 1]
    return BandTags(
        ColorInterp.undefined if colour in NOT_OF_A_BAND else colour,
        raster.units[number - 1] or '',
        raster.scales[number - 1],
        raster.offsets[number - 1],
        _keep(raster.tags(number)),
    )


def read_raster_tags(raster: Any) -> dict[str, str]:
    """Reads the tags of a raster that hold for another one of its ground too."""
    return _keep(raster.tags())


def move_control(raster: Any, row: int, col: int, located: bool) -> tuple[Any, Any]:
    """Reads ground control points and RPCs, moved to a part of the raster.

    Args:
        raster: open.
        row: first row of the part.
        col: first column.
        located: the result has a georeference, beside which GDAL keeps no control points.
    Returns:
        Points with their CRS, and RPCs; None where there are none.
    """
    points, crs = raster.gcps
    gcps = None
    if points and not located:
        moved = [
            GroundControlPoint(p.row - row, p.col - col, p.x, p.y, p.z, p.id, p.info)
            for p in points
        ]
        gcps = (moved, crs)
    rpcs = raster.rpcs
    if rpcs is not None:
        rpcs.line_off -= row
        rpcs.samp_off -= col
    return gcps, rpcs


def write_tags(dataset: Any, tags: RasterTags, whole: bool = True) -> None:
    """Writes tags into a raster that is being created.

    Args:
        dataset: open for writing.
        tags: to write.
        whole: the raster has all pixels of the scene, so that its control points fit.
    """
    dataset.update_tags(**tags.tags)
    if tags.bands:
        colours = [band.colour for band in tags.bands]
        if set(colours) - {ColorInterp.undefined, ColorInterp.gray}:
            dataset.colorinterp = colours
        dataset.units = [band.unit for band in tags.bands]
        if any((band.scale, band.offset) != (1.0, 0.0) for band in tags.bands):
            dataset.scales = [band.scale for band in tags.bands]
            dataset.offsets = [band.offset for band in tags.bands]
        for number, band in enumerate(tags.bands, 1):
            if band.tags:
                dataset.update_tags(number, **band.tags)
    if tags.gcps is not None and whole:
        dataset.gcps = tags.gcps
    if tags.rpcs is not None and whole:
        dataset.rpcs = tags.rpcs


def _keep(tags: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in tags.items() if not key.startswith(OF_THE_OLD)}
