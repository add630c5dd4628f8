"""Launcher for a Ray cluster; needs `pip install 'ablakit[ray]'`."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import toolkit
from toolkit.errors import ToolkitError
from toolkit.study.launchers.job import EndedJob, Job
from toolkit.study.launchers.remote import RemoteLauncher, environment, remote

CONNECT_SECONDS = 5.0


class RayLauncher(RemoteLauncher):
    """Launcher that runs jobs as tasks of a Ray cluster whose nodes share the study's folder.

    If a node is lost, its tasks continue on another node.

    Args:
        address: address of the cluster; 'auto' for the cluster of this machine.
        jobs: number of jobs at a time; None for as many as there is room for.
        threads: CPU threads per process, and the CPUs that it requests from Ray.
        gpus: GPUs per run, or a share of one.
        processes: processes that train a run together on one node; as many as GPUs by default.
    """

    def __init__(
        self,
        address: str = 'auto',
        jobs: int | None = None,
        threads: int | None = 1,
        gpus: float | None = 0,
        processes: int | None = None,
    ) -> None:
        super().__init__(jobs, threads, gpus, processes)
        self.address = address
        self._ray: Any = None
        self._task: Any = None
        self._waiting: list[tuple[Job, str]] = []
        self._running: dict[Any, Job] = {}

    def start(self, jobs: Sequence[Job]) -> None:
        if self._ray is None:
            self._connect()
        super().start(jobs)
        self._fill()

    def _connect(self) -> None:
        try:
            import ray
        except ImportError as error:
            raise ToolkitError(
                "the launcher 'ray' needs Ray: pip install 'ablakit[ray]' on every node"
            ) from error
        paths = [str(Path(toolkit.__file__).resolve().parents[1]), os.environ.get('PYTHONPATH', '')]
        variables = {**environment(), 'PYTHONPATH': os.pathsep.join(filter(None, paths))}
        try:
            _reach(self.address)
            ray.init(
                self.address,
                runtime_env={'env_vars': variables},
                log_to_driver=False,
                logging_level='error',
            )
        except (OSError, RuntimeError, ValueError) as error:  # a ConnectionError is an OSError
            raise ToolkitError(
                f'no Ray cluster at {self.address!r} ({str(error).splitlines()[0]}); start one by '
                '`ray start --head` here and `ray start --address HOST:6379` on the other nodes'
            ) from error
        self._ray = ray
        # The study restarts the tasks of a lost node itself, to report and count it.
        self._task = ray.remote(num_cpus=self.cores, num_gpus=self.gpus or 0, max_retries=0)(remote)

    def _submit(self, job: Job, stop_file: str) -> None:
        self._waiting.append((job, stop_file))

    def _fill(self) -> None:
        while self._waiting and (self.jobs is None or len(self._running) < self.jobs):
            job, stop_file = self._waiting.pop(0)
            reference = self._task.remote(job.to_json(), self.threads, stop_file)
            self._running[reference] = job

    def poll(self) -> list[EndedJob]:
        found = []
        ready, _ = (
            self._ray.wait(list(self._running), num_returns=len(self._running), timeout=0)
            if self._running
            else ([], [])
        )
        for reference in ready:
            job = self._running.pop(reference)
            try:
                found.append(self._ray.get(reference))
            except self._ray.exceptions.RayTaskError:
                raise  # a mistake of ours
            except self._ray.exceptions.RayError:
                found.append(EndedJob(job, {}, lost=True))
        self._fill()
        return found

    def done(self) -> bool:
        return not self._running and not self._waiting

    def stop(self, now: bool = False) -> None:
        self._waiting.clear()
        super().stop(now)

    def close(self) -> None:
        if self._ray is not None:
            if self._running:
                self.stop()
                self._ray.wait(list(self._running), num_returns=len(self._running), timeout=60)
            self._forget_stop()
            self._ray.shutdown()


def _reach(address: str) -> None:
    """Connect to HOST:PORT once, since Ray itself retries for minutes.

    Raises:
        OSError: nothing answers.
    """
    host, _, port = address.rpartition(':')
    if host and '/' not in host and port.isdigit():
        socket.create_connection((host, int(port)), CONNECT_SECONDS).close()
