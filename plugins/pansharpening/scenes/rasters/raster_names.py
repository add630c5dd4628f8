"""Names of rasters, and the drivers of GDAL that a name asks for.

GDAL tells formats by content, so that a file `ms.tif` that is really a VRT or a WMS description
would read other files or ask the network. Here a file is opened by the drivers of its extension
alone, and a VRT is searched for what it names before it is opened. What a user names on purpose,
such as `/vsizip/`, `s3://` or a subdataset, is left to GDAL.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import rasterio
from rasterio.errors import RasterioError

from toolkit.errors import DataError
from toolkit.io.data_paths import find_data_file

JPEG2000 = ('JP2OpenJPEG', 'JP2KAK', 'JP2ECW', 'JP2MrSID', 'JPEG2000')
DRIVERS = {
    '.tif': ('GTiff', 'COG'),
    '.tiff': ('GTiff', 'COG'),
    '.vrt': ('VRT',),
    '.img': ('HFA', 'ENVI', 'EHdr'),
    '.jp2': JPEG2000,
    '.j2k': JPEG2000,
    '.png': ('PNG',),
    '.jpg': ('JPEG',),
    '.jpeg': ('JPEG',),
    '.ntf': ('NITF',),
    '.nitf': ('NITF',),
    '.nc': ('netCDF', 'HDF5', 'HDF5Image'),
    '.h5': ('HDF5', 'HDF5Image', 'netCDF'),
}
# They read what their file names, elsewhere or on the network.
INDIRECT = {
    *('VRT', 'DERIVED', 'GTI', 'MRF', 'STACIT', 'STACTA', 'WMS', 'WMTS', 'WCS', 'WFS', 'HTTP'),
    *('OGCAPI', 'DAAS', 'EEDA', 'EEDAI', 'PLMOSAIC', 'PLSCENES', 'NGW', 'PostGISRaster', 'Zarr'),
    *('RASTERLITE', 'Rasterlite', 'TileDB', 'GeoRaster', 'ESRIC', 'SIGDEM', 'KMLSUPEROVERLAY'),
}
PREFIX = re.compile(r'[A-Za-z][A-Za-z0-9_+.-]+:')
# Elements of a VRT whose text is no name of a file.
NO_NAMES = {'srs', 'mdi', 'metadata', 'description', 'geotransform', 'pixelfunctioncode', 'wkt'}
LARGEST_VRT = 2**26
# First bytes of the files that may lie beside a raster: TIFF, BigTIFF, HFA.
SIDE_FILES = {'.ovr', '.msk'}
SIDE_MAGIC = (b'II*\0', b'MM\0*', b'II+\0', b'MM\0+', b'EHFA')


class GdalName(str):
    """A name that GDAL resolves itself: `/vsizip/a.zip/ms.tif`, `https://...`, a subdataset."""

    @property
    def stem(self) -> str:
        """Last part of the name without its extension."""
        return Path(self.rstrip('"').replace(':', '/')).stem

    @property
    def suffix(self) -> str:
        """Extension of the last part of the name."""
        return Path(self.split('?')[0].rstrip('"')).suffix

    @property
    def local_file(self) -> Path | None:
        """The file on this machine that the name leads into; None if there is none."""
        inner = '/' + re.sub(r'^(/vsi[a-z0-9_]+/)+', '', self).lstrip('/')
        for text in (*re.findall(r'"([^"]+)"', self), inner, inner.lstrip('/'), *self.split(':')):
            path = Path(text)
            for part in (path, *path.parents):
                if part.is_file():
                    return part
        return None


RasterName = Path | GdalName


def find_raster(name: str | Path) -> RasterName:
    """Finds a raster.

    Args:
        name: path of a file (absolute, or below $TOOLKIT_DATA, or below the current folder), or a
            name that GDAL resolves.
    Raises:
        MissingDataError: there is no such file.
    """
    text = str(name)
    if text.startswith('file://'):
        text = text.removeprefix('file://')
    if is_gdal_name(text):
        return GdalName(text)
    return find_data_file(text)


def is_gdal_name(text: str) -> bool:
    """Tells whether a name is one that GDAL resolves, and no path of a file."""
    return text.startswith('/vsi') or (PREFIX.match(text) is not None and not Path(text).exists())


def open_by_name(name: RasterName, outside: bool = False) -> rasterio.DatasetReader:
    """Opens a raster with the drivers that its name asks for.

    Args:
        name: of the raster.
        outside: a VRT may name files outside its folder and on the network.
    Raises:
        DataError: the content is not what the name says, or a VRT reaches outside.
        RasterioError, OSError: it cannot be opened.
    """
    if name.suffix.lower() == '.vrt' and not outside:
        check_vrt(name)
    if isinstance(name, Path):
        _check_side_files(name)
    drivers = choose_drivers(name)
    try:
        if isinstance(name, GdalName):  # with the credentials of the environment
            return rasterio.open(name, driver=drivers[0] if drivers else None)
        return rasterio.DatasetReader(str(name), driver=drivers)
    except RasterioError as error:
        if isinstance(name, Path) and (kind := find_disguise(name)):
            expected = ' or '.join(drivers or ('a raster',))
            raise DataError(
                f'{name} is {kind}, though its name says {expected}; it may read other files or '
                'the network, so give it the extension of its format if you trust it'
            ) from error
        raise


def choose_drivers(name: RasterName) -> list[str] | None:
    """Chooses the drivers for a name; None for all, for names of GDAL that tell no format."""
    known = _list_drivers()
    chosen = DRIVERS.get(name.suffix.lower())
    if isinstance(name, GdalName) and (
        chosen is None or (PREFIX.match(name) and '://' not in name)
    ):
        return None
    return sorted(known - INDIRECT) if chosen is None else [d for d in chosen if d in known]


def check_vrt(name: RasterName, seen: frozenset[Path] = frozenset()) -> None:
    """Refuses a VRT that names what is not in its folder, or not what its name says.

    Raises:
        DataError: it reaches outside, or cannot be read.
    """
    advice = 'allow it with --outside (`outside: true` in a config) if you trust it'
    if isinstance(name, GdalName):
        raise DataError(f'{name} is a VRT that only GDAL can read, and may name any file; {advice}')
    folder = name.resolve().parent
    for text, relative, raw in list_vrt_names(name):
        if is_gdal_name(text) or text.lstrip().startswith('<'):
            raise DataError(
                f'{name} names {text.strip()[:200]!r}, which is no file beside it; {advice}'
            )
        source = ((folder if relative else Path.cwd()) / text).resolve()
        if not source.is_relative_to(folder):
            raise DataError(f'{name} names {source}, which is outside its folder; {advice}')
        if not source.is_file() or raw or source in seen:
            continue
        if source.suffix.lower() == '.vrt':
            check_vrt(source, seen | {name.resolve()})
        elif kind := find_disguise(source):
            raise DataError(
                f'{name} names {source}, which is {kind} in spite of its name; {advice}'
            )


def list_vrt_names(path: Path) -> Iterator[tuple[str, bool, bool]]:
    """Lists what a VRT names: the text, whether it is relative to the VRT, whether it is raw data.

    Raises:
        DataError: it cannot be read.
    """
    try:
        if path.stat().st_size > LARGEST_VRT:
            raise DataError(f'{path} is too large for a VRT: expected up to 64 MB')
        text = path.read_text(encoding='utf-8')
        if '<!DOCTYPE' in text or '<!ENTITY' in text:
            raise DataError(f'{path} declares XML entities, which no VRT needs; remove them')
        root = ElementTree.fromstring(text)
    except (OSError, UnicodeDecodeError, ElementTree.ParseError) as error:
        raise DataError(f'{path} cannot be read as a VRT: {error}') from error
    raw = {child for e in root.iter() if e.get('subClass') == 'VRTRawRasterBand' for child in e}
    for element in root.iter():
        tag, value = element.tag.lower(), (element.text or '').strip()
        if tag in NO_NAMES or not value:
            continue
        is_name = tag.endswith(('filename', 'dataset')) or tag == 'overviewfile'
        if is_name or '/vsi' in value or '://' in value:
            yield (
                value,
                element.get('relativeToVRT', element.get('relativetoVRT')) == '1',
                element in raw,
            )


def find_disguise(path: Path) -> str | None:
    """Tells in words if a file is a description that reads other files, whatever its name is."""
    try:
        with open(path, 'rb') as file:
            head = file.read(4096).lstrip(b'\xef\xbb\xbf \t\r\n')
    except OSError:
        return None
    for mark, kind in (
        (b'<VRT', 'a VRT'),
        (b'<GDAL_WMS', 'a WMS description'),
        (b'<GDAL_WMTS', 'a WMTS description'),
        (b'<WCS_GDAL', 'a WCS description'),
        (b'<MRF_META', 'an MRF description'),
        (b'<GDALTileIndex', 'a tile index'),
        (b'{', 'a JSON document'),
    ):
        if head.startswith(mark) or (mark != b'{' and mark in head):
            return kind
    return None


def _check_side_files(path: Path) -> None:
    """Refuses overviews and masks beside a raster that are no rasters of their own."""
    for suffix in SIDE_FILES:
        side = path.with_name(path.name + suffix)
        if side.is_file():
            with open(side, 'rb') as file:
                if not file.read(16).startswith(SIDE_MAGIC):
                    raise DataError(
                        f'{side} is no GeoTIFF, but GDAL would read it beside {path.name}; '
                        'remove it'
                    )


@functools.cache
def _list_drivers() -> frozenset[str]:
    with rasterio.Env() as env:
        return frozenset(env.drivers())


def describe_state(name: RasterName) -> tuple[int, ...]:
    """Returns numbers that change when the file of a raster changes.

    Raises:
        OSError: the file is gone.
    """
    file = name if isinstance(name, Path) else name.local_file
    if file is None:
        return ()
    status = os.stat(file)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
