"""Tracker for MLflow."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.engine.tracking.tracker import TrackedRun, Tracker
from toolkit.io.tables.formatting import format_csv
from toolkit.registry import HOOKS

STORE = 'mlruns'
# Unless the user's environment says otherwise: nothing is sent to MLflow's makers, a store of files
# is allowed, and a server that is away costs seconds.
DEFAULTS = {
    'MLFLOW_DISABLE_TELEMETRY': 'true',
    'MLFLOW_ALLOW_FILE_STORE': 'true',
    'MLFLOW_HTTP_REQUEST_MAX_RETRIES': '1',
    'MLFLOW_HTTP_REQUEST_TIMEOUT': '10',
}
# Parameters that MLflow takes at once, and their longest text.
_MOST, _LONGEST = 100, 500
# Characters that a name of MLflow may not have, and its longest text.
_REFUSED, _LONGEST_NAME = re.compile(r'[^\w.\-/: ]'), 250


@HOOKS.register
class MLflowTracker(Tracker):
    """Logs values, config and tags of a run to MLflow; a study is an experiment.

    Args:
        uri: of the store or server; None for MLFLOW_TRACKING_URI, or for files in the folder of the
            study (of a single run) where that is not set.
        experiment: name of the experiment; None for the name of the study.
    """

    package = 'mlflow'
    extra = 'mlflow'

    def __init__(self, uri: str | None = None, experiment: str | None = None) -> None:
        self.uri = uri
        self.experiment = experiment
        self._client: Any = None
        self._run = ''

    def open(self, run: TrackedRun, known: str | None) -> str:
        self._client, experiment = self._connect(run)
        if known is not None:
            self._run = known
            self._client.update_run(known, status='RUNNING')
            return known
        tags = {**{_to_name(k): v for k, v in run.tags.items()}, 'mlflow.runName': run.name}
        self._run = self._client.create_run(experiment, tags=tags).info.run_id
        from mlflow.entities import Param

        found = [Param(_to_name(k), str(v)[:_LONGEST]) for k, v in run.config.items()]
        for start in range(0, len(found), _MOST):
            self._client.log_batch(self._run, params=found[start : start + _MOST])
        return self._run

    def _connect(self, run: TrackedRun) -> tuple[Any, str]:
        """Connects to the store; returns the client and the ID of the experiment."""
        for name, value in DEFAULTS.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        uri = self.uri or os.environ.get('MLFLOW_TRACKING_URI') or _locate_files(run.home)
        client, name = MlflowClient(uri), self.experiment or run.group or run.name
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            try:
                return client, client.create_experiment(name)
            except Exception:  # another run of the study was faster
                experiment = client.get_experiment_by_name(name)
                if experiment is None:
                    raise
        return client, experiment.experiment_id

    def log(self, values: Mapping[str, float], iteration: int) -> None:
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        found = [Metric(_to_name(k), v, now, iteration) for k, v in values.items()]
        self._client.log_batch(self._run, found)

    def log_result(self, values: Mapping[str, float]) -> None:
        self.log(values, 0)

    def close(self, is_finished: bool) -> None:
        self._client.set_terminated(self._run, 'FINISHED' if is_finished else 'KILLED')

    def log_table(self, study: TrackedRun, header: list[str], rows: list[list[str]]) -> None:
        client, experiment = self._connect(study)
        tags = {'mlflow.runName': f'{study.name}: results', 'table': 'results'}
        run = client.create_run(experiment, tags=tags).info.run_id
        client.log_text(run, format_csv(header, rows), 'results.csv')
        client.set_terminated(run)


def _to_name(text: str) -> str:
    return _REFUSED.sub('_', text)[:_LONGEST_NAME]


def _locate_files(home: Path) -> str:
    return (home / STORE).absolute().as_uri()
