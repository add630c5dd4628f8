"""Tracker that writes TensorBoard's event files into the folder of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.engine.tracking.tracker import TrackedRun, Tracker
from toolkit.io.run_layout import TENSORBOARD
from toolkit.io.tables.formatting import format_markdown_table
from toolkit.registry import HOOKS


@HOOKS.register
class TensorBoardTracker(Tracker):
    """Writes event files for TensorBoard into `RUN/tensorboard`; `tensorboard --logdir STUDY`."""

    package = 'tensorboard'
    extra = 'tensorboard'

    def __init__(self) -> None:
        self._writer: Any = None
        self._last = 0

    def open(self, run: TrackedRun, known: str | None) -> str:
        purge = run.iteration + 1 if run.iteration else None
        self._writer, self._last = _make_writer(run.folder, purge), run.iteration
        return str(TENSORBOARD)

    def log(self, values: Mapping[str, float], iteration: int) -> None:
        self._last = iteration
        for name, value in values.items():
            self._writer.add_scalar(name, value, iteration)

    def log_result(self, values: Mapping[str, float]) -> None:
        self.log(values, self._last)

    def close(self, is_finished: bool) -> None:
        self._writer.close()

    def log_table(self, study: TrackedRun, header: list[str], rows: list[list[str]]) -> None:
        with _make_writer(study.folder, None) as writer:
            writer.add_text('results', '\n'.join(format_markdown_table([header, *rows])))


def _make_writer(folder: Path, purge: int | None) -> Any:
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder / TENSORBOARD), purge_step=purge)
