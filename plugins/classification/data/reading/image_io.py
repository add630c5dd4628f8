"""Reads images of common formats as float32 in [0, 1]."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from plugins.classification.data.reading import dicom
from plugins.classification.image_record import Box
from toolkit.errors import DataError, MissingDataError, ToolkitError

# Names of files that a folder is searched for.
SUFFIXES = ('.png', '.jpg', '.jpeg', '.tif', '.tiff', '.bmp', '.webp', '.npy', '.dcm')

# Full scale of whole numbers of more than 8 bits, unless another is stated.
WIDE = 65535
# Weights of red, green and blue in the luminance: ITU-R BT.601, as in Pillow's own conversion.
LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
# Value of TIFF's tag SampleFormat.
SIGNED = 2


def read_image(path: str | Path, frame: int = 0, full_scale: int | None = None) -> np.ndarray:
    """Reads an image, rotated upright by its EXIF tag.

    PNG, JPEG (2000), TIFF, BMP, GIF, WebP and others of Pillow; `.npy` of (H, W) or
    (H, W, 1 | 3 | 4); DICOM with the extra `dicom`. Grey of 1, 8 and 16 bits, RGB, RGBA, palettes
    and CMYK; transparent pixels become black.

    Args:
        path: path of the file.
        frame: number of the frame in a file with several, from 0.
        full_scale: value that becomes 1 in whole numbers of more than 8 bits, such as 4095 of 12
            bits; None for 65535. DICOM states its own.
    Returns:
        (H, W) or (H, W, 3) float32 in [0, 1].
    Raises:
        DataError: the file is missing, empty, cut or no image, or its range of values is unknown.
    """
    path = Path(path)
    kind = _kind(path)
    with _reading(path):
        if kind == 'dicom':
            return dicom.read(path, frame)
        if kind == 'npy':
            return _array(np.load(path, allow_pickle=False), path, frame, full_scale)
        with _opened(path, frame) as image:
            # Of 8 bits, Pillow itself turns over a TIFF in which 0 is white.
            inverted = image.mode.startswith('I;16') and _photometric(image) == 0
            pixels = _pixels(ImageOps.exif_transpose(image), path, full_scale)
            return 1 - pixels if inverted else pixels


def convert_image(
    image: np.ndarray | Image.Image, name: str, full_scale: int | None = None
) -> np.ndarray:
    """Converts an image in memory as `read_image` converts the same image in a file.

    Args:
        image: array of (H, W) or (H, W, 1 | 3 | 4), or an image of Pillow.
        name: for messages.
        full_scale: see `read_image`.
    Returns:
        (H, W) or (H, W, 3) float32 in [0, 1].
    Raises:
        DataError: another shape, or a range of values that is not known.
    """
    if isinstance(image, Image.Image):
        return _pixels(ImageOps.exif_transpose(image), Path(name), full_scale)
    return _array(image, Path(name), 0, full_scale)


def read_image_size(path: str | Path, frame: int = 0) -> tuple[int, int]:
    """Reads the height and width of an image that `read_image` returns, without decoding it.

    Raises:
        DataError: see `read_image`, as far as the header tells.
    """
    path = Path(path)
    kind = _kind(path)
    with _reading(path):
        if kind == 'dicom':
            return dicom.size(path, frame)
        if kind == 'npy':
            values = np.load(path, mmap_mode='r', allow_pickle=False)
            return _array(values, path, frame, None, check=False).shape[:2]
        with _opened(path, frame) as image:
            width, height = image.size
            # The class's own: that of PNG decodes the image. Orientations 5 to 8 lie on their side.
            turned = Image.Image.getexif(image).get(0x0112, 1) >= 5
            return (width, height) if turned else (height, width)


def count_frames(path: str | Path) -> int:
    """Counts the images in a file: frames of DICOM and animations, pages of TIFF.

    The further images of a JPEG (MPO) do not count: they are previews and depth maps of the first.

    Raises:
        DataError: as of `read_image_size`.
    """
    path = Path(path)
    kind = _kind(path)
    with _reading(path):
        if kind == 'dicom':
            return dicom.count_frames(path)
        if kind == 'npy':
            return 1
        with _opened(path, 0) as image:
            return 1 if image.format == 'MPO' else getattr(image, 'n_frames', 1)


def has_wide_values(path: str | Path) -> bool:
    """Tells whether an image has whole numbers of more than 8 bits, whose full scale it lacks.

    Raises:
        DataError: see `read_image_size`.
    """
    path = Path(path)
    kind = _kind(path)
    with _reading(path):
        if kind == 'dicom':
            return False
        if kind == 'npy':
            dtype = np.load(path, mmap_mode='r', allow_pickle=False).dtype
            return dtype.kind in 'iu' and dtype != np.uint8
        with _opened(path, 0) as image:
            return image.mode.startswith('I')


def read_image_region(path: str | Path) -> Box | None:
    """Reads the largest region that an ultrasound scanner has marked as the image.

    Returns:
        (x0, y0, x1, y1) in pixels; None if no region is marked or the file is not DICOM.
    Raises:
        DataError: see `read_image_size`.
    """
    path = Path(path)
    if _kind(path) != 'dicom':
        return None
    with _reading(path):
        return dicom.region(path)


def to_channels(image: np.ndarray, channels: int) -> np.ndarray:
    """Converts an image to one channel or three.

    Args:
        image: (H, W) or (H, W, 3).
        channels: 1, by luminance, or 3.
    Returns:
        (channels, H, W), contiguous only where nothing had to be repeated.
    Raises:
        ValueError: another number of channels.
    """
    if channels not in (1, 3):
        raise ValueError(f'channels must be 1 or 3, found {channels}')
    if image.ndim == 2:
        return np.broadcast_to(image, (channels, *image.shape))
    if channels == 3:
        return np.ascontiguousarray(image.transpose(2, 0, 1))
    return (image @ LUMA)[None]


def is_dicom(path: Path) -> bool:
    """Tells whether a file is DICOM, by its first bytes or its suffix."""
    return _kind(path) == 'dicom'


def _kind(path: Path) -> str:
    """Determines the reader of a file: 'dicom', 'npy' or 'pillow'."""
    try:
        if not path.is_file():
            raise MissingDataError(f'no file {path}')
        with path.open('rb') as file:
            start = file.read(132)
    except OSError as error:
        raise DataError(f'{path} cannot be read: {error.strerror}') from error
    if not start:
        raise DataError(f'{path} is empty (0 bytes); copy it again or leave it out')
    if start[128:] == b'DICM' or path.suffix.lower() in ('.dcm', '.dicom'):
        return 'dicom'
    return 'npy' if start.startswith(b'\x93NUMPY') or path.suffix == '.npy' else 'pillow'


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turns errors inside the block into a DataError that names the file."""
    try:
        yield
    except ToolkitError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(
            f'{path} is no image that can be read, or is cut; expected PNG, JPEG, JPEG 2000, TIFF, '
            'BMP, GIF, WebP, .npy or DICOM'
        ) from error
    except (Image.DecompressionBombError, MemoryError) as error:
        raise DataError(f'{path} is too large to be read: {error}') from error
    except Exception as error:  # decoders raise whatever they stumble over in a damaged file
        cause = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f'{path} cannot be read: {cause}; it may be cut: copy it again or leave it out'
        ) from error


