"""Reading DICOM images, which need an extra package. No tag of a patient is ever read.

What pydicom raises at damaged files passes through: `images` names the file in it.
"""

from __future__ import annotations

import functools
import logging
from pathlib import Path
from typing import Any

import numpy as np

from plugins.classification.image_record import Box
from toolkit.errors import DataError

# All that is read from a file. Names, dates and numbers of patients are not among it.
TAGS = (
    'SOPClassUID',
    'Rows',
    'Columns',
    'NumberOfFrames',
    'SamplesPerPixel',
    'PhotometricInterpretation',
    'PlanarConfiguration',
    'BitsAllocated',
    'BitsStored',
    'HighBit',
    'PixelRepresentation',
    'RescaleSlope',
    'RescaleIntercept',
    'ModalityLUTSequence',
    'WindowCenter',
    'WindowWidth',
    'VOILUTFunction',
    'VOILUTSequence',
    'RedPaletteColorLookupTableDescriptor',
    'GreenPaletteColorLookupTableDescriptor',
    'BluePaletteColorLookupTableDescriptor',
    'RedPaletteColorLookupTableData',
    'GreenPaletteColorLookupTableData',
    'BluePaletteColorLookupTableData',
    'SegmentedRedPaletteColorLookupTableData',
    'SegmentedGreenPaletteColorLookupTableData',
    'SegmentedBluePaletteColorLookupTableData',
    'BurnedInAnnotation',
    'SequenceOfUltrasoundRegions',
    'ExtendedOffsetTable',
    'ExtendedOffsetTableLengths',
)
# Mark of the pixels in a file, (7FE0,0010) in little endian, and the end of every JPEG stream
# (EOI of ISO 10918-1, B.1.1.3; EOC of ISO 15444-1, A.4.4).
PIXEL_TAG, END_OF_IMAGE = b'\xe0\x7f\x10\x00', b'\xff\xd9'
MARKED = ('JPEG', 'High-Throughput JPEG')  # names of transfer syntaxes whose streams have that end
PIXELS = ('PixelData', 'FloatPixelData', 'DoubleFloatPixelData')

# Of an ultrasound region, PS3.3 C.8.5.5: a picture of tissue, or one that colours flow over it.
TWO_DIMENSIONAL, TISSUE, FLOW = 1, 1, 2

log = logging.getLogger(__name__)


def read(path: Path, frame: int = 0) -> np.ndarray:
    """One frame: rescaled, windowed, MONOCHROME1 turned over, palettes and YBR as RGB.

    Without a window the range that its bits can hold becomes [0, 1].

    Returns:
        (H, W) or (H, W, 3) float32 in [0, 1].
    Raises:
        DataError: pydicom is missing; no pixels; a transfer syntax that nothing installed decodes;
            cut, or not DICOM.
    """
    data = _opened(path, frame, pixels=True)
    if str(data.get('BurnedInAnnotation', '')).upper() == 'YES':
        _warn_of_burned_in(path)
    photometric = str(data.get('PhotometricInterpretation', ''))
    pixels = _decoded(data, path, frame)
    if photometric == 'PALETTE COLOR':
        return _palette(pixels, data)
    if pixels.ndim == 3:
        # pydicom has made RGB of YBR.
        return pixels.astype(np.float32) / np.float32(2 ** int(data.BitsStored) - 1)
    if photometric not in ('MONOCHROME1', 'MONOCHROME2'):
        raise DataError(f'{path}: the photometric interpretation {photometric!r} is not known')
    grey = _grey(pixels, data, path)
    return 1 - grey if photometric == 'MONOCHROME1' else grey


def size(path: Path, frame: int = 0) -> tuple[int, int]:
    """Height and width, by the header alone.

    Raises:
        DataError: as of `read`, as far as the header tells.
    """
    data = _opened(path, frame, pixels=False)
    return int(data.Rows), int(data.Columns)


