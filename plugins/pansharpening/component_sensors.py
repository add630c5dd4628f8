"""Sensors that the components of a model are given, compared with those of the data."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping
from typing import Any

from torch import nn

from plugins.pansharpening.scenes.sensors import Sensor, get_sensor
from toolkit.errors import ToolkitError
from toolkit.registry.build import ComponentFactory, accepts_argument, get_signature


class ComponentSensors:
    """Sensors of the components of a model.

    Args:
        slots: factories of the components by their path in `model`; None for empty slots.

    Attributes:
        stated: sensor by path in the config, of those that have not been reported.
    """

    def __init__(self, slots: Mapping[str, Any]) -> None:
        found = {f'model.{slot}.sensor': _get_sensor(part) for slot, part in slots.items()}
        self.stated = {path: name for path, name in found.items() if name is not None}
        self._known_assumed: set[str] = set()

    def compare(self, dataset: Any) -> None:
        """Reports on the standard error components with MTF gains of other sensors than the data.

        This is allowed, for a comparison of gains; each component is reported once. So is each
        sensor of the data whose gains are assumed, which metrics and reduced scenes depend on.
        """
        known = list_sensors(dataset)
        for name in sorted(known - self._known_assumed):
            with contextlib.suppress(ValueError, ToolkitError):  # a sensor of the data's own
                if (sensor := get_sensor(name)).assumed:
                    self._known_assumed.add(name)
                    print(f'warning: {sensor.describe_assumption()}', file=sys.stderr)
        for path, stated in list(self.stated.items()):
            if others := sorted(known - {stated}):
                del self.stated[path]
                print(
                    f'warning: {path} is {stated}, but the data are of {", ".join(others)}; the '
                    f'MTF gains of {stated} are used',
                    file=sys.stderr,
                )


def list_assumptions(generator: nn.Module) -> list[str]:
    """Says which sensors' gains are assumed, of those that a generator and its parts use."""
    used = {getattr(part, 'sensor', None) for part in generator.modules()}
    return sorted(s.describe_assumption() for s in used if isinstance(s, Sensor) and s.assumed)


def list_sensors(dataset: Any) -> set[str]:
    """Lists the names of the sensors of a dataset."""
    rows = getattr(getattr(dataset, 'scenes', None), 'rows', ())
    sensor = getattr(getattr(dataset, 'scene', dataset), 'sensor', None)
    return {*(row.sensor for row in rows), *([] if sensor is None else [sensor.name])}


def _get_sensor(factory: Any) -> str | None:
    """Returns the sensor that a component is given; None for components that take none."""
    if not isinstance(factory, ComponentFactory) or not accepts_argument(factory.cls, 'sensor'):
        return None
    parameter = get_signature(factory.cls).get('sensor')
    default = 'generic' if parameter is None else parameter.default
    try:
        return get_sensor(factory.arguments.get('sensor', default)).name
    except (ValueError, ToolkitError):  # the component refuses it, with its path
        return None
