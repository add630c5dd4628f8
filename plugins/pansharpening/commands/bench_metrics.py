"""Measures the time of the quality indices on a whole scene."""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Mapping
from typing import Any

import torch

from plugins.pansharpening.imaging.resample import imresize_by, upsample
from plugins.pansharpening.metrics.score_image import NO_REFERENCE, REFERENCE, REPROJECTION
from plugins.pansharpening.scenes.arrays.matlab import MatScene
from plugins.pansharpening.scenes.scene import Scene
from plugins.pansharpening.synthetic.scene import SyntheticScene
from toolkit.engine.process.precision import find_device
from toolkit.errors import ToolkitError
from toolkit.registry import BENCHES, METRICS
from toolkit.registry.command import Command


@BENCHES.register(name='indices')
class IndicesBench(Command):
    """Seconds of each quality index on a whole scene, as `toolkit evaluate` computes them.

    The scored image is the upsampled multispectral one; its reference is the same image without its
    finest detail.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument('--mat', help='a .mat scene (a synthetic one of 1280 x 1280)')
        parser.add_argument('--sensor', default='IKONOS', help="of the .mat scene ('IKONOS')")
        parser.add_argument('--repeats', type=int, default=3, help='runs of each (3)')
        parser.add_argument('--device', default='cpu', help="to compute on ('cpu')")

    def run(self, arguments: argparse.Namespace) -> int:
        if arguments.repeats < 1:
            raise ToolkitError(f'--repeats must be at least 1, found {arguments.repeats}')
        scene = MatScene(arguments.mat, arguments.sensor) if arguments.mat else _synthetic_scene()
        device = find_device(arguments.device)
        times: dict[str, list[float]] = {}
        for _ in range(arguments.repeats):
            # New images each time: indices share intermediate results, as in `evaluate`.
            outputs, batch = read_images(scene, device)
            for name in (*REFERENCE, *NO_REFERENCE, *REPROJECTION):
                metric = METRICS.get(name)()
                start = time.perf_counter()
                metric.measure(outputs, batch)  # returns numbers, so the device has finished
                times.setdefault(name, []).append(time.perf_counter() - start)
        for name, found in times.items():
            print(f'{name:14} {statistics.median(found):7.3f} s')
        total = statistics.median(map(sum, zip(*times.values())))
        shape = 'x'.join(map(str, (*scene.pan_shape, scene.bands)))
        threads = torch.get_num_threads()
        print(f'{"together":14} {total:7.3f} s: {shape}, {device}, {threads} threads, float64')
        return 0


def read_images(scene: Scene, device: torch.device) -> tuple[dict[str, Any], dict[str, Any]]:
    """Reads a scene as the arguments of a metric: outputs and batch."""
    ms = torch.from_numpy(scene.read_ms())[None]
    fine = upsample(ms, scene.ratio, 'interp23tap').double()
    batch: Mapping[str, Any] = {
        'lrms': ms.to(device),
        'pan': torch.from_numpy(scene.read_pan())[None].to(device),
        'hrms': upsample(imresize_by(fine, 2), 2, 'bicubic').to(device),
        'meta': [{'sensor': scene.sensor.name, 'scale': scene.scale, 'ratio': scene.ratio}],
    }
    return {'hrms': fine.to(device)}, dict(batch)


def _synthetic_scene() -> Scene:
    return SyntheticScene(bands=4, size=1280, seed=0)