def count_frames(path: Path) -> int:
    """Counts the frames, by the header alone.

    Raises:
        DataError: as of `size`.
    """
    return int(_opened(path, 0, pixels=False).get('NumberOfFrames', 1) or 1)


def region(path: Path) -> Box | None:
    """Reads the largest two-dimensional region of tissue or flow that an ultrasound scanner marked.

    Returns:
        (x0, y0, x1, y1) in pixels, x1 and y1 exclusive; None if no region is marked.
    Raises:
        DataError: as of `size`.
    """
    data = _opened(path, 0, pixels=False)
    boxes = []
    for item in data.get('SequenceOfUltrasoundRegions', ()):
        if item.get('RegionSpatialFormat', TWO_DIMENSIONAL) != TWO_DIMENSIONAL:
            continue
        if item.get('RegionDataType', TISSUE) not in (TISSUE, FLOW):
            continue
        x0, y0 = int(item.RegionLocationMinX0), int(item.RegionLocationMinY0)
        x1 = min(int(item.RegionLocationMaxX1) + 1, int(data.Columns))
        y1 = min(int(item.RegionLocationMaxY1) + 1, int(data.Rows))
        if 0 <= x0 < x1 and 0 <= y0 < y1:
            boxes.append((x0, y0, x1, y1))
    return max(boxes, key=lambda b: (b[2] - b[0]) * (b[3] - b[1]), default=None)


def _opened(path: Path, frame: int, pixels: bool) -> Any:
    try:
        import pydicom
        from pydicom.errors import InvalidDicomError
    except ImportError as error:
        raise DataError(
            f"{path} is DICOM, which pydicom reads; install it with pip install 'ablakit[dicom]'"
        ) from error
    try:
        data = pydicom.dcmread(
            path,
            stop_before_pixels=not pixels,
            specific_tags=[*TAGS, *(PIXELS if pixels else ())],
        )
    except InvalidDicomError as error:
        raise DataError(f'{path} is no DICOM file: it lacks the mark DICM') from error
    lacking = [name for name in ('Rows', 'Columns') if name not in data]
    absent = pixels and not any(name in data for name in PIXELS)
    # pydicom gives nothing at all of a file that ends within its pixels.
    if (absent or lacking) and pixels and PIXEL_TAG in path.read_bytes():
        raise DataError(f'{path} is cut: it ends within its pixels; copy it again or leave it out')
    if lacking or absent:
        kind = getattr(data.get('SOPClassUID'), 'name', '')
        raise DataError(
            f'{path} holds no pixels{f" ({kind})" if kind else ""}; leave it out, or name the '
            'image that it belongs to'
        )
    frames = int(data.get('NumberOfFrames', 1) or 1)
    if not 0 <= frame < frames:
        raise DataError(f'{path} has no frame {frame}; it has {frames}, counted from 0')
    return data


def _decoded(data: Any, path: Path, frame: int) -> np.ndarray:
    from pydicom.pixels import pixel_array

    syntax = data.file_meta.get('TransferSyntaxUID') if hasattr(data, 'file_meta') else None
    _check_whole(data, path, frame, syntax)
    try:
        return pixel_array(data, index=frame)
    except (RuntimeError, NotImplementedError) as error:
        if syntax is not None and _is_decodable(syntax):
            cause = str(error).splitlines()[-1].strip()
            raise DataError(
                f'{path} is compressed as {syntax.name} and cannot be decoded: {cause}; it may be '
                'cut or damaged: copy it again, or try other decoders (pip install pylibjpeg '
                'pylibjpeg-libjpeg pylibjpeg-openjpeg)'
            ) from error
        raise DataError(
            f'{path} is compressed as {getattr(syntax, "name", syntax)}, which nothing that is '
            'installed decodes; install its decoder (pip install pylibjpeg pylibjpeg-libjpeg '
            'pylibjpeg-openjpeg), or store it uncompressed'
        ) from error


