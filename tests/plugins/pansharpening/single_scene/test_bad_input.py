"""What `toolkit pansharpen` refuses: one clear line, before any work, and nothing left behind."""

from __future__ import annotations

import numpy as np
import pytest
from rasterio.transform import from_origin

from plugins.pansharpening.scenes.arrays.npy import ArrayScene
from plugins.pansharpening.scenes.scene import Georeference
from plugins.pansharpening.single_scene.scene_check import check, survey
from plugins.pansharpening.synthetic.scene import SyntheticScene
from tests.plugins.pansharpening.single_scene.test_command import FAST, pansharpen
from tests.support.synthetic_rasters import write_geotiff

SCENE = SyntheticScene(4, 128)
MS = np.round(SCENE.read_ms() * 2047).astype(np.uint16)
PAN = np.round(SCENE.read_pan() * 2047).astype(np.uint16)


def place(pixel: float, east: float = 0.0) -> Georeference:
    return Georeference('EPSG:32633', from_origin(500000 + east, 4000000, pixel, pixel))


def written(folder, ms=MS, pan=PAN, of_ms=None, of_pan=None, nodata=None) -> list:
    write_geotiff(folder / 'ms.tif', ms, of_ms, nodata=nodata)
    write_geotiff(folder / 'pan.tif', pan, of_pan, nodata=nodata)
    return ['--ms', folder / 'ms.tif', '--pan', folder / 'pan.tif', '--output', folder / 'out.tif']


def refused(folder, capsys, *words) -> str:
    """The line that is said."""
    # Changes are of keys that the default config has.
    status = pansharpen(*(FAST[:2] if '--config' in words else FAST), *words)
    printed, error = capsys.readouterr()
    assert status in (1, 2), printed + error
    assert len(error.strip().splitlines()) == 1, error
    left = {path.name for path in folder.iterdir()} - {'ms.tif', 'pan.tif'}
    assert not left
    return error


def test_a_ratio_that_is_no_whole_number(tmp_path, capsys) -> None:
    words = written(tmp_path, pan=PAN[:, :112, :112])
    assert 'found an MS of 32 x 32 and a PAN of 112 x 112' in refused(tmp_path, capsys, *words)


def test_a_ratio_that_is_nearly_whole_is_interpolated(tmp_path, capsys) -> None:
    words = written(tmp_path, of_ms=place(3.6), of_pan=place(1.0))
    assert pansharpen(*words, *FAST) == 0
    printed = capsys.readouterr().out
    assert 'the MS is interpolated to a grid of whole PAN pixels' in printed
    assert 'ratio 4' in printed


def test_a_pan_that_is_smaller_than_the_ms(tmp_path, capsys) -> None:
    words = written(tmp_path, pan=PAN[:, :16, :16])
    assert 'expected a PAN that is the same integer multiple' in refused(tmp_path, capsys, *words)
    words = written(tmp_path, pan=PAN[:, :32, :32], of_ms=place(1.0), of_pan=place(4.0))
    assert 'check whether they are swapped' in refused(tmp_path, capsys, *words)


def test_a_pan_as_coarse_as_the_ms(tmp_path, capsys) -> None:
    words = written(tmp_path, pan=PAN[:, :32, :32])
    assert 'at least 2 times finer' in refused(tmp_path, capsys, *words)


def test_images_that_do_not_overlap(tmp_path, capsys) -> None:
    words = written(tmp_path, of_ms=place(4.0), of_pan=place(1.0, east=5000))
    assert 'found no overlap of at least one MS pixel' in refused(tmp_path, capsys, *words)


def test_a_constant_pan(tmp_path, capsys) -> None:
    words = written(tmp_path, pan=np.full_like(PAN, 700))
    error = refused(tmp_path, capsys, *words)
    assert 'found the number 700 in all pixels of the PAN' in error


def test_a_saturated_scene(tmp_path, capsys) -> None:
    pan = PAN.copy()
    pan[:, :80] = 2047
    error = refused(tmp_path, capsys, *written(tmp_path, pan=pan))
    assert 'found 62% of the pixels of the PAN at its largest number 2047, saturated' in error
    pan[:, 20:80] = PAN[:, 20:80]
    assert pansharpen(*written(tmp_path, pan=pan), *FAST) == 0
    assert 'warning: 16% of the pixels of the PAN' in capsys.readouterr().err


