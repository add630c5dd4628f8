"""Studies of the small programs in `tests/support/programs`."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import yaml

from toolkit.io.run_layout import OUTPUT, TestRecord
from toolkit.study.planning.plan import make_plan
from toolkit.study.programs.execution import run_program
from toolkit.study.study_file import read_study

PROGRAMS = Path(__file__).parent / 'programs'
ARGPARSE: dict[str, Any] = {
    'study': 'program',
    'command': [
        sys.executable,
        'argparse_train.py',
        '{overrides}',
        '--seed',
        '{seed}',
        '--out={run}',
    ],
    'program': {'results': {'json': 'results.json', 'keys': {'score': 'test.score'}}},
    'variants': {'full': {}, 'fast': {'lr': 0.5}},
    'seeds': [0, 1],
    'metrics': {'score': 'higher'},
    'launcher': {'jobs': 2, 'threads': 1},
}


def write(folder: Path, **changes: Any) -> Path:
    """Write a study beside its programs; None takes a key out."""
    shutil.copytree(PROGRAMS, folder, dirs_exist_ok=True)
    study = {k: v for k, v in {**ARGPARSE, **changes}.items() if v is not None}
    (folder / 'study.yaml').write_text(yaml.safe_dump(study, sort_keys=False))
    return folder / 'study.yaml'


def run_some(file: Path, work: Path, names: Collection[str]) -> dict[str, dict[str, float | None]]:
    """Run runs of a study in this process, one by one; returns their metrics by name."""
    plan = make_plan(read_study(file))
    found = {}
    for run in (run for run in plan.runs if run.id in names):
        folder = work / run.folder
        folder.mkdir(parents=True)
        with log_output(folder):
            run_program(folder, plan.configs[run.id].tree)
        found[run.id] = TestRecord.read(folder).metrics
    return found


@contextlib.contextmanager
def log_output(folder: Path) -> Iterator[None]:
    """Let the output of this process and its children go to the log of a run."""
    saved = os.dup(1), os.dup(2)
    with open(folder / OUTPUT, 'ab') as log:
        for number in (1, 2):
            os.dup2(log.fileno(), number)
    try:
        yield
    finally:
        for number, copy in enumerate(saved, 1):
            os.dup2(copy, number)
            os.close(copy)
