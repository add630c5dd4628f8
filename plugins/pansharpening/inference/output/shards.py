"""Files of the shards of an output, which the last process joins."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import rasterio

from plugins.pansharpening.inference.output.raster_format import BLOCK, RasterFormat
from plugins.pansharpening.inference.output.resumable_geotiff import check_blocks
from plugins.pansharpening.inference.scene_inference import PART, InferenceOutcome, statistics_file
from plugins.pansharpening.inference.tiles import Shard, extent, tiles
from plugins.pansharpening.scenes.rasters.raster_handles import allow_no_georeference
from plugins.pansharpening.scenes.rasters.raster_output import replace_atomically
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.scenes.window import Window
from toolkit.io.file_lock import remove_lock, try_lock

# GDAL's names of the types that a digital number may have.
TYPES = {'uint8': 'Byte', 'uint16': 'UInt16', 'int16': 'Int16', 'uint32': 'UInt32'}
TYPES |= {'int8': 'Int8', 'int64': 'Int64', 'uint64': 'UInt64'}
TYPES |= {'int32': 'Int32', 'float32': 'Float32', 'float64': 'Float64'}


def part_file(output: Path, shard: Shard) -> Path:
    """Returns the file of a shard, beside the output; the output itself if there is one shard."""
    suffix = '.tif' if output.suffix.lower() == '.vrt' else output.suffix
    if shard.count == 1 and suffix == output.suffix:
        return output
    return output.with_name(f'{output.stem}{PART}{shard.index}-of-{shard.count}{suffix}')


def join(output: Path, scene: Scene, shards: int, outcome: InferenceOutcome) -> list[Path] | None:
    """Joins the files of all shards, once they exist, into a VRT of them or into one GeoTIFF.

    Args:
        output: file to write; a VRT if its suffix is .vrt.
        scene: scene that was sharpened.
        shards: number of shards.
        outcome: result of one of them.
    Returns:
        The files that remain; None if a shard is not finished or another process joins them.
    Raises:
        RunError: the output cannot be written.
    """
    parts = [part_file(output, Shard(i + 1, shards)) for i in range(shards)]
    if not all(part.is_file() for part in parts):
        return None
    lock = try_lock(statistics_file(output).with_suffix('.lock'))
    if lock is None:
        return None
    try:
        # Another process may have joined them before this one held the lock.
        if not all(part.is_file() for part in parts):
            return None
        places = [
            extent(tiles(scene.pan_shape, outcome.side, Shard(i + 1, shards)))
            for i in range(shards)
        ]
        layout = outcome.layout
        xml = _vrt(scene, layout, list(zip(parts, places)))
        if output.suffix.lower() == '.vrt':
            with replace_atomically(output) as partial:
                # Beside the parts, which it names by themselves.
                partial.write_text(xml, encoding='utf-8')
                with allow_no_georeference(), rasterio.open(partial, 'r+') as target:
                    layout.describe(target, Window.whole(scene.pan_shape))
            left = [output, *parts]
        else:
            _merge(output, xml, layout, scene)
            for part in parts:
                part.unlink()
            left = [output]
        statistics_file(output).unlink(missing_ok=True)
        return left
    finally:
        remove_lock(lock)


def _merge(output: Path, xml: str, layout: RasterFormat, scene: Scene) -> None:
    whole = Window.whole(scene.pan_shape)
    vrt = output.with_name(f'.{output.stem}.parts.vrt')
    try:
        with replace_atomically(vrt) as partial:
            partial.write_text(xml, encoding='utf-8')
        inside = rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True)
        with (
            replace_atomically(output) as partial,
            allow_no_georeference(),
            inside,
            rasterio.open(vrt) as source,
        ):
            with rasterio.open(partial, 'w', **layout.profile(whole)) as target:
                layout.describe(target, whole)
                for window in whole.tiles(4 * BLOCK):
                    place = window.raster_window
                    target.write(source.read(window=place), window=place)
                    if layout.masked:
                        target.write_mask(source.dataset_mask(window=place), window=place)
            check_blocks(partial, whole)
    finally:
        vrt.unlink(missing_ok=True)


def _vrt(scene: Scene, layout: RasterFormat, parts: list[tuple[Path, Window]]) -> str:
    height, width = scene.pan_shape
    root = ElementTree.Element('VRTDataset', rasterXSize=str(width), rasterYSize=str(height))
    if layout.georeference is not None:
        crs, transform = layout.georeference
        if crs is not None:
            ElementTree.SubElement(root, 'SRS').text = crs.to_wkt()
        numbers = (getattr(transform, name) for name in 'cabfde')
        ElementTree.SubElement(root, 'GeoTransform').text = ', '.join(f'{n:.17g}' for n in numbers)
    for band in range(1, layout.bands + 1):
        element = ElementTree.SubElement(
            root, 'VRTRasterBand', dataType=TYPES[layout.dtype.name], band=str(band)
        )
        if len(layout.names) >= band:
            ElementTree.SubElement(element, 'Description').text = layout.names[band - 1]
        if layout.nodata is not None:
            ElementTree.SubElement(element, 'NoDataValue').text = f'{layout.nodata:g}'
        _add_sources(element, parts, str(band))
    if layout.masked:
        mask = ElementTree.SubElement(root, 'MaskBand')
        element = ElementTree.SubElement(mask, 'VRTRasterBand', dataType='Byte')
        _add_sources(element, parts, 'mask,1')
    return ElementTree.tostring(root, encoding='unicode')


def _add_sources(element: ElementTree.Element, parts: list[tuple[Path, Window]], band: str) -> None:
    for path, place in parts:
        source = ElementTree.SubElement(element, 'SimpleSource')
        name = ElementTree.SubElement(source, 'SourceFilename', relativeToVRT='1')
        name.text = path.name
        ElementTree.SubElement(source, 'SourceBand').text = band
        size = {'xSize': str(place.width), 'ySize': str(place.height)}
        ElementTree.SubElement(source, 'SrcRect', xOff='0', yOff='0', **size)
        at = {'xOff': str(place.col), 'yOff': str(place.row)}
        ElementTree.SubElement(source, 'DstRect', **at, **size)
