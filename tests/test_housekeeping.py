"""What contributors and releases rely on names versions, targets and extras that exist."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import toolkit

ROOT = Path(__file__).parents[1]
FORMS = sorted((ROOT / '.github').rglob('*.yml'))


def test_pre_commit_has_the_pinned_ruff():
    hooks = yaml.safe_load((ROOT / '.pre-commit-config.yaml').read_text())
    (ruff,) = (repo for repo in hooks['repos'] if 'ruff' in repo['repo'])
    pinned = re.search(r'^ruff==([\d.]+)', (ROOT / 'constraints.txt').read_text(), re.M)
    assert ruff['rev'] == f'v{pinned[1]}'


@pytest.mark.parametrize('file', FORMS, ids=lambda file: file.stem)
def test_workflows_and_forms_are_yaml_and_call_targets_that_exist(file):
    text = file.read_text()
    assert yaml.safe_load(text)
    for target in re.findall(r'run: make ([\w-]+)', text):
        assert re.search(rf'^{target}:', (ROOT / 'Makefile').read_text(), re.M)
    for script in re.findall(r'run: bash (\S+)', text):
        assert (ROOT / script).is_file()


def test_the_release_reads_the_version_that_the_package_has():
    text = (ROOT / '.github/workflows/release.yml').read_text()
    command = re.search(r'version=\$\((sed .*)\)$', text, re.M)[1]
    found = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True)
    assert found.stdout.strip() == toolkit.__version__


def test_the_image_installs_extras_that_exist():
    setup = configparser.ConfigParser()
    setup.read(ROOT / 'setup.cfg')
    (names,) = re.findall(r"'/src\[([\w,]+)\]'", (ROOT / 'docker/Dockerfile').read_text())
    assert set(names.split(',')) <= set(setup['options.extras_require'])


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / '.git').exists(), reason='make wheel builds what git has committed')
def test_the_wheel_is_built_twice_with_the_same_bytes(tmp_path):
    clone = tmp_path / 'clone'
    subprocess.run(['git', 'clone', '-q', '--no-hardlinks', ROOT, clone], check=True)
    shutil.copy(ROOT / 'Makefile', clone)
    done = subprocess.run(
        ['make', 'wheel', f'PYTHON={sys.executable}', 'BUILD_OPTIONS=--no-isolation'],
        cwd=clone,
        env={**os.environ, 'TZ': 'Asia/Tokyo'},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert [file.name for file in (clone / 'dist').iterdir()] == [
        f'ablakit-{toolkit.__version__}-py3-none-any.whl'
    ]


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_holds_every_page(tmp_path):
    mkdocs = Path(sys.executable).parent / 'mkdocs'
    done = subprocess.run(
        [mkdocs, 'build', '--strict', '--site-dir', tmp_path / 'site'],
        cwd=ROOT,
        env={**os.environ, 'NO_MKDOCS_2_WARNING': '1'},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    pages = {page.relative_to(ROOT / 'docs') for page in (ROOT / 'docs').rglob('*.md')}
    built = {page.relative_to(tmp_path / 'site') for page in (tmp_path / 'site').rglob('*.html')}
    assert {page.with_suffix('.html') for page in pages} <= built
    for page in ('systems/ldpnet.html', 'systems/csasn.html', 'reference/api.html'):
        text = (tmp_path / 'site' / page).read_text()
        assert 'src="http' not in text  # no script and no picture of another host
    assert 'load_run' in text
    for page in ('index.html', 'reference/python.html'):  # and not to the JSON of the notebook
        text = (tmp_path / 'site' / page).read_text()
        assert 'notebooks/read_a_study.html"' in text and '.ipynb"' not in text
    assert (
        'href="read_a_study.ipynb"' in (tmp_path / 'site/notebooks/read_a_study.html').read_text()
    )
