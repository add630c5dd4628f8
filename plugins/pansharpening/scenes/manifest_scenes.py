"""Many scenes by a manifest: what its rows say, and opening them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from plugins.pansharpening.scenes.open_scene import open_scene
from plugins.pansharpening.scenes.raster import Samples
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.scenes.with_reference import ReferencedScene
from toolkit.errors import ToolkitError, did_you_mean


@dataclass(frozen=True)
class SceneRow:
    """A scene of a manifest.

    Attributes:
        place: `FILE:LINE`, for messages.
        name: unique in its manifest.
        ms: absolute paths of the MS, or of its bands.
        pan: absolute path; None where one file holds both.
        sensor: name of the sensor.
        reference: absolute path of the true image at PAN's resolution, if there is one.
        bit_depth: of the digital numbers; None for the sensor's.
        ratio: that the images must have; None for what they have.
        bands: that the MS must have; None for what it has.
        samples: see `RasterScene`.
        split: that the manifest puts it in; '' where it says nothing.
        weight: for drawing patches.
        values: all columns as written.
    """

    place: str
    name: str
    ms: tuple[str, ...]
    pan: str | None
    sensor: str
    reference: str | None = None
    bit_depth: int | None = None
    ratio: int | None = None
    bands: int | None = None
    samples: Samples = 'centre'
    split: str = ''
    weight: float = 1.0
    values: dict[str, str] = field(default_factory=dict)

    def open(self) -> Scene:
        """The scene.

        Raises:
            ToolkitError: it cannot be opened, or is another than the row states.
        """
        try:
            scene = open_scene(
                self.ms, self.pan, self.sensor, self.bit_depth, self.ratio, self.samples
            )
            if self.reference is not None:
                scene = ReferencedScene(scene, self.reference)
            # Of its own, since many products name their files alike.
            scene.name = self.name
            for what, stated, found in (
                ('bands', self.bands, scene.bands),
                ('ratio', self.ratio, scene.ratio),
            ):
                if stated not in (None, found):
                    raise ToolkitError(
                        f'{self.name} has {what} {found}, the manifest states {stated}'
                    )
        except ToolkitError as error:
            raise type(error)(f'{self.place}: {error}') from error
        return scene


@dataclass(frozen=True)
class Manifest:
    """The scenes of a manifest.

    Attributes:
        path: of the file.
        rows: in its order.
        columns: all of its columns.
        digest: a hash of what the rows say, whatever the file's line ends and quotes.
    """

    path: Path
    rows: tuple[SceneRow, ...]
    columns: tuple[str, ...]
    digest: str

    def split(self, name: str) -> tuple[SceneRow, ...]:
        """The rows that the column `split` puts in one.

        Raises:
            ToolkitError: there is no such column or split.
        """
        if 'split' not in self.columns:
            raise ToolkitError(
                f'{self.path} has no column split, so what is in {name!r} is not known; add it, '
                f'or make splits (toolkit split {self.path}) and name their file in `splits`'
            )
        return chosen(self, {row.name: row.split for row in self.rows}, name)


def chosen(manifest: Manifest, splits: dict[str, str], name: str) -> tuple[SceneRow, ...]:
    """The rows whose split, by the name of the scene, is `name`.

    Raises:
        ToolkitError: there are none.
    """
    rows = tuple(row for row in manifest.rows if splits.get(row.name) == name)
    if not rows:
        known = sorted({split for split in splits.values() if split})
        raise ToolkitError(
            f'no scene of {manifest.path} is in the split {name!r}{did_you_mean(name, known)}; '
            f'there are: {", ".join(known) or "none"}'
        )
    return rows
