"""A command on a disk that fails at any one write is told in one line and can be given again.

The slow test fails a sample of the operations; `make failing-disk` fails each.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from plugins.pansharpening.synthetic.scene import SyntheticScene
from tests.support.failing_disk import FailingDisk, check_files
from tests.support.patch_classifier import clinical_metrics, config, manifest_data, save
from toolkit import cli

FAULTS: dict[str, dict[str, Any]] = {
    'an error once': {'error': errno.EIO},
    'a short write': {'error': errno.ENOSPC, 'short': True},
    'full from then on': {'error': errno.ENOSPC, 'lasting': True},
}
STEP = int(os.environ.get('TOOLKIT_DISK_STEP', 13))

# Words of each command; RUN is a tested run, SITE the data of another site, OUT the disk.
COMMANDS = {
    'audit': 'audit SITE/manifest.csv --json OUT/a.json --html OUT/a.html --groups OUT/g.csv',
    'evaluate': 'evaluate --data SCENES --results own=FUSED --output OUT/t.csv --output OUT/t.md'
    ' --json OUT/t.json',
    'card': 'card --run RUN --output OUT/MODEL_CARD.md',
    'claim': 'card --run RUN --standard claim --output OUT/CLAIM.md',
    'compare': 'compare RUN RUN --task pathology --resamples 100 --json OUT/compared.json',
    'export': 'export --run RUN --output OUT/model.onnx',
    'external': 'external --run RUN --manifest SITE/manifest.csv --output OUT/test'
    ' --known unchecked --resamples 100',
    'new component': 'new component BoxBlur --kind attention --in OUT/own',
    'new plugin': 'new plugin box_blur --in OUT/own',
    'new task': 'new task denoising --in OUT/own',
    'predict': 'predict --run RUN --output OUT/table.csv',
    'push': 'push RUN OUT/shared',
    'pull': 'pull SHARED OUT/run',
    'report': 'report RUN --output OUT/report.html',
    'schema': 'schema --output OUT/schema.json',
    'split': 'split SITE/manifest.csv --by holdout --empty allow --output OUT/split.json',
}

# What an external test has measured is kept, and the next start names another place.
MEASURED = 'test/metrics.json'


@pytest.fixture(scope='module')
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A tested run, as it is shared, and the images of another site."""
    folder = tmp_path_factory.mktemp('places')
    train = save(folder / 'train', 12)
    save(folder / 'site', 24)
    scene = SyntheticScene(4, 64, seed=0)
    np.savez(folder / 'scenes.npz', ms=scene.read_ms(), pan=scene.read_pan(), gt=scene.reference)
    np.save(folder / 'fused.npy', scene.reference * 0.9)
    written = config(
        folder / 'config',
        data=manifest_data(train),
        test_evaluator={'metrics': clinical_metrics()},
        custom_hooks={'clinical': {'type': 'ClinicalReport', 'resamples': 100}},
        default_hooks={'pictures': {'type': 'Pictures', 'count': 0}},
        train_dataloader={'dataset': manifest_data(train), 'batch_size': 4},
        allow_overlap=['results are of no interest here'],
        train_cfg={'max_epochs': 1},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1}},
    )
    run, shared = folder / 'run', folder / 'shared'
    loss = '+model.losses={ce: {type: CrossEntropy}}'
    assert cli.main(['train', str(written), loss, '--work-dir', str(run)]) == 0
    assert cli.main(['test', '--run', str(run)]) == 0
    assert cli.main(['push', str(run), str(shared)]) == 0
    return {
        'RUN': str(run),
        'SCENES': str(folder / 'scenes.npz'),
        'FUSED': str(folder / 'fused.npy'),
        'SITE': str(folder / 'site'),
        'SHARED': str(shared),
    }


def start(words: str, out: Path, places: dict[str, str]) -> tuple[int, str]:
    """Gives a command; returns its exit status and its errors."""
    for name, place in {**places, 'OUT': str(out)}.items():
        words = words.replace(name, place)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as e:
        status = cli.main(words.split())
    return status, e.getvalue()


def list_files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob('*'))


def sweep(words: str, tmp_path: Path, places: dict[str, str], fault: str, part: slice) -> int:
    """Fails operations of a command one after the other; returns how many there were."""
    calm, hurt = tmp_path / 'calm', tmp_path / 'hurt'
    with FailingDisk(calm).mounted() as disk:
        status, errors = start(words, calm, places)
    assert status == 0, errors
    operations, whole = disk.operations, list_files(calm)
    assert operations
    tried = list(range(1, len(operations) + 1))[part]
    for number in tried:
        case = f'{fault} at {number}, {operations[number - 1]}'
        hurt.mkdir()
        with FailingDisk(hurt, number, **FAULTS[fault]).mounted():
            try:
                status, errors = start(words, hurt, places)
            except Exception as error:
                raise AssertionError(case) from error
        assert status in (0, 1), (case, errors)
        assert 'Traceback' not in errors, (case, errors)
        if status:
            assert errors.count('\n') == 1 and str(hurt) in errors, (case, errors)
            check_files(hurt)
            if (hurt / MEASURED).exists():
                shutil.rmtree(hurt)  # stands for another place
                hurt.mkdir()
            again, errors = start(words, hurt, places)
            assert again == 0, (case, errors, list_files(hurt))
        assert list_files(hurt) == whole, (case, status, errors)
        check_files(hurt)
        shutil.rmtree(hurt)
    shutil.rmtree(calm)
    return len(tried)


@pytest.mark.slow
@pytest.mark.parametrize('fault', FAULTS)
@pytest.mark.parametrize('name', COMMANDS)
def test_operations_of_a_command_fail(
    tmp_path: Path, places: dict[str, str], name: str, fault: str
) -> None:
    first = (list(COMMANDS).index(name) + list(FAULTS).index(fault)) % min(STEP, 3)
    tried = sweep(COMMANDS[name], tmp_path, places, fault, slice(first, None, STEP))
    assert tried > 0
