"""Hook that writes images of items of a test into RUN/pictures."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from mmengine.hooks import Hook

from toolkit.engine import distributed, precision
from toolkit.engine.dataloader import SampleRequest, collate, unwrap
from toolkit.engine.evaluator import get_item_names
from toolkit.io import atomic_write
from toolkit.io.run_layout import IMAGES
from toolkit.ranges import NonNegativeInt
from toolkit.registry import HOOKS, VISUALIZERS

if TYPE_CHECKING:
    from toolkit.engine.runner import Runner
    from toolkit.interfaces import Visualizer

WRITTEN = ('.png', '.json')


@HOOKS.register
class Pictures(Hook):
    """Writes images of items of a test into `pictures/`, by the visualizer of the system.

    The items are the first ones, unless the visualizer chooses by the results, such as mistakes.
    With several processes, each one writes some of them. Images of an earlier test in the same
    folder are removed.

    Args:
        count: number of items; 0 for none.
    Raises:
        ValueError: `count` is negative.
    """

    priority = 'LOW'

    def __init__(self, count: NonNegativeInt = 8) -> None:
        if count < 0:
            raise ValueError(f'count must be 0 or more, found {count}')
        self.count = count
        self.visualizer: Visualizer | None = None
        self._requests: dict[int, SampleRequest] = {}

    def before_test(self, runner: Runner) -> None:
        visualizer = VISUALIZERS.find_for(type(runner.system))
        self.visualizer = None if visualizer is None or not self.count else visualizer()
        self._requests = {}
        distributed.run_on_main(
            lambda: atomic_write.remove_files(Path(runner.work_dir) / IMAGES, WRITTEN, 'pictures')
        )

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict[str, Any] | None = None,
        outputs: Any = None,
    ) -> None:
        if self.visualizer is None:
            return
        requests, batch = runner.test_loop.requests, data_batch or {}
        samples = runner.test_dataloader.batch_sampler.samples
        if self.visualizer.chooses:
            self._requests |= {one.position: one for one in requests if one.position < samples}
            return
        names = get_item_names(batch, requests)
        for index, (request, name) in enumerate(zip(requests, names, strict=True)):
            if request.position < min(self.count, samples):
                self._write(runner, outputs, batch, index, name or f'item{request.position}')

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if self.visualizer is None or not self.visualizer.chooses:
            return
        requests: dict[int, SampleRequest] = {}
        for part in distributed.gather(self._requests):
            requests.update(part)
        self._requests = {}
        loop = runner.test_loop
        chosen = self.visualizer.choose_items(
            loop.evaluator.metrics, loop.result.rows, min(self.count, len(requests))
        )
        for position in chosen[distributed.get_rank() :: distributed.get_world_size()]:
            # Loaded and predicted once more, since all of a test does not fit into memory.
            request = requests[position]
            loaded = collate([runner.test_dataloader.dataset[request]])
            batch = precision.move_batch(unwrap(loaded), runner.runtime, runner.device)
            with torch.no_grad(), precision.autocast(runner.runtime, runner.device):
                outputs = runner.system(batch, mode='predict')
            outputs = precision.cast_to_float32(outputs)
            (name,) = get_item_names(batch, [request])
            self._write(runner, outputs, batch, 0, name or f'item{position}')

    def _write(
        self, runner: Runner, outputs: Any, batch: dict[str, Any], index: int, name: str
    ) -> None:
        assert self.visualizer is not None
        folder, stem = Path(runner.work_dir) / IMAGES, make_file_stem(name)
        self.visualizer.write_images(runner.system, outputs, batch, index, folder, stem)


def make_file_stem(name: str) -> str:
    """Converts a name to a file name; different names give different file names."""
    plain = re.sub(r'[^A-Za-z0-9_.-]+', '_', name).strip('.')[:80]
    if plain == name:
        return name
    return f'{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}'
