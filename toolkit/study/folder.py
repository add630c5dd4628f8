"""A study's folder: its plan, and the folders of its runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from toolkit.config.dump import dump
from toolkit.errors import ToolkitError
from toolkit.io.atomic_write import write
from toolkit.study.launchers.job import PLAN, STUDY, Job, JobRun, Status, read_status
from toolkit.study.plan import Plan
from toolkit.study.reconcile import Placed
from toolkit.study.spec import Study


def check_folder(folder: Path, study: Study) -> None:
    """Refuse a folder that is another study's, or no study's.

    Raises:
        ToolkitError: it is.
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
        return json.loads((folder / PLAN).read_text(encoding='utf-8'))['study']
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ToolkitError(f'{folder / PLAN} is damaged: {error}') from error


def write_plan(plan: Plan, placed: list[Placed], folder: Path) -> None:
    """Write `plan.json`, by which a study's folder is known, and `study.yaml`.

    Raises:
        RunError: they cannot be written.
    """
    study = plan.study
    record = {
        'study': study.name,
        'compare_to': study.compare_to,
        'metrics': study.metrics,
        'runs': [_planned(entry, folder) for entry in placed],
    }
    write(folder / PLAN, json.dumps(record, indent=1, ensure_ascii=False) + '\n')
    write(folder / STUDY, dump(study.config.tree))


def _planned(entry: Placed, folder: Path) -> dict[str, Any]:
    run = entry.run
    return {
        'id': run.id,
        'variant': run.variant,
        'settings': run.settings,
        'data': run.data,
        'seed': run.seed,
        'fold': run.fold,
        'folder': _relative(entry.folder, folder),
        'trained_in': _relative(entry.trained_in, folder) if entry.trained_in else None,
        'key': run.identity.key,
        'changes': list(run.changes),
        'parameters': run.parameters,
        'macs': run.macs,
    }


def _relative(path: Path, folder: Path) -> str:
    return path.relative_to(folder).as_posix() if path.is_relative_to(folder) else str(path)


def prepare(plan: Plan, placed: list[Placed]) -> list[Job]:
    """Make the folders of the runs that are to be run, and the jobs that run them.

    Raises:
        RunError: a folder cannot be written.
    """
    groups: dict[Path, list[Placed]] = {}
    for entry in placed:
        if entry.todo:
            groups.setdefault(entry.trained_in or entry.folder, []).append(entry)
            _make_folder(entry)
    budget = plan.study.spec.budget
    jobs = []
    for group in groups.values():
        runs = tuple(
            JobRun(entry.run.id, str(entry.folder), entry.identity.to_dict()) for entry in group
        )
        trained_in = group[0].trained_in
        jobs.append(
            Job(
                runs=runs,
                trained_in=None if trained_in is None else str(trained_in),
                time=budget.seconds,
                retries=budget.retries,
            )
        )
    return jobs


def _make_folder(entry: Placed) -> None:
    folder, config = entry.folder, entry.run.config
    if entry.clear and folder.exists():
        shutil.rmtree(folder)
    status = Status() if entry.clear else read_status(folder)
    if status.status != 'waiting':
        # What is left as running was killed with its study.
        status = status.replaced(status='waiting', message='')
    write(folder / 'config.yaml', dump(config.tree))
    origins = {'.'.join(path): str(origin) for path, origin in config.origins.items()}
    write(folder / 'origins.json', json.dumps(origins, indent=1) + '\n')
    status.write(folder)
