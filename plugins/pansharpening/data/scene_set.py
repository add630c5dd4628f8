"""Scenes of a manifest as datasets; a scene is opened when it is used."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, overload

from plugins.pansharpening.data.identities import collect_identities
from plugins.pansharpening.data.splits import select_rows
from plugins.pansharpening.data.wald_protocol import ReducedScene
from plugins.pansharpening.data.whole_scenes import (
    Protocol,
    Sample,
    SceneDataset,
    scene_sample,
    whole,
)
from plugins.pansharpening.scenes.manifest import SceneRow, read_manifest
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.scenes.window import Window
from toolkit.errors import ToolkitError
from toolkit.interfaces import Identities
from toolkit.ranges import PositiveInt
from toolkit.registry import DATASETS

# Scenes that are held at a time; what each keeps of its files is small, but not nothing.
KEPT = 16


class SceneSet(Sequence[Scene]):
    """Scenes of a manifest by number. All have the same bands and the same ratio.

    Args:
        rows: of the manifest.
        digest: a hash of the manifest, or of the splits that chose the rows.
        protocol: 'reduced' for scenes brought down by Wald's protocol.
    Raises:
        ToolkitError: with all scenes that cannot be opened, differ from the manifest, or
            differ from the first.
    """

    def __init__(self, rows: Sequence[SceneRow], digest: str, protocol: Protocol) -> None:
        if protocol not in ('full', 'reduced'):
            raise ValueError(f"protocol must be 'full' or 'reduced', found {protocol!r}")
        self.rows, self.digest, self.protocol = tuple(rows), digest, protocol
        self._open: OrderedDict[int, Scene] = OrderedDict()
        self._check()

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Scene: ...
    @overload
    def __getitem__(self, index: slice) -> list[Scene]: ...

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[index]
        scene = self._open.get(index)
        if scene is None:
            scene = self.rows[index].open()
            if self.protocol == 'reduced':
                scene = ReducedScene(scene)
                scene.name = self.rows[index].name
            self._open[index] = scene
            if len(self._open) > KEPT:
                self._open.popitem(last=False)
        self._open.move_to_end(index)
        return scene

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, '_open': OrderedDict()}  # loaders' processes open their own

    def release(self) -> None:
        """Closes the open scenes."""
        self._open.clear()

    def fingerprint(self) -> str:
        """A short hash of the manifest or the splits, and of all files."""
        digest = hashlib.sha256(self.digest.encode())
        for scene in self:
            digest.update(scene.fingerprint().encode())
        return digest.hexdigest()[:16]

    def _check(self) -> None:
        problems = []
        expected: tuple[int, int, bool] | None = None
        for number, row in enumerate(self.rows):
            try:
                scene = self[number]
                scene.read_ms(Window(0, 0, 1, 1))
                scene.read_pan(Window(0, 0, 1, 1))
                if scene.has_reference and self.protocol == 'full':
                    scene.read_reference(Window(0, 0, 1, 1))
            except (ToolkitError, ValueError) as error:
                told = str(error)
                problems.append(
                    told if told.startswith(row.location) else f'{row.location}: {told}'
                )
                continue
            found = (scene.bands, scene.ratio, scene.has_reference)
            expected = expected or found
            if found[:2] != expected[:2]:
                problems.append(
                    f'{row.location}: {row.name} has {found[0]} bands at ratio {found[1]}, but '
                    f'{self.rows[0].name} has {expected[0]} at {expected[1]}; the scenes of a '
                    'dataset are alike, so keep others in a split or manifest of their own'
                )
            elif found[2] != expected[2]:
                problems.append(
                    f'{row.location}: {row.name} has {"a" if found[2] else "no"} reference, but '
                    f'{self.rows[0].name} has {"one" if expected[2] else "none"}; give all scenes '
                    'of a split one, or none'
                )
        if problems:
            raise ToolkitError('\n'.join(problems))


def read_scenes(
    manifest: str, split: str | None, splits: str | None, protocol: Protocol, outside: bool
) -> SceneSet:
    """Opens the scenes of a dataset.

    Raises:
        ToolkitError: the manifest has mistakes; or see `SceneSet` and `select_rows`.
    """
    rows, digest = select_rows(read_manifest(manifest, outside), splits, split)
    return SceneSet(rows, digest, protocol)


class ManifestData(SceneDataset):
    """Base class of datasets of a manifest."""

    scenes: SceneSet
    split: str | None

    def fingerprint(self) -> str:
        """A hash of the manifest or its splits, and of all files."""
        return self.scenes.fingerprint()

    def release(self) -> None:
        self.scenes.release()


@DATASETS.register
class ManifestScenes(ManifestData):
    """Dataset of whole scenes of a manifest, one sample each; see `WholeScene`.

    A test then has one row for each scene, and their mean.

    Args:
        manifest: CSV file with a row for each scene (docs/pansharpening); absolute, or below
            $TOOLKIT_DATA, or from here.
        split: which of its scenes; None for all.
        splits: file that `toolkit split` has written; None where the manifest has a column `split`.
        protocol: 'full' for the scenes as they are, with `hrms` where the manifest names a
            reference; 'reduced' for Wald's protocol, with their own MS as the reference.
        crop: use only the upper left corner, so many PAN pixels high and wide.
        outside: paths in the manifest may leave its folder.
    Raises:
        ToolkitError: mistakes in the manifest, scenes that cannot be read or are not what it
            states, splits that do not belong to it.
        ValueError: arguments out of range.
    """

    def __init__(
        self,
        manifest: str,
        split: str | None = None,
        splits: str | None = None,
        protocol: Protocol = 'full',
        crop: PositiveInt | None = None,
        outside: bool = False,
    ) -> None:
        self.split = split
        # Of the scenes as they are: what is reduced, is reduced as a whole when it is looked at.
        self.scenes = read_scenes(manifest, split, splits, 'full', outside)
        self.protocol = protocol
        self.windows = [whole(scene, protocol, crop) for scene in self.scenes]
        self.bands, self.ratio = self.scenes[0].bands, self.scenes[0].ratio

    def __len__(self) -> int:
        return len(self.scenes)

    def identities(self, content: bool = True) -> dict[str, Identities]:
        windows = zip(self.scenes, self.windows, strict=True)
        return collect_identities(windows, self.protocol, content, self.split is not None)

    def __getitem__(self, index: int) -> Sample:
        """The sample of a scene.

        Raises:
            IndexError: there is no such scene.
            DataError: the scene cannot be read.
        """
        scene = self.scenes[index]
        return scene_sample(scene, self.windows[index], self.protocol, scene.name)
