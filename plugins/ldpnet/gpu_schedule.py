"""LDP-Net at its whole published schedule on a GPU, and our own method beside it."""

from __future__ import annotations

from toolkit.bench.gpu_record import GPUPart, Recorder
from toolkit.bench.gpu_runs import RunJob, run_jobs
from toolkit.bench.gpu_train import time_training
from toolkit.errors import DataError
from toolkit.io.data_paths import find_data_file
from toolkit.registry import BENCHES

FILES = {'IKONOS': 'ikonos/imgIK.mat', 'WorldView-2': 'wv2/imgWV2.mat'}
CONFIGS = {
    'IKONOS': ('ldpnet/ldpnet_2022', 'ldpnet/ldpnet_plus'),
    'WorldView-2': ('ldpnet/ldpnet_2022_wv2', 'ldpnet/ldpnet_plus_wv2'),
}
METRICS = ('HQNR', 'D_rho', 'D_lambda_K', 'D_s', 'ZeroFraction')
COMMON = (
    'val_dataloader=null',
    'val_evaluator=null',
    'default_hooks.pictures.count=0',
    'test_dataloader.dataset.protocol=full',
    'test_evaluator.metrics={' + ', '.join(f'{m}: {{type: {m}}}' for m in METRICS) + '}',
)
# How the 5,000 steps are computed; what they are stays as published.
SWITCHES = (
    'runtime.cuda_graph=true',
    'runtime.channels_last=true',
    'runtime.precision=bf16',
)
BY_FFT = '+model.reblur.method=fft'
PARALLEL = 3


@BENCHES.register(name='gpu-schedule')
class ScheduleGPUBench(GPUPart):
    """Trains LDP-Net as published, 5,000 steps of 16 windows, and ldpnet_plus; three seeds each."""

    def measure(self, recorder: Recorder) -> None:
        table = 'At full resolution, without a reference'
        recorder.note(
            table,
            'Published: 50 epochs of 100 batches of 16 windows of 256 x 256, Adam 1e-4 falling '
            'tenfold every 5 epochs, no validation, the last weights; computed with '
            f'`{" ".join(SWITCHES)}`. `ldpnet_plus`: 400 steps of 4 windows of 128 x 128, float32. '
            'Mean and standard deviation over seeds; the whole scene is trained on and tested. '
            f'{PARALLEL} runs share the GPU, which their times show.',
        )

        fastest = _choose_reblur(recorder, table)

        def jobs_of(scene: str, which: int) -> list[RunJob]:
            name, switches = (('published 2022', fastest), ('ldpnet_plus', ()))[which]
            return [_job(f'{scene}, {name}', scene, which, switches, seed) for seed in range(3)]

        scenes = _scenes(recorder)
        # The longest first, scene by scene, so that what is cut off by the time is the last scene.
        jobs = [job for scene in scenes[:1] for job in jobs_of(scene, 0)]
        jobs += [job for scene in scenes for job in jobs_of(scene, 1)]
        jobs += [job for scene in scenes[1:] for job in jobs_of(scene, 0)]
        if recorder.small:
            short = (
                'train_cfg={max_iters: 2}',
                'train_dataloader.batch_size=1',
                'train_dataloader.dataset.size=64',
                '+test_dataloader.dataset.crop=256',
            )
            jobs = [j._replace(overrides=[*j.overrides, *short]) for j in jobs if j.seed == 0]
        run_jobs(recorder, table, jobs, PARALLEL, {name: name for name in METRICS})


def _choose_reblur(recorder: Recorder, table: str) -> tuple[str, ...]:
    """The switches with the faster of two ways to compute the reblur, equal up to rounding."""
    seconds: dict[tuple[str, ...], float] = {}
    short = ['train_dataloader.batch_size=1', 'train_dataloader.dataset.size=64']
    for switches in (SWITCHES, (*SWITCHES, BY_FFT)):
        with recorder.attempt(' '.join(switches)):
            overrides = ['train_cfg.max_epochs=null', 'train_cfg.val_interval=null', *switches]
            overrides += [f'runtime.device={recorder.device.type}', *short * recorder.small]
            found = time_training('ldpnet/ldpnet_2022_synthetic', overrides, 30, 15)
            seconds[switches] = found.step
    chosen = min(seconds, key=lambda switches: seconds[switches])
    way = 'FFT' if BY_FFT in chosen else 'direct convolution'
    recorder.note(table, f'The reblur is computed by {way}, the faster one here.')
    return chosen


def _scenes(recorder: Recorder) -> list[str]:
    found = []
    for scene, file in FILES.items():
        with recorder.attempt(scene):
            if not find_data_file(file).exists():
                raise DataError(f'{file} is not there; set TOOLKIT_DATA')
            found.append(scene)
    return found


def _job(label: str, scene: str, which: int, switches: tuple[str, ...], seed: int) -> RunJob:
    return RunJob(label, CONFIGS[scene][which], [*COMMON, *switches], seed)
