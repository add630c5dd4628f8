"""Launcher for SLURM by submitit; needs `pip install 'ablakit[slurm]'`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from toolkit.errors import ToolkitError
from toolkit.study.launchers.job import EndedJob, Job
from toolkit.study.launchers.remote import RemoteLauncher, environment, remote

# Folder of submitit's scripts and output, in the study's folder.
LOGS = 'slurm'


class SlurmLauncher(RemoteLauncher):
    """Launcher that runs jobs as a SLURM job array whose machines share the study's folder.

    Args:
        jobs: number of jobs at a time; None for as many as SLURM starts.
        threads: CPU threads per process, and the cores that it requests.
        gpus: GPUs that each run requests.
        processes: processes that train a run together on one node; as many as GPUs by default.
        options: options of submitit, such as `{slurm_partition: long, timeout_min: 600}`.
        cluster: 'slurm'; 'local' runs the array as processes of this machine.
    Raises:
        ValueError: a share of a GPU, which SLURM does not give.
    """

    def __init__(
        self,
        jobs: int | None = None,
        threads: int | None = 1,
        gpus: float | None = 0,
        processes: int | None = None,
        options: dict[str, Any] | None = None,
        cluster: Literal['slurm', 'local'] = 'slurm',
    ) -> None:
        super().__init__(jobs, threads, gpus, processes)
        if gpus is not None and gpus != int(gpus):
            raise ValueError(f'gpus must be a whole number with SLURM, found {gpus}')
        self.options = dict(options or {})
        self.cluster = cluster
        self._queued: list[tuple[Job, str]] = []
        self._running: list[tuple[Any, Job]] = []

    def start(self, jobs: Sequence[Job]) -> None:
        try:
            import submitit
        except ImportError as error:
            raise ToolkitError(
                "the launcher 'slurm' needs submitit: pip install 'ablakit[slurm]'"
            ) from error
        executor = self._executor(submitit, jobs[0].runs[0].folder.parents[1] / LOGS)
        super().start(jobs)
        queued, self._queued = self._queued, []
        variables = environment()
        submitted = executor.map_array(
            remote,
            [job.to_json() for job, _ in queued],
            [self.threads] * len(queued),
            [stop_file for _, stop_file in queued],
            [variables] * len(queued),
        )
        self._running += zip(submitted, [job for job, _ in queued], strict=True)

    def _executor(self, submitit: Any, folder: Path) -> Any:
        try:
            executor = submitit.AutoExecutor(folder=folder, cluster=self.cluster)
            executor.update_parameters(name='study', cpus_per_task=self.cores)
            if self.gpus:
                executor.update_parameters(gpus_per_node=int(self.gpus))
            if self.cluster == 'slurm' and self.jobs is not None:
                executor.update_parameters(slurm_array_parallelism=self.jobs)
            executor.update_parameters(**self.options)
        except (RuntimeError, NameError, TypeError, ValueError) as error:
            raise ToolkitError(f'SLURM cannot be used: {error}') from error
        return executor

    def _end_what_is_left(self, jobs: Sequence[Job]) -> None:
        """Cancel the queued jobs of a killed study too."""
        import submitit

        assert self._stop_file is not None
        folder = self._stop_file.parent / LOGS
        for submitted in folder.glob('*_submitted.pkl') if self.cluster == 'slurm' else ():
            name = submitted.name.removesuffix('_submitted.pkl')
            if not (folder / f'{name}_0_result.pkl').exists():
                submitit.SlurmJob(folder, name).cancel(check=False)
        super()._end_what_is_left(jobs)

    def _submit(self, job: Job, stop_file: str) -> None:
        self._queued.append((job, stop_file))

    def poll(self) -> list[EndedJob]:
        from submitit.core.utils import UncompletedJobError

        found = []
        for submitted, job in list(self._running):
            if not submitted.done():
                continue
            self._running.remove((submitted, job))
            try:
                found.append(submitted.result())
            except UncompletedJobError:  # its machine is gone, or it was cancelled
                found.append(EndedJob(job, {}, lost=True))
        return found

    def done(self) -> bool:
        return not self._running

    def stop(self, now: bool = False) -> None:
        super().stop(now)
        for submitted, _ in self._running:
            if submitted.state in ('PENDING', 'UNKNOWN') and self.cluster == 'slurm':
                submitted.cancel(check=False)

    def close(self) -> None:
        if self._running:
            self.stop()
            for submitted, _ in self._running:
                submitted.wait()
        self._forget_stop()
