"""Writes images of single items of a test: the contact sheet, and layers for a viewer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plugins.pansharpening.system import Pansharpener
from plugins.pansharpening.visualization.contact_sheet import SceneImageWriter
from plugins.pansharpening.visualization.scene_images import (
    get_item_images,
)
from toolkit.interfaces import Batch, System, Visualizer
from toolkit.registry import VISUALIZERS


def write_item_images(
    outputs: Mapping[str, Any], batch: Mapping[str, Any], index: int, folder: Path, stem: str
) -> None:
    """Writes images of one item of a test: those of `write_scene_images`, and layers for a viewer.

    `STEM.json` names the layers, `STEM-pan.png` and so on: the same crop of each image, of at most
    768 x 768 PAN pixels around the square with the most detail.

    Args:
        outputs: of the system, `hrms` and `lrms_up`.
        batch: input of the system.
        index: of the item in the batch.
        folder: to write to.
        stem: of the files' names.
    Raises:
        RunError: a file cannot be written.
    """
    name = str(batch['meta'][index].get('item', stem))
    writer = SceneImageWriter(get_item_images(outputs, batch, index), name)
    writer.write_sheets(folder / stem)
    writer.write_layers(folder, stem)


@VISUALIZERS.register
class SceneVisualizer(Visualizer):
    """Writes contact sheet, details, error maps and layers of a sharpened item."""

    system = Pansharpener

    def write_images(
        self,
        system: System,
        outputs: Mapping[str, Any],
        batch: Batch,
        index: int,
        folder: Path,
        stem: str,
    ) -> None:
        """Writes images of one item; see `write_item_images`."""
        write_item_images(outputs, batch, index, folder, stem)
