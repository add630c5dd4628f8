"""Hook that writes images of items of a test into RUN/pictures."""

from __future__ import annotations

import hashlib
import re
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from mmengine.hooks import Hook

from toolkit.engine.collation import collate, unwrap
from toolkit.engine.dataloader import SampleRequest
from toolkit.engine.evaluator import get_item_names
from toolkit.engine.process import distributed, precision
from toolkit.io import atomic_write
from toolkit.io.run_layout import IMAGES, TEST_LOG
from toolkit.ranges import NonNegativeInt
from toolkit.registry import HOOKS, VISUALIZERS
from toolkit.registry.component_errors import describe_with_origin

if TYPE_CHECKING:
    from toolkit.engine.runner import Runner
    from toolkit.interfaces import Visualizer

WRITTEN = ('.png', '.json')
SHOWN_FAILURES = 3


@HOOKS.register
class Pictures(Hook):
    """Writes images of items of a test into `pictures/`, by the visualizer of the system.

    The items are the first ones, unless the visualizer chooses by the results, such as mistakes.
    With several processes, each one writes some of them. Images of an earlier test in the same
    folder are removed. Images only show: one that cannot be written is a warning, and the test goes
    on.

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
        self._failures = 0

    def before_test(self, runner: Runner) -> None:
        visualizer = VISUALIZERS.find_for(type(runner.system))
        self.visualizer = None if visualizer is None or not self.count else visualizer()
        self._requests, self._failures = {}, 0

        def remove() -> None:
            with self._warn_of_failures(runner, 'the images of an earlier test'):
                atomic_write.remove_files(Path(runner.work_dir) / IMAGES, WRITTEN, 'pictures')

        # Every process waits, or images that one has written already would be removed too.
        distributed.run_on_main(remove)

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
        for index, (request, given) in enumerate(zip(requests, names, strict=True)):
            if request.position < min(self.count, samples):
                name = given or f'item{request.position}'
                with self._warn_of_failures(runner, f'the images of {name}'):
                    self._write(runner, outputs, batch, index, name)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        if self.visualizer is None or not self.visualizer.chooses:
            return
        requests: dict[int, SampleRequest] = {}
        for part in distributed.gather(self._requests):
            requests.update(part)
        self._requests = {}
        loop = runner.test_loop
        chosen: Sequence[int] = ()
        with self._warn_of_failures(runner, 'the choice of items to show'):
            chosen = self.visualizer.choose_items(
                loop.evaluator.metrics, loop.result.rows, min(self.count, len(requests))
            )
        for position in chosen[distributed.get_rank() :: distributed.get_world_size()]:
            with self._warn_of_failures(runner, f'the images of item {position}'):
                self._write_again(runner, requests[position])

    def _write_again(self, runner: Runner, request: SampleRequest) -> None:
        """Loads and predicts an item once more, since all of a test does not fit into memory."""
        loaded = collate([runner.test_dataloader.dataset[request]])
        batch = precision.move_batch(unwrap(loaded), runner.runtime, runner.device)
        with torch.no_grad(), precision.autocast(runner.runtime, runner.device):
            outputs = runner.system(batch, mode='predict')
        outputs = precision.cast_to_float32(outputs)
        (name,) = get_item_names(batch, [request])
        self._write(runner, outputs, batch, 0, name or f'item{request.position}')

    @contextmanager
    def _warn_of_failures(self, runner: Runner, what: str) -> Iterator[None]:
        """Turns any error inside the context into a warning, the first few on the screen."""
        try:
            yield
        except Exception as error:  # a visualizer is a plugin, and may raise anything
            self._failures += 1
            reason = describe_with_origin(error).splitlines()[0]
            line = f'warning: {what} could not be written: {reason}'
            runner.logger.info(f'{line}\n{traceback.format_exc()}')
            if self._failures <= SHOWN_FAILURES:
                print(line, flush=True)
            if self._failures == SHOWN_FAILURES:
                print(f'further warnings about images are in {TEST_LOG} alone', flush=True)

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
