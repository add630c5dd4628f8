"""A user's script is type checked by what the package promises: its annotations and py.typed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import numpy
import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = """
import numpy as np
from torch import Tensor

import toolkit
from plugins.pansharpening.notebook import sharpen
from toolkit.errors import ToolkitError
from toolkit.interfaces import Head, System
from toolkit.registry import HEADS, Kind, Slot
from toolkit.testing.component import check_component


@HEADS.register
class Linear(Head):
    def forward(self, features: Tensor) -> Tensor:
        return features


run = toolkit.load_run('runs/a', 'best', device='cpu')
system: System = toolkit.build('ldpnet/ldpnet_2022', 'model.generator.width=16')
kinds: dict[str, Kind] = toolkit.kinds()
reveal_type(Linear)  # N: consumer.Linear
reveal_type(run.metrics)  # N: dict[str, float | None]
reveal_type(HEADS.names())  # N: list[str]
toolkit.report_metrics({'loss': 1.0})
check_component(Linear)
sharpen(np.zeros((4, 8, 8)), np.zeros((32, 32)), 'IKONOS', upsample='cubic')  # E: upsample
toolkit.lod_run('runs/a')  # E: lod_run
toolkit.load_run(3)  # E: load_run
run.predictt()  # E: predictt
HEADS.nmaes()  # E: nmaes
system.loss([])  # E: loss
"""


@pytest.mark.slow
def test_a_script_of_a_user_is_checked_by_the_installed_package(tmp_path: Path) -> None:
    pytest.importorskip('mypy')
    venv.create(tmp_path / 'env', symlinks=True)
    (site,) = (tmp_path / 'env').glob('lib/*/site-packages')
    for package in ('toolkit', 'plugins'):
        (site / package).symlink_to(ROOT / package)
    (site / 'others.pth').write_text(f'{Path(numpy.__file__).parents[1]}\n')
    (tmp_path / 'consumer.py').write_text(SCRIPT)
    environment = {n: v for n, v in os.environ.items() if n not in ('PYTHONPATH', 'MYPYPATH')}
    done = subprocess.run(
        [sys.executable, '-m', 'mypy', '--config-file', str(ROOT / 'pyproject.toml')]
        + ['--cache-dir', str(ROOT / '.mypy_cache')]  # that of `make lint`
        + ['--python-executable', str(tmp_path / 'env/bin/python'), 'consumer.py'],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    expected = {
        (number, *found.groups())
        for number, line in enumerate(SCRIPT.splitlines(), 1)
        if (found := re.search(r'# ([EN]): (.+)$', line))
    }
    found = re.findall(r'^consumer\.py:(\d+): (\w)\w+: (.*)$', done.stdout, re.M)
    said = {(int(line), level.upper()): text for line, level, text in found}
    assert {place[:2] for place in expected} == set(said), done.stdout + done.stderr
    assert all(text in said[line, level] for line, level, text in expected), done.stdout
