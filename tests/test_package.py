"""The wheel works outside the checkout, configs included."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope='module')
def installed(tmp_path_factory):
    """A folder with what the wheel installs."""
    folder = tmp_path_factory.mktemp('wheel')
    source = folder / 'source'  # building leaves things behind, which must not meet the checkout's
    source.mkdir()
    for name in ('toolkit', 'plugins', 'configs'):
        shutil.copytree(ROOT / name, source / name, symlinks=True)
    for name in ('setup.cfg', 'pyproject.toml', 'README.md', 'LICENSE'):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, '-m', 'pip', 'wheel', '-q', '--no-deps', '--no-build-isolation']
    subprocess.run([*pip, '-w', str(folder), str(source)], check=True, capture_output=True)
    (wheel,) = folder.glob('ablakit-*.whl')
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / 'site')
    return folder / 'site'


def run(installed, cwd, *argv):
    code = (
        'import sys, toolkit; from toolkit.cli import main; '
        f'assert toolkit.__file__.startswith({str(installed)!r}), toolkit.__file__; '
        'sys.exit(main())'
    )
    return subprocess.run(
        [sys.executable, '-c', code, *argv],
        cwd=cwd,
        env={**os.environ, 'PYTHONPATH': str(installed)},
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_the_installed_wheel_finds_parts_and_configs(installed, tmp_path):
    listed = run(installed, tmp_path, 'list')
    assert listed.returncode == 0, listed.stderr
    assert 'LDPNet' in listed.stdout
    assert 'ldpnet/ldpnet_2022' in listed.stdout
    checked = run(installed, tmp_path, 'check', 'ldpnet/ldpnet_2022', '--no-data')
    assert checked.returncode == 0, checked.stderr
    assert 'no problem found' in checked.stdout


@pytest.mark.slow
def test_the_wheel_holds_every_module_and_config(installed):
    kinds = {'.py', '.j2', '.css', '.js', '.html'}  # the report's templates are no modules
    for package in ('toolkit', 'plugins'):
        ours, theirs = (
            {p.relative_to(root) for p in (root / package).rglob('*') if p.suffix in kinds}
            for root in (ROOT, installed)
        )
        assert theirs == ours
    configs = {p.relative_to(ROOT / 'configs') for p in (ROOT / 'configs').rglob('*.yaml')}
    packed = installed / 'toolkit' / 'configs'
    assert {p.relative_to(packed) for p in packed.rglob('*.yaml')} == configs
