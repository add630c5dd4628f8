"""Names scenes and references of datasets, by which training, validation and test are compared.

Training without a reference may see the scene that it is tested on: nothing of the answer is in it.
A reference of the test must not be in a training whose losses take references, and a scene that a
split keeps apart must not be in another subset at all.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.scenes.window import Window
from plugins.pansharpening.scenes.with_reference import SceneWithReference
from toolkit.interfaces import Identities


def identify_scene(scene: Scene, content: bool) -> str:
    """Returns a text that is equal for the same scene, reduced or not, with a reference or without.

    Args:
        scene: which.
        content: hash its files; otherwise their paths are taken.
    """
    while isinstance(scene, SceneWithReference):
        scene = scene.original
    files = [] if content else [os.path.realpath(file) for file in scene.files()]
    return ';'.join(files) or scene.fingerprint()


def identify_references(
    scene: Scene, window: Window, protocol: str, content: bool
) -> dict[str, tuple[int, int, int, int]]:
    """Names the references of a window; by name its top, left, bottom and right.

    Args:
        scene: which; may be reduced.
        window: in pixels of the scene's PAN.
        protocol: 'reduced' for the scene's own MS as the reference.
        content: see `identify_scene`.
    """
    name = identify_scene(scene, content)
    edges = (window.row, window.col, window.bottom, window.right)
    if protocol == 'reduced':
        return {f'MS of {name}': edges}
    if isinstance(scene, SceneWithReference) and scene.reference_is_ms:
        wide = window.enlarged(scene.ratio)
        return {f'MS of {name}': (wide.row, wide.col, wide.bottom, wide.right)}
    return {f'true image of {name}': edges} if scene.has_reference else {}


def collect_identities(
    windows: Iterable[tuple[Scene, Window]],
    protocol: str,
    content: bool,
    apart: bool = False,
    learned: bool = False,
) -> dict[str, Identities]:
    """Collects the scenes and the references of a dataset; see `Dataset.identities`.

    Args:
        windows: scenes and their windows in PAN pixels.
        protocol: of the samples.
        content: see `identify_scene`.
        apart: a split says that these scenes are kept from others.
        learned: the samples are trained on; who knows a true image also knows the MS, which is the
            reference of the same place at reduced resolution.
    """
    scenes: dict[str, str] = {}
    labels: dict[str, str] = {}
    areas: dict[str, list[tuple[int, int, int, int]]] = {}
    for scene, window in windows:
        scenes[identify_scene(scene, content)] = scene.name
        references = identify_references(scene, window, protocol, content)
        if learned and references:
            references = identify_references(scene, window, 'reduced', content) | references
        for name, edges in references.items():
            labels[name] = scene.name
            areas.setdefault(name, []).append(edges)
    return {
        'scene': Identities(scenes, apart=apart),
        'reference': Identities(labels, areas),
    }
