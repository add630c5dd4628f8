"""Bands, ratio, upsampling and sensor of a method without weights are those of the scene."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import rasterio

import toolkit
from plugins.pansharpening.component_sensors import ComponentSensors
from plugins.pansharpening.inference import scene_prediction
from plugins.pansharpening.inference.scene_model import adapt_model, find_sensor_parts
from plugins.pansharpening.interfaces import GENERATORS
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.scenes.sensors import get_sensor
from tests.support.synthetic_rasters import write_geotiff
from toolkit.cli import main
from toolkit.config.composition.override import override
from toolkit.config.load import load_draft
from toolkit.registry.build import ComponentFactory

CONFIGS = Path(toolkit.__file__).parents[1] / 'configs'
SHIPPED = sorted([*CONFIGS.glob('baselines/*.yaml'), *CONFIGS.glob('ldpnet/*.yaml')])


def scene(bands: int = 4, ratio: int = 4, sensor: str = 'GE1') -> Scene:
    return SimpleNamespace(name='field', bands=bands, ratio=ratio, sensor=get_sensor(sensor))


def tree(sensor: str | None = 'IKONOS') -> dict:
    generator = {'type': 'MTF-GLP', **({} if sensor is None else {'sensor': sensor})}
    data = {'dataset': {'scene': {'sensor': 'IKONOS'}}}
    model = {'type': 'Pansharpener', 'bands': 4, 'ratio': 4, 'generator': generator}
    return {'model': model, 'test_dataloader': data}


def test_the_sensor_of_a_shipped_config_follows_that_of_its_data() -> None:
    seen = []
    for file in SHIPPED:
        draft = load_draft(file)
        tree = draft.resolve().tree
        model, data = tree['model'], tree['test_dataloader']
        if model.get('type') != 'Pansharpener' or not list(find_sensor_parts(model)):
            continue
        if 'sensor' not in data['dataset']['scene']:
            continue  # a drawn scene
        override(draft.tree, draft.origins, 'test_dataloader.dataset.scene.sensor=GE1')
        parts = find_sensor_parts(draft.resolve().tree['model'])
        seen.append(file.stem)
        assert {part['sensor'] for _, part in parts} == {'GE1'}, file
    assert {'mtf_glp', 'bdsd', 'tv', 'sr_d', 'ldpnet_plus', 'ldpnet_plus_wv2'} <= set(seen)


def test_what_a_scene_gives() -> None:
    found, warnings = adapt_model(tree(), (), scene(8, 3, 'WV3'))
    assert found == {
        'model.bands': 8,
        'model.ratio': 3,
        'model.upsample': 'bicubic',
        'model.generator.sensor': 'WV3',
    }
    assert warnings == []
    assert adapt_model(tree(), (), scene(sensor='IKONOS')) == ({}, [])
    assert adapt_model(tree(None), (), scene())[0] == {'model.generator.sensor': 'GE1'}


def test_what_a_config_or_the_command_line_insists_on_stays_and_is_reported() -> None:
    changes, (warning,) = adapt_model(tree('QB'), (), scene())
    assert changes == {}
    assert 'model.generator.sensor is QB, and field is of GE1' in warning
    stated = ('model.bands', 'model.generator.sensor')
    changes, (warning,) = adapt_model(tree(), stated, scene(8))
    assert changes == {}
    assert 'is IKONOS' in warning


def test_a_component_with_the_gains_of_another_sensor_than_the_data_is_reported(capsys) -> None:
    cls = GENERATORS.get('MTF-GLP')
    sensors = ComponentSensors({'generator': ComponentFactory(cls, {'sensor': 'QB'})})
    row = SimpleNamespace(sensor='QB')
    sensors.compare(SimpleNamespace(scenes=SimpleNamespace(rows=[row])))
    assert capsys.readouterr().err == ''
    for _ in range(2):
        sensors.compare(SimpleNamespace(scene=scene()))
    assert capsys.readouterr().err == (
        'warning: model.generator.sensor is QB, but the data are of GE1; the MTF gains of QB are '
        'used\n'
    )
    default = ComponentSensors({'generator': ComponentFactory(cls, {})})
    default.compare(SimpleNamespace(scene=scene()))
    assert 'is generic, but the data are of GE1' in capsys.readouterr().err


def test_assumed_gains_of_the_data_are_reported_once_to_whom_trains_or_tests(capsys) -> None:
    sensors = ComponentSensors({})
    rows = [SimpleNamespace(sensor=name) for name in ('Landsat', 'IKONOS', 'camera.yaml')]
    for _ in range(2):
        sensors.compare(SimpleNamespace(scenes=SimpleNamespace(rows=rows)))
    (line,) = capsys.readouterr().err.splitlines()
    assert 'no MTF gains of Landsat' in line and 'are assumed' in line


@pytest.mark.parametrize(('bands', 'ratio'), [(3, 2), (8, 3)])
def test_one_command_sharpens_scenes_of_any_bands_and_ratio(
    tmp_path: Path, monkeypatch, capsys, bands: int, ratio: int
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(scene_prediction, 'write_scene_images', lambda *arguments: [])
    rng = np.random.default_rng(0)
    write_geotiff(Path('ms.tif'), rng.integers(1, 2000, (bands, 16, 16)).astype(np.uint16))
    pan = rng.integers(1, 2000, (1, 16 * ratio, 16 * ratio)).astype(np.uint16)
    write_geotiff(Path('pan.tif'), pan)
    words = 'predict baselines/brovey --input ms=ms.tif pan=pan.tif --sensor generic --output o.tif'
    assert main(words.split()) == 0
    assert f'model.bands={bands} model.ratio={ratio}' in capsys.readouterr().out
    with rasterio.open('o.tif') as raster:
        assert (raster.count, raster.shape) == (bands, (16 * ratio, 16 * ratio))
    assert main([*words.split(), '--overwrite', 'model.bands=5']) != 0
    assert 'but the network was built for 5 bands' in capsys.readouterr().err


def test_a_network_without_weights_predicts_nothing(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    images = {'ms': np.ones((4, 8, 8), np.uint16), 'pan': np.ones((32, 32), np.uint16)}
    np.savez('scene.npz', **images)
    words = 'predict baselines/pannet --input scene.npz --sensor IKONOS --output o.tif'
    assert main(words.split()) == 2
    assert 'has weights that a training finds, and none are given' in capsys.readouterr().err
    assert not Path('o.tif').exists()
