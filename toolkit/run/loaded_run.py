"""Trained runs and systems for use in Python: notebooks, scripts, tests."""

from __future__ import annotations

import argparse
import contextlib
import inspect
import io
import tempfile
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from toolkit.config import load
from toolkit.config.checks.check import fill_checked
from toolkit.engine import components
from toolkit.engine.process import precision
from toolkit.errors import ToolkitError
from toolkit.interfaces import Predictor, System
from toolkit.io.json_values import parse_json
from toolkit.io.run_layout import CHECKPOINTS, METRICS_FILE, TestRecord, read_object
from toolkit.io.tables.formatting import format_count, format_markdown_table
from toolkit.io.verification import plugin_trust
from toolkit.registry import PREDICTORS
from toolkit.run.load_run import TrainedRun, load_system, load_trained, make_predict_options
from toolkit.run.test import test


def load_run(
    folder: str | Path,
    checkpoint: str | Path | None = None,
    *,
    device: str | torch.device | None = None,
    overrides: Sequence[str] = (),
    plugins: Sequence[str] = (),
    trust: bool = False,
) -> LoadedRun:
    """Loads a trained run from its folder.

    Nothing is written and no data is opened. The weights are read at once, so that a damaged
    checkpoint is told here.

    Args:
        folder: of the run; `toolkit train` and `toolkit study` write such folders.
        checkpoint: 'best', 'last' or a path; None for the best, or the last if there is no best.
        device: to compute on, such as 'cuda:0'; None for the device that the run's config asks for.
        overrides: changes of the config, as on the command line: `['runtime.amp=none']`.
        plugins: modules or paths beside those of the config.
        trust: run the plugins in the folder, which are code, though this user has not run or
            trusted them before, as `--trust` does.
    Raises:
        ToolkitError: no run in the folder, a config that does not pass its check, plugins that are
            not trusted, a checkpoint that is missing, damaged or of another system, or no such
            device.
    """
    name = None if checkpoint is None else str(checkpoint)
    allowed = plugin_trust.allows_all()
    plugin_trust.allow_all(allowed or trust)
    try:
        trained = load_trained(None, overrides, Path(folder), name, plugins)
    finally:
        plugin_trust.allow_all(allowed)
    return LoadedRun(Path(folder), trained, device)


def build(config: str | Path, *overrides: str, plugins: Sequence[str] = ()) -> System:
    """Builds the system of a config with the weights that a training would begin with.

    Args:
        config: name of a shipped config, or a path.
        *overrides: changes, as on the command line: `'model.generator.width=64'`.
        plugins: modules or paths beside those of the config.
    Raises:
        ToolkitError: no such config, or one that does not pass its check.
    """
    found = load(str(config), overrides)
    found.use_plugins(plugins)
    run = fill_checked(found)
    with found.locate_errors():
        return components.build_system(run)


