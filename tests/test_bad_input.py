"""Bad input given to the commands: one clear line, the right exit status, nothing half-written."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys

import numpy as np
import pytest
import rasterio
import torch
from rasterio.transform import from_origin

from toolkit.cli import main

QUICK = [
    'train_dataloader.batch_size=2',
    'train_dataloader.dataset.size=64',
    'train_dataloader.dataset.length=4',
    'train_cfg.max_epochs=1',
    'val_dataloader=null',
    'val_evaluator=null',
]
SYNTHETIC = ['ldpnet/ldpnet_2022_synthetic', *QUICK]
SMALL = 'test_dataloader.dataset.scene={type: SyntheticScene, size: 256}'


def raster(path, shape, dtype='uint16', bad=None, located=True):
    image = np.random.default_rng(0).integers(1, 2048, shape).astype(dtype)
    if bad is not None:
        image[0, -3:, -3:] = bad
    with rasterio.open(
        path,
        'w',
        driver='GTiff',
        dtype=dtype,
        count=shape[0],
        height=shape[1],
        width=shape[2],
        crs='EPSG:32633' if located else None,
        transform=from_origin(500000, 4000000, 256 / shape[1], 256 / shape[2]) if located else None,
    ) as file:
        file.write(image)
    return path


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def scene(sensor='IKONOS'):
    return [
        f'test_dataloader.dataset.scene={{type: RasterScene, ms: ms.tif, pan: pan.tif, '
        f'sensor: {sensor}}}'
    ]


def fails(capsys, argv, status, expected, folder):
    """The command ends with `status` and one line; `folder` is not left behind."""
    assert main(argv) == status
    said = capsys.readouterr().err
    assert expected in said
    assert said.count('\n') == 1
    assert not folder.exists()


def train(*overrides):
    return ['train', *SYNTHETIC, *overrides, '--work-dir', 'run']


def test_no_such_file_of_data(here, capsys, monkeypatch):
    monkeypatch.setenv('TOOLKIT_DATA', str(here / 'nowhere'))
    argv = ['train', 'ldpnet/ldpnet_2022', *QUICK, '--work-dir', 'run']
    fails(capsys, argv, 2, 'nowhere, which is not a folder; set TOOLKIT_DATA', here / 'run')


def test_pan_that_is_no_multiple_of_ms(here, capsys):
    raster('ms.tif', (4, 64, 64), located=False), raster('pan.tif', (1, 250, 256), located=False)
    fails(capsys, train(*scene()), 2, 'the same integer multiple along both axes', here / 'run')


def test_bands_that_the_config_does_not_state(here, capsys):
    raster('ms.tif', (8, 64, 64)), raster('pan.tif', (1, 256, 256))
    fails(
        capsys, train(*scene('WV2')), 2, 'has 8 bands at ratio 4, the config states', here / 'run'
    )


def test_bands_that_the_sensor_does_not_have(here, capsys):
    raster('ms.tif', (5, 64, 64)), raster('pan.tif', (1, 256, 256))
    fails(capsys, train(*scene()), 2, 'found 5 bands, but IKONOS has 4', here / 'run')


def test_ratio_that_the_config_does_not_state(here, capsys):
    raster('ms.tif', (4, 128, 128)), raster('pan.tif', (1, 256, 256))
    fails(capsys, train(*scene()), 2, 'has 4 bands at ratio 2, the config states', here / 'run')


@pytest.mark.parametrize('name', ['ms.tif', 'pan.tif'])
def test_a_raster_that_cannot_be_read(here, capsys, name):
    raster('ms.tif', (4, 64, 64)), raster('pan.tif', (1, 256, 256))
    whole = (here / name).read_bytes()
    (here / name).write_bytes(whole[: len(whole) // 2])
    assert main(train(*scene())) in (1, 2)
    said = capsys.readouterr().err
    assert name in said
    assert said.count('\n') == 1
    assert not (here / 'run' / 'checkpoints' / 'last.pth').exists()


def test_not_a_number_in_a_tile_stops_the_run(here, capsys):
    raster('ms.tif', (4, 64, 64)), raster('pan.tif', (1, 256, 256), 'float32', np.nan)
    argv = train(*scene(), 'train_dataloader.dataset.size=256')
    assert main(argv) == 1
    said = capsys.readouterr().err
    assert 'values are NaN or infinite' in said
    assert 'pan.tif' in said
    assert said.count('\n') == 1
    assert not (here / 'run' / 'checkpoints' / 'last.pth').exists()


def test_more_bits_than_stated(here, capsys):
    raster('ms.tif', (4, 64, 64), bad=5000), raster('pan.tif', (1, 256, 256))
    argv = train(*scene(), 'train_dataloader.dataset.size=256')
    assert main(argv) in (1, 2)
    assert 'found the digital number 5000, but 11 bits end at 2047' in capsys.readouterr().err


@pytest.mark.parametrize('folder', ['/dev/null/run', 'file'])
def test_a_work_folder_that_cannot_be(here, capsys, folder):
    (here / 'file').write_text('')
    assert main(['train', *SYNTHETIC, SMALL, '--work-dir', folder]) in (1, 2)
    said = capsys.readouterr().err
    assert 'work folder' in said
    assert said.count('\n') == 1


def test_a_disk_that_is_full(here):
    """Files may not grow over 300 kB, as on a disk with no more room than that."""

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))

    done = subprocess.run(
        [sys.executable, '-m', 'toolkit', *train(SMALL)],
        preexec_fn=limit,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert done.stderr.startswith('cannot write the checkpoint ')
    assert done.stderr.count('\n') == 1
    assert list((here / 'run' / 'checkpoints').iterdir()) == []
    assert '"failed' in (here / 'run' / 'capsule.json').read_text()


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp('trained') / 'run'
    assert main(['train', *SYNTHETIC, SMALL, '--work-dir', str(folder)]) == 0
    return folder


def test_predict_refuses_what_it_cannot_do(trained, here, capsys):
    raster('ms.tif', (8, 64, 64)), raster('pan.tif', (1, 256, 256))
    for inputs, expected in (
        (['a.mat'], 'no file a.mat'),
        (['ms.tif'], 'expected one .mat file, or two rasters'),
        (['ms.tif', 'pan.tif', '--sensor', 'WV2'], 'has 8 bands at ratio 4'),
        (['ms.tif', 'pan.tif', '--sensor', 'WV22'], "no sensor is named 'WV22'"),
    ):
        argv = ['predict', '--run', str(trained), '--input', *inputs, '--output', 'out.tif']
        assert main(argv) in (1, 2)
        said = capsys.readouterr().err
        assert expected in said
        assert said.count('\n') == 1
    assert sorted(p.name for p in here.iterdir()) == ['ms.tif', 'pan.tif']


class Evil:
    """Runs code where a pickle is loaded without care."""

    def __reduce__(self):
        return print, ('unsafe',)


@pytest.mark.parametrize('kind', ['missing', 'empty', 'cut', 'code', 'other'])
def test_checkpoints_that_cannot_be_used(trained, here, capsys, kind):
    good = (trained / 'checkpoints' / 'last.pth').read_bytes()
    if kind == 'empty':
        (here / 'c.pth').write_bytes(b'')
    elif kind == 'cut':
        (here / 'c.pth').write_bytes(good[: len(good) // 2])
    elif kind == 'code':
        torch.save({'state_dict': Evil()}, here / 'c.pth')
    elif kind == 'other':
        torch.save({'state_dict': {'x': torch.zeros(3)}}, here / 'c.pth')
    argv = ['test', '--run', str(trained), '--checkpoint', 'c.pth', '--work-dir', 'out']
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert 'unsafe' not in captured.out
    assert 'c.pth' in captured.err
    assert captured.err.count('\n') == 1
    assert not (here / 'out').exists()


def test_a_folder_that_holds_a_run_already(trained, capsys):
    before = sorted(p.name for p in trained.iterdir())
    assert main(['train', *SYNTHETIC, SMALL, '--work-dir', str(trained)]) == 2
    assert '--resume' in capsys.readouterr().err
    assert sorted(p.name for p in trained.iterdir()) == before
