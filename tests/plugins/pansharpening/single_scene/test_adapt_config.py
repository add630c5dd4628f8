"""What `toolkit pansharpen` makes of a config and a scene before it trains."""

from __future__ import annotations

import numpy as np
import pytest

from plugins.pansharpening.scenes.rasters.raster import RasterScene
from plugins.pansharpening.scenes.window import Window
from plugins.pansharpening.single_scene.adapt_config import SceneSettings, adapt_config
from plugins.pansharpening.single_scene.baselines import INDICES, TRAINED, trained_on
from plugins.pansharpening.single_scene.scene_check import central, patch_size, survey
from plugins.pansharpening.single_scene.time_budget import TrainingSpeed
from plugins.pansharpening.synthetic.scene import SyntheticScene
from tests.support.synthetic_rasters import write_geotiff
from toolkit.config.composition.override import override
from toolkit.config.find import find_config
from toolkit.config.load import load_draft
from toolkit.registry import LOSSES


def test_what_fits_into_a_time() -> None:
    found = TrainingSpeed(iteration=0.5, validation=1.0, measuring=9.0)
    iterations, validations = found.iterations(1.0, 1000, 12)
    assert (iterations, validations) == (95, 8)
    assert iterations * 0.5 + validations * 1.0 < 60
    assert found.iterations(1.0, 50, 12) == (50, 8)
    assert found.iterations(1e-6, 50, 12) == (1, 1)  # never none


def test_which_indices_are_trained_on() -> None:
    losses = {
        'a': {'type': 'BandCorrelation', 'weight': 1},
        'b': {'type': 'BandCorrelation', 'weight': 2},
        'c': {'type': 'Consistency'},
        'd': {'type': 'Cycle'},
        'e': None,
    }
    assert trained_on(losses) == {
        'D_rho': ['BandCorrelation'],
        'D_lambda_K': ['Consistency'],
        'HQNR': ['Consistency'],
        'HQNR_reg': ['Consistency'],  # a product that holds HQNR
    }
    assert trained_on({'d': {'type': 'Cycle'}}) == {}
    assert set(TRAINED) <= set(LOSSES.names())
    assert set(TRAINED.values()) <= set(INDICES)


def test_the_piece_is_in_the_middle_or_where_data_are(tmp_path) -> None:
    scene = SyntheticScene(4, 128)
    assert central(scene, 64) == Window(32, 32, 64, 64)
    assert central(scene, 500) == Window(0, 0, 128, 128)
    pan = np.round(scene.read_pan() * 2047).astype(np.uint16)
    pan[:, :, 40:] = 0
    write_geotiff(tmp_path / 'pan.tif', pan, nodata=0)
    write_geotiff(tmp_path / 'ms.tif', np.round(scene.read_ms() * 2047).astype(np.uint16))
    holed = RasterScene(str(tmp_path / 'ms.tif'), str(tmp_path / 'pan.tif'), 'IKONOS')
    assert central(holed, 32) == Window(0, 0, 32, 32)


def test_schedules_keep_their_shape() -> None:
    changed = load_draft(find_config('ldpnet/ldpnet_plus'))
    override(changed.tree, changed.origins, 'train_cfg.max_iters=1000')
    schedules = {
        'warm': {'type': 'LinearLR', 'by_epoch': False, 'begin': 0, 'end': 100},
        'steps': {'type': 'MultiStepLR', 'by_epoch': False, 'milestones': [500, 900], 'gamma': 0.1},
        'epochs': {'type': 'StepLR', 'step_size': 3},
    }
    changed.tree['param_scheduler'] = schedules
    scene = SyntheticScene(4, 128)
    as_config = {'type': 'SyntheticScene', 'size': 128}
    to = SceneSettings(scene, as_config, 64, Window(0, 0, 128, 128), 3, None, None, 5.0)
    tree = adapt_config(changed, to, 50).tree
    assert tree['param_scheduler']['warm'] == {**schedules['warm'], 'end': 5}
    assert tree['param_scheduler']['steps']['milestones'] == [25, 45]
    assert tree['param_scheduler']['epochs'] == schedules['epochs']
    # 1000 iterations were 2.5 epochs of 400, and are so still.
    assert tree['train_dataloader']['dataset']['length'] == 4 * 20
    assert tree['train_cfg'] == {'max_iters': 50, 'val_interval': 25, 'max_minutes': 5.0}
    assert (tree['model']['bands'], tree['model']['ratio'], tree['randomness']['seed']) == (4, 4, 3)
    assert tree['runtime']['device'] == 'auto'


def test_what_a_survey_finds() -> None:
    scene = SyntheticScene(4, 128)
    found = survey(scene)
    pan = np.round(scene.read_pan() * 2047)
    assert found.pan == pytest.approx((pan.min(), pan.max()), abs=1e-3)
    assert found.largest == pytest.approx(max(pan.max(), scene.read_ms().max() * 2047), abs=1e-3)
    assert found.saturated == (pan == pan.max()).mean()
    assert (found.valid, found.bit_depth) == (1.0, 11)
    assert [patch_size(scene, size) for size in (256, 128, 100, 64)] == [128, 128, 100, 64]
    assert patch_size(SyntheticScene(4, 96, ratio=3), 100) == 96