def test_a_scene_that_is_nearly_empty(tmp_path, capsys) -> None:
    ms, pan = np.zeros_like(MS), np.zeros_like(PAN)
    ms[:, 3:6, 3:6], pan[:, 12:24, 12:24] = MS[:, 3:6, 3:6], PAN[:, 12:24, 12:24]
    error = refused(tmp_path, capsys, *written(tmp_path, ms, pan, nodata=0))
    assert 'found no piece of 32 x 32 PAN pixels that is filled with data' in error
    nothing = written(tmp_path, np.zeros_like(MS), np.zeros_like(PAN), nodata=0)
    assert 'found nodata in the one or the other everywhere' in refused(tmp_path, capsys, *nothing)


def test_a_scene_that_is_mostly_empty_is_trained_on_what_there_is(tmp_path, capsys) -> None:
    ms, pan = MS.copy(), PAN.copy()
    ms[:, :, 14:], pan[:, :, 56:] = 0, 0
    assert pansharpen(*written(tmp_path, ms, pan, nodata=0), *FAST) == 0
    printed = capsys.readouterr().out
    assert 'patches of 32 x 32 PAN pixels, not 64: what the scene has room for' in printed
    assert '43.8% of the scene hold data' in printed


@pytest.mark.parametrize('side', [8, 4])
def test_a_small_scene(tmp_path, capsys, side) -> None:
    """Smaller than a patch, and than the reblur's kernel of 41."""
    words = written(tmp_path, MS[:, :side, :side], PAN[:, : 4 * side, : 4 * side])
    if side == 8:
        assert pansharpen(*words, *FAST) == 0
        assert 'patches of 32 x 32 PAN pixels, not 64' in capsys.readouterr().out
    else:
        error = refused(tmp_path, capsys, *words)
        assert 'found 16 x 16 PAN pixels that both images cover; expected at least 32' in error


def test_reflectances_are_learned_from_as_they_are(tmp_path) -> None:
    np.savez(tmp_path / 'r.npz', ms=MS / np.float32(4095), pan=PAN.squeeze() / np.float32(4095))
    scene = ArrayScene(str(tmp_path / 'r.npz'))
    assert (scene.bits, scene.holds_fractions) == (1, True)
    found = survey(scene)
    assert found.largest == pytest.approx(max(MS.max(), PAN.max()) / 4095)
    assert (found.bit_depth, check(scene, found)) == (1, None)


def test_values_that_are_not_finite(tmp_path, capsys) -> None:
    ms = MS.astype(np.float32)
    ms[1, 3, 4] = np.nan
    assert 'NaN or infinite' in refused(tmp_path, capsys, *written(tmp_path, ms))


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['--sensor', 'IKONO'], "no sensor is named 'IKONO'; did you mean 'IKONOS'?"),
        (['--sensor', 'WV3'], 'found 4 bands, but WorldView-3 has 8'),
        (['--bit-depth', '9'], '9 bits end at 511'),
        (['--minutes', '0'], '--minutes must be above 0, found 0'),
        (['--iterations', '-3'], '--iterations must be above 0, found -3'),
        (['--config', 'baselines/gsa'], 'baselines/gsa has nothing to train'),
        (['--config', 'baselines/pannet'], 'takes a reference, which the scene has not'),
        (['--config', 'csasn/csasn_busi'], 'expected a Pansharpener'),
        (['--config', 'ldpnet/ldpnet_pls'], "did you mean 'ldpnet/ldpnet_plus'"),
        (['model.generator.network.widht=4'], "did you mean 'model.generator.network.width'"),
        (['--device', 'cuda'], 'torch finds no GPU'),
    ],
)
def test_wrong_words(tmp_path, capsys, words, said, monkeypatch) -> None:
    monkeypatch.setattr('torch.cuda.is_available', lambda: False)
    assert said in refused(tmp_path, capsys, *written(tmp_path), *words)


def test_places_that_cannot_be_written(tmp_path, capsys) -> None:
    words = written(tmp_path)[:-1]
    assert 'is no folder that can be written to' in refused(
        tmp_path, capsys, *words, tmp_path / 'ms.tif' / 'out.tif'
    )
    assert 'needs a name such as out.tif' in refused(tmp_path, capsys, *words, tmp_path / 'out.png')
    assert 'no file ' in refused(tmp_path, capsys, '--ms', tmp_path / 'x.tif', *words[2:], 'o.tif')
