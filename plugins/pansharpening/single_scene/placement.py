"""Measures where the MS of a single scene lies on its PAN, and corrects it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from plugins.pansharpening.data.registered_scene import RegisteredScene
from plugins.pansharpening.imaging.registration import IMPLAUSIBLE, Registration, register
from plugins.pansharpening.scenes.scene import Scene

Choice = Literal['auto', 'phase', 'none']
# PAN pixels: shorter shifts of a scene without georeference are left as they are.
LEAST_SHIFT = 0.25


def place_ms(
    scene: Scene,
    config: dict[str, Any],
    choice: Choice,
    say: Callable[[str], None],
    warn: Callable[[str], None],
) -> tuple[Scene, dict[str, Any], Mapping[str, Any]]:
    """Measures the shift of the MS against the PAN, and moves the MS onto it where that is right.

    Args:
        scene: scene to measure.
        config: its config.
        choice: 'phase' to move the MS; 'none' to leave it; 'auto' to move it where no georeference
            says how it lies, if the shift is certain.
        say: takes a line for the user.
        warn: takes a warning.
    Returns:
        The scene, its config, and the measured shift with `corrected`, for the record.
    Raises:
        DataError: 'phase', and the images show no common details.
    """
    found = register(scene)
    if choice == 'phase':
        found.check(scene.name)
    moved = choice == 'phase' or (
        choice == 'auto' and scene.georeference is None and _is_certain(found)
    )
    if found.belongs:
        say(f'the MS lies {found}' + ('; it is moved onto the PAN' if moved else ''))
    record = {**found._asdict(), 'corrected': moved}
    if not moved and found.pieces:
        for line in found.list_warnings(scene.name):
            warn(line)
    if not moved:
        return scene, config, record
    shift = [round(found.rows, 3), round(found.cols, 3)]
    config = {'type': 'RegisteredScene', 'scene': config, 'shift': shift}
    return RegisteredScene(scene, (shift[0], shift[1])), config, record


def _is_certain(found: Registration) -> bool:
    far = LEAST_SHIFT < found.distance <= IMPLAUSIBLE
    return far and found.belongs and found.spread <= found.distance / 2
