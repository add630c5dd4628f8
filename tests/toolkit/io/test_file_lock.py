from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from toolkit.io.file_lock import remove_lock, try_lock

# Holds the lock, as a run does, and forks a worker that outlives it.
HOLDER = """
import os, sys, time
from pathlib import Path
from toolkit.io.file_lock import try_lock
lock = try_lock(Path(sys.argv[1]))
worker = os.fork()
if worker == 0:
    time.sleep(60)
    os._exit(0)
print(worker, flush=True)
time.sleep(60)
"""


def test_one_at_a_time(tmp_path):
    path = tmp_path / 'x.lock'
    first = try_lock(path)
    assert try_lock(path) is None
    first.release()
    second = try_lock(path)
    assert second is not None
    remove_lock(second)
    assert not path.exists()


@pytest.mark.skipif(not hasattr(os, 'fork'), reason='needs fork')
def test_a_worker_that_outlives_its_run_holds_no_lock(tmp_path):
    path = tmp_path / 'x.lock'
    with subprocess.Popen([sys.executable, '-c', HOLDER, path], stdout=subprocess.PIPE) as holder:
        worker = int(holder.stdout.readline())
        try:
            assert try_lock(path) is None
            holder.send_signal(signal.SIGKILL)
            holder.wait()
            deadline = time.monotonic() + 5
            while (lock := try_lock(path)) is None and time.monotonic() < deadline:
                time.sleep(0.05)
            assert lock is not None
            lock.release()
        finally:
            os.kill(worker, signal.SIGKILL)


def test_a_folder_that_is_not_there(tmp_path):
    (tmp_path / 'file').touch()
    with pytest.raises(OSError, match='file'):
        try_lock(tmp_path / 'file' / 'x.lock')
