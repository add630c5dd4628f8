"""`toolkit study`: plans and runs a study, and prints its tables."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.commands.arguments import add_plugins
from toolkit.errors import BusyError, RunError, ToolkitError, did_you_mean, list_integers
from toolkit.io.run_layout import REPORT, STUDY
from toolkit.io.shown_output import protect_output
from toolkit.registry.command import Command

if TYPE_CHECKING:
    from toolkit.study.planning.planned_study import Plan
    from toolkit.study.reconcile import RunFilter
    from toolkit.study.spec import Study

# In the folder of a study.
SEARCH_LOCK = '.search'
STYLES = ('text', 'markdown', 'csv', 'latex', 'json')


class StudyCommand(Command):
    """Run a study: variants x seeds, from a file to a table."""

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add_plugins(parser)
        add('file', metavar='FILE', help='study file, or the name of a shipped one')
        add(
            '--work-dir',
            type=Path,
            metavar='DIR',
            help='folder of the study (default: work/NAME)',
        )
        add(
            '--plan',
            action='store_true',
            help='print the runs, and what --only, --seeds and --rerun would do; start none',
        )
        add(
            '--detect',
            type=float,
            metavar='DIFFERENCE',
            help='with --plan: print how many seeds show such a difference of --metric',
        )
        add('--metric', help='of --detect (default: the primary or only metric)')
        add('--table', action='store_true', help='print the results so far; start no run')
        add('--style', choices=STYLES, help='of --table (default: text)')
        add('--only', nargs='+', default=[], metavar='VARIANT', help='run only these variants')
        add('--seeds', nargs='+', type=int, default=[], metavar='N', help='run only these seeds')
        add(
            '--rerun',
            nargs='+',
            default=[],
            choices=('failed', 'changed'),
            help='run again what failed, or what was run with another config, code or data',
        )
        add(
            '--keep-going',
            action='store_true',
            help='continue where three runs in a row fail with the same message',
        )
        add('--jobs', type=int, metavar='N', help='runs at a time, in place of the number in FILE')

    def run(self, arguments: argparse.Namespace) -> int:
        from toolkit.study.study_file import read_study

        if arguments.style is not None and not arguments.table:
            raise ToolkitError('--style is an option of --table; give both')
        if arguments.detect is not None and not arguments.plan:
            raise ToolkitError('--detect is an option of --plan; give both')
        if arguments.metric is not None and arguments.detect is None:
            raise ToolkitError('--metric is an option of --detect; give both')
        if arguments.detect is not None and not 0 < abs(arguments.detect) < math.inf:
            raise ToolkitError(f'--detect expects a difference, found {arguments.detect:g}')
        study = read_study(arguments.file)
        folder = study_folder(study, arguments.work_dir)
        if arguments.table:
            return _print_table(study, arguments.file, folder, arguments.style or 'text')
        _check_filter(study, arguments.only, arguments.seeds)
        if study.spec.search is not None and arguments.detect is not None:
            raise ToolkitError('--detect: what a search compares in the end is not known before')
        if arguments.plan:
            return _print_plan(study, folder, arguments)
        return _run(study, folder, arguments)


def study_folder(study: Study, work_dir: Path | None) -> Path:
    """The folder of a study: the given one, or `work/NAME`; absolute."""
    return (work_dir or Path('work') / study.name).absolute()


def write_results(folder: Path) -> None:
    """Prints the tables of the results so far, and writes them and the report.

    Raises:
        RunError: a file cannot be written; the others are.
    """
    from toolkit.analysis import table_files
    from toolkit.analysis.results import load
    from toolkit.report import page as report_page

    results, output = load(folder), folder / REPORT
    print(table_files.study_table(results, 'text'), flush=True)  # first: what follows may fail
    errors = []
    for write in (
        lambda: table_files.write(results),
        lambda: report_page.write_panel_files(folder),
        lambda: report_page.write([folder], output),
    ):
        try:
            write()
        except ToolkitError as error:
            errors.append(error)
    if errors:
        raise RunError('; '.join(dict.fromkeys(map(str, errors))))
    print(f'report in {output}')


def _print_plan(study: Study, folder: Path, arguments: argparse.Namespace) -> int:
    from toolkit.study.folder import check_folder
    from toolkit.study.planning.estimate import estimate_needs
    from toolkit.study.planning.plan import make_plan
    from toolkit.study.planning.plan_power import PlannedPower
    from toolkit.study.planning.plan_text import plan_text
    from toolkit.study.reconcile import RunFilter, reconcile
    from toolkit.study.search.trials import with_trials
    from toolkit.study.sequential import read_seeds

    check_folder(folder, study)
    launcher = study.launcher(arguments.jobs)
    if study.spec.sequential is not None:
        study = read_seeds(study, folder)
    if study.spec.search is not None:
        study = with_trials(study, folder)
    plan = make_plan(study, arguments.plugin)
    chosen = RunFilter(arguments.only, arguments.seeds, arguments.rerun)
    entries = reconcile(plan, folder, chosen)
    pending = sum(entry.pending for entry in entries)
    estimate = estimate_needs(entries, folder, launcher.count_slots(pending))
    power = None if study.spec.search is not None else PlannedPower(plan, entries)
    if power is not None and arguments.detect is not None:
        print(power.detect(arguments.detect, arguments.metric))
    else:
        print(plan_text(plan, entries, folder, estimate, power))
    return 0


def _print_table(study: Study, file: str, folder: Path, style: str) -> int:
    from toolkit.analysis.results import load
    from toolkit.analysis.table_files import study_table
    from toolkit.study.folder import is_planned

    results = load(folder)
    # How results look may change at any time; what is tested is what was planned.
    planned = results.options
    options = replace(
        study.options,
        primary=planned.primary,
        along=planned.along,
        switches=planned.switches,
        design=planned.design,
        orders=planned.orders,
        sequential=planned.sequential,
    )
    print(study_table(replace(results, options=options), style))
    if not is_planned(study, folder):
        print(
            f'{file} has changed since these runs were planned: the table is of the '
            f'study in {folder / STUDY}; `toolkit study {file} --plan` compares them',
            file=sys.stderr,
        )
    return 0


@protect_output()
def _run(study: Study, folder: Path, arguments: argparse.Namespace) -> int:
    from toolkit.study.execute import run_study
    from toolkit.study.folder import check_folder
    from toolkit.study.planning.plan import make_plan
    from toolkit.study.reconcile import RunFilter
    from toolkit.study.sequential import run_sequential

    check_folder(folder, study)  # before the work of a plan
    chosen = RunFilter(arguments.only, arguments.seeds, arguments.rerun)

    plans: list[Plan] = []

    def run(study: Study) -> int:
        launcher = study.launcher(arguments.jobs)
        plan = make_plan(study, arguments.plugin)
        plans.append(plan)
        for warning in plan.warnings:
            print(f'warning: {warning}')
        return run_study(plan, folder, launcher, chosen, arguments.keep_going)

    if study.spec.search is not None:
        status = _run_search(study, folder, arguments, chosen, plans)
    elif study.spec.sequential is None or arguments.only or arguments.seeds:
        status = run(study)  # some runs, as a pilot, decide nothing
    else:
        status = run_sequential(study, folder, run)
    if status in (0, 1):
        _track_table(plans[-1], folder)
        write_results(folder)
    return status


def _track_table(plan: Plan, folder: Path) -> None:
    """Hands the table of results to the trackers of the study's runs."""
    from toolkit.analysis.aggregate import analyze_study
    from toolkit.analysis.results import load
    from toolkit.analysis.tables import make_results_table
    from toolkit.config.schema import RunConfig
    from toolkit.engine.tracking.tracker import TrackedRun
    from toolkit.engine.tracking.tracker_group import TrackerGroup, build_trackers
    from toolkit.registry.build import fill

    config = next(iter(plan.configs.values()))
    if plan.study.is_program or not config.tree.get('trackers'):
        return
    table = make_results_table(analyze_study(load(folder)))
    rows = [[cell.text for cell in row] for row in table.rows]
    name = plan.study.name
    group = TrackerGroup(build_trackers(fill(RunConfig, config.tree)))
    group.log_table(TrackedRun(folder, name, name, folder), table.columns, rows)


