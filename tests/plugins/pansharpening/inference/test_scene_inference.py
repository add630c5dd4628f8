"""Scenes through generators window by window: exact, resumable, in shares, whatever happens."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter

from plugins.pansharpening.commands.bench_scene import sharpener
from plugins.pansharpening.data.whole_scenes import WholeScene
from plugins.pansharpening.inference.output.digital_numbers import DigitalNumbers
from plugins.pansharpening.inference.output.raster_format import RasterFormat
from plugins.pansharpening.inference.output.resumable_geotiff import GrowingFile
from plugins.pansharpening.inference.scene_inference import InferenceSettings, identity, infer_scene
from plugins.pansharpening.inference.scene_prediction import predict_scene
from plugins.pansharpening.inference.thread_pool import run_workers
from plugins.pansharpening.inference.tiled_inference import TiledInference
from plugins.pansharpening.inference.tiles import Shard, around, extent, tiles
from plugins.pansharpening.interfaces import GENERATORS
from plugins.pansharpening.scenes.rasters.raster import RasterScene
from plugins.pansharpening.scenes.rasters.raster_handles import allow_no_georeference
from plugins.pansharpening.scenes.scene import Georeference
from plugins.pansharpening.scenes.window import Window
from plugins.pansharpening.system import Pansharpener
from tests.support.failing_disk import FailingDisk
from tests.support.synthetic_rasters import write_geotiff
from tests.test_parts import names
from toolkit.errors import DataError, RunError, ToolkitError
from toolkit.registry.build import ComponentFactory

# Pursuit of sparse codes is slow; its windows are tested beside it.
GENERATOR_NAMES = [name for name in names(GENERATORS) if name != 'SR-D']


def write_scene(folder: Path, low: tuple[int, int] = (88, 75), nodata: int | None = None) -> None:
    """An IKONOS-like pair of GeoTIFFs at ratio 4, smooth enough to be sharpened."""
    rng = np.random.default_rng(0)
    ms = rng.integers(200, 1800, (4, *low)).astype(np.uint16)
    pan = ms.mean(0).repeat(4, 0).repeat(4, 1)[None]
    pan = pan + rng.integers(-150, 150, pan.shape)
    for name, image, pixel in (('ms', ms, 2.0), ('pan', pan, 0.5)):
        write_geotiff(folder / f'{name}.tif', image.astype(np.uint16), place(pixel), nodata=nodata)


def place(pixel: float) -> Georeference:
    return Georeference('EPSG:32633', rasterio.transform.from_origin(3e5, 5e6, pixel, pixel))


def opened(folder: Path) -> RasterScene:
    return RasterScene(str(folder / 'ms.tif'), str(folder / 'pan.tif'), 'IKONOS')


@pytest.fixture(scope='module')
def scene(tmp_path_factory: pytest.TempPathFactory) -> RasterScene:
    folder = tmp_path_factory.mktemp('scene')
    write_scene(folder, low=(60, 52))
    return opened(folder)


def whole(system, scene: RasterScene) -> np.ndarray:
    """What the system makes of the scene in memory, in one piece."""
    with torch.inference_mode():
        images = (torch.from_numpy(x)[None] for x in (scene.read_ms(), scene.read_pan()))
        hrms = system.eval().sharpen(*images)[0]
    return (hrms * scene.scale).round().clamp(0, 65535).numpy()


def read(path: Path) -> np.ndarray:
    with allow_no_georeference(), rasterio.open(path) as raster:
        return raster.read()


# -- exact ---------------------------------------------------------------------------------------


@settings(max_examples=3, deadline=None)
@given(tile=st.integers(1, 260), workers=st.integers(1, 3))
@pytest.mark.parametrize('name', GENERATOR_NAMES)
def test_any_tile_gives_the_whole_to_the_bit(
    name: str, tile: int, workers: int, scene: RasterScene, tmp_path_factory
) -> None:
    tile = max(tile, 40)  # smaller ones only take longer
    system = sharpener(name, scene)
    path = tmp_path_factory.mktemp('out') / 'out.tif'
    infer_scene(system, scene, path, InferenceSettings(tile=tile, workers=workers, compress='none'))
    np.testing.assert_array_equal(read(path), whole(system, scene))


@pytest.mark.slow
@pytest.mark.parametrize('tile', [64, 100])
def test_sparse_codes_too(tile: int, tmp_path: Path) -> None:
    write_scene(tmp_path, low=(36, 30))
    scene = opened(tmp_path)
    system = sharpener('SR-D', scene)
    infer_scene(system, scene, tmp_path / 'out.tif', InferenceSettings(tile=tile))
    np.testing.assert_array_equal(read(tmp_path / 'out.tif'), whole(system, scene))


@pytest.mark.parametrize('name', GENERATOR_NAMES)
def test_float_images_hold_the_bits_of_the_network(name: str, tmp_path: Path) -> None:
    """Before rounding too, where a digital number would hide a last bit."""
    write_scene(tmp_path)
    write_geotiff(tmp_path / 'ms.tif', read(tmp_path / 'ms.tif').astype(np.float32), place(2.0))
    scene = opened(tmp_path)
    assert scene.dtype == np.float32
    system = sharpener(name, scene)
    infer_scene(system, scene, tmp_path / 'out.tif', InferenceSettings(tile=100))
    with torch.inference_mode():
        images = (torch.from_numpy(x)[None] for x in (scene.read_ms(), scene.read_pan()))
        expected = system.eval().sharpen(*images)[0] * scene.scale
    np.testing.assert_array_equal(read(tmp_path / 'out.tif'), expected.numpy())


@pytest.mark.parametrize('name', ['PNN', 'EXP'])
def test_images_in_minus_one_to_one(name: str, scene: RasterScene, tmp_path: Path) -> None:
    """Networks with and without a halo see that range here as elsewhere."""
    torch.manual_seed(0)
    system = Pansharpener(4, 4, ComponentFactory(GENERATORS.get(name), {}, name), symmetric=True)
    outcome = infer_scene(system, scene, tmp_path / 'out.tif', InferenceSettings(tile=160))
    assert np.array_equal(read(outcome.path), whole(system, scene))


def test_windows_around_a_window() -> None:
    assert around(Window(0, 0, 64, 64), (640, 640), 10, 4, 0) == Window(0, 0, 76, 76)
    assert around(Window(64, 128, 64, 64), (640, 640), 10, 4, 0) == Window(52, 116, 88, 88)
    found = around(Window(600, 320, 8, 8), (640, 640), 2, 4, 128)
    assert found.height >= 128
    assert found.width >= 128
    assert found.row + found.height <= 640
    assert found.row % 4 == found.col % 4 == 0
    assert around(Window(8, 8, 8, 8), (40, 36), 2, 4, 128) == Window(0, 0, 40, 36)


@given(height=st.integers(1, 90), width=st.integers(1, 90), side=st.integers(1, 40), data=st.data())
@settings(max_examples=50, deadline=None)
def test_shards_cover_a_scene_once(height: int, width: int, side: int, data) -> None:
    rows = -(-height // side)
    count = data.draw(st.integers(1, rows))
    seen = np.zeros((height, width), int)
    for i in range(count):
        windows = tiles((height, width), side, Shard(i + 1, count))
        part = np.zeros_like(seen)
        for window in windows:
            part[window.slices] += 1
        seen += part
        assert part[extent(windows).slices].all()
        assert part.sum() == part[extent(windows).slices].size
    assert (seen == 1).all()
    with pytest.raises(ToolkitError, match='use at most'):
        tiles((height, width), side, Shard(1, rows + 1))


# -- files ---------------------------------------------------------------------------------------


def test_the_file_says_what_it_is(scene: RasterScene, tmp_path: Path) -> None:
    system = sharpener('GSA', scene)
    for compress in ('none', 'deflate', 'zstd', 'lzw'):
        path = tmp_path / f'{compress}.tif'
        predict_scene(system, scene, path, compress=compress, progress=False, picture=False)
        with rasterio.open(path) as raster:
            assert raster.crs.to_epsg() == 32633
            assert raster.transform == scene.georeference.transform
            assert raster.descriptions == ('blue', 'green', 'red', 'nir')
            assert raster.dtypes == ('uint16',) * 4
            assert (
                raster.compression is None
                if compress == 'none'
                else (raster.compression.value.lower() == compress)
            )
    assert not [p for p in tmp_path.iterdir() if p.name.startswith('.')]


@pytest.mark.parametrize('folder', ['wv3_georef', 'landsat_georef'])
def test_results_lie_on_the_ground_of_the_pan(folder: str, data_root: Path, tmp_path: Path) -> None:
    """Pixels on PAN's to a tenth of one, by the transform and by what they show."""
    files = {'wv3_georef': ('mul.tif', 'WV3'), 'landsat_georef': ('ms.tif', 'generic')}
    ms, sensor = files[folder]
    pan_path = data_root / folder / 'pan.tif'
    scene = RasterScene(str(data_root / folder / ms), str(pan_path), sensor)
    predict_scene(sharpener('GSA', scene), scene, tmp_path / 'out.tif', picture=False)
    with rasterio.open(tmp_path / 'out.tif') as result, rasterio.open(pan_path) as pan:
        assert result.crs == pan.crs
        corners = [(0, 0), (result.height, 0), (0, result.width), (result.height, result.width)]
        places = []
        for row, col in corners:
            x, y = rasterio.transform.xy(result.transform, row, col, offset='ul')
            r, c = rasterio.transform.rowcol(pan.transform, x, y, op=float)
            assert abs(r - round(r)) < 0.1
            assert abs(c - round(c)) < 0.1
            places.append((round(r), round(c)))
        top, left = places[0]
        shown = result.read().astype(float).mean(0)
        part = pan.read(1)[top : top + result.height, left : left + result.width].astype(float)
    # Details are the PAN's; what is coarse lies where the MS samples are taken to be.
    shown, part = (image - uniform_filter(image, 5) for image in (shown, part))
    inside = (slice(8, -8), slice(8, -8))

    def alike(row: int, col: int) -> float:
        moved = np.roll(shown, (row, col), (0, 1))[inside]
        return np.corrcoef(moved.ravel(), part[inside].ravel())[0, 1]

    # The parabola through the correlations one pixel to each side peaks within a tenth.
    for row, col in ((1, 0), (0, 1)):
        before, here, after = alike(-row, -col), alike(0, 0), alike(row, col)
        assert abs((before - after) / (2 * (before - 2 * here + after))) < 0.1


def test_cloud_optimized(scene: RasterScene, tmp_path: Path) -> None:
    system = sharpener('Brovey', scene)
    predict_scene(system, scene, tmp_path / 'a.tif', progress=False, picture=False)
    predict_scene(system, scene, tmp_path / 'b.tif', cog=True, progress=False, picture=False)
    with rasterio.open(tmp_path / 'b.tif') as raster:
        assert raster.tags(ns='IMAGE_STRUCTURE')['LAYOUT'] == 'COG'
        assert raster.descriptions == ('blue', 'green', 'red', 'nir')
    np.testing.assert_array_equal(read(tmp_path / 'a.tif'), read(tmp_path / 'b.tif'))
    with pytest.raises(ToolkitError, match='name it c.tif|cannot be a cloud-optimized'):
        predict_scene(system, scene, tmp_path / 'c.vrt', cog=True)


@pytest.mark.parametrize('name', ['a.vrt', 'a.tif'])
def test_shards_become_one_image(name: str, scene: RasterScene, tmp_path: Path) -> None:
    system = sharpener('MTF-GLP-HPM-H', scene)
    predict_scene(system, scene, tmp_path / 'whole.tif', progress=False, picture=False)
    said: list[str] = []
    for i in (2, 1, 3):
        written = predict_scene(
            system,
            scene,
            tmp_path / 'shards' / name,
            tile=64,
            shard=Shard(i, 3),
            progress=False,
            picture=False,
            report=said.append,
        )
    assert any(line.startswith('shard 2/3 is done') for line in said)
    np.testing.assert_array_equal(read(tmp_path / 'shards' / name), read(tmp_path / 'whole.tif'))
    left = sorted(p.name for p in (tmp_path / 'shards').iterdir())
    parts = [f'a.shard-{i}-of-3.tif' for i in (1, 2, 3)] if name == 'a.vrt' else []
    assert left == sorted([name, *parts])
    assert sorted(p.name for p in written) == left
    with rasterio.open(tmp_path / 'shards' / name) as raster:
        assert raster.descriptions == ('blue', 'green', 'red', 'nir')
        assert raster.transform == scene.georeference.transform


def test_nodata_is_left_out_and_kept(tmp_path: Path) -> None:
    write_scene(tmp_path, nodata=0)
    with rasterio.open(tmp_path / 'pan.tif', 'r+') as raster:
        pan = raster.read()
        pan[:, 200:, :] = 0  # whole windows of it
        raster.write(pan)
    scene, clean = opened(tmp_path), tmp_path / 'clean'
    clean.mkdir()
    for name in ('GSA', 'LDPNet'):
        system = sharpener(name, scene)
        infer_scene(system, scene, tmp_path / 'out.tif', InferenceSettings(tile=64))
        image = read(tmp_path / 'out.tif')
        assert not image[:, 200:].any()
        assert image[:, :200].any(0).mean() > 0.9
        with rasterio.open(tmp_path / 'out.tif') as raster:
            assert raster.nodata == 0
    # What is not there does not count in the statistics.
    write_geotiff(clean / 'pan.tif', pan[:, :200], place(0.5))
    write_geotiff(clean / 'ms.tif', read(tmp_path / 'ms.tif')[:, :50], place(2.0))
    found = []
    for part in (scene, opened(clean)):
        streamed = TiledInference(sharpener('GSA', part), part, torch.device('cpu'))
        with run_workers(2) as pool:
            streamed.measure(pool, lambda pixels: None)
        found.append(streamed.statistics)
    for key, value in found[1].items():
        # All but a margin of 64 pixels along the border of what is not there.
        torch.testing.assert_close(found[0][key], value, rtol=0.1, atol=0.05)


