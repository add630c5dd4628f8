"""`toolkit pansharpen`: from two files to a sharpened scene, a run and a table."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio
import scipy.io
import torch

from plugins.pansharpening.single_scene import adapt_config
from plugins.pansharpening.single_scene.baselines import INDICES, METHODS
from plugins.pansharpening.single_scene.time_budget import TrainingSpeed
from plugins.pansharpening.synthetic.scene import SyntheticScene
from tests.support.manifests import write_scene
from tests.support.synthetic_rasters import write_geotiff
from toolkit.cli import main

FAST = [
    '--iterations=4',
    '--device=cpu',
    'train_dataloader.dataset.size=64',
    'train_dataloader.batch_size=1',
    'model.generator.network.width=4',
]


@pytest.fixture(autouse=True)
def many_validations(monkeypatch) -> None:
    """Trainings of four iterations validate after each, as long ones do now and then."""
    monkeypatch.setattr(adapt_config, 'LEAST_INTERVAL', 1)


@pytest.fixture(scope='module')
def files(tmp_path_factory) -> list[str]:
    folder = tmp_path_factory.mktemp('files')
    write_scene(folder, 'a', 128)
    return ['--ms', f'{folder}/a_ms.tif', '--pan', f'{folder}/a_pan.tif']


def pansharpen(*words) -> int:
    return main(['pansharpen', *map(str, words)])


def test_one_command(files, tmp_path, capsys) -> None:
    output = tmp_path / 'new' / 'sharp.tif'  # a folder that is not there yet
    assert pansharpen(*files, '--output', output, *FAST) == 0
    printed = capsys.readouterr().out
    assert 'a_ms: 4 bands, 128 x 128 PAN pixels, ratio 4\n' in printed
    assert 'as no --sensor is given' in printed
    assert 'bit depth 11 by the largest digital number, ' in printed
    endings = ('.tif', '.png', '-errors.png', '-histograms.png', '.json', '.run')
    assert {path.name for path in output.parent.iterdir()} == {f'sharp{e}' for e in endings}
    with rasterio.open(output) as raster:
        assert (raster.count, raster.shape, raster.dtypes[0]) == (4, (128, 128), 'uint16')
    record = json.loads(output.with_suffix('.json').read_text())
    assert list(record['scores']) == [*METHODS, 'sharp.tif']
    for scores in record['scores'].values():
        assert set(scores) == set(INDICES)
        assert all(0 <= value <= 1 for value in scores.values())
        hqnr = (1 - scores['D_lambda_K']) * (1 - scores['D_s'])
        assert scores['HQNR'] == pytest.approx(hqnr, abs=1e-9)
    assert record['scores']['EXP']['D_rho'] > record['scores']['GSA']['D_rho']
    assert (record['whole'], record['window'], record['bit_depth']) == (True, [0, 0, 128, 128], 11)
    assert 'BandCorrelation' in record['trained_on']['D_rho']
    assert 'trained on, so no proof of quality: ' in printed
    assert all(name in printed for name in (*METHODS, 'D_rho *', 'wrote '))
    # What toolkit evaluate says of the file is the same.
    again = output.with_name('again.json')
    words = ['--bit-depth', '11', '--fused', str(output), '--json', str(again)]
    assert main(['evaluate', *files, *words]) == 0
    found = json.loads(again.read_text())['scores']
    assert {k: found[k] for k in INDICES} == pytest.approx(record['scores']['sharp.tif'])
    # The run can be used on.
    run = output.with_suffix('.run')
    other = output.with_name('other.tif')
    inputs = [f'ms={files[1]}', f'pan={files[3]}', 'bit_depth=11']
    assert main(['predict', '--run', str(run), '--input', *inputs, '--output', str(other)]) == 0
    with rasterio.open(output) as a, rasterio.open(other) as b:
        np.testing.assert_array_equal(a.read(), b.read())
    lines = (run / 'metrics.jsonl').read_text().splitlines()
    scored = {
        line['iter']: line['val']['HQNR_rho'] for line in map(json.loads, lines) if 'val' in line
    }
    assert list(scored) == [1, 2, 3, 4]
    best = torch.load(run / 'checkpoints' / 'best.pth', weights_only=True)['meta']['best']
    assert best['value'] == max(scored.values()) == record['chosen_by']['value']


def test_the_same_seed_gives_the_same_image(files, tmp_path) -> None:
    images = []
    for name, seed in (('a', 0), ('b', 0), ('c', 1)):
        assert pansharpen(*files, '--output', tmp_path / f'{name}.tif', '--seed', seed, *FAST) == 0
        with rasterio.open(tmp_path / f'{name}.tif') as raster:
            images.append(raster.read())
    np.testing.assert_array_equal(images[0], images[1])
    assert (images[0] != images[2]).any()


def test_what_is_there_is_not_overwritten(files, tmp_path, capsys) -> None:
    output = tmp_path / 'sharp.tif'
    assert pansharpen(*files, '--output', output, *FAST) == 0
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')}
    capsys.readouterr()
    assert pansharpen(*files, '--output', output, *FAST) == 2
    assert 'is there already; give --overwrite' in capsys.readouterr().err
    words = ['--output', tmp_path / 'x.tif', '--work-dir', tmp_path / 'sharp.run']
    assert pansharpen(*files, *words) == 2
    assert 'already holds a run; give --overwrite' in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob('*')} == before
    # What cannot be trained costs nothing that is there.
    pansharpen(
        *files, '--output', tmp_path / 'wide.tif', *FAST[:-1], 'model.generator.network.width=8'
    )
    words = ['--output', output, '--overwrite', '--start', tmp_path / 'wide.run']
    config = ['--config', 'ldpnet/ldpnet_plus', *FAST]
    assert pansharpen(*files, *words, *config) == 2
    assert 'is not one of this Pansharpener' in capsys.readouterr().err
    assert all(path.stat().st_mtime_ns == time for path, time in before.items() if path.is_file())
    (tmp_path / 'sharp.run' / 'mine.txt').write_text('kept')
    assert pansharpen(*files, '--output', output, '--seed=1', '--overwrite', *FAST) == 0
    assert (tmp_path / 'sharp.run' / 'mine.txt').read_text() == 'kept'
    assert json.loads((tmp_path / 'sharp.run/capsule.json').read_text())['seed'] == 1


def test_a_start_from_a_run(files, tmp_path, capsys) -> None:
    first, second = tmp_path / 'first.tif', tmp_path / 'second.tif'
    assert pansharpen(*files, '--output', first, *FAST) == 0
    run = first.with_suffix('.run')
    words = ['--start', run, '--iterations=1', '--device=cpu']
    assert pansharpen(*files, '--output', second, *words) == 0
    # Its config too: a width of 4.
    assert json.loads(second.with_suffix('.json').read_text())['config'] == f'{run}/config.yaml'
    starts = [
        json.loads((tmp_path / name / 'metrics.jsonl').read_text().splitlines()[0])['val']
        for name in ('first.run', 'second.run')
    ]
    assert starts[1]['HQNR_rho'] > starts[0]['HQNR_rho']
    capsys.readouterr()
    words = ['--output', tmp_path / 'third.tif', '--iterations=1']
    for start, said in (
        (tmp_path, 'holds no run'),
        (tmp_path / 'none', 'no run .* to start from'),
    ):
        assert pansharpen(*files, *words, '--start', start) == 2
        assert re.search(said, capsys.readouterr().err)
    # A run of another network.
    assert pansharpen(*files, *words, '--start', run, '--config', 'ldpnet/ldpnet_plus') == 2
    assert 'is not one of this Pansharpener' in capsys.readouterr().err
    assert not (tmp_path / 'third.tif').exists() and not (tmp_path / 'third.run').exists()


@pytest.mark.parametrize('ratio', [2, 3, 5, 6])
def test_other_ratios_and_bands(tmp_path, capsys, ratio) -> None:
    bands = {2: 1, 3: 3, 5: 8, 6: 5}[ratio]
    side = 96 // ratio * ratio
    scene = SyntheticScene(8 if bands > 4 else 4, side, ratio=ratio)
    np.save(tmp_path / 'ms.npy', np.round(scene.read_ms()[:bands] * 2047))
    np.save(tmp_path / 'pan.npy', np.round(scene.read_pan()[0] * 2047))
    words = ['--ms', tmp_path / 'ms.npy', '--pan', tmp_path / 'pan.npy']
    assert pansharpen(*words, '--output', tmp_path / 'out.tif', *FAST) == 0
    printed, warned = capsys.readouterr()
    assert f'{bands} bands, {side} x {side} PAN pixels, ratio {ratio}' in printed
    record = json.loads((tmp_path / 'out.json').read_text())
    assert all(np.isfinite(list(s.values())).all() for s in record['scores'].values())
    power = ratio == 2
    assert ('upsampling: bicubic, as interp23tap cannot enlarge' in printed) is not power
    assert ('MTF-GLP-HPM' in record['scores']) is power
    assert ('MTF-GLP-HPM is left out: ' in warned) is not power


def test_a_mat_file(tmp_path) -> None:
    scene = SyntheticScene(4, 128)
    images = {
        'I_MS': np.round(scene.read_ms() * 2047).transpose(1, 2, 0),
        'I_PAN': np.round(scene.read_pan()[0] * 2047),
    }
    scipy.io.savemat(tmp_path / 'a.mat', images)
    words = ['--ms', tmp_path / 'a.mat', '--sensor', 'IKONOS', '--output', tmp_path / 'out.tif']
    assert pansharpen(*words, *FAST) == 0
    config = (tmp_path / 'out.run' / 'config.yaml').read_text()
    assert 'reblur:\n' in config and config.count('sensor: IKONOS') >= 2
    assert json.loads((tmp_path / 'out.json').read_text())['sensor'] == 'IKONOS'


@pytest.mark.parametrize('config', ['ldpnet/ldpnet_2022', 'ldpnet/pnn'])
def test_other_configs_keep_their_schedules(files, tmp_path, config) -> None:
    words = ['--config', config, '--iterations=100', '--minutes=0.02', '--device=cpu']
    small = ['train_dataloader.dataset.size=64', 'train_dataloader.batch_size=1']
    assert pansharpen(*files, '--output', tmp_path / 'out.tif', *words, *small) == 0
    tree = json.loads((tmp_path / 'out.run' / 'capsule.json').read_text())['config']
    assert tree['train_cfg']['max_epochs'] == 50
    assert tree['train_dataloader']['dataset']['length'] == 2
    assert tree['param_scheduler']['decay']['step_size'] == 5


def test_the_time_bounds_it(files, tmp_path, capsys) -> None:
    words = ['--minutes', '0.05', '--device=cpu', *FAST[2:]]
    started = time.monotonic()
    assert pansharpen(*files, '--output', tmp_path / 'out.tif', *words) == 0
    assert time.monotonic() - started < 60
    printed = capsys.readouterr().out
    assert ' of the 400 iterations of ldpnet/ldpnet_plus fit into 0.05 minutes' in printed
    tree = json.loads((tmp_path / 'out.run' / 'capsule.json').read_text())['config']
    iterations = tree['train_cfg']['max_iters']
    assert 1 <= iterations < 400
    # The rate falls over the whole training, however long it is: nothing else is to be stated.
    assert tree['param_scheduler']['decay'].get('T_max', iterations) == iterations
    assert tree['train_cfg']['max_minutes'] <= 0.05


def test_without_a_gain_it_ends(files, tmp_path, capsys) -> None:
    words = ['--output', tmp_path / 'out.tif', '--iterations=24', *FAST[1:]]
    assert pansharpen(*files, *words, 'optim_wrapper.optimizer.lr=1e-9') == 0
    printed = capsys.readouterr().out
    assert 'stopped early at iteration 14 of 24' in printed  # the first and six more, by twos
    assert 'weights of iteration ' in printed


def test_a_score_that_is_not_defined(tmp_path, capsys) -> None:
    """No block of 32 is filled with data on the finer side of a filter: the last weights serve."""
    scene = SyntheticScene(4, 128)
    ms, pan = (np.round(i * 2047).astype(np.uint16) for i in (scene.read_ms(), scene.read_pan()))
    ms[:, 9:], ms[:, :, 9:], pan[:, 36:], pan[:, :, 36:] = 0, 0, 0, 0
    write_geotiff(tmp_path / 'ms.tif', ms, nodata=0)
    write_geotiff(tmp_path / 'pan.tif', pan, nodata=0)
    words = ['--ms', tmp_path / 'ms.tif', '--pan', tmp_path / 'pan.tif']
    assert pansharpen(*words, '--output', tmp_path / 'out.tif', *FAST) == 0
    printed = capsys.readouterr().out
    assert 'save_best: HQNR_rho is not defined' in printed
    assert 'weights of iteration 4\n' in printed
    assert json.loads((tmp_path / 'out.json').read_text())['scores']['out.tif']['HQNR'] is None


def test_a_slow_machine_trains_on_smaller_patches(tmp_path, monkeypatch, capsys) -> None:
    measured = []

    def slow(run):  # type: ignore[no-untyped-def]
        side = run.train_dataloader.dataset().size
        measured.append(side)
        return TrainingSpeed(iteration=2e-6 * side**2, validation=0.01, measuring=0.02)

    monkeypatch.setattr('plugins.pansharpening.single_scene.time_budget.measure', slow)
    write_scene(tmp_path, 'a', 512)
    words = ['--ms', tmp_path / 'a_ms.tif', '--pan', tmp_path / 'a_pan.tif']
    words += ['--output', tmp_path / 'out.tif', '--minutes', '0.05', '--device=cpu']
    changes = ['train_dataloader.dataset.size=512', 'model.generator.network.width=4']
    assert pansharpen(*words, *changes, 'train_cfg.max_iters=100') == 0
    assert measured == [512, 256, 128]
    printed = capsys.readouterr().out
    assert 'patches of 256 x 256 PAN pixels: with 512 x 512, only 5 of 100' in printed
    tree = json.loads((tmp_path / 'out.run' / 'capsule.json').read_text())['config']
    assert tree['train_dataloader']['dataset']['size'] == 128


def test_of_a_large_scene_a_stated_piece_is_scored(files, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr('plugins.pansharpening.single_scene.baselines.LARGEST', 4 * 64**2)
    assert pansharpen(*files, '--output', tmp_path / 'out.tif', *FAST) == 0
    printed = capsys.readouterr().out
    assert 'a piece of the scene, rows 32:96, columns 32:96, sensor generic' in printed
    record = json.loads((tmp_path / 'out.json').read_text())
    assert (record['whole'], record['window']) == (False, [32, 32, 64, 64])


@pytest.mark.slow
def test_ctrl_c_in_training_leaves_a_run_and_no_image(files, tmp_path) -> None:
    output = tmp_path / 'out.tif'
    words = [*files, '--output', str(output), '--iterations=100000', *FAST[1:]]
    code = 'import sys; from toolkit.cli import main; sys.exit(main(sys.argv[1:]))'
    process = subprocess.Popen(
        [sys.executable, '-c', code, 'pansharpen', *words], stdout=subprocess.PIPE, text=True
    )
    log = tmp_path / 'out.run' / 'metrics.jsonl'
    deadline = time.monotonic() + 60
    while not (log.exists() and log.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f'toolkit predict --run {tmp_path}/out.run --output {output}' in printed
    assert {path.name for path in tmp_path.iterdir()} == {'out.run'}
    assert (tmp_path / 'out.run' / 'checkpoints' / 'last.pth').is_file()


def test_ctrl_c_while_sharpening_leaves_no_image(files, tmp_path, monkeypatch, capsys) -> None:
    def stopped(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(
        'plugins.pansharpening.inference.tiled_inference.TiledInference.window', stopped
    )
    words = [*files, '--bands=3,2,1,4', '--output', tmp_path / 'out.tif']
    assert pansharpen(*words, *FAST) == 130
    advice = capsys.readouterr().out.splitlines()[-1]
    assert not (tmp_path / 'out.tif').exists() and not (tmp_path / 'out.json').exists()
    assert Path(tmp_path / 'out.run' / 'checkpoints' / 'best.pth').is_file()
    # What it advises sharpens the scene as it was stated.
    monkeypatch.undo()
    assert main(advice.rpartition(': toolkit ')[2].split()) == 0
    given = ['--input', f'ms={files[1]}', f'pan={files[3]}', '--bands=3,2,1,4']
    run = ['--run', str(tmp_path / 'out.run'), '--output', str(tmp_path / 'b.tif')]
    assert main(['predict', *run, *given]) == 0
    images = []
    for name in ('out.tif', 'b.tif'):
        with rasterio.open(tmp_path / name) as raster:
            images.append(raster.read())
    np.testing.assert_array_equal(*images)


def test_a_loss_that_is_not_finite(files, tmp_path, monkeypatch, capsys) -> None:
    from plugins.pansharpening.losses import PanGradient

    calls, forward = [], PanGradient.forward

    def broken(self, hrms_gray, pan):  # type: ignore[no-untyped-def]
        calls.append(1)
        return forward(self, hrms_gray, pan) * (float('nan') if len(calls) == 4 else 1)

    monkeypatch.setattr(PanGradient, 'forward', broken)
    assert pansharpen(*files, '--output', tmp_path / 'out.tif', *FAST) == 1
    error = capsys.readouterr().err
    assert "the loss 'gradient' is nan at iteration 4" in error
    assert 'toolkit predict --run' in error
    assert not (tmp_path / 'out.tif').exists()
    kept = torch.load(tmp_path / 'out.run' / 'checkpoints' / 'last.pth', weights_only=True)
    assert kept['meta']['iter'] == 3
    assert all(tensor.isfinite().all() for tensor in kept['state_dict'].values())