def _run_search(
    study: Study,
    folder: Path,
    arguments: argparse.Namespace,
    chosen: RunFilter,
    plans: list[Plan],
) -> int:
    from toolkit.run import work_dir as work_dirs
    from toolkit.study.execute import run_study
    from toolkit.study.planning.plan import make_planner
    from toolkit.study.search.loop import SearchRunner
    from toolkit.study.search.trials import with_trials

    said: set[str] = set()

    def run(plan: Plan, choice: RunFilter) -> int:
        plans.append(plan)
        for warning in plan.warnings:
            if warning not in said:
                print(f'warning: {warning}')
            said.add(warning)
        launcher = study.launcher(arguments.jobs)
        return run_study(plan, folder, launcher, choice, arguments.keep_going)

    # A second process would choose trials beside those that this one has not written yet.
    with contextlib.ExitStack() as claimed:
        try:
            claimed.enter_context(work_dirs.claimed(folder / SEARCH_LOCK, 'search'))
        except BusyError as error:
            raise BusyError(
                f'another process works on the search in {folder}, and its next trials follow from '
                'all results so far; for more trials at a time stop it (Ctrl-C saves the runs) and '
                'start it with a larger --jobs'
            ) from error
        plan = make_planner(study, arguments.plugin)
        if arguments.only:  # a variant of the file is no trial, and needs none
            return run(plan(with_trials(study, folder)), replace(chosen, trials=False))
        return SearchRunner(study, folder, plan, run, chosen, arguments.keep_going).run()


def _check_filter(study: Study, only: Sequence[str], seeds: Sequence[int]) -> None:
    for name in only:
        if name not in study.spec.variants:
            near = did_you_mean(name, study.spec.variants)
            near = near or f'; there are: {", ".join(study.spec.variants)}'
            raise ToolkitError(f'--only: no variant is named {name!r}{near}')
    for seed in seeds:
        if seed not in study.spec.seeds:
            known = list_integers(study.spec.seeds)
            raise ToolkitError(f'--seeds: the study has no seed {seed}; there are: {known}')
    repeated = [str(x) for x, n in Counter([*only, *seeds]).items() if n > 1]
    if repeated:
        raise ToolkitError(f'{repeated[0]} is given twice; give it once')
