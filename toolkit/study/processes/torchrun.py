"""Trains a run of a study by several processes of this machine, which torchrun starts.

torchrun's agent chooses a free port itself and keeps it, so that two runs never meet.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from toolkit.engine.process.signals import get_exit_status
from toolkit.errors import BusyError, RunError, ToolkitError
from toolkit.io.atomic_write import is_disk_full
from toolkit.io.json_values import parse_json, write_json
from toolkit.io.run_records import PlannedRun
from toolkit.study.processes.child import end_with_parent, run_child
from toolkit.study.processes.training import explain_error, train_folder

_FIRST = 'first.json'
# As in the supervisor: a folder in which the study was started hides no package.
_PATH = 'import sys; sys.path[0] or sys.path.append(sys.path.pop(0)); '
_AGENT = f'{_PATH}from {__name__} import run_agent; sys.exit(run_agent(*sys.argv[1:]))'
_PROCESS = f'{_PATH}from {__name__} import main; sys.exit(main(*sys.argv[1:]))'


def train_together(folder: Path, processes: int, trial: PlannedRun | None = None) -> int:
    """Train in a folder by several processes, or resume its training.

    Args:
        folder: of the training.
        processes: number of processes.
        trial: planned run of a search, which may end the training early.
    Returns:
        The exit status: 0, or that of a signal which has stopped it.
    Raises:
        BusyError: a process of an earlier attempt still works there.
        ToolkitError: a mistake that another attempt would repeat.
        RunError: a process has failed or was killed.
    """
    from toolkit.run import work_dir as work_dirs

    if work_dirs.is_busy(folder):
        raise BusyError(f'another run is working in {folder}; wait for it')
    with tempfile.TemporaryDirectory() as answers:
        options = ['--standalone', '--local_addr', '127.0.0.1', '--max_restarts', '0']
        count = ['--nproc_per_node', str(processes), '--no_python']
        planned = '' if trial is None else json.dumps(trial.to_json(), default=str)
        process = [sys.executable, '-c', _PROCESS, str(folder), answers, planned]
        agent = [sys.executable, '-c', _AGENT, answers, *options, *count, *process]
        status, stopped = run_child(agent, {**os.environ, 'TORCH_CPP_LOG_LEVEL': 'ERROR'})
        found = [_read_answer(Path(answers) / f'{rank}.json') for rank in range(processes)]
        first = _read_answer(Path(answers) / _FIRST)
    return _judge_answers(found, first, status, stopped)


def _judge_answers(
    found: list[dict[str, Any] | None], first: dict[str, Any] | None, status: int, stopped: bool
) -> int:
    """Get the exit status of a training from the answers of its processes.

    Args:
        found: the answer of each process; None of one that was killed.
        first: number and exit status of the process that failed first, as torchrun saw it.
        status: exit status of torchrun.
        stopped: whether a signal has stopped it.
    """
    ended = [answer for answer in found if answer is not None]
    # What the others say of a process that is gone is a consequence.
    own = [answer for answer in ended if 'error' in answer and not answer['is_lost']]
    if own:
        cause = min(own, key=lambda answer: answer['time'])
        if cause['is_full']:
            raise RunError(cause['error']) from OSError(errno.ENOSPC, cause['error'])
        raise (ToolkitError if cause['is_mistake'] else RunError)(cause['error'])
    if len(ended) == len(found) and all('error' not in answer for answer in ended):
        return max(answer['exit_status'] for answer in ended)
    if stopped:
        return get_exit_status(signal.SIGTERM)
    if first is None:
        raise RunError(
            f'the {len(found)} processes of this training have ended without a result (exit '
            f'status {status} of torchrun); output.log has their last lines'
        )
    code, how = first['exit_status'], f'ended with exit status {first["exit_status"]}'
    if code < 0:
        hint = ' (by the system, out of memory?)' if code == -signal.SIGKILL else ''
        how = f'was killed by {signal.Signals(-code).name}{hint}'
    raise RunError(f'process {first["rank"]} of {len(found)} of this training {how}')


def _read_answer(path: Path) -> dict[str, Any] | None:
    return parse_json(path.read_text(encoding='utf-8')) if path.exists() else None


def run_agent(answers: str, *options: str) -> int:
    """Start the processes as torchrun's agent, and note which one has failed first.

    Args:
        answers: folder of the answers.
        options: command line of torchrun.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    try:
        run(parse_args(list(options)))
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        first = {'rank': rank, 'exit_status': failure.exitcode}
        write_json(Path(answers) / _FIRST, first)
        return 1
    return 0


def main(folder: str, answers: str, planned: str) -> int:
    """Train as one of the processes that torchrun has started, and write how it ended."""
    from toolkit.engine.process.distributed import LostProcessError

    end_with_parent()
    rank = int(os.environ['RANK'])
    # The main process has written the log before it judges a trial; all stop with it.
    trial = PlannedRun.from_json(parse_json(planned)) if planned and rank == 0 else None
    answer: dict[str, Any]
    try:
        answer = {'exit_status': train_folder(Path(folder), trial)}
    except Exception as error:
        answer = {
            'error': explain_error(error),
            'is_mistake': isinstance(error, ToolkitError) and error.exit_status == 2,
            'is_full': is_disk_full(error),
            'is_lost': isinstance(error, LostProcessError),
            'time': time.time(),
        }
    write_json(Path(answers) / f'{rank}.json', answer)
    return 1 if 'error' in answer else 0
