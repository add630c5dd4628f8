"""Scores the results of several methods on all scenes of an archive."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from plugins.pansharpening.benchmark.conventions import Convention
from plugins.pansharpening.benchmark.evaluation import PreparedImage
from plugins.pansharpening.data.archives.method_results import MethodResults
from plugins.pansharpening.data.archives.scene_archive import ArchivedScene, SceneArchive
from plugins.pansharpening.inference.thread_pool import run_workers
from plugins.pansharpening.metrics.score_image import NO_REFERENCE, REFERENCE, REPROJECTION
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.scenes.window import Window
from toolkit.errors import DataError, ToolkitError

THUMBNAIL = 16  # pixels a side of the copies by which an image is told from those of other scenes
# An image is taken for one of another scene if its copy correlates by so much more with that.
MARGIN = 0.2
LEAST_SIMILARITY = 0.5
LEAST_CELLS = 32  # pixels of a copy with data from which it is compared


class SceneScore(NamedTuple):
    """Scores of one image.

    Attributes:
        scores: by convention and index.
        better: 'higher' or 'lower' by convention and index.
        messages: about scores without a value and images that look wrong.
        where: name of the image, for messages.
    """

    scores: dict[str, dict[str, float]]
    better: dict[str, dict[str, str]]
    messages: list[str]
    where: str


@dataclass(frozen=True)
class BenchmarkScores:
    """Scores of methods on scenes.

    Attributes:
        scenes: names of the scenes.
        values: scores of a convention, a method and an index, one for each scene; NaN if undefined.
        better: 'higher' or 'lower' by convention and index.
        messages: about scores without a value and images that look wrong.
    """

    scenes: tuple[str, ...]
    values: dict[tuple[str, str, str], tuple[float, ...]]
    better: dict[str, dict[str, str]]
    messages: tuple[str, ...]

    @property
    def conventions(self) -> list[str]:
        return list(self.better)

    @property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(method for _, method, _ in self.values))

    def indices(self, convention: str) -> list[str]:
        """Lists the names of the indices of a convention."""
        return list(self.better[convention])


def choose_indices(
    archive: SceneArchive, chosen: Sequence[str], further: Sequence[str] = ()
) -> tuple[str, ...]:
    """Chooses the indices: the chosen ones, or by whether the scenes have a reference.

    Args:
        archive: of the scenes.
        chosen: names of metrics; 'reference', 'full' and 'all' stand for all of a kind.
        further: names of more metrics.
    Raises:
        ToolkitError: an index needs a reference, and the scenes have none.
    """
    referenced = archive.open(0).reference is not None
    groups: Mapping[str, tuple[str, ...]] = {
        'reference': REFERENCE,
        'full': NO_REFERENCE,
        'all': (*(REFERENCE if referenced else ()), *NO_REFERENCE, *REPROJECTION),
    }
    names = chosen or ['reference' if referenced else 'full']
    names = [n for name in names for n in groups.get(name, (name,))]
    found = tuple(dict.fromkeys((*names, *further)))
    wanting = [name for name in found if name in REFERENCE and not referenced]
    if wanting:
        raise ToolkitError(
            f'{archive.path}: found no reference, which {", ".join(wanting)} compare with; choose '
            'among --indices full, or give data with a reference'
        )
    return found


def score_methods(
    archive: SceneArchive,
    methods: Sequence[MethodResults],
    indices: Sequence[str],
    conventions: Sequence[Convention],
    workers: int | None = None,
    advance: Callable[[], None] = lambda: None,
) -> BenchmarkScores:
    """Scores all images, a few at a time.

    Args:
        archive: of the scenes.
        methods: their results.
        indices: names of registered metrics.
        conventions: of the evaluation.
        workers: threads that compute; None for one a core.
        advance: called after each image.
    Raises:
        DataError: an image cannot be read, has another shape, type or range than its scene, or
            shows another scene; or scenes differ in having a reference.
    """
    scenes = range(len(archive.names))
    with run_workers(workers) as pool:
        copies = list(pool.map(lambda index: _copy_scene(archive.open(index), archive), scenes))
        with_reference = {referenced for _, referenced in copies}
        if len(with_reference) > 1:
            missing = [n for n, (_, r) in zip(archive.names, copies) if not r]
            raise DataError(
                f'{archive.path}: found a reference for some scenes, but none for '
                f'{", ".join(missing[:3])}; expected one for all or for none'
            )
        thumbnails = np.stack([copy for copy, _ in copies])
        values: dict[tuple[str, str, str], list[float]] = {}
        better: dict[str, dict[str, str]] = {}
        images: dict[str, list[str]] = {}  # by message
        for method in methods:

            def work(index: int, method: MethodResults = method) -> SceneScore:
                return _score_scene(archive, index, method, thumbnails, indices, conventions)

            for found in pool.map(work, scenes):
                advance()
                better |= found.better
                for message in found.messages:
                    images.setdefault(message, []).append(found.where)
                for convention, scores in found.scores.items():
                    for index, value in scores.items():
                        values.setdefault((convention, method.name, index), []).append(value)
    return BenchmarkScores(
        tuple(archive.names),
        {key: tuple(row) for key, row in values.items()},
        better,
        tuple(_name_images(message, where) for message, where in images.items()),
    )


def _score_scene(
    archive: SceneArchive,
    index: int,
    method: MethodResults,
    thumbnails: np.ndarray,
    indices: Sequence[str],
    conventions: Sequence[Convention],
) -> SceneScore:
    found = archive.open(index)
    scene = found.scene
    image, where = method.read(index, (scene.bands, *scene.pan_shape))
    if image.values.dtype.kind not in 'uif':
        raise DataError(f'{where}: found values of type {image.values.dtype}, expected numbers')
    prepared = PreparedImage(scene, image, where, found.reference, found.reference_name)
    if units := prepared.warn_of_units():
        raise DataError(f'{units[0]}; save the results in digital numbers')
    messages = _check_scene(prepared, thumbnails, index, archive.names, where)
    scores, better = {}, {}
    for convention in conventions:
        scores[convention.name], better[convention.name], undefined = prepared.score(
            indices, convention
        )
        messages += undefined
    return SceneScore(scores, better, list(dict.fromkeys(messages)), where)


def _name_images(message: str, images: Sequence[str]) -> str:
    more = f' and {len(images) - 1} more' if len(images) > 1 else ''
    return f'{images[0]}{more}: {message}'


def _copy_scene(found: ArchivedScene, archive: SceneArchive) -> tuple[np.ndarray, bool]:
    """Makes a small copy of the MS of a scene, and tells whether the scene has a reference."""
    scene: Scene = found.scene
    return make_thumbnail(scene.read_ms()), found.reference is not None


def make_thumbnail(image: np.ndarray) -> np.ndarray:
    """Makes a small copy of an image: (C, H, W) -> (256,)."""
    grey = torch.from_numpy(np.ascontiguousarray(image.mean(0), dtype=np.float64))[None, None]
    return F.adaptive_avg_pool2d(grey, THUMBNAIL).flatten().numpy()


def correlate(thumbnails: np.ndarray, thumbnail: np.ndarray) -> np.ndarray:
    """Correlates a small copy with each of several, (N, n) and (n,); 0 for a constant one."""
    a, b = thumbnails - thumbnails.mean(1, keepdims=True), thumbnail - thumbnail.mean()
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b)
    return np.divide(a @ b, norms, out=np.zeros(len(a)), where=norms > 0)


def _check_scene(
    prepared: PreparedImage,
    thumbnails: np.ndarray,
    index: int,
    names: Sequence[str],
    where: str,
) -> list[str]:
    """Checks that an image shows its own scene rather than another one of the archive.

    Where the image has no data it is not compared; one of a part of its scene is compared with that
    part alone.

    Returns:
        A message if it resembles none.
    Raises:
        DataError: it shows another one.
    """
    fused, valid = make_thumbnail(prepared.fused), prepared.valid
    if prepared.window != Window.whole(prepared.scene.pan_shape):
        thumbnails, index, names = (
            make_thumbnail(prepared.batch['lrms'][0].numpy())[None],
            0,
            [names[index]],
        )
    if valid is not None:
        known = make_thumbnail(valid[None]) == 1
        if known.sum() < LEAST_CELLS:
            return []
        thumbnails, fused = thumbnails[:, known], fused[known]
    similar = correlate(thumbnails, fused)
    best = int(similar.argmax())
    own = float(similar[index])
    if similar[best] > own + MARGIN and similar[best] > LEAST_SIMILARITY:
        raise DataError(
            f'{where}: the image shows the scene {names[best]} (its brightness correlates by '
            f'{similar[best]:.2f}) rather than {names[index]} ({own:.2f}), its own; '
            'the archives of one benchmark can hold other scenes in another order: give the data '
            'that the results were made of'
        )
    if own < LEAST_SIMILARITY and not math.isclose(own, 0.0, abs_tol=1e-12):
        return [f'the image hardly resembles its scene {names[index]} ({own:.2f})']
    return []