def _check_whole(data: Any, path: Path, frame: int, syntax: Any) -> None:
    """Check that the compressed data of a frame end as they must: decoders fill in what is missing.

    Raises:
        DataError: they do not.
    """
    from pydicom.encaps import get_frame

    if syntax is None or not syntax.is_encapsulated or 'PixelData' not in data:
        return
    frames = int(data.get('NumberOfFrames', 1) or 1)
    try:
        content = get_frame(data.PixelData, frame, number_of_frames=frames)
        cut = syntax.name.startswith(MARKED) and not content.rstrip(b'\0').endswith(END_OF_IMAGE)
    except Exception as error:  # a cut structure of fragments raises errors of any class
        raise DataError(
            f'{path} is cut: its compressed pixels lack frame {frame} of {frames} ({error}); copy '
            'it again or leave it out'
        ) from error
    if cut:
        raise DataError(
            f'{path} is cut: the compressed pixels of frame {frame} lack their end; copy it again '
            'or leave it out'
        )


def _is_decodable(syntax: Any) -> bool:
    """Tell whether something that is installed decodes a transfer syntax."""
    from pydicom.pixels import get_decoder

    try:
        return bool(get_decoder(syntax).is_available)
    except NotImplementedError:
        return False


def _grey(pixels: np.ndarray, data: Any, path: Path) -> np.ndarray:
    from pydicom.pixels import apply_modality_lut, apply_voi_lut

    stored = int(data.BitsStored)
    signed = int(data.get('PixelRepresentation', 0))
    low, high = (-(2 ** (stored - 1)), 2 ** (stored - 1) - 1) if signed else (0, 2**stored - 1)
    if data.get('ModalityLUTSequence'):
        low, high = 0, 2 ** int(data.ModalityLUTSequence[0].LUTDescriptor[2]) - 1
    else:
        slope, intercept = (
            float(data.get('RescaleSlope', 1)),
            float(data.get('RescaleIntercept', 0)),
        )
        low, high = sorted((low * slope + intercept, high * slope + intercept))
    values = apply_modality_lut(pixels, data)
    if data.get('VOILUTSequence'):
        values = apply_voi_lut(values.astype(np.int64), data)
        low, high = 0, 2 ** int(data.VOILUTSequence[0].LUTDescriptor[2]) - 1
    elif data.get('WindowWidth') is not None and data.get('WindowCenter') is not None:
        return _apply_window(values.astype(np.float64), data, path)
    if not high > low:
        raise DataError(f'{path}: its rescaling maps all values to {low:g}')
    return ((values - low) / (high - low)).clip(0, 1).astype(np.float32)


def _apply_window(values: np.ndarray, data: Any, path: Path) -> np.ndarray:
    """Applies the first window. Source: DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3."""
    centre, width = _first(data.WindowCenter), _first(data.WindowWidth)
    function = str(data.get('VOILUTFunction', '') or 'LINEAR').upper()
    if not width > (1 if function == 'LINEAR' else 0):
        if function != 'LINEAR' or width != 1:
            raise DataError(f'{path}: its window is {width:g} wide')
        return (values > centre - 0.5).astype(np.float32)
    if function == 'SIGMOID':
        shown = 1 / (1 + np.exp(-4 * (values - centre) / width))
    elif function == 'LINEAR_EXACT':
        shown = (values - centre) / width + 0.5
    else:
        shown = (values - (centre - 0.5)) / (width - 1) + 0.5
    return shown.clip(0, 1).astype(np.float32)


def _palette(pixels: np.ndarray, data: Any) -> np.ndarray:
    from pydicom.pixels import apply_color_lut

    colour = apply_color_lut(pixels, data)
    return colour[..., :3].astype(np.float32) / np.float32(np.iinfo(colour.dtype).max)


def _first(value: Any) -> float:
    return float(value if isinstance(value, (int, float, str)) else next(iter(value), value))


@functools.cache
def _warn_of_burned_in(path: Path) -> None:
    log.warning('%s says that text is burned into its pixels, maybe of a patient', path)
