"""`toolkit diff`: compares two configs."""

from __future__ import annotations

import argparse

from toolkit.commands.arguments import add_overrides, add_trust
from toolkit.registry.command import Command


class DiffCommand(Command):
    """Compare two configs: components that were swapped, values that changed."""

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        parser.add_argument('a', metavar='A', help='config')
        parser.add_argument('b', metavar='B', help='config')
        add_overrides(parser, 'change of B, so that `toolkit diff X X key=value` shows its effect')
        parser.add_argument(
            '--cost', action='store_true', help='parameters and MACs before and after'
        )
        add_trust(parser)

    def run(self, arguments: argparse.Namespace) -> int:
        from toolkit.config import diff as diffs
        from toolkit.config import load

        before, after = load(arguments.a), load(arguments.b, arguments.overrides)
        print(diffs.format_changes(diffs.compare_configs(before.tree, after.tree)))
        if arguments.cost:
            from toolkit.bench.cost import compare_costs
            from toolkit.config.checks.check import fill_checked

            first, second = fill_checked(before).model, fill_checked(after).model
            with after.locate_errors():
                print(compare_costs(first, second))
        return 0
