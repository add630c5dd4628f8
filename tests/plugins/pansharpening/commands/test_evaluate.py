"""Scoring images that other tools have written."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.io
from rasterio.transform import from_origin

from plugins.pansharpening.benchmark.evaluation import evaluate
from plugins.pansharpening.inference.scene_inputs import scene_from_inputs
from plugins.pansharpening.metrics.score_image import NO_REFERENCE, REFERENCE, REPROJECTION
from plugins.pansharpening.scenes.arrays.matlab import MatScene
from plugins.pansharpening.scenes.arrays.npy import ArrayScene
from plugins.pansharpening.scenes.open_scene import open_scene, read_image
from plugins.pansharpening.scenes.rasters.raster import RasterScene
from plugins.pansharpening.scenes.scene import Georeference
from plugins.pansharpening.synthetic.scene import SyntheticScene
from tests.support.full_resolution import images
from tests.support.synthetic_rasters import write_geotiff
from toolkit.cli import main
from toolkit.errors import DataError, ToolkitError

REFERENCE_FIGURES = {
    'BIC': {
        'D_lambda': (0.000888, 2e-6),
        'D_s': (0.113982, 1e-4),
        'HQNR': (0.829214, 1e-4),
        'D_lambda_K': (0.064111, 1e-4),
        'D_rho': (0.774778, 1e-4),
        'D_sR': (0.253454, 1e-4),
        'R_Q2n': (0.950161, 1e-4),
        'R_SAM': (1.362703, 1e-4),
    },
    'BROVEY': {
        'QNR': (0.743927, 1e-4),
        'HQNR': (0.711038, 1e-4),
        'D_rho': (0.023353, 1e-4),
        'R_ERGAS': (1.970858, 1e-4),
    },
}


def place(col=0.0, row=0.0, pixel=1.0, crs='EPSG:32633'):
    return Georeference(crs, from_origin(500000 + col, 4000000 - row, pixel, pixel))


def write(path, image, nodata=None, **where):
    write_geotiff(path, image.astype(np.float32), place(**where), nodata=nodata)
    return str(path)


@pytest.fixture(scope='module')
def files(tmp_path_factory):
    """A simulated scene and its true image: as rasters, arrays and MATLAB."""
    folder = tmp_path_factory.mktemp('files')
    scene = SyntheticScene(4, 128)
    ms, pan, truth = (
        np.round(i * 2047) for i in (scene.read_ms(), scene.read_pan(), scene.reference)
    )
    for name, image, pixel in (('ms', ms, 4.0), ('pan', pan, 1.0), ('truth', truth, 1.0)):
        # The samples of the simulated MS lie half a PAN pixel below and right of the centres.
        at = 0.5 if name == 'ms' else 0.0
        write(folder / f'{name}.tif', image, pixel=pixel, col=at, row=at)
        np.save(folder / f'{name}.npy', image)
    rough = np.round(truth * 0.9 + 50)
    write(folder / 'fused.tif', rough)
    np.save(folder / 'fused.npy', rough.transpose(1, 2, 0))
    variables = {'fused': rough.transpose(1, 2, 0), 'ratio': 4, 'pan': pan[0]}
    scipy.io.savemat(folder / 'fused.mat', variables)
    return folder, rough, truth


def scored(files, fused='fused.tif', reference='truth.tif', suffix='tif'):
    folder = files[0]
    scene = open_scene([f'{folder}/ms.{suffix}'], f'{folder}/pan.{suffix}', 'IKONOS')
    return evaluate(scene, str(folder / fused), reference and str(folder / reference))


def test_the_reference_figures(data_root, tmp_path):
    given = images(data_root, 'ik', 'crop')
    for name in ('ms', 'pan', 'BIC', 'BROVEY'):
        np.save(tmp_path / f'{name}.npy', given[name][0].numpy())
    scene = ArrayScene(f'{tmp_path}/ms.npy', f'{tmp_path}/pan.npy', 'IKONOS')
    for name, figures in REFERENCE_FIGURES.items():
        result = evaluate(scene, f'{tmp_path}/{name}.npy')
        assert list(result['scores']) == [*NO_REFERENCE, *REPROJECTION]
        for index, (figure, tolerance) in figures.items():
            assert result['scores'][index] == pytest.approx(figure, abs=tolerance), (name, index)
        assert [w for w in result['warnings'] if not w.startswith('ms: the MS lies')] == []


def test_every_format_gives_the_same_scores(files):
    first = scored(files)
    assert list(first['scores']) == [*REFERENCE, *NO_REFERENCE, *REPROJECTION]
    assert all(np.isfinite(v) for v in first['scores'].values())
    assert (first['window'], first['valid'], first['ratio']) == ([0, 0, 128, 128], 1.0, 4)
    assert first['better']['SAM'] == 'lower'
    assert first['better']['Q2n'] == 'higher'
    for fused in ('fused.npy', 'fused.mat'):
        other = scored(files, fused, 'truth.npy', 'npy')
        assert other['scores'] == pytest.approx(first['scores'], rel=1e-6)
    perfect = scored(files, 'truth.tif')['scores']
    assert (perfect['SAM'], perfect['ERGAS'], perfect['Q2n']) == pytest.approx((0, 0, 1), abs=1e-6)


def test_a_part_is_scored_where_it_lies(files, tmp_path):
    folder, rough, truth = files
    # From row 6 and column 9 on, so that the whole MS pixels begin at row 8 and column 12.
    part = write(tmp_path / 'part.tif', rough[:, 6:104, 9:121], col=9, row=6)
    scene = RasterScene(f'{folder}/ms.tif', f'{folder}/pan.tif', 'IKONOS')
    found = evaluate(scene, part, f'{folder}/truth.tif')
    assert found['window'] == [8, 12, 96, 108]
    for name, image in (('rough', rough), ('truth', truth)):
        np.save(tmp_path / f'{name}.npy', image[:, 8:104, 12:120])
    inside = {
        'ms': scene.read_ms()[:, 2:26, 3:30] * 2047,
        'pan': scene.read_pan()[:, 8:104, 12:120] * 2047,
    }
    for name, image in inside.items():
        np.save(tmp_path / f'{name}.npy', np.round(image))
    cut = ArrayScene(f'{tmp_path}/ms.npy', f'{tmp_path}/pan.npy', 'IKONOS')
    expected = evaluate(cut, f'{tmp_path}/rough.npy', f'{tmp_path}/truth.npy')
    assert found['scores'] == pytest.approx(expected['scores'], rel=1e-6, nan_ok=True)
    # 24 x 27 MS pixels hold no window of 32.
    assert np.isnan(found['scores']['R_Q'])
    assert found['warnings'] == ['R_Q: no windows of 32 x 32 pixels in (25, 28)']
    assert np.isfinite(found['scores']['HQNR'])


def test_nodata_is_left_out(files, tmp_path):
    folder, rough, _ = files
    holed = rough.copy()
    holed[:, 100:, 90:] = -1
    path = write(tmp_path / 'holed.tif', holed, nodata=-1)
    scene = RasterScene(f'{folder}/ms.tif', f'{folder}/pan.tif', 'IKONOS')
    result = evaluate(scene, path, f'{folder}/truth.tif')
    assert result['valid'] == pytest.approx(1 - 28 * 38 / 128**2)
    whole = scored(files)['scores']
    assert result['scores']['SAM'] == pytest.approx(whole['SAM'], rel=0.1)
    assert result['scores']['RMSE'] == pytest.approx(whole['RMSE'], rel=0.1)
    path = write(tmp_path / 'empty.tif', holed * 0 - 1, nodata=-1)
    with pytest.raises(DataError, match='no pixel that is valid in all files'):
        evaluate(scene, path)


def test_the_command(files, tmp_path, capsys):
    folder = files[0]
    argv = ['evaluate', '--fused', f'{folder}/fused.tif', '--ms', f'{folder}/ms.tif']
    argv += ['--pan', f'{folder}/pan.tif', '--sensor', 'IKONOS']
    assert main([*argv, '--json', str(tmp_path / 'new' / 's.json')]) == 0
    said = capsys.readouterr()
    assert 'D_lambda_K' in said.out
    assert 'SAM' not in said.out.replace('R_SAM', '')
    assert said.err == ''
    written = json.loads((tmp_path / 'new' / 's.json').read_text())
    assert written['scores']['HQNR'] == pytest.approx(scored(files)['scores']['HQNR'])
    assert written['reference'] is None
    assert main([*argv, '--reference', f'{folder}/fused.tif', '--json', f'{tmp_path}/s.json']) == 0
    assert json.loads((tmp_path / 's.json').read_text())['scores']['PSNR'] is None  # infinite
    assert main([*argv[:-1], 'IKONO']) == 2
    assert "did you mean 'IKONOS'" in capsys.readouterr().err
    assert main([*argv[:2], 'none.tif', *argv[3:]]) == 2
    assert 'no file none.tif' in capsys.readouterr().err


def test_images_that_do_not_fit(files, tmp_path):
    folder, rough, truth = files
    scene = RasterScene(f'{folder}/ms.tif', f'{folder}/pan.tif', 'IKONOS')
    broken = rough.copy()
    broken[0, 0, 0] = np.nan
    np.save(tmp_path / 'small.npy', rough[:, :64])
    np.save(tmp_path / 'bands.npy', rough[:3])
    scipy.io.savemat(tmp_path / 'two.mat', {'a': rough, 'b': rough})
    (tmp_path / 'cut.mat').write_bytes(b'MATLAB 5.0')
    for path, message in (
        (write(tmp_path / 'off.tif', rough, col=0.5), 'do not lie on those of the PAN'),
        (write(tmp_path / 'coarse.tif', rough, pixel=2.0), 'found pixels of 2 x 2'),
        (write(tmp_path / 'zone.tif', rough, crs='EPSG:32634'), 'in its coordinate system'),
        (write(tmp_path / 'far.tif', rough, col=900), 'do not lie on those of the PAN'),
        (write(tmp_path / 'thin.tif', rough[:, :3, :3]), 'no MS pixel that all files cover'),
        (write(tmp_path / 'three.tif', rough[:3]), 'found 3 bands, expected 4'),
        (write(tmp_path / 'nan.tif', broken), '1 of 65536 values are NaN'),
        (str(tmp_path / 'small.npy'), 'found 64 x 128 pixels without georeference'),
        (str(tmp_path / 'bands.npy'), 'expected one image of 4 bands'),
        (str(tmp_path / 'two.mat'), r'found a \(4, 128, 128\), b'),
        (str(tmp_path / 'cut.mat'), 'cannot be read'),
    ):
        with pytest.raises(DataError, match=message) as caught:
            evaluate(scene, path)
        assert '\n' not in str(caught.value)
    result = evaluate(scene, write(tmp_path / 'unit.tif', truth / 2047))
    assert 'same digital numbers' in result['warnings'][0]


def test_scenes_by_their_files(files, tmp_path):
    folder = files[0]
    arrays = [f'{folder}/ms.npy'], f'{folder}/pan.npy'
    assert isinstance(open_scene(*arrays, 'IKONOS'), ArrayScene)
    assert isinstance(scene_from_inputs([*arrays[0], arrays[1]], 'IKONOS'), ArrayScene)
    scipy.io.savemat(tmp_path / 'a.mat', {'I_MS': np.ones((4, 4, 4)), 'I_PAN': np.ones((16, 16))})
    assert isinstance(open_scene([f'{tmp_path}/a.mat'], None, 'IKONOS'), MatScene)
    for ms, pan in ((['a.tif'], None), (['a.mat'], 'p.tif'), (['a.npy'], None), ([], 'p.tif')):
        with pytest.raises(ToolkitError, match='expected one .mat or .npz that holds both'):
            open_scene(ms, pan, 'IKONOS')
    with pytest.raises(ToolkitError, match='ratio must be at least 1'):
        open_scene([f'{folder}/ms.tif'], f'{folder}/pan.tif', 'IKONOS', ratio=0)
    assert read_image(f'{folder}/fused.npy', 4).values.shape == (4, 128, 128)