def test_only_pixels_near_nodata_are_measured_all_the_same(tmp_path: Path) -> None:
    write_scene(tmp_path, low=(32, 24), nodata=0)
    with rasterio.open(tmp_path / 'pan.tif', 'r+') as raster:
        pan = raster.read()
        pan[:, :, ::40] = 0
        raster.write(pan)
    scene = opened(tmp_path)
    infer_scene(sharpener('GSA', scene), scene, tmp_path / 'out.tif', InferenceSettings())
    assert np.isfinite(read(tmp_path / 'out.tif')).all()
    assert read(tmp_path / 'out.tif')[:, pan[0] > 0].any(0).mean() > 0.9


# -- interruptions -------------------------------------------------------------------------------

CHILD = """
import sys, time
from pathlib import Path
import plugins.pansharpening.inference.output.resumable_geotiff as output
from plugins.pansharpening.commands.bench_scene import sharpener
from plugins.pansharpening.inference.scene_prediction import predict_scene
from plugins.pansharpening.scenes.rasters.raster import RasterScene
from plugins.pansharpening.inference.tiled_inference import TiledInference

folder, name, pause = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
output.CHECKPOINT = 0.0
window = TiledInference.window
TiledInference.window = lambda self, core: (time.sleep(pause), window(self, core))[1]
scene = RasterScene(str(folder / 'ms.tif'), str(folder / 'pan.tif'), 'IKONOS')
predict_scene(sharpener(name, scene), scene, folder / 'out.tif', tile=64, workers=2,
              progress=False, picture=False, report=print)
"""


