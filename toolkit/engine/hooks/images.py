"""RUN/pictures: what a system shows of the items of a test."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.hooks import Hook

from toolkit.engine import distributed
from toolkit.engine.evaluator import get_item_names
from toolkit.io import atomic_write
from toolkit.registry import HOOKS, VISUALIZERS

if TYPE_CHECKING:
    from toolkit.engine.runner import Runner
    from toolkit.interfaces import Visualizer

NAME = 'pictures'
WRITTEN = ('.png', '.json')


@HOOKS.register
class Pictures(Hook):
    """Lets the system write pictures of the first items of a test into `pictures/`.

    With several processes, each one writes those of its own items. Pictures of an earlier test in
    the same folder are removed.

    Args:
        count: of how many items; 0 for none.
    """

    priority = 'LOW'

    def __init__(self, count: int = 8) -> None:
        if count < 0:
            raise ValueError(f'count must be 0 or more, found {count}')
        self.count = count
        self.visualizer: Visualizer | None = None

    def before_test(self, runner: Runner) -> None:
        visualizer = VISUALIZERS.find_for(type(runner.system))
        self.visualizer = None if visualizer is None else visualizer()
        distributed.run_on_main(
            lambda: atomic_write.clear(Path(runner.work_dir) / NAME, WRITTEN, 'pictures')
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
        drawn, batch = runner.test_loop.drawn, data_batch or {}
        wanted = min(self.count, runner.test_dataloader.batch_sampler.samples)
        for index, (draw, name) in enumerate(zip(drawn, get_item_names(batch, drawn), strict=True)):
            if draw.position < wanted:
                stem = make_file_stem(name or f'item{draw.position}')
                folder = Path(runner.work_dir) / NAME
                self.visualizer.write_images(runner.system, outputs, batch, index, folder, stem)


def make_file_stem(name: str) -> str:
    """A name as one for files; names that differ stay different."""
    plain = re.sub(r'[^A-Za-z0-9_.-]+', '_', name).strip('.')[:80]
    if plain == name:
        return name
    return f'{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}'
