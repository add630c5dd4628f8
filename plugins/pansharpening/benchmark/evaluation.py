"""Scores one sharpened image of a scene by every index that the data allow."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from plugins.pansharpening.benchmark.conventions import CONVENTIONS, CUT, Convention
from plugins.pansharpening.imaging.registration import register
from plugins.pansharpening.metrics.reference import ReferenceMetric
from plugins.pansharpening.metrics.score_image import (
    NO_REFERENCE,
    REFERENCE,
    REPROJECTION,
    build_metrics,
    get_directions,
    read_batch,
    score_image,
)
from plugins.pansharpening.scenes.open_scene import ImageFile, read_image
from plugins.pansharpening.scenes.rasters.alignment import RasterGrid, align
from plugins.pansharpening.scenes.scene import Scene, check_finite
from plugins.pansharpening.scenes.window import Window
from toolkit.errors import DataError

TOOLBOX = CONVENTIONS['toolbox']


def evaluate(
    scene: Scene,
    fused: str,
    reference: str | None = None,
    further: Sequence[str] = (),
    outside: bool = False,
    convention: Convention = TOOLBOX,
) -> dict[str, Any]:
    """Scores an image by every index that the files allow, on the pixels valid in all of them.

    The indices are the registered metrics of these names, computed in float64 on the whole image.

    Args:
        scene: the MS and the PAN of the image.
        fused: path of the image, in digital numbers, on the PAN's pixels.
        reference: path of the true image, likewise; None to leave its indices out.
        further: names of registered metrics that are computed too.
        outside: a VRT may name files outside its folder and on the network.
        convention: of the evaluation.
    Returns:
        `scores` by name (NaN if an index is not defined), `better` ('higher' or 'lower') by name,
        their inputs `fused`, `reference`, `scene`, `sensor`, `bit_depth`, `ratio`, `bands`,
        `convention`, `window` (row, column, height, width in the scene's PAN pixels), `valid`
        (share of pixels with data), `registration` (shift of the MS against the PAN, see
        `Registration`), and `warnings` (missing scores with the reason, and a shift that is large).
    Raises:
        DataError: the files cannot be read or do not match, hold NaN or infinite values, or have
            no valid pixel in common.
    """
    images = {fused: read_image(fused, scene.bands, outside)}
    if reference is not None:
        images[reference] = read_image(reference, scene.bands, outside)
    truth = images[reference] if reference is not None else None
    names = (*(REFERENCE if reference is not None else ()), *NO_REFERENCE, *REPROJECTION, *further)
    prepared = PreparedImage(scene, images[fused], fused, truth, reference or '')
    scores, better, messages = prepared.score(names, convention)
    warnings = prepared.warn_of_units()
    warnings += scene.notes
    if scene.holds_fractions:
        warnings.append(scene.describe_fractions())
    if scene.sensor.assumed:
        warnings.append(scene.sensor.describe_assumption())
    warnings += messages
    registration = register(scene)
    warnings += registration.list_warnings(scene.name)
    valid = prepared.valid
    return {
        'scores': scores,
        'better': better,
        'fused': fused,
        'reference': reference,
        'scene': scene.name,
        'sensor': scene.sensor.name,
        'bit_depth': scene.bits,
        'ratio': scene.ratio,
        'bands': scene.bands,
        'convention': convention.name,
        'window': list(prepared.window),
        'valid': 1.0 if valid is None else float(valid.mean()),
        'registration': registration._asdict(),
        'warnings': warnings,
    }


class PreparedImage:
    """An image with its scene on the pixels that both cover, ready to be scored.

    Args:
        scene: the MS and the PAN of the image.
        fused: the image in digital numbers.
        name: of the image, for messages.
        reference: the true image; None if there is none.
        reference_name: of the true image, for messages.
    Raises:
        DataError: images that do not match, NaN or infinite values, or no valid pixel in common.

    Attributes:
        window: row, column, height and width in the scene's PAN pixels.
        valid: (H, W) bool, pixels with data; None for all.
    """

    def __init__(
        self,
        scene: Scene,
        fused: ImageFile,
        name: str,
        reference: ImageFile | None = None,
        reference_name: str = '',
    ) -> None:
        self.scene, self.name = scene, name
        images = {name: fused}
        if reference is not None:
            images[reference_name] = reference
        regions = {key: _locate(image, scene, key) for key, image in images.items()}
        self.window = _intersect([region for region, _ in regions.values()], scene, name)
        valid = scene.read_mask(self.window)
        crops = {}
        for key, image in images.items():
            region, origin = regions[key]
            part = self.window.relative_to(region).shift(*origin)
            values = part.cut(image.values)
            check_finite(values, key)
            crops[key] = values.astype(np.float64) / scene.scale
            if image.valid is not None:
                own = part.cut(image.valid)
                valid = own if valid is None else valid & own
        if valid is not None and not valid.any():
            raise DataError(f'{name}: found no pixel that is valid in all files')
        self.valid = None if valid is None or valid.all() else valid
        self.fused = crops[name]
        self.batch = read_batch(scene, self.window, self.valid)
        if reference is not None:
            self.batch['hrms'] = torch.from_numpy(crops[reference_name])[None]

    def score(
        self, names: Sequence[str], convention: Convention = TOOLBOX
    ) -> tuple[dict[str, float], dict[str, str], list[str]]:
        """Scores the image.

        Args:
            names: of the registered metrics.
            convention: of the evaluation.
        Returns:
            Scores by name (NaN if an index is not defined), 'higher' or 'lower' by name, and a
            message for each score without a value.
        """
        metrics = build_metrics(names, convention.options)
        fused = convention.adapt(self.fused)
        if not convention.cuts:
            scores, messages = score_image(metrics, fused, self.batch)
            return scores, get_directions(metrics), messages
        scores, messages = {}, []
        first, last = CUT
        inner = (..., slice(first, -last), slice(first, -last))
        for metric in metrics:
            cut, batch = fused, self.batch
            if isinstance(metric, ReferenceMetric):
                if min(fused.shape[1:]) <= first + last:
                    height, width = fused.shape[1:]
                    raise DataError(
                        f'{self.name}: found {height} x {width} pixels, of which the convention '
                        f'{convention.name} leaves none; choose another one'
                    )
                cut = np.ascontiguousarray(fused[inner])
                batch = {**batch, **{k: batch[k][inner] for k in ('hrms', 'mask') if k in batch}}
            found, why = score_image([metric], cut, batch)
            scores |= found
            messages += why
        return scores, get_directions(metrics), messages

    def warn_of_units(self) -> list[str]:
        """Returns a warning if the image seems to have other units than the MS."""
        ms, fused, valid = self.batch['lrms'][0].numpy(), self.fused, self.valid
        mean = float(fused.mean() if valid is None else fused[:, valid].mean())
        expected = float(ms[:, (ms > 0).any(0)].mean()) if ms.any() else 0.0
        if expected == 0 or 0.5 <= mean / expected <= 2:
            return []
        scale = self.scene.scale
        return [
            f'{self.name} has the mean {mean * scale:.4g} and the MS {expected * scale:.4g}; the '
            'scores mean something only if both are in the same digital numbers'
        ]


def _locate(image: ImageFile, scene: Scene, name: str) -> tuple[Window, tuple[int, int]]:
    """Finds the part of the PAN grid that the image covers, and its first row and column there."""
    georeference = scene.georeference
    size = image.grid[:2]
    if georeference is None or not image.grid.located:
        if size != scene.pan_shape:
            height, width = scene.pan_shape
            raise DataError(
                f'{name}: found {size[0]} x {size[1]} pixels without georeference, the PAN has '
                f'{height} x {width}; expected the same size, or georeferences in all files'
            )
        return Window(0, 0, *size), (0, 0)
    pan = RasterGrid(*scene.pan_shape, *georeference)
    try:
        found = align(image.grid, pan, 1, name)
    except DataError as error:
        raise _misaligned(name, image.grid, pan) from error
    if found.ms_origin is None or image.grid.crs != pan.crs:
        raise _misaligned(name, image.grid, pan)
    return Window(*found.pan_origin, *found.shape), found.ms_origin


def _misaligned(name: str, image: RasterGrid, pan: RasterGrid) -> DataError:
    return DataError(
        f'{name}: found pixels of {image.pixel()} that do not lie on those of the PAN, '
        f'{pan.pixel()}; expected an image on the PAN grid, in its coordinate system'
    )


def _intersect(windows: list[Window], scene: Scene, name: str) -> Window:
    """Intersects windows, cropped to whole MS pixels."""
    ratio = scene.ratio
    shared = functools.reduce(Window.intersect, windows).covered(ratio).enlarged(ratio)
    if not shared.pixels:
        raise DataError(f'{name}: found no MS pixel that all files cover')
    return shared