# -- Pillow --------------------------------------------------------------------------------------


@contextlib.contextmanager
def _opened(path: Path, frame: int) -> Iterator[Image.Image]:
    with Image.open(path) as image:
        frames = getattr(image, 'n_frames', 1)
        if not 0 <= frame < frames:
            raise make_frame_error(path, frame, frames)
        if frame:
            image.seek(frame)
        if image.mode == 'L' and SIGNED in getattr(image, 'tag_v2', {}).get(339, ()):
            # Pillow gives -1 as 255.
            raise DataError(f'{path}: found 8-bit values with a sign; save them without sign')
        yield image


def _photometric(image: Image.Image) -> int | None:
    """Returns the TIFF tag that is 0 if zeros are white."""
    return getattr(image, 'tag_v2', {}).get(262)


def _pixels(image: Image.Image, path: Path, full_scale: int | None = None) -> np.ndarray:
    mode = image.mode
    if mode in ('1', 'L') and 'transparency' not in image.info:
        return np.asarray(image, dtype=np.float32) / np.float32(255 if mode == 'L' else 1)
    if mode.startswith('I;16') or mode in ('I', 'F'):
        return _unit(np.asarray(image), path, full_scale)
    if 'transparency' in image.info or mode in ('RGBA', 'LA', 'PA', 'RGBa', 'La'):
        return _on_black(np.asarray(image.convert('RGBA'), dtype=np.float32) / np.float32(255))
    return np.asarray(image.convert('RGB'), dtype=np.float32) / np.float32(255)


def _on_black(colour: np.ndarray) -> np.ndarray:
    """(H, W, 4) -> (H, W, 3)."""
    return colour[..., :3] * colour[..., 3:]


def _array(
    values: np.ndarray, path: Path, frame: int, full_scale: int | None = None, check: bool = True
) -> np.ndarray:
    colour = values.ndim == 3 and values.shape[2] in (1, 3, 4)
    if not (values.ndim == 2 or colour) or 0 in values.shape:
        shape = ' x '.join(map(str, values.shape))
        raise DataError(f'{path}: found an array {shape}, expected H x W or H x W x 1, 3 or 4')
    if frame:
        raise make_frame_error(path, frame, 1)
    pixels = _unit(values, path, full_scale) if check else values
    if colour and pixels.shape[2] == 4:
        return _on_black(pixels)
    return pixels[..., 0] if colour and pixels.shape[2] == 1 else pixels


def _unit(values: np.ndarray, path: Path, full_scale: int | None) -> np.ndarray:
    """Converts numbers to float32 in [0, 1] by the range of their type, or by the full scale."""
    kind = values.dtype
    if kind.kind == 'b':
        return values.astype(np.float32)
    if kind == np.uint8 or (kind == np.uint16 and full_scale is None):
        return values.astype(np.float32) / np.float32(np.iinfo(kind).max)
    if kind.kind not in 'fiu':
        raise DataError(f'{path}: found values of type {kind}, expected numbers')
    low, high = float(values.min()), float(values.max())
    if kind.kind == 'f':
        if not 0 <= low <= high <= 1:  # NaN fails it too
            raise DataError(
                f'{path}: found values from {low:g} to {high:g}; expected [0, 1] for {kind}, so '
                'scale them or save them as 8 or 16 bits'
            )
        return values.astype(np.float32)
    if not 0 <= low <= high <= 65535:
        raise DataError(
            f'{path}: found {kind} values from {low:g} to {high:g}, whose full scale is not known; '
            'save them as 8 or 16 bits without sign'
        )
    # Pillow gives 16 bits so in some formats.
    full_scale = WIDE if full_scale is None else full_scale
    if high > full_scale:
        raise DataError(
            f'{path}: found the value {high:g}, above the full scale of {full_scale} (full_scale)'
        )
    return values.astype(np.float32) / np.float32(full_scale)


def make_frame_error(path: Path, frame: int, frames: Any) -> DataError:
    """Makes the error for a frame that does not exist."""
    return DataError(f'{path} has no frame {frame}; it has {frames}, counted from 0')
