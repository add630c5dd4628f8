"""Tracker for Weights & Biases."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Literal

from toolkit.engine.tracking.tracker import TrackedRun, Tracker
from toolkit.registry import HOOKS

# Unless the user's environment says otherwise.
DEFAULTS = {'WANDB_ERROR_REPORTING': 'false', 'WANDB_SILENT': 'true'}


@HOOKS.register
class WandbTracker(Tracker):
    """Logs values, config and tags of a run to Weights & Biases; a study is a group.

    Args:
        mode: `offline` writes files into the folder of the study (of a single run), which `wandb
            sync` sends; None for WANDB_MODE, or offline where that is not set.
        project: name of the project.
        entity: user or team; None for the user's default.
    """

    package = 'wandb'
    extra = 'wandb'

    def __init__(
        self,
        mode: Literal['offline', 'online'] | None = None,
        project: str = 'ablakit',
        entity: str | None = None,
    ) -> None:
        self.mode = mode
        self.project = project
        self.entity = entity
        self._run: Any = None

    def open(self, run: TrackedRun, known: str | None) -> str:
        self._run = self._start(run, known, list(_make_tags(run)), 'run')
        return self._run.id

    def _start(self, run: TrackedRun, known: str | None, tags: list[str], kind: str) -> Any:
        for name, value in DEFAULTS.items():
            os.environ.setdefault(name, value)
        import wandb

        return wandb.init(
            mode=self.mode or os.environ.get('WANDB_MODE') or 'offline',
            project=self.project,
            entity=self.entity,
            group=run.group,
            name=run.name,
            job_type=kind,
            tags=tags,
            config={**run.config, **{f'study.{key}': value for key, value in run.tags.items()}},
            dir=str(run.home),
            id=known,
            resume='allow' if known is not None else None,
            reinit='create_new',
            settings=wandb.Settings(console='off', save_code=False),
        )

    def log(self, values: Mapping[str, float], iteration: int) -> None:
        self._run.log(dict(values), step=iteration)

    def log_result(self, values: Mapping[str, float]) -> None:
        self._run.summary.update(dict(values))

    def close(self, is_finished: bool) -> None:
        self._run.finish(exit_code=0 if is_finished else 1)

    def log_table(self, study: TrackedRun, header: list[str], rows: list[list[str]]) -> None:
        import wandb

        run = self._start(study, None, ['results'], 'table')
        run.log({'results': wandb.Table(columns=header, data=rows)})
        run.finish()


def _make_tags(run: TrackedRun) -> list[str]:
    # A tag of W&B has 64 characters at most.
    return [f'{key.rpartition(".")[2]}={value}'[:64] for key, value in run.tags.items()]
