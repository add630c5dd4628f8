"""Results of one method on the scenes of an archive, read one image at a time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from rasterio.transform import Affine

from plugins.pansharpening.data.archives.array_file import SUFFIXES, ArrayFile
from plugins.pansharpening.data.archives.image_layout import (
    ArrayLayout,
    describe_images,
    find_image_layout,
)
from plugins.pansharpening.data.archives.image_listing import list_images
from plugins.pansharpening.data.archives.scene_archive import INPUT_KEYS
from plugins.pansharpening.scenes.open_scene import ImageFile, read_image
from plugins.pansharpening.scenes.rasters.alignment import RasterGrid
from toolkit.errors import DataError, MissingDataError, ToolkitError
from toolkit.io.data_paths import find_data_file, find_data_folder

RASTERS = ('.tif', '.tiff')
# Names of the result in files that hold several images of its size; `sr` is DLPan's.
RESULT_KEYS = ('sr', 'fused', 'I_fused', 'I_Fus', 'output')


class MethodResults:
    """The results of a method: one file with an image for each scene, or a folder with one a file.

    Args:
        name: of the method.
        path: of the file or folder: absolute, or below $TOOLKIT_DATA, or below the current folder.
        scenes: names of the scenes.
        key: name of the arrays; None to find them by their shape.
    Raises:
        DataError: no such file, or names that do not pair with those of the scenes.
    """

    def __init__(self, name: str, path: str, scenes: Sequence[str], key: str | None = None) -> None:
        self.name, self._key = name, key
        self._count = len(scenes)
        try:
            folder = find_data_folder(path)
            self.files = list_images(folder, (*SUFFIXES, *RASTERS))
            self.pairs = pair_names(list(scenes), [f.stem for f in self.files], folder)
            self._single = None
        except MissingDataError:
            file = find_data_file(path)
            self.files, self.pairs = [file], list(range(self._count))
            rasters = file.suffix.lower() in RASTERS
            if file.suffix.lower() not in (*SUFFIXES, *RASTERS):
                raise DataError(
                    f'{file}: expected results in .h5, .mat, .npy, .npz or .tif, or a folder'
                ) from None
            self._single = None if rasters else ArrayFile(file)
            if rasters and self._count != 1:
                raise DataError(
                    f'{file}: found one image, expected one for each of {self._count} scenes; give '
                    'the folder of the images'
                ) from None

    def read(self, index: int, image: tuple[int, int, int]) -> tuple[ImageFile, str]:
        """Reads the result of a scene.

        Args:
            index: of the scene.
            image: bands, height and width of the scene at the PAN's resolution.
        Returns:
            The image, and its name for messages.
        Raises:
            DataError: it cannot be read, or has another shape.
        """
        path = self.files[self.pairs[index] if self._single is None else 0]
        if path.suffix.lower() in RASTERS:
            return read_image(str(path), image[0]), str(path)
        file = self._single or ArrayFile(path)
        count = None if self._single is None else self._count
        key, layout = self._find(file, count, image)
        values = layout.read(file, key, index)
        where = f'{path}: {key}' + ('' if layout.count is None else f', image {index}')
        return ImageFile(values, None, RasterGrid(*image[1:], None, Affine.identity())), where

    def _find(
        self, file: ArrayFile, count: int | None, image: tuple[int, int, int]
    ) -> tuple[str, ArrayLayout]:
        """Finds the array of the results and its layout."""
        expected = describe_images(count, image)
        shapes = file.shapes
        if self._key is not None and self._key not in shapes:
            raise DataError(
                f'{file.path} has no array {self._key!r}; there are: {", ".join(shapes) or "none"}'
            )
        names = [self._key] if self._key is not None else list(shapes)
        fitting = {}
        for name in names:
            layout = find_image_layout(shapes[name], count, image)
            if layout is None and count == 1:  # a file of one image for the only scene
                layout = find_image_layout(shapes[name], None, image)
            if layout is not None and layout.count in (None, count or 1):
                fitting[name] = layout
        if len(fitting) > 1:  # a file may hold its inputs too
            fitting = {n: s for n, s in fitting.items() if n not in INPUT_KEYS} or fitting
        if len(fitting) > 1:
            fitting = {n: s for n, s in fitting.items() if n in RESULT_KEYS} or fitting
        if len(fitting) != 1:
            found = ', '.join(f'{name} {shape}' for name, shape in shapes.items()) or 'no array'
            asks = '; name one of them by --result-key' if fitting else ''
            raise DataError(
                f'{file.path}: found {found}; expected one array of results, {expected}{asks}'
            )
        return next(iter(fitting.items()))


def parse_results(words: Sequence[str]) -> dict[str, str]:
    """Parses NAME=PATH, or PATH, which is named after its file or folder.

    Raises:
        ToolkitError: an empty name or path, or a name that is given twice.
    """
    found: dict[str, str] = {}
    for word in words:
        name, equals, path = word.partition('=')
        if not equals:
            name, path = Path(word).stem, word
        if not name or not path:
            raise ToolkitError(f'--results: found {word!r}, expected NAME=PATH')
        if name in found:
            raise ToolkitError(f'--results: found the method {name!r} twice; give other names')
        found[name] = path
    return found


def pair_names(scenes: list[str], images: list[str], where: Path) -> list[int]:
    """Finds the image of each scene: by equal names, or by the numbers in the names.

    Numbers may begin at 0 here and at 1 there, as in DLPan's files, if both count without a gap.

    Args:
        scenes: names of the scenes.
        images: names of the images.
        where: the folder of the images, for messages.
    Raises:
        DataError: another number of images than of scenes, or names that do not pair.
    """
    if len(scenes) != len(images):
        raise DataError(
            f'{where}: found {len(images)} images, expected {len(scenes)}, one for each scene'
        )
    if len(scenes) == 1:
        return [0]
    by_name = {name: place for place, name in enumerate(images)}
    if set(by_name) == set(scenes):
        return [by_name[name] for name in scenes]
    within = [_find_containing(name, images) for name in scenes]
    if None not in within and len(set(within)) == len(images):
        return [place for place in within if place is not None]
    numbers = [_find_number(names) for names in (scenes, images)]
    if numbers[0] is not None and numbers[1] is not None:
        own, other = numbers
        by_number = {number: place for place, number in enumerate(other)}
        if set(own) == set(other):
            return [by_number[number] for number in own]
        if _counts_on(own) and _counts_on(other) and {min(own), min(other)} == {0, 1}:
            shift = min(other) - min(own)
            return [by_number[number + shift] for number in own]
    raise DataError(
        f'{where}: found images named {_list_few(images)}, which do not pair with the scenes '
        f'{_list_few(scenes)}; expected the same names or the same numbers'
    )


def _find_containing(name: str, images: list[str]) -> int | None:
    """Finds the only image whose name holds that of a scene, not as part of a longer number."""
    pattern = re.compile(rf'(?<![0-9A-Za-z]){re.escape(name)}(?![0-9A-Za-z])')
    found = [place for place, image in enumerate(images) if pattern.search(image)]
    return found[0] if len(found) == 1 else None


def _find_number(names: list[str]) -> list[int] | None:
    """Finds the number by which the names differ; None if they differ in more than one."""
    parts = [re.findall(r'\d+', name) for name in names]
    texts = {re.sub(r'\d+', '#', name) for name in names}
    if len(texts) != 1 or not parts[0]:
        return None
    columns = [[int(part) for part in column] for column in zip(*parts) if len(set(column)) > 1]
    if len(columns) != 1 or len(set(columns[0])) != len(names):
        return None
    return columns[0]


def _counts_on(numbers: list[int]) -> bool:
    return sorted(numbers) == list(range(min(numbers), min(numbers) + len(numbers)))


def _list_few(names: list[str]) -> str:
    return ', '.join(names[:3]) + (', ...' if len(names) > 3 else '')
