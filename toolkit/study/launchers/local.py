"""Launcher for processes of this machine."""

from __future__ import annotations

import os
import queue
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from toolkit.errors import ToolkitError
from toolkit.io.process import count_cores
from toolkit.study.launchers.base import Launcher
from toolkit.study.launchers.job import EndedJob, Job
from toolkit.study.launchers.supervisor import supervise


class LocalLauncher(Launcher):
    """Launcher that runs jobs as processes of this machine.

    Args:
        jobs: number of jobs at a time; by default one per GPU or share of a GPU, without GPUs one.
        threads: CPU threads per process; by default the cores divided by the number of processes
            of all jobs.
        gpus: GPUs per job: one for each process (the default if there are any), a share below 1
            so that several jobs use the same GPU, 0 for none.
        processes: processes that train a run together; as many as `gpus` by default, else 1.
    """

    can_join = True

    def __init__(
        self,
        jobs: int | None = None,
        threads: int | None = None,
        gpus: float | None = None,
        processes: int | None = None,
    ) -> None:
        super().__init__(jobs, threads, gpus, processes)
        self._stopped = 0
        self._ended: queue.SimpleQueue[EndedJob | BaseException] = queue.SimpleQueue()
        self._pool: ThreadPoolExecutor | None = None
        self._futures: list[Future[None]] = []
        self._slots: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._threads = 1

    def check_devices(self) -> None:
        devices = _devices()
        share = self._share(devices)
        if len(devices) < share:
            needed = f'{share:g} GPU{"s" * (share > 1)}'
            raise ToolkitError(
                f'launcher: each run needs {needed}, and this machine shows '
                f'{len(devices) or "none"}; gpus: 0 trains on its cores'
            )

    def count_slots(self, jobs: int) -> int:
        devices = _devices()
        share = self._share(devices)
        room = int(1 / share) * len(devices) if 0 < share < 1 else len(devices) // int(share or 1)
        room = max(1, room if share else 1)
        # Runs that need several GPUs never share them.
        most = min(self.jobs or room, room) if share > 1 else self.jobs or room
        return min(most, jobs) or 1

    def _share(self, devices: list[str]) -> float:
        """Get the GPUs per job."""
        return (float(self.processes) if devices else 0.0) if self.gpus is None else self.gpus

    def start(self, jobs: Sequence[Job]) -> None:
        if self._pool is None:
            devices = _devices()
            share = self._share(devices)
            count = self.count_slots(len(jobs))
            self._threads = self.threads or max(1, count_cores() // (count * self.processes))
            width = max(1, int(share))
            groups = [devices[n : n + width] for n in range(0, len(devices) - width + 1, width)]
            for number in range(count):
                if share and groups:
                    self._slots.put(','.join(groups[number % len(groups)]))
                else:
                    self._slots.put('' if self.gpus == 0 else None)
            self._pool = ThreadPoolExecutor(count, 'study')
        self._futures = [future for future in self._futures if not future.done()]
        self._futures += [self._pool.submit(self._run, job) for job in jobs]

    def _run(self, job: Job) -> None:
        if self._stopped:
            return
        slot = self._slots.get()
        try:
            self._ended.put(supervise(job, self._threads, slot, lambda: self._stopped))
        except BaseException as error:
            self._ended.put(error)  # raised where the study can close everything
        finally:
            self._slots.put(slot)

    def poll(self) -> list[EndedJob]:
        found = []
        while not self._ended.empty():
            item = self._ended.get()
            if isinstance(item, BaseException):
                raise item
            found.append(item)
        return found

    def done(self) -> bool:
        return all(future.done() for future in self._futures)

    def stop(self, now: bool = False) -> None:
        self._stopped = 2 if now else max(1, self._stopped)

    def close(self) -> None:
        self.stop()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


def _devices() -> list[str]:
    """List the GPUs that this process sees, as CUDA_VISIBLE_DEVICES names them."""
    import torch

    count = torch.cuda.device_count()
    named = [name for name in os.environ.get('CUDA_VISIBLE_DEVICES', '').split(',') if name]
    return named[:count] if named else [str(number) for number in range(count)]
