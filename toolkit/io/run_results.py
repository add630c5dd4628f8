"""Results of a study's runs, read from the files of their folders."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from toolkit.errors import ToolkitError
from toolkit.io.run_layout import METRICS_FILE, TestRecord, read_object
from toolkit.io.run_records import Fingerprint, PlannedRun, RunState, RunStatus

# For each metric one row per test sample.
Row = dict[str, Any]


@dataclass(frozen=True)
class RunResult(PlannedRun):
    """A planned run with its status and its metrics, as the files of its folder tell them.

    Attributes:
        trained_in: as planned; the folder of the run itself where nothing is trained.
        status: waiting, running, finished or failed.
        message: reason of a failure, or why the files in the folder are no result of this run.
        attempts: number of times that it was started.
        seconds: run time; None before the first start.
        memory: peak resident memory in bytes.
        metrics: values of its test by name, None where one is not finite; empty before the test.
        directions: for each metric whether higher is better.
        overlap: what training, validation and test hold in common, and why; '' if nothing.
        test_data: hash of the data that was tested on; '' if unknown.
    """

    status: RunState = 'waiting'
    message: str = ''
    attempts: int = 0
    seconds: float | None = None
    memory: int | None = None
    metrics: Mapping[str, float | None] = field(default_factory=dict)
    directions: Mapping[str, bool] = field(default_factory=dict)
    overlap: str = ''
    test_data: str = ''

    @classmethod
    def read(cls, planned: PlannedRun) -> RunResult:
        """Read the status and the metrics of a planned run.

        A folder that holds a run with another fingerprint than the plan's has no result of the
        plan: the planned run is waiting, and its message says so.

        Raises:
            ToolkitError: a file is damaged.
        """
        status, test = current_status(planned), TestRecord()
        while status.status == 'finished':  # an earlier attempt's metrics are no result
            test = TestRecord.read(planned.folder)
            # A run that was started anew between the two readings has no result yet.
            if (again := current_status(planned)) == status:
                break
            status, test = again, TestRecord()
        values = {f.name: getattr(planned, f.name) for f in dataclasses.fields(PlannedRun)}
        return cls(
            **{**values, 'trained_in': planned.trained_in or planned.folder},
            status=status.status,
            message=status.message,
            attempts=status.attempts,
            seconds=status.seconds,
            memory=status.memory,
            **{f.name: getattr(test, f.name) for f in dataclasses.fields(test)},
        )

    def rows(self) -> dict[str, list[Row]]:
        """Read one row per test sample for each metric, from the folder at each call.

        There are none if the file now holds other metrics than this result: the run was tested
        again since.

        Raises:
            ToolkitError: the file is damaged.
        """
        path = self.folder / METRICS_FILE
        record = read_object(path) or {}
        if TestRecord.parse(record, path).metrics != self.metrics:
            return {}
        rows = record.get('rows') or {}
        if not isinstance(rows, dict):
            raise ToolkitError(f'{path} is damaged: rows is no mapping')
        return rows


def current_status(planned: PlannedRun) -> RunStatus:
    """Read the status of a planned run; waiting where its folder holds another run.

    Raises:
        ToolkitError: the file is damaged.
    """
    status = RunStatus.read(planned.folder)
    if status == RunStatus():
        return status
    other = planned.fingerprint.differences(status.fingerprint or Fingerprint())
    if not other:
        return status
    what = 'another config' if 'config' in other else f'other {" and ".join(other)}'
    return RunStatus(message=f'its folder holds a run of {what}; run it anew by --rerun changed')
