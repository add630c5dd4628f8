"""The reference's table of scores of each method, and the same scores of ours."""

from __future__ import annotations

import functools
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from plugins.classical.exp import EXP
from plugins.classical.tv import TV
from plugins.pansharpening.imaging.mtf import sensor_degrade
from plugins.pansharpening.imaging.resample import imresize_by, interp23tap
from plugins.pansharpening.metrics import functional
from plugins.pansharpening.scenes.sensors import get_sensor
from tests.support.classical_golden import IN_THE_REFERENCE, METHODS, method
from tests.support.full_resolution import images

EVERY = ['EXP', *METHODS, 'TV']
SCALES = ['full', 'reduced']
SENSORS = {'ik': 'IKONOS', 'wv2': 'WV2'}
LEVELS = 2047
# What the columns named `c` are of: 20 rows and columns less at the start and 21 at the end, since
# the toolbox counts from one where it cuts from 21 on.
CUT = (..., slice(20, -21), slice(20, -21))


@functools.cache
def table(data_root: Path) -> dict[tuple[str, str, str], dict[str, float]]:
    """Scores by place, scale and method, as the reference's file has them; times are left out."""
    path = data_root.parent / 'CLASSICAL_VALUES.md'
    if not path.is_file():
        pytest.skip('needs the table of the classical methods')
    found: dict[tuple[str, str, str], dict[str, float]] = {}
    place = scale = ''
    names: list[str] = []
    for line in path.read_text(encoding='utf-8').splitlines():
        cells = [cell.strip() for cell in line.strip('|').split('|')]
        if line.startswith('## '):
            place, _, scale = line[3:].split()[:3]
            scale = scale.lower()
        elif line.startswith('|method'):
            names = cells[1:]
        elif line.startswith('|') and not line.startswith('|--'):
            scores = dict(zip(names, map(float, cells[1:])))
            found[place, scale, cells[0]] = {k: v for k, v in scores.items() if k != 't s'}
        elif alone := re.match(r'(\w+), (\w+) resolution, (\S+): ', line):  # in words
            scores = re.findall(r'(\w+) (\.\d+)', line[alone.end() :])
            found[alone.groups()] = {key: float(value) for key, value in scores}
    return found


def expected(data_root: Path, place: str, scale: str, name: str) -> dict[str, float]:
    key = (place, scale, IN_THE_REFERENCE.get(name, name))
    if key not in table(data_root):
        pytest.skip(f'the reference has no {name} there')
    return table(data_root)[key]


def found(data_root: Path, place: str, scale: str, name: str) -> dict[str, float]:
    """Ours, each by the reference's name for it."""
    scene, part = place.split('_')
    data = images(data_root, scene, part)
    ms, pan, taken = data['ms'], data['pan'], get_sensor(SENSORS[scene])
    if scale == 'reduced':
        low = sensor_degrade(ms, taken, 4)
        return _reduced(_fused(name, low, imresize_by(pan, 4), taken.name), ms, part)
    return _full(_fused(name, ms, pan, taken.name), ms, pan, taken.gains(ms.shape[1]), part)


def _fused(name: str, ms: Tensor, pan: Tensor, sensor_name: str) -> Tensor:
    lrms_up = interp23tap(ms, 4)
    if name == 'EXP':
        return EXP()(lrms_up, pan)
    if name == 'TV':  # its images have a unit
        built = TV(ms.shape[1], 4, sensor_name)
        built.border = 'wrap'  # as in the toolbox
        with torch.no_grad():
            return LEVELS * built(lrms_up / LEVELS, pan / LEVELS)
    return method(name, ms.shape[1], sensor_name)(lrms_up, pan)


def _reduced(fused: Tensor, ms: Tensor, part: str) -> dict[str, float]:
    scores = {'mean': fused.mean(), 'std': fused.std(), **_against(fused, ms)}
    if part == 'full':
        inside = _against(fused[CUT], ms[CUT])
        scores |= {f'{key} c': value for key, value in inside.items()}
    return {key: float(value) for key, value in scores.items()}


def _against(fused: Tensor, reference: Tensor) -> dict[str, Tensor]:
    return {
        'SAM': functional.sam(fused, reference),
        'ERGAS': functional.ergas(fused, reference, 4),
        'SCC': functional.scc(fused, reference),
        'Q': functional.q(fused, reference),
        'Q2n': functional.q2n(fused, reference),
    }


def _full(
    fused: Tensor, ms: Tensor, pan: Tensor, gains: tuple[float, ...], part: str
) -> dict[str, float]:
    lrms_up = interp23tap(ms, 4)
    spectral, spatial = functional.d_lambda(fused, lrms_up), functional.d_s(fused, lrms_up, pan, 4)
    khan = functional.d_lambda_k(fused, lrms_up, gains, 4)
    scores = {
        'mean': fused.mean(),
        'std': fused.std(),
        'D_lambda': spectral,
        'D_s': spatial,
        'QNR': (1 - spectral) * (1 - spatial),
        'D_lambda_K': khan,
        'HQNR': (1 - khan) * (1 - spatial),
    }
    if part == 'crop':
        scores |= {'D_rho': functional.d_rho(fused, pan, 4), 'D_sR': functional.d_sr(fused, pan)}
    return {key: float(value) for key, value in scores.items()}