def start(folder: Path, name: str, pause: float = 0.0) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, '-c', CHILD, str(folder), name, str(pause)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, 'OMP_NUM_THREADS': '2', 'CUDA_VISIBLE_DEVICES': ''},
    )


def done(folder: Path) -> int:
    path = folder / '.out.partial.json'
    return max(path.read_text().count('\n') - 1, 0) if path.is_file() else 0


def wait_for(condition, process: subprocess.Popen, seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.slow
@pytest.mark.parametrize('name', ['GSA', 'LDPNet'])
def test_killed_runs_go_on_and_end_the_same(name: str, tmp_path: Path) -> None:
    write_scene(tmp_path)
    scene = opened(tmp_path)
    expected = whole(sharpener(name, scene), scene)
    before = 0
    for _ in range(4):
        process = start(tmp_path, name, 0.2)
        wait_for(lambda before=before: done(tmp_path) > before + 2, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        assert not (tmp_path / 'out.tif').exists()
        before = done(tmp_path)
    # What a kill between two writes leaves: half a line in the list.
    with open(tmp_path / '.out.partial.json', 'a') as file:
        file.write('[0, 64, 6')
    process = start(tmp_path, name)
    said, errors = process.communicate()
    assert process.returncode == 0, errors
    assert f'{before} of 30 windows were there' in said
    np.testing.assert_array_equal(read(tmp_path / 'out.tif'), expected)
    left = sorted(p.name for p in tmp_path.iterdir())
    assert left == ['ms.tif', 'out.tif', 'pan.tif']


@pytest.mark.slow
def test_another_scene_or_method_begins_anew_and_two_at_once_are_refused(tmp_path: Path) -> None:
    write_scene(tmp_path)
    process = start(tmp_path, 'Brovey', 0.3)
    wait_for(lambda: done(tmp_path) > 2, process)
    scene = opened(tmp_path)
    with pytest.raises(ToolkitError, match='another process is writing'):
        predict_scene(sharpener('Brovey', scene), scene, tmp_path / 'out.tif', tile=64)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    said: list[str] = []
    system = sharpener('GIHS', scene)
    predict_scene(system, scene, tmp_path / 'out.tif', tile=64, picture=False, report=said.append)
    assert 'were there' not in said[0]
    np.testing.assert_array_equal(read(tmp_path / 'out.tif'), whole(system, scene))


@pytest.mark.slow
def test_interrupted_by_hand_what_is_there_is_kept(tmp_path: Path) -> None:
    write_scene(tmp_path)
    process = start(tmp_path, 'GIHS', 0.3)
    wait_for(lambda: done(tmp_path) > 2, process)
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert done(tmp_path) > 2
    assert not (tmp_path / 'out.tif').exists()


def test_identity_follows_what_decides_the_pixels(tmp_path: Path) -> None:
    write_scene(tmp_path)
    scene = opened(tmp_path)
    system = sharpener('LDPNet', scene)
    first = identity(system, scene)
    assert identity(sharpener('LDPNet', scene), opened(tmp_path)) == first
    with torch.no_grad():
        next(system.parameters()).add_(1e-7)
    assert identity(system, scene) != first
    assert identity(sharpener('BDSD', scene), scene) != identity(sharpener('BDSD-PC', scene), scene)
    os.utime(tmp_path / 'pan.tif', ns=(1, 1))
    assert identity(sharpener('LDPNet', scene), opened(tmp_path)) != first


@pytest.mark.slow
def test_processes_of_torchrun_share_a_scene(tmp_path: Path) -> None:
    write_scene(tmp_path)
    scene = opened(tmp_path)
    command = [
        sys.executable,
        '-m',
        'torch.distributed.run',
        '--nproc_per_node',
        '2',
        '--master-port',
    ]
    command += ['29533', 'tools/predict.py', 'baselines/gsa', '--sensor', 'IKONOS', '--tile', '64']
    command += ['--input', f'ms={tmp_path}/ms.tif', f'pan={tmp_path}/pan.tif']
    command += ['--output', str(tmp_path / 'out.vrt')]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, 'OMP_NUM_THREADS': '1'}
    )
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(read(tmp_path / 'out.vrt'), whole(sharpener('GSA', scene), scene))
    assert (tmp_path / 'out.shard-2-of-2.tif').is_file()


