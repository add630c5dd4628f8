"""Sensors are data: a table, a YAML file, a mapping in a config."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from plugins.pansharpening.commands import evaluate
from plugins.pansharpening.imaging.registration import Registration
from plugins.pansharpening.interfaces import GENERATORS
from plugins.pansharpening.scenes import sensors
from plugins.pansharpening.scenes.arrays.npy import ArrayScene
from plugins.pansharpening.scenes.sensors import SENSORS, Sensor, get_sensor, suggest_sensors
from toolkit.cli import main
from toolkit.errors import ToolkitError

MINE = {'name': 'Mine', 'gains': [0.2, 0.25, 0.3], 'pan_gain': 0.12, 'bit_depth': 12}


@pytest.fixture(autouse=True)
def _no_sensors_of_other_tests(monkeypatch) -> None:
    monkeypatch.setattr(sensors, '_OWN', {})


def test_a_sensor_in_a_file_and_in_a_config(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path('camera.yaml').write_text(
        'sensor:\n  gains: [.2, .25, .3]\n  pan_gain: .12\n  bands: [Blue, Green, Red]\n'
        '  bit_depth: 12\n'
    )
    found = get_sensor('camera.yaml')
    assert found.gains(3) == (0.2, 0.25, 0.3)
    assert (found.name, found.bits, found.rgb(3)) == ('camera', 12, (2, 1, 0))
    assert get_sensor('camera') is get_sensor(found) is found
    assert get_sensor(found.spec) == found
    assert get_sensor('WV3').spec == 'WV3'
    method = GENERATORS.get('MTF-GLP')(bands=3, ratio=4, sensor=MINE)
    assert method.gains == (0.2, 0.25, 0.3)
    np.savez('scene.npz', ms=np.ones((3, 4, 4), np.uint16), pan=np.ones((16, 16), np.uint16))
    assert ArrayScene('scene.npz', sensor='camera.yaml').bits == 12
    assert get_sensor({'gains': 0.31, 'pan_gain': 0.1}).gains(7) == (0.31,) * 7


@pytest.mark.parametrize(
    ('change', 'expected'),
    [
        ({'gain': [0.3]}, "no key 'gain'; did you mean"),
        ({'pan_gain': None}, 'pan_gain of a sensor cannot be None'),
        ({'gains': [0.2, 1.3]}, 'between 0 and 1'),
        ({'gains': [0.2, 'x']}, 'gains of a sensor cannot be'),
        ({'bit_depth': 40}, 'bit depth of 1 to 32'),
        ({'bands': ['a', 'b']}, 'found 3 gains for 2 bands'),
        ({'name': 'WV3'}, "named 'WV3' is there already with other values"),
    ],
)
def test_descriptions_that_cannot_be_used(change, expected) -> None:
    with pytest.raises(ValueError, match=expected):
        get_sensor({**MINE, **change})
    with pytest.raises(ValueError, match='needs gains and pan_gain'):
        get_sensor({'name': 'x'})
    with pytest.raises(ToolkitError, match='no file none.yaml'):
        get_sensor('none.yaml')


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('WorldView-3', ['WV3']),
        ('WV5', ['WV4', 'WV2', 'WV3']),
        ('gaofen2', ['GF2']),
        ('GF', ['GF1', 'GF2', 'GF6']),
        ('sentinel-2a', ['Sentinel2']),
        ('Landsat-8', ['Landsat']),
        ('PHR1A', ['Pleiades', 'PleiadesNeo']),
        ('K3A', ['KOMPSAT3', 'KOMPSAT3A']),
        ('SuperDove', ['PlanetScope', 'SkySat']),
        ('spot 6', ['SPOT6']),
        ('Ikonos', ['IKONOS']),
    ],
)
def test_suggestions_are_of_the_family(name: str, expected: list[str]) -> None:
    said = suggest_sensors(name)
    assert said == '; did you mean ' + ' or '.join(map(repr, expected)) + '?'


def test_every_known_sensor_has_gains_and_says_where_they_are_assumed() -> None:
    measured = {'QB', 'IKONOS', 'GE1', 'WV4', 'WV2', 'WV3'}
    assert {name for name, s in SENSORS.items() if not s.assumed} == measured
    for sensor in SENSORS.values():
        assert len(sensor.gains(len(sensor.band_names) or 4)) == len(sensor.band_names) or 4
        assert sensor.rgb(len(sensor.band_names) or 4)
    assert '0.3 for the MS and 0.15 for the PAN are assumed' in SENSORS['GF2'].describe_assumption()


def test_a_command_takes_a_sensor_of_ones_own(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    scored = []
    result = {'warnings': [], 'registration': Registration(0.0, 0.0, 0.0, 1.0, 0)._asdict()}
    monkeypatch.setattr(evaluate, '_print_table', lambda result: None)
    monkeypatch.setattr(evaluate, 'evaluate', lambda scene, *_: scored.append(scene) or result)
    Path('mine.yaml').write_text('gains: [.2, .25, .3]\npan_gain: .12\n')
    rng = np.random.default_rng(0)
    images = {'ms': rng.integers(1, 99, (3, 32, 32)), 'pan': rng.integers(1, 99, (128, 128))}
    np.savez('scene.npz', **images)
    words = ['evaluate', '--fused', 'fused.npy', '--ms', 'scene.npz', '--sensor', 'mine.yaml']
    assert main(words) == 0
    assert scored[0].sensor.gains(3) == (0.2, 0.25, 0.3)


def test_a_sensor_keeps_its_equality() -> None:
    assert Sensor('a', 'a', 12, (0.3,), 0.1) == Sensor('a', 'a', 12, (0.3,), 0.1)


@pytest.mark.parametrize(
    ('sensor', 'bands', 'said'),
    [
        ('IKONOS', 4, ''),
        ('Landsat', 3, 'bands 1, 2, 3'),
        ('Landsat', 6, 'bands 3, 2, 1'),
        ('Sentinel2', 6, 'bands 3, 2, 1'),
        ('Landsat', 1, ''),
    ],
)
def test_bands_that_nobody_names_are_said_beside_a_picture(
    sensor: str, bands: int, said: str
) -> None:
    assert SENSORS[sensor].describe_colours(bands) == said