class LoadedRun:
    """A trained run in memory.

    Args:
        folder: of the run.
        trained: its config and its weights.
        device: to compute on; None for the device that the config asks for.

    Attributes:
        folder: of the run.
        checkpoint: file of the weights; None if the run has none.
        system: with these weights, in evaluation mode, on `device`.
        device: of the system.
    """

    def __init__(
        self, folder: Path, trained: TrainedRun, device: str | torch.device | None = None
    ) -> None:
        self.folder, self.checkpoint = folder, trained.weights
        self._trained, self._run = trained, trained.run
        self.device = (
            precision.choose_device(self._run.runtime)
            if device is None
            else precision.find_device(device)
        )
        with trained.config.locate_errors():
            self.system = load_system(self._run, trained.weights, self.device)

    def __repr__(self) -> str:
        name = 'no weights' if self.checkpoint is None else self.checkpoint.name
        return f'<{type(self.system).__name__} of {self.folder} ({name}) on {self.device}>'

    def _repr_markdown_(self) -> str:
        weights = 'no weights' if self.checkpoint is None else f'`{self.checkpoint.name}`'
        count = sum(parameter.numel() for parameter in self.system.parameters())
        lines = [
            f'**{type(self.system).__name__}** of `{self.folder}`: {weights}, '
            f'{format_count(count)} parameters, on {self.device}'
        ]
        path = self.folder / METRICS_FILE
        content = read_object(path) or {}
        record = TestRecord.parse(content, path)
        rows = [['metric', 'better', 'value']]
        for name, value in record.metrics.items():
            better = 'higher' if record.directions.get(name) else 'lower'
            better = better if name in record.directions else ''
            rows.append([name, better, 'not finite' if value is None else f'{value:.6g}'])
        table = format_markdown_table(rows, left=2) if len(rows) > 1 else ['not tested yet']
        tested = Path(content.get('checkpoint') or '').name
        own = self.folder / CHECKPOINTS / tested
        if self.checkpoint is not None and self.checkpoint.resolve() != own.resolve() and tested:
            table = [f'not tested with these weights: {METRICS_FILE} is of `{tested}`']
        return '\n'.join([*lines, '', *table])

    @property
    def config(self) -> Mapping[str, Any]:
        """The resolved config as plain values."""
        return self._trained.config.tree

    @cached_property
    def metrics(self) -> dict[str, float | None]:
        """Metrics of the run's test by name; None for a value that is not finite.

        They are of the checkpoint that was tested (`metrics.json` names it), whichever is loaded.

        Raises:
            ToolkitError: the run was not tested, or its metrics cannot be read.
        """
        path = self.folder / METRICS_FILE
        try:
            return dict(parse_json(path.read_text(encoding='utf-8'))['metrics'])
        except FileNotFoundError as error:
            raise ToolkitError(
                f'{self.folder} has no {METRICS_FILE}: test it by `run.test()`, or by '
                f'`toolkit test --run {self.folder}`, which keeps the result'
            ) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ToolkitError(f'{path} is damaged: {error}; test the run again') from error

    def predict(self, *inputs: Any, **options: Any) -> Any:
        """Predicts inputs in memory; the predictor of the task says which (`help_predict`).

        Raises:
            ToolkitError: inputs or options that the task does not take.
        """
        predictor = self._find_predictor()
        nothing = argparse.Namespace()
        supplied = make_predict_options(self._run, self.device, nothing, report=lambda line: None)
        signature = inspect.signature(predictor.predict_in_memory)
        try:
            signature.bind(None, self.system, supplied, *inputs, **options)
        except TypeError as error:
            raise ToolkitError(
                f'{error}; expected run.predict{_format_signature(predictor)}'
            ) from None
        with torch.inference_mode():
            return predictor().predict_in_memory(self.system, supplied, *inputs, **options)

    def help_predict(self) -> str:
        """Returns the call of `predict` for this task, with its documentation."""
        predictor = self._find_predictor()
        text = inspect.getdoc(predictor.predict_in_memory) or ''
        return f'predict{_format_signature(predictor)}\n\n{text}'

    def test(self) -> dict[str, float]:
        """Tests the run on its test data and returns the metrics by name.

        The folder of the run stays as it is; `toolkit test --run DIR` keeps a result.

        Raises:
            ToolkitError: the config has no test, or its data cannot be used.
            RunError: a failure while testing.
        """
        # Hooks print where their files are, in a folder that is gone when this returns.
        silence = contextlib.redirect_stdout(io.StringIO())
        with tempfile.TemporaryDirectory() as folder, self._trained.config.locate_errors(), silence:
            return test(self._run, folder, self.checkpoint)

    def _find_predictor(self) -> type[Predictor]:
        predictor = PREDICTORS.find_for(type(self.system))
        if predictor is None:
            raise ToolkitError(
                f'{type(self.system).__name__} cannot predict: no predictor serves it; register '
                'one with PREDICTORS, or call run.system'
            )
        return predictor


def _format_signature(predictor: type[Predictor]) -> str:
    """Formats the arguments of `predict_in_memory` by name, without those that a run supplies."""
    own = [*inspect.signature(predictor.predict_in_memory).parameters.values()][3:]
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in own]
    return str(inspect.Signature(bare))
