"""Interface of predictors, which predict files or images in memory with a trained system."""

from __future__ import annotations

import argparse
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch

from toolkit.errors import ToolkitError
from toolkit.interfaces.data import Dataset
from toolkit.interfaces.evaluation import Metric
from toolkit.interfaces.system import System


@dataclass(frozen=True)
class PredictOptions:
    """Options of a prediction.

    Args:
        arguments: values of the arguments that the predictor declares, by name.
        dataset: builds the run's test data; None if the config has none. Files are predicted
            without it, since the run's own data may be elsewhere.
        metrics: builds each metric of the run's test, by key; empty if the config has none.
        device: to compute on; the system is there already.
        autocast: makes a context for the precision of the run. Each thread that computes enters
            one of its own.
        overwrite: replace output files that exist; inputs are never replaced.
        report: takes a line for the user.
        weights: checkpoint that the system has its weights from, for `export`.
        precision: of the run's tests.
    """

    arguments: argparse.Namespace
    dataset: Callable[[], Dataset] | None = None
    metrics: Mapping[str, Callable[[], Metric]] = field(default_factory=dict)
    device: torch.device = torch.device('cpu')
    autocast: Callable[[], AbstractContextManager[Any]] = nullcontext
    overwrite: bool = False
    report: Callable[[str], None] = print
    weights: Path | None = None
    precision: str = 'fp32'


class Predictor(ABC):
    """Predicts files with a trained system, for `toolkit predict`, and exports it.

    The docstring of a class says which inputs and outputs it takes; `toolkit predict --run DIR
    --help` prints it.

    Attributes:
        system: class of the systems that it serves.
        export_suffixes: of the files that `export` writes.
    """

    contract: ClassVar[str] = 'toolkit.testing.task_kinds.PredictorContract'
    system: ClassVar[type[System]]
    export_suffixes: ClassVar[tuple[str, ...]] = ('.onnx',)

    @classmethod
    @abstractmethod
    def add_arguments(cls, parser: argparse._ArgumentGroup) -> None:
        """Declares the arguments of the task."""

    def adapt(
        self,
        config: Mapping[str, Any],
        stated: Collection[str],
        inputs: Sequence[str],
        options: PredictOptions,
    ) -> Mapping[str, Any]:
        """Adapts the config of a system without weights to the inputs; by default it stays.

        Args:
            config: resolved tree, which is not changed.
            stated: dotted paths that the command line sets.
            inputs: as for `predict`.
            options: of this prediction.
        Returns:
            New values by dotted path.
        Raises:
            ToolkitError: inputs or options that cannot be used.
        """
        return {}

    @abstractmethod
    def predict(
        self, system: System, inputs: Sequence[str], output: Path, options: PredictOptions
    ) -> list[Path]:
        """Predicts files and writes the results.

        Args:
            system: trained, in evaluation mode.
            inputs: words after `--input`; empty for the run's own test data.
            output: file to write.
            options: of this prediction.
        Returns:
            The files written.
        Raises:
            ToolkitError: inputs or options that cannot be used.
        """

    def predict_part(self, system: System, folder: Path, options: PredictOptions) -> list[Path]:
        """Predicts a small part of the run's own test data, for `toolkit train --try`.

        By default nothing: a predictor knows itself which part is small.

        Args:
            system: trained, in evaluation mode.
            folder: where the results are written.
            options: of this prediction; its `arguments` are empty.
        Returns:
            The files written; none if the test data have nothing that can be predicted.
        Raises:
            ToolkitError: the test data cannot be predicted.
        """
        return []

    def predict_in_memory(
        self, system: System, options: PredictOptions, *inputs: Any, **arguments: Any
    ) -> Any:
        """Predicts inputs in memory, for `toolkit.load_run(...).predict(...)`.

        By default it cannot. A predictor that can names its own inputs and arguments after
        `options`; they are the signature that users see.

        Args:
            system: trained, in evaluation mode.
            options: of this prediction; its `arguments` are empty.
            *inputs: arrays, tensors, images or paths.
            **arguments: of the task.
        Raises:
            ToolkitError: inputs or arguments that cannot be used.
        """
        raise ToolkitError(f'{type(self).__name__} predicts files only; use `toolkit predict`')

    @classmethod  # noqa: B027
    def add_export_arguments(cls, parser: argparse._ArgumentGroup) -> None:
        """Declares the arguments of the task for `toolkit export`; by default there are none."""

    def export(self, system: System, output: Path, options: PredictOptions) -> None:
        """Writes a system as a network file, once that is found to agree with torch.

        By default it cannot. `toolkit.engine.export` converts a module and writes metadata.

        Args:
            system: trained, on the CPU, in evaluation mode.
            output: file to write, with one of `export_suffixes`; it may exist if
                `options.overwrite` is set.
            options: of this export.
        Raises:
            ToolkitError: the system cannot be exported, or the file exists.
            RunError: the file disagrees with torch; it is not written.
        """
        raise ToolkitError(
            f'{type(system).__name__} cannot be exported: {type(self).__name__} has no `export`'
        )