# -- bad input -----------------------------------------------------------------------------------


def test_a_file_that_does_not_hold_what_was_written_is_noticed(tmp_path: Path, monkeypatch) -> None:
    layout = RasterFormat(4, np.dtype(np.uint16), compress='none')
    file = GrowingFile(tmp_path / 'a.tif', Window(0, 0, 512, 512), layout, 'x')
    values = np.ones((4, 512, 512), np.uint16)
    file.write(Window(0, 0, 512, 512), DigitalNumbers(values, None, 0))
    real = Path.stat

    class Short:
        def __init__(self, status) -> None:
            self.st_size = status.st_size // 2

    monkeypatch.setattr(
        Path,
        'stat',
        lambda self, **kw: Short(real(self)) if 'partial.tif' in self.name else real(self, **kw),
    )
    with pytest.raises(
        RunError, match=r'cannot write .*a.tif: what was written is not in the file'
    ):
        file.finish()
    assert not (tmp_path / 'a.tif').exists()
    assert json.loads((tmp_path / '.a.partial.json').read_text()) == {'identity': 'x'}
    file.close()


@pytest.mark.slow
@pytest.mark.parametrize('compress', ['none', 'deflate'])
def test_a_disk_that_fills_midway(compress: str, tmp_path: Path) -> None:
    """A file size limit stands for the disk: writes fail in the same places."""
    write_scene(tmp_path, low=(256, 256))
    limit = 2_000_000
    code = f"""
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
from pathlib import Path
from plugins.pansharpening.commands.bench_scene import sharpener
from plugins.pansharpening.inference.scene_prediction import predict_scene
from plugins.pansharpening.scenes.rasters.raster import RasterScene
from toolkit.errors import ToolkitError
folder = Path(sys.argv[1])
scene = RasterScene(str(folder / 'ms.tif'), str(folder / 'pan.tif'), 'IKONOS')
try:
    predict_scene(sharpener('Brovey', scene), scene, folder / 'out.tif', tile=256,
                  compress='{compress}', progress=False, picture=False)
except ToolkitError as error:
    print('said:', error)
    sys.exit(error.exit_status)
"""
    done = subprocess.run(
        [sys.executable, '-c', code, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 1, done.stderr
    assert 'said: cannot write' in done.stdout
    assert 'make room and give the same command again' in done.stdout
    assert not (tmp_path / 'out.tif').exists()
    # With room it ends well, from whatever is there.
    scene = opened(tmp_path)
    system = sharpener('Brovey', scene)
    predict_scene(system, scene, tmp_path / 'out.tif', tile=256, compress=compress, picture=False)
    np.testing.assert_array_equal(read(tmp_path / 'out.tif'), whole(system, scene))


@pytest.mark.slow
def test_a_prediction_goes_on_after_any_operation_that_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list of windows, the images and the names; GDAL's own writes are in the test above."""
    monkeypatch.setattr('plugins.pansharpening.inference.output.resumable_geotiff.CHECKPOINT', 0.0)
    write_scene(tmp_path, low=(32, 32))
    scene = opened(tmp_path)
    system, image = sharpener('Brovey', scene), whole(sharpener('Brovey', scene), scene)

    def predict(folder: Path, overwrite: bool = False) -> None:
        options: dict[str, Any] = {'tile': 64, 'workers': 1, 'progress': False}
        predict_scene(system, scene, folder / 'out.tif', overwrite=overwrite, **options)

    with FailingDisk(tmp_path).mounted() as disk:
        predict(tmp_path / 'calm')
    expected = {path.name: path.read_bytes() for path in (tmp_path / 'calm').glob('*.png')}
    assert len(disk.operations) > 20 and expected, disk.operations
    told = []
    for number, operation in enumerate(disk.operations, 1):
        is_other_image = '.png' in operation and '.out.png' not in operation
        if operation.startswith(('mkdir', 'fsync')) or is_other_image:
            continue
        folder = tmp_path / f'hurt{number}'
        lasting = number % 2 == 1 and operation.startswith(('open', 'write'))
        try:
            with FailingDisk(folder, number, errno.ENOSPC, lasting, short=True).mounted():
                predict(folder)
        except RunError as error:
            told.append(str(error))
            assert 'cannot write' in told[-1] and str(folder) in told[-1], operation
            assert '\n' not in told[-1], operation
        else:  # what only saves time the next time
            assert '.statistics' in operation, operation
        there = (folder / 'out.tif').exists()
        if there:  # an image beside it failed
            np.testing.assert_array_equal(read(folder / 'out.tif'), image)
        predict(folder, overwrite=there)
        np.testing.assert_array_equal(read(folder / 'out.tif'), image)
        assert {path.name: path.read_bytes() for path in folder.glob('*.png')} == expected
        assert sorted(p.name for p in folder.iterdir()) == sorted(['out.tif', *expected]), operation
    assert len(told) > 6, told


def test_a_truncated_raster_stops_the_run_and_leaves_nothing(tmp_path: Path) -> None:
    write_scene(tmp_path, low=(128, 128))
    path = tmp_path / 'pan.tif'
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    scene = opened(tmp_path)
    with pytest.raises(DataError, match=r'pan.tif cannot be read: .*it may be cut'):
        infer_scene(
            sharpener('GIHS', scene), scene, tmp_path / 'out.tif', InferenceSettings(tile=64)
        )
    assert sorted(p.name for p in tmp_path.iterdir()) == ['ms.tif', 'pan.tif']


def test_networks_that_want_the_whole_of_a_large_scene(scene: RasterScene, monkeypatch) -> None:
    system = sharpener('PNN', scene)
    system.generator.halo = 'global'
    monkeypatch.setattr('plugins.pansharpening.inference.tiled_inference.LARGEST_WHOLE', 1000)
    with pytest.raises(DataError, match='PNN looks at a whole image at once'):
        TiledInference(system, scene, torch.device('cpu'))


@pytest.mark.parametrize('text', ['3', '0/2', '3/2', 'a/b', '-1/2', '1/0'])
def test_shards_that_are_none(text: str) -> None:
    with pytest.raises(ToolkitError, match='shard'):
        Shard.parse(text)


@pytest.mark.parametrize('name', GENERATOR_NAMES)
def test_a_scene_of_one_pixel(name: str, tmp_path: Path) -> None:
    write_scene(tmp_path, low=(1, 1))
    scene = opened(tmp_path)
    infer_scene(sharpener(name, scene), scene, tmp_path / 'out.tif', InferenceSettings())
    assert read(tmp_path / 'out.tif').shape == (4, 4, 4)


@pytest.mark.parametrize('name', ['GSA', 'MTF-GLP-HPM', 'BT-H'])
def test_pixels_without_data_count_in_no_test_either(name: str, tmp_path: Path) -> None:
    """A test in memory and the written file agree where a scene holds a large black area."""
    write_scene(tmp_path, nodata=0)
    for file, share in (('ms', 1), ('pan', 4)):
        image = read(tmp_path / f'{file}.tif')
        image[:, :, : 40 * share] = 0
        write_geotiff(tmp_path / f'{file}.tif', image, place(2.0 / share), nodata=0)
    scene = opened(tmp_path)
    system = sharpener(name, scene).eval()
    batch = {k: v[None] for k, v in WholeScene(scene)[0].items() if k != 'meta'}
    with torch.inference_mode():
        found = system.predict(batch)['hrms'][0] * scene.scale
    infer_scene(system, scene, tmp_path / 'out.tif', InferenceSettings(tile=100))
    valid = scene.read_mask()
    expected = found.round().clamp(1, 65535).numpy()
    np.testing.assert_array_equal(read(tmp_path / 'out.tif')[:, valid], expected[:, valid])
