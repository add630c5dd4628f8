"""What each command of `toolkit` does with its arguments.

Nothing heavy is imported before it is needed.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NoReturn

from toolkit.errors import ToolkitError


def show(arguments: argparse.Namespace) -> None:
    """`toolkit show`."""
    from toolkit.config import load
    from toolkit.config.dump import dump

    config = load(arguments.config, arguments.overrides)
    print(dump(config.tree, config.origins if arguments.origins else None), end='')


def diff(arguments: argparse.Namespace) -> None:
    """`toolkit diff`."""
    from toolkit.config import diff as diffs
    from toolkit.config import load

    before, after = load(arguments.a), load(arguments.b, arguments.overrides)
    print(diffs.report(diffs.diff(before.tree, after.tree)))
    if arguments.cost:
        from toolkit.bench.cost import compare
        from toolkit.config.check import checked

        first, second = checked(before).model, checked(after).model
        with after.placing():
            print(compare(first, second))


def list_(arguments: argparse.Namespace) -> None:
    """`toolkit list`."""
    from toolkit.commands.list import listing, reference
    from toolkit.registry import plugin_index

    for plugin in arguments.plugin:
        plugin_index.add(plugin)
    print(reference() if arguments.markdown else listing(arguments.kind))


def check(arguments: argparse.Namespace) -> None:
    """`toolkit check`."""
    from toolkit.config import load
    from toolkit.config.check import checked

    config = load(arguments.config, arguments.overrides)
    config.use_plugins(arguments.plugin)
    run = checked(config)
    if arguments.shapes:
        from toolkit.bench.cost import cost, table

        with config.placing():
            print(table(cost(run.model, arguments.size)))
    else:
        print(f'{arguments.config}: no problem found')


def train(arguments: argparse.Namespace) -> int:
    """`toolkit train`; returns the exit status."""
    from toolkit.commands import run as run_commands

    return run_commands.train(
        arguments.config,
        arguments.overrides,
        arguments.work_dir,
        resume=arguments.resume,
        plugins=arguments.plugin,
    )


def test(arguments: argparse.Namespace) -> int:
    """`toolkit test`; returns the exit status."""
    from toolkit.commands import run as run_commands

    return run_commands.test(
        arguments.config,
        arguments.overrides,
        run_dir=arguments.run_dir,
        checkpoint_name=arguments.checkpoint,
        work_dir=arguments.work_dir,
        plugins=arguments.plugin,
    )


def predict(arguments: argparse.Namespace) -> int:
    """`toolkit predict`; returns the exit status."""
    from toolkit.commands import run as run_commands

    return run_commands.predict(
        arguments.config,
        arguments.overrides,
        run_dir=arguments.run_dir,
        checkpoint_name=arguments.checkpoint,
        inputs=arguments.input,
        output=arguments.output,
        plugins=arguments.plugin,
        sensor=arguments.sensor,
        tile=arguments.tile,
        workers=arguments.workers,
        shard=arguments.shard,
        compress=arguments.compress,
        cog=arguments.cog or None,
    )


def unnamed_bench(arguments: argparse.Namespace) -> NoReturn:
    """`toolkit bench` without the name of a bench."""
    raise ToolkitError('what is to be measured? `toolkit bench --help` lists it')


def report(arguments: argparse.Namespace) -> None:
    """`toolkit report`."""
    from toolkit.registry import plugin_index
    from toolkit.report import page as report_page

    for plugin in arguments.plugin:
        plugin_index.add(plugin)
    folders = arguments.folders
    output = arguments.output or (folders[0] if len(folders) == 1 else Path()) / report_page.NAME
    for note in report_page.write(folders, output):
        print(note)
    print(f'wrote {output}')


def rerun(arguments: argparse.Namespace) -> int:
    """`toolkit rerun`; returns the exit status."""
    from toolkit.commands import run as run_commands

    return run_commands.rerun(arguments.folder, arguments.work_dir)


def study(arguments: argparse.Namespace) -> int:
    """`toolkit study`; returns the exit status."""
    from toolkit.commands import study as study_command

    if arguments.style is not None and not arguments.table:
        raise ToolkitError('--style is of --table')
    if arguments.table:
        return study_command.show_table(
            arguments.file, arguments.work_dir, arguments.style or 'text'
        )
    if arguments.plan:
        return study_command.show_plan(arguments.file, arguments.work_dir, arguments.plugin)
    return study_command.run(
        arguments.file,
        arguments.work_dir,
        only=arguments.only,
        seeds=arguments.seeds,
        rerun=arguments.rerun,
        jobs=arguments.jobs,
        plugins=arguments.plugin,
    )
