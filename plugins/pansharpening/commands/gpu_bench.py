"""One scene on a GPU: trained on itself, sharpened, and a large one streamed."""

from __future__ import annotations

import contextlib
import functools
import io
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from plugins.pansharpening.commands.bench_scene import sharpener, write_scene
from plugins.pansharpening.inference.scene_inference import InferenceSettings, infer_scene
from plugins.pansharpening.scenes.rasters.raster import RasterScene
from plugins.pansharpening.synthetic.scene import SyntheticScene
from plugins.pansharpening.system import Pansharpener
from toolkit.bench.gpu_record import GPUPart, Recorder, time_run
from toolkit.bench.gpu_train import StepClock, without_validation
from toolkit.config import load
from toolkit.config.checks.check import fill_checked
from toolkit.engine import checkpoint
from toolkit.engine.components import build_system
from toolkit.engine.hooks import MetricsLog
from toolkit.engine.process import precision
from toolkit.errors import DataError
from toolkit.io.data_paths import find_data_file
from toolkit.registry import BENCHES
from toolkit.run.train import train

CONFIG = 'ldpnet/ldpnet_plus'
IKONOS = 'ikonos/imgIK.mat'
STEPS = 400


@BENCHES.register(name='gpu-scene')
class SceneGPUBench(GPUPart):
    """Measures training on one scene, sharpening it, and streaming a large one, on a GPU."""

    def measure(self, recorder: Recorder) -> None:
        with recorder.attempt('one scene'):
            _one_scene(recorder)
        with recorder.attempt('the command'):
            _command(recorder)
        with recorder.attempt('streaming'):
            _streaming(recorder)


def _one_scene(recorder: Recorder) -> None:
    table = f'{STEPS} steps of `ldpnet_plus` on one scene, and the scene sharpened'
    recorder.note(
        table,
        'Steps are 4 windows of 128 x 128. `steps` is from the first to the end of the last, '
        'warm-up and capture of the graph included; `all` adds building the run, fitting the gray, '
        'saving, and sharpening the whole scene into memory. Each row is the better of two runs in '
        'a process that has already done one, so that libraries are loaded.',
    )
    small = ['train_cfg.max_iters=8', 'train_dataloader.batch_size=2'] if recorder.small else []
    size = 256 if recorder.small else 512
    synthetic = [
        'model.bands=8',
        'model.reblur.sensor=WV2',
        f'test_dataloader.dataset.scene={{type: SyntheticScene, bands: 8, size: {size}, seed: 0}}',
    ]
    variants: dict[str, list[str]] = {
        'without a graph': ['runtime.cuda_graph=false'],
        'graph': [],
        'graph, channels last': ['runtime.channels_last=true'],
    }
    scenes = {f'{size} x {size} x 8': synthetic}
    with contextlib.suppress(DataError):
        find_data_file(IKONOS).stat()
        scenes['IKONOS, 1280 x 1280 x 4'] = []
    best: dict[str, tuple[float, float]] = {}
    device = recorder.device
    for scene, changes in scenes.items():
        first = True
        for variant, switches in variants.items():
            label = f'{scene}, {variant}'
            with recorder.attempt(label):
                overrides = [*changes, *small, *switches, f'runtime.device={device.type}']
                if first:
                    _train_and_sharpen(overrides, device)
                    first = False
                steps, whole, sharpening = min(
                    (_train_and_sharpen(overrides, device) for _ in range(1 if small else 2)),
                    key=lambda times: times[1],
                )
                recorder.row(
                    table,
                    label,
                    {'steps, s': steps, 'sharpening, ms': 1e3 * sharpening, 'all, s': whole},
                )
                found = best.get(scene, (float('inf'), float('inf')))
                best[scene] = (min(found[0], steps), min(found[1], whole))
    for scene, (steps, whole) in best.items():
        if scene.startswith('IKONOS'):
            continue
        recorder.target(f'{STEPS} steps on one scene within 0.5 s', f'{steps:.2f} s', steps <= 0.5)
        recorder.target(
            f'a scene of {scene} trained and sharpened in 1 s', f'{whole:.2f} s', whole <= 1
        )


