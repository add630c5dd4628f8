"""The folder of a study: its plan and the folders of its runs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from toolkit.config import Config
from toolkit.config.dump import dump
from toolkit.errors import ToolkitError
from toolkit.io.atomic_write import write
from toolkit.io.json_values import parse_json
from toolkit.io.run_layout import CONFIG, ORIGINS, PLAN, STUDY
from toolkit.io.run_records import RunStatus
from toolkit.io.verification import plugin_trust
from toolkit.study.launchers.claim import claim
from toolkit.study.launchers.job import Job
from toolkit.study.planning.planned_study import Plan
from toolkit.study.reconcile import ReconciledRun
from toolkit.study.search.trials import describe_search
from toolkit.study.spec import Study


def check_folder(folder: Path, study: Study) -> None:
    """Refuse a folder that belongs to another study, or to none.

    Raises:
        ToolkitError: it does.
    """
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ToolkitError(f'the study folder {folder} is a file; choose another --work-dir')
    if not (folder / PLAN).exists():
        if any(not entry.name.startswith('.') for entry in folder.iterdir()):
            raise ToolkitError(
                f'{folder} holds no study, and is not empty; choose another --work-dir'
            )
        return
    name = _study_name(folder)
    if name != study.name:
        raise ToolkitError(
            f'{folder} is the folder of the study {name!r}, not of {study.name!r}; choose another '
            '--work-dir'
        )


def _study_name(folder: Path) -> Any:
    try:
        return parse_json((folder / PLAN).read_text(encoding='utf-8'))['study']
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ToolkitError(f'{folder / PLAN} is damaged: {error}') from error


def is_planned(study: Study, folder: Path) -> bool:
    """Tell whether the plan in a study's folder was made from the present study file."""
    try:
        written = (folder / STUDY).read_text(encoding='utf-8')
    except OSError:
        return False
    return written == dump(study.config.tree)


def write_plan(plan: Plan, entries: list[ReconciledRun], folder: Path) -> None:
    """Write `plan.json`, which marks the folder of a study, `study.yaml` and `inputs.json`.

    Raises:
        RunError: they cannot be written.
    """
    study = plan.study
    record = {
        'study': study.name,
        'compare_to': study.compare_to,
        'metrics': study.metrics,
        'options': study.options.to_json(),
        'search': None if study.spec.search is None else describe_search(study),
        'runs': [entry.run.to_json(folder) for entry in entries],
    }
    write(folder / PLAN, json.dumps(record, indent=1, ensure_ascii=False) + '\n')
    write(folder / STUDY, dump(study.config.tree))
    plan.inputs.write(folder)
    if study.runs_commands:
        plugin_trust.remember([folder / STUDY])


def check_claims(entries: list[ReconciledRun]) -> None:
    """Refuse to empty the folder of a run that another process works on.

    Raises:
        ToolkitError: one would be emptied.
    """
    for entry in entries:
        if entry.discard and entry.folder.exists():
            with claim(entry.run.trained_in or entry.folder) as is_free:
                if not is_free:
                    raise ToolkitError(
                        f'{entry.folder} would be emptied, and another process works on it; wait '
                        'for it, or choose another --work-dir'
                    )


def prepare_jobs(plan: Plan, entries: list[ReconciledRun]) -> list[Job]:
    """Make the folders of the pending runs, and the jobs that run them.

    Raises:
        RunError: a folder cannot be written.
    """
    groups: dict[Path, list[ReconciledRun]] = {}
    for entry in entries:
        if entry.pending:
            groups.setdefault(entry.run.trained_in or entry.folder, []).append(entry)
    for folder, group in groups.items():
        with claim(folder) as claimed:
            for entry in group:
                # What another process works on is left alone.
                if claimed or not (entry.folder / CONFIG).exists():
                    _make_folder(entry, plan.configs[entry.run.id])
    budget = plan.study.spec.budget
    return [
        Job(
            runs=tuple(replace(entry.run, changes=()) for entry in group),
            trained_in=group[0].run.trained_in,
            time=budget.seconds,
            retries=budget.retries,
            keep=plan.study.spec.keep,
            program=plan.configs[group[0].run.id].tree if plan.study.is_program else None,
            processes=group[0].run.processes,
        )
        for group in groups.values()
    ]


def _make_folder(entry: ReconciledRun, config: Config) -> None:
    folder = entry.folder
    if entry.discard and folder.exists():
        shutil.rmtree(folder)
    status = RunStatus() if entry.discard else RunStatus.read(folder)
    if status.status != 'waiting':
        # A run that is left as running was killed with its study.
        status = status.replace(status='waiting', message='')
    write(folder / CONFIG, dump(config.tree))
    origins = {'.'.join(path): str(origin) for path, origin in config.origins.items()}
    write(folder / ORIGINS, json.dumps(origins, indent=1) + '\n')
    status.write(folder)
