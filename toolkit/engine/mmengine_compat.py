"""Workarounds for mmengine, each with a test that fails once it is no longer needed."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmengine import hooks
from mmengine.hooks import EarlyStoppingHook, Hook
from mmengine.logging import MMLogger
from mmengine.optim.scheduler.param_scheduler import _ParamScheduler
from mmengine.runner import Runner
from mmengine.visualization import Visualizer

from toolkit.io.run_layout import TRAIN_LOG
from toolkit.registry import HOOKS

_EARLY_STOPPING = ('wait_count', 'best_score')
_runs = 0


class QuietRunner(Runner):
    """mmengine's Runner without the side effects of its constructor.

    It makes a folder named by the time, starts compilers to print their versions, dumps the whole
    environment and config to the screen, imports matplotlib and draws an empty figure. Here the
    log is one file, the screen shows warnings only, and the visualizer is made on first use.

    Attributes:
        log_name: name of the log in the work folder; set it before construction.
    """

    log_name = TRAIN_LOG
    _stages: dict[str, list[Callable[..., None]]]

    def setup_env(self, env_cfg: dict[str, Any]) -> None:
        # An empty time stamp makes the log's folder the work folder itself.
        self._timestamp = ''

    def build_logger(
        self, log_level: int | str = 'INFO', log_file: str | None = None, **kwargs: Any
    ) -> MMLogger:
        logger = MMLogger.get_instance(self._experiment_name, log_level='ERROR')
        logger.handlers.clear()
        screen = _Screen(level=logging.WARNING if self._rank == 0 else logging.ERROR)
        logger.addHandler(screen)
        if self._rank == 0:
            file = _LogFile(Path(self._work_dir) / self.log_name, delay=True, encoding='utf-8')
            file.setLevel(logging.INFO)
            file.setFormatter(logging.Formatter('%(asctime)s %(levelname)s %(message)s'))
            logger.addHandler(file)
        return logger

    def _log_env(self, env_cfg: dict[str, Any]) -> None:
        return

    def dump_config(self) -> None:
        return

    def build_visualizer(self, visualizer: Any = None) -> None:
        return None

    @property
    def visualizer(self) -> Visualizer:
        """mmengine's visualizer, made on first use (it needs matplotlib)."""
        return Visualizer.get_instance(self._experiment_name)

    @visualizer.setter
    def visualizer(self, value: object) -> None:
        """Ignores the value that mmengine's constructor sets."""

    def register_hook(self, hook: Hook | dict[str, Any], priority: Any = None) -> None:
        super().register_hook(hook, priority)
        self._stages = {}

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Calls the hooks that override this stage, in the order of their priorities.

        mmengine calls every hook at every stage, most of them for nothing, and replaces a
        TypeError in a hook by one without its traceback.
        """
        stage = self._stages.get(fn_name)
        if stage is None:
            stage = self._stages[fn_name] = [
                getattr(hook, fn_name) for hook in self._hooks if _has_stage(hook, fn_name)
            ]
        for function in stage:
            function(self, **kwargs)


def _has_stage(hook: Hook, stage: str) -> bool:
    """Tells whether a hook overrides mmengine's empty method of this stage."""
    own = getattr(type(hook), stage, None)
    if own is None:
        return stage in vars(hook)
    return own is not getattr(Hook, stage, None) or stage in hook.get_triggered_stages()


class _Screen(logging.Handler):
    """Handler that prints to the current stdout, so that lines appear above a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        print(f'{record.levelname.lower()}: {record.getMessage()}', flush=True)


class _LogFile(logging.FileHandler):
    """Handler whose lines are lost where the disk fails.

    A full disk is reported once, by a file that matters, and not by every line of the log.
    """

    def emit(self, record: logging.LogRecord) -> None:
        with contextlib.suppress(OSError):
            super().emit(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Prints no traceback, as logging does."""

    def close(self) -> None:
        with contextlib.suppress(OSError):  # lines that could not be written are tried again
            super().close()


def make_unique_name() -> str:
    """Makes a name for a run's global instances.

    mmengine keeps loggers and message hubs for ever, and a second run of the same name would write
    into the first one's log.
    """
    global _runs
    _runs += 1
    return f'run{_runs}'


def release(runner: Runner) -> None:
    """Releases a run's global instances and closes its log file."""
    for handler in list(runner.logger.handlers):
        runner.logger.removeHandler(handler)
        handler.close()
    name = runner.experiment_name
    for registry in (MMLogger, type(runner.message_hub), Visualizer):
        registry._instance_dict.pop(name, None)


def silence_warnings() -> None:
    """Ignores mmengine's warning that schedules step before the optimizer.

    With accumulated gradients they do so on purpose.
    """
    warnings.filterwarnings('ignore', message='Detected call of `scheduler.step', module='mmengine')


def find_refused_base(hook: Hook) -> str | None:
    """Finds the hook of mmengine that is not used here and that a hook derives from, by name."""
    for name in HOOKS.refused:
        if isinstance(hook, getattr(hooks, name)):
            return name
    return None


def is_test_hook(hook: Hook) -> bool:
    """Tells whether a hook takes part in a test.

    Others are left out, since mmengine's EarlyStoppingHook asks every run for a training loop.
    """
    stages = set(hook.get_triggered_stages())
    return bool(stages & {'after_load_checkpoint', *(s for s in Hook.stages if 'test' in s)})


def get_hook_state(hook: Hook) -> dict[str, Any] | None:
    """Returns the state of a hook for resuming: its `state_dict()`, if it has one.

    mmengine's EarlyStoppingHook has none, and would start counting from nothing.
    """
    if hasattr(hook, 'state_dict'):
        return hook.state_dict()
    if isinstance(hook, EarlyStoppingHook):
        return {name: getattr(hook, name) for name in _EARLY_STOPPING}
    return None


def load_hook_state(hook: Hook, state: dict[str, Any]) -> None:
    """Restores the state of a hook from `get_hook_state`."""
    if hasattr(hook, 'load_state_dict'):
        hook.load_state_dict(state)
    else:
        for name, value in state.items():
            setattr(hook, name, value)


class SchedulerState:
    """State of a schedule that changes during training.

    mmengine's `state_dict` also holds settings such as `end` and `T_max`; loading it would undo a
    longer `max_epochs` of a resumed run.
    """

    def __init__(self, scheduler: _ParamScheduler) -> None:
        self._scheduler = scheduler
        self._fresh = _copy_lists(scheduler.state_dict())

    def save(self) -> dict[str, Any]:
        state = _copy_lists(self._scheduler.state_dict())
        return {k: v for k, v in state.items() if k not in self._fresh or v != self._fresh[k]}

    def load(self, state: dict[str, Any]) -> None:
        self._scheduler.load_state_dict(state)


def _copy_lists(state: dict[str, Any]) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, list) else v for k, v in state.items()}
