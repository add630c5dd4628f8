"""Trains a run of a study in this process, from the config in the run's folder."""

from __future__ import annotations

import contextlib
import traceback
from pathlib import Path
from typing import Any

from toolkit.errors import ToolkitError
from toolkit.io.json_values import parse_json
from toolkit.io.run_layout import CONFIG, ORIGINS
from toolkit.io.run_records import PlannedRun
from toolkit.study.search import validations


def load_run_config(folder: Path) -> tuple[Any, Any, Any]:
    """Load the config in a run's folder, the typed run, and the input of its capsule."""
    from toolkit.config import load
    from toolkit.config.schema import RunConfig
    from toolkit.registry.build import fill
    from toolkit.run.capsule import make_capsule_input

    config = load(folder / CONFIG)
    config.use_plugins(trusted=True)  # the study that has written this config names them
    given = make_capsule_input(config)
    given.command = ['toolkit', 'train', str(folder / CONFIG)]
    origins = folder / ORIGINS
    if origins.exists():
        given.origins = parse_json(origins.read_text(encoding='utf-8'))
    return config, fill(RunConfig, config.tree), given


def train_folder(folder: Path, trial: PlannedRun | None = None) -> int:
    """Train in a folder, or resume its training; under torchrun every process calls this.

    Args:
        folder: of the training.
        trial: planned run of a search, which may end the training early.
    Returns:
        The exit status: 0, or that of a signal which has stopped it.
    """
    from toolkit.run import work_dir as work_dirs
    from toolkit.run.train import train

    config, run, given = load_run_config(folder)
    with config.locate_errors():
        # A run that is retried on another machine may have another number of cores.
        result = train(
            run,
            folder,
            resume=work_dirs.holds_run(folder),
            capsule_input=given,
            allow_changed=('threads',),
            is_pruned=validations.make_judge(trial, folder),
        )
    return result.exit_status


def explain_error(error: Exception) -> str:
    """Describe an error in one line; the log gets the traceback of unexpected errors."""
    if isinstance(error, ToolkitError):
        with contextlib.suppress(OSError):
            print(f'{getattr(error, "trace", "")}{error}', flush=True)
        return str(error).split('\n')[0]
    with contextlib.suppress(OSError):
        traceback.print_exc()
    return f'{type(error).__name__}: {error}'.split('\n')[0].removesuffix(': ')
