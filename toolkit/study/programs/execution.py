"""Runs a program once, in the process of its job, and reads its metrics."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import toolkit
from toolkit.config.dump import dump
from toolkit.errors import BusyError, RunError, ToolkitError
from toolkit.io import atomic_write
from toolkit.io.json_values import write_json
from toolkit.io.reported_metrics import REPORT_FILE
from toolkit.io.run_layout import METRICS_FILE, OUTPUT
from toolkit.study.processes.child import run_child
from toolkit.study.programs.arguments import fill_command, format_overrides, split_command
from toolkit.study.programs.identity import find_executable
from toolkit.study.programs.keys import FILE_STYLES, ResultsSpec
from toolkit.study.programs.read_results import read_results
from toolkit.study.search.halving import Cut
from toolkit.study.search.validations import judge, read_program_values, write_values

# In the folder of a run: the folder that the program is given, and how it was started.
OUTPUT_FOLDER = 'program'
COMMAND_FILE = 'command.json'
_REPORTED = 'reported.json'
_LOCK = '.program.lock'
# Time for what a killed study has left running.
BUSY_SECONDS = 30.0


class ProgramStopped(Exception):
    """The program was stopped before its end."""


def run_program(
    folder: Path, record: Mapping[str, Any], trial: Mapping[str, Any] | None = None
) -> Cut | None:
    """Run a program to its end and write its metrics.

    Args:
        folder: of the run.
        record: from the plan.
        trial: of a search, which may end the program early; None for a run of its own.
    Returns:
        Where a search has ended it; None where it has ended by itself.
    Raises:
        ProgramStopped: a signal has ended it.
        RunError: it has failed.
        ToolkitError: a metric is missing, no number, or of an earlier attempt; another try would
            end alike.
    """
    output, reported = folder / OUTPUT_FOLDER, folder / _REPORTED
    with _claim(folder / _LOCK) as lock:
        arguments, resumed = _prepare(folder, output, record)
        reported.unlink(missing_ok=True)
        results = ResultsSpec(**record['results'])
        left = _stamp(output, results)
        log = folder / OUTPUT
        begun = log.stat().st_size if log.exists() else 0
        write_json(
            folder / COMMAND_FILE,
            {'arguments': arguments, 'directory': record['directory'], 'resumed': resumed},
        )

        def read_values() -> list[float | None]:
            said = _read_output(log, begun)
            return read_program_values(record, output, said, (trial or {})['metric'])

        prune = (lambda: judge(trial, read_values()) is not None) if trial else None
        variables = {**_own_environment(), **record['environment'], REPORT_FILE: str(reported)}
        status, stopped = run_child(arguments, variables, record['directory'], (lock,), prune)
    if trial is not None:
        values = read_values()
        # A short program may end before anybody looks: what it has written decides.
        if (cut := judge(trial, values)) is not None:
            write_values(folder, trial['metric'], values)
            return cut
    if stopped:
        raise ProgramStopped
    if status:
        raise RunError(_explain_end(status, log, begun))
    said = _read_output(log, begun)
    if left is not None and left == _stamp(output, results):
        raise ToolkitError(
            f'the program ended without writing {results.file}: what is there is of an earlier '
            'attempt, perhaps an unfinished one; a program that finds itself done must write its '
            'results again (or set program.resume: false)'
        )
    metrics = read_results(results, list(record['metrics']), output, said, reported)
    write_json(
        folder / METRICS_FILE,
        {'metrics': metrics, 'directions': dict(record['metrics']), 'rows': {}},
    )
    if trial is not None:
        write_values(folder, trial['metric'], values)
    return None


def _read_output(log: Path, begun: int) -> str:
    """Read what the program has said since its last start."""
    with open(log, 'rb') as file:
        file.seek(begun)
        return file.read().decode('utf-8', 'replace').replace('\r', '\n')


def _prepare(folder: Path, output: Path, record: Mapping[str, Any]) -> tuple[list[str], bool]:
    """Make the folder of the program and its arguments; returns whether it continues."""
    values = {'run': str(output), 'seed': str(record['seed'])}
    resume = record['resume']
    further: list[str] = []
    if isinstance(resume, str):
        further = fill_command(split_command(resume), values)
        named = [text.rpartition('=')[2] for text in further if str(output) in text]
        resumed = all(Path(name).exists() for name in named)
    else:
        resumed = resume
    resumed = bool(resumed and output.is_dir() and any(output.iterdir()))
    if not resumed:
        further = []
        # What an earlier attempt has left would be appended to, or be read as a result.
        shutil.rmtree(output, ignore_errors=True)
        if os.path.lexists(output):
            raise RunError(f'cannot empty {output}, which an earlier attempt has left; remove it')
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RunError(f'cannot write {output}: {error.strerror}') from error
    overrides: list[str] = []
    if record['overrides'] in FILE_STYLES:
        file = folder / f'overrides.{record["overrides"]}'
        is_json = record['overrides'] == 'json'
        text = json.dumps(record['values'], indent=1) if is_json else _dump_yaml(record['values'])
        atomic_write.write(file, text + '\n' * is_json)
        values['overrides'] = str(file)
    else:
        overrides = format_overrides(record['overrides'], record['values'])
    arguments = fill_command(record['command'], values, overrides)
    return [str(find_executable(record)), *arguments[1:], *further], resumed


def _stamp(output: Path, results: ResultsSpec) -> tuple[int, ...] | None:
    """Get what changes with each writing of the file of results; None where there is none."""
    if results.file is None:
        return None
    with contextlib.suppress(OSError):
        found = (output / results.file).stat()
        return found.st_mtime_ns, found.st_size, found.st_ino
    return None


def _dump_yaml(values: Mapping[str, Any]) -> str:
    # `dump` escapes the references of the toolkit's configs, which this file is none of.
    return dump(values).replace('$${', '${')


@contextlib.contextmanager
def _claim(path: Path) -> Iterator[int]:
    """Hold a lock that the program holds too, so that no second one starts beside it.

    Raises:
        BusyError: a program that a killed study has left still runs.
    """
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        deadline = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise BusyError(
                        f'the program of an earlier start still runs in {path.parent}; end it first'
                    ) from None
                time.sleep(0.2)
        yield file
    finally:
        os.close(file)


def _own_environment() -> dict[str, str]:
    """Get the user's environment, without the toolkit's own path in front of the packages."""
    environment = dict(os.environ)
    root = str(Path(toolkit.__file__).resolve().parents[1])
    paths = environment.get('PYTHONPATH', '').split(os.pathsep)
    if paths[0] == root:
        paths.pop(0)
    environment.pop('PYTHONPATH', None)
    if any(paths):
        environment['PYTHONPATH'] = os.pathsep.join(paths)
    return environment


def _explain_end(status: int, log: Path, begun: int) -> str:
    """Explain why a program failed: the signal or exit status, and the last line it said."""
    if status < 0:
        hint = ' (by the system, out of memory?)' if status == -signal.SIGKILL else ''
        return f'the program was killed by {signal.Signals(-status).name}{hint}'
    with open(log, 'rb') as file:
        file.seek(begun)
        lines = [x.strip() for x in file.read().decode('utf-8', 'replace').splitlines()]
    last = next((line for line in reversed(lines) if line), '')
    what = f'the program ended with exit status {status}'
    return f'{what}: {last}' if last else f'{what} and said nothing'
