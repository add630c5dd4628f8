"""Sharpened scenes lie where their georeference says, without rims and strips at borders."""

from __future__ import annotations

import numpy as np
import pytest

from plugins.pansharpening.commands.bench_placement import format_table
from plugins.pansharpening.commands.placement_cases import (
    BITS,
    PlaceErrors,
    draw_cases,
    find_cases,
    measure_errors,
)
from plugins.pansharpening.inference.scene_inference import InferenceSettings, infer_scene
from plugins.pansharpening.scenes.rasters.raster import RasterScene
from plugins.pansharpening.untrained_method import sharpener
from toolkit.cli import main


@pytest.fixture(scope='module')
def cases(tmp_path_factory):
    return draw_cases(tmp_path_factory.mktemp('cases'), 256, 0)


def errors(case, method, path, **settings) -> PlaceErrors:
    scene = RasterScene(str(case.ms), str(case.pan), case.sensor, BITS, **settings)
    assert scene.pan_shape == case.valid.shape
    infer_scene(sharpener(method, scene), scene, path, InferenceSettings(tile=128))
    return measure_errors(case, path)


@pytest.mark.parametrize('method', ['EXP', 'GSA', 'MTF-GLP-HPM'])
def test_errors_are_the_same_everywhere(cases, method, tmp_path):
    whole, collar, _ = cases
    found = errors(whole, method, tmp_path / 'whole.tif')
    assert np.hypot(found.rows, found.cols) < 0.1
    assert found.border < 1.15 * found.inside
    found = errors(collar, method, tmp_path / 'collar.tif')
    assert found.rim < 1.35 * found.inside


def test_files_read_as_they_are_lie_half_a_pixel_off(cases, tmp_path):
    found = errors(cases[0], 'EXP', tmp_path / 'out.tif', samples='centre')
    assert (found.rows, found.cols) == pytest.approx((0.5, 0.5), abs=0.1)


def test_the_command(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr('plugins.pansharpening.commands.bench_placement.find_gdal', lambda: None)
    assert main(['bench', 'placement', 'EXP', '--size', '128', '--iterations', '0']) == 0
    out = capsys.readouterr().out
    assert out.count('EXP') == 3
    assert 'not compared with gdal_pansharpen' in out
    for words, message in (
        (['--size', '90'], 'multiple of 4 from 128'),
        (['--ms', 'a.tif'], '--ms and --pan go together'),
        (['--folder', str(tmp_path)], 'found no case'),
        (['GSAA'], "did you mean 'GSA'"),
    ):
        assert main(['bench', 'placement', *words])
        assert message in capsys.readouterr().err


def test_cases_of_a_folder(cases, tmp_path):
    folder = cases[0].ms.parent
    np.save(folder / 'collar.npy', cases[1].truth)
    (case,) = find_cases(folder, 'IKONOS')
    np.testing.assert_array_equal(case.valid, cases[1].valid)


def test_a_star_marks_what_is_above_gdal():
    table = format_table(
        {
            'gdal_pansharpen': PlaceErrors(5, float('nan'), 5, 0, 0),
            'EXP': PlaceErrors(9, float('nan'), 9, 0, 0),
            'GSA': PlaceErrors(4, float('nan'), 6, 0, 0),
        }
    ).splitlines()
    assert '*' not in table[1] + table[2]
    assert table[3].count('*') == 1
    assert '6.00%*' in table[3]
