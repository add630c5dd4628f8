"""Adapts the model of a config to a scene: bands, ratio, upsampling and sensor."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from plugins.pansharpening.imaging.resample import polyphase
from plugins.pansharpening.interfaces import GENERATORS
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.scenes.sensors import get_sensor
from toolkit.registry import DEGRADATIONS, LOSSES
from toolkit.registry.build import accepts_argument

SLOTS = {
    'generator': GENERATORS,
    'reblur': DEGRADATIONS,
    'gray': DEGRADATIONS,
    'guide': GENERATORS,
}


def adapt_model(
    tree: Mapping[str, Any], stated: Collection[str], scene: Scene
) -> tuple[dict[str, Any], list[str]]:
    """Finds the changes by which a model without weights fits a scene.

    A config insists on a sensor if the command line states it, or if it is not the sensor of the
    config's own test data; what it insists on stays.

    Args:
        tree: the resolved config.
        stated: dotted paths that the command line sets, which stay.
        scene: the scene.
    Returns:
        Values by dotted path, and a warning for each sensor that differs from the scene's.
    """
    model = tree['model']
    method = str(model.get('upsample', 'interp23tap'))
    wanted = {
        'model.bands': scene.bands,
        'model.ratio': scene.ratio,
        'model.upsample': choose_upsampling(method, scene.ratio),
    }
    if wanted['model.upsample'] == method:
        del wanted['model.upsample']  # also where the config leaves it out
    warnings = []
    known = _get_data_sensor(tree)
    for path, node in find_sensor_parts(model):
        name = f'{path}.sensor'
        found = node.get('sensor')
        if found is None or (found == known and name not in stated):
            wanted[name] = scene.sensor.spec
        elif get_sensor(found) != scene.sensor:
            warnings.append(describe_sensor(name, found, scene))
    changes = {
        path: value
        for path, value in wanted.items()
        if path not in stated and _get_value(tree, path) != value
    }
    return changes, warnings


def describe_sensor(path: str, found: Any, scene: Scene) -> str:
    """Says that a config states another sensor than that of a scene."""
    name, found = scene.sensor.name, get_sensor(found).name
    return f'{path} is {found}, and {scene.name} is of {name}; set {path}={name} for its own gains'


def choose_upsampling(method: str, ratio: int) -> str:
    """Returns the method of a config, or 'bicubic' if that cannot enlarge by the ratio."""
    if method == 'interp23tap' and ratio > 1:
        try:
            polyphase(ratio)
        except ValueError:
            return 'bicubic'
    return method


def find_sensor_parts(model: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yields the dotted paths and the configs of the components that take a sensor."""
    parts = {f'model.{slot}': (kind, model.get(slot)) for slot, kind in SLOTS.items()}
    for key, loss in (model.get('losses') or {}).items():
        parts[f'model.losses.{key}'] = (LOSSES, loss)
    for path, (kind, node) in parts.items():
        while node:
            if accepts_argument(kind.get(node['type']), 'sensor'):
                yield path, node
            # A generator may have another one inside.
            path, node = f'{path}.network', node.get('network')


def _get_data_sensor(tree: Mapping[str, Any]) -> Any:
    return _get_value(tree, 'test_dataloader.dataset.scene.sensor')


def _get_value(tree: Any, path: str) -> Any:
    for key in path.split('.'):
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree
