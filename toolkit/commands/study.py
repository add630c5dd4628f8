"""`toolkit study`: plan, run, table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from toolkit.errors import ToolkitError, did_you_mean
from toolkit.study.spec import Study
from toolkit.study.study_file import read_study

REPORT = 'report.html'


def show_plan(file: str, work_dir: Path | None, plugins: Sequence[str] = ()) -> int:
    """`toolkit study FILE --plan`; returns the exit status."""
    from toolkit.study.folder import check_folder
    from toolkit.study.plan import make_plan
    from toolkit.study.plan_text import plan_text
    from toolkit.study.reconcile import Choice, place_runs

    study = read_study(file)
    folder = _folder(study, work_dir)
    check_folder(folder, study)
    plan = make_plan(study, plugins)
    placed = place_runs(plan, folder, Choice())
    print(plan_text(plan, placed, folder))
    return 0


def show_table(file: str, work_dir: Path | None, style: str) -> int:
    """`toolkit study FILE --table`; returns the exit status."""
    from toolkit.analysis.results import load
    from toolkit.analysis.table_files import study_table

    print(study_table(load(_folder(read_study(file), work_dir)), style))
    return 0


def run(
    file: str,
    work_dir: Path | None,
    *,
    only: Sequence[str] = (),
    seeds: Sequence[int] = (),
    rerun: Sequence[str] = (),
    jobs: int | None = None,
    plugins: Sequence[str] = (),
) -> int:
    """`toolkit study FILE`: runs what is to be run, then writes tables and report; returns the exit
    status."""
    from toolkit.study.execute import run_study
    from toolkit.study.folder import check_folder
    from toolkit.study.plan import make_plan
    from toolkit.study.reconcile import Choice

    study = read_study(file)
    folder = _folder(study, work_dir)
    _check_choice(study, only, seeds)
    check_folder(folder, study)  # before the work of a plan
    launcher = study.launcher(jobs)
    plan = make_plan(study, plugins)
    for warning in plan.warnings:
        print(f'warning: {warning}')
    status = run_study(plan, folder, launcher, Choice(only, seeds, rerun))
    if status in (0, 1):
        _write_results(folder)
    return status


def _write_results(folder: Path) -> None:
    """The tables and the report of what there is."""
    from toolkit.analysis import table_files
    from toolkit.analysis.results import load
    from toolkit.report import page as report_page

    results = load(folder)
    table_files.write(results)
    report_page.write([folder], folder / REPORT)
    print(table_files.study_table(results, 'text'))
    print(f'report in {folder / REPORT}')


def _folder(study: Study, work_dir: Path | None) -> Path:
    return (work_dir or Path('work') / study.name).absolute()


def _check_choice(study: Study, only: Sequence[str], seeds: Sequence[int]) -> None:
    for name in only:
        if name not in study.spec.variants:
            near = did_you_mean(name, study.spec.variants)
            near = near or f'; there are: {", ".join(study.spec.variants)}'
            raise ToolkitError(f'--only: no variant is named {name!r}{near}')
    for seed in seeds:
        if seed not in study.spec.seeds:
            there = ', '.join(map(str, study.spec.seeds))
            raise ToolkitError(f'--seeds: the study has no seed {seed}; there are: {there}')
    twice = [str(x) for x, n in Counter([*only, *seeds]).items() if n > 1]
    if twice:
        raise ToolkitError(f'{twice[0]} is given twice')
