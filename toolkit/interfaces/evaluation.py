"""Interfaces of a test: metrics, and visualizers of its samples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from toolkit.interfaces.system import Batch, System


class Metric(ABC):
    """Measures predictions sample by sample, then summarizes the samples.

    So any number of processes can measure, and paired tests can compare samples.

    Attributes:
        directions: by each name that `summarize` may return, True if higher is better.
        main: names of the few values that summarize the others, for a line of text; empty if all
            of them do.
    """

    contract: ClassVar[str] = 'toolkit.testing.data.MetricContract'

    directions: Mapping[str, bool]
    main: Sequence[str] = ()

    @abstractmethod
    def measure(self, outputs: Mapping[str, Any], batch: Batch) -> list[dict[str, Any]]:
        """Measures a batch; returns one row of plain values for each sample."""

    def summarize(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
        """Summarizes all rows; by default by the mean of each column."""
        if not rows:
            return {name: float('nan') for name in self.directions}
        return {
            name: sum(float(row[name]) for row in rows) / len(rows)
            for name in self.directions
            if name in rows[0]
        }


class Visualizer(ABC):
    """Writes images of evaluated items, for `RUN/pictures` and the report.

    Attributes:
        system: class of the systems that it serves.
        chooses: `choose_items` chooses items after the evaluation, and they are predicted once
            more; otherwise the first items are taken on the way.
    """

    contract: ClassVar[str] = 'toolkit.testing.task_kinds.VisualizerContract'
    system: ClassVar[type[System]]
    chooses: ClassVar[bool] = False

    def choose_items(
        self,
        metrics: Mapping[str, Metric],
        rows: Mapping[str, Sequence[Mapping[str, Any]]],
        count: int,
    ) -> Sequence[int]:
        """Chooses the items to show.

        Args:
            metrics: metrics of the evaluation, by key.
            rows: rows of each metric, one per item in the dataset's order.
            count: number of items.
        Returns:
            Indices of rows, at most `count`.
        """
        raise NotImplementedError(f'{type(self).__name__}.chooses, and it has no choose_items')

    @abstractmethod
    def write_images(
        self,
        system: System,
        outputs: Mapping[str, Any],
        batch: Batch,
        index: int,
        folder: Path,
        stem: str,
    ) -> None:
        """Writes images of one item.

        For the swipe of reports, `STEM.json` may name them: `item`, and `layers`, each with `name`,
        `file` and `role`, of one size and in the same order for all items; see
        `toolkit.report.run_images.write_item_images`.

        Args:
            system: in evaluation mode.
            outputs: of its `predict`, in full precision.
            batch: its input.
            index: of the item in the batch.
            folder: to write to; it may not exist yet.
            stem: beginning of the names of all files; no other item has the same.
        Raises:
            RunError: a file cannot be written.
        """