def _train_and_sharpen(overrides: list[str], device: torch.device) -> tuple[float, float, float]:
    """Seconds of the steps, of all, and of sharpening."""
    run = without_validation(fill_checked(load(CONFIG, overrides)))
    clock = StepClock(1)
    run.default_hooks = {'log': functools.partial(MetricsLog, interval=100), 'clock': lambda: clock}
    run.custom_hooks = {}
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        result = train(run, folder)
        system: Pansharpener = build_system(run)
        checkpoint.load_weights(system, result.checkpoint)
    precision.move_system(system, run.runtime, device)
    assert run.test_dataloader is not None
    scene = run.test_dataloader.dataset().scene
    lrms, pan = (
        torch.from_numpy(read()).to(device)[None] for read in (scene.read_ms, scene.read_pan)
    )
    sharpening = time.perf_counter()
    image = _sharpen(system.eval(), lrms, pan, run.runtime)
    image.cpu()
    ended = time.perf_counter()
    return clock.ended - clock.began, ended - started, ended - sharpening


@torch.inference_mode()
def _sharpen(system: Pansharpener, lrms: Tensor, pan: Tensor, runtime: Any) -> Tensor:
    with precision.autocast(runtime, lrms.device):
        return system.sharpen(lrms, pan).float()


def _command(recorder: Recorder) -> None:
    """The whole command in a process of its own, imports, validations and scores included."""
    table = '`toolkit pansharpen` as a command'
    with tempfile.TemporaryDirectory() as folder:
        size = 256 if recorder.small else 1024
        write_scene(Path(folder), size)
        files = ['--ms', f'{folder}/ms.tif', '--pan', f'{folder}/pan.tif', '--sensor', 'IKONOS']
        command = [*files, '--output', f'{folder}/out.tif', '--device', recorder.device.type]
        if recorder.small:
            command += ['--iterations', '4', 'train_dataloader.batch_size=1']
        started = time.perf_counter()
        done = subprocess.run(
            [sys.executable, '-m', 'toolkit', 'pansharpen', *command],
            capture_output=True,
            text=True,
            timeout=max(recorder.left, 1),
        )
        if done.returncode:
            raise RuntimeError((done.stderr or done.stdout).strip()[-400:])
        seconds = time.perf_counter() - started
    recorder.note(
        table,
        'A process from its start to its end: imports, timing the machine, 400 steps, validations, '
        'sharpening, scoring it and three classical methods.',
    )
    recorder.row(table, f'{size} x {size} x 4', {'s': seconds})


def _streaming(recorder: Recorder) -> None:
    table = 'A scene streamed from file to file'
    size = 256 if recorder.small else 4096
    recorder.note(table, f'{size} x {size} x 4, uint16, uncompressed; read, computed and written.')
    device = recorder.device
    with tempfile.TemporaryDirectory() as folder:
        write_scene(Path(folder), size)
        scene = RasterScene(f'{folder}/ms.tif', f'{folder}/pan.tif', 'IKONOS')
        for label, half, tile in (
            ('fp32', False, None),
            ('bf16', True, None),
            ('bf16', True, 1024),
        ):
            label = f'LDPNet, {label}' + (f', windows of {tile}' if tile else '')
            context: Any = contextlib.nullcontext
            if half:
                context = functools.partial(torch.autocast, device.type, torch.bfloat16)
            with recorder.attempt(label):
                settings = InferenceSettings(tile, device=device, context=context, compress='none')
                system = sharpener('LDPNet', scene)
                outcomes = []
                for _ in range(2):
                    found = infer_scene(system, scene, Path(folder) / 'out.tif', settings)
                    found.path.unlink()
                    outcomes.append(found)
                best = min(outcomes, key=lambda outcome: outcome.seconds)
                recorder.row(
                    table, label, {'s': best.seconds, 'Mpixel/s': best.pixels / best.seconds / 1e6}
                )
        with recorder.attempt('the network alone'):
            _network_alone(recorder, table, sharpener('LDPNet', scene))


def _network_alone(recorder: Recorder, table: str, system: Pansharpener) -> None:
    """The same windows without files: what streaming can reach at the most."""
    side = 128 if recorder.small else 1024
    scene = SyntheticScene(bands=4, size=128, seed=0)
    repeats = side // 128
    device = recorder.device
    ms = torch.from_numpy(scene.read_ms()).repeat(1, repeats, repeats)[None].to(device)
    pan = torch.from_numpy(scene.read_pan()).repeat(1, repeats, repeats)[None].to(device)
    system = system.to(device).eval()
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
        found = time_run(lambda: system.sharpen(ms, pan), device)
    recorder.row(
        table,
        'bf16, one window upsampled and sharpened in memory',
        {'s': found.seconds, 'Mpixel/s': side * side / found.seconds / 1e6},
    )
