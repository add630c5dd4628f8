"""`toolkit split`: splits the items of a manifest into subsets and saves the split."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import RegistryError, ToolkitError, did_you_mean
from toolkit.registry.command import Command

if TYPE_CHECKING:
    from toolkit.interfaces import Splitter


class SplitCommand(Command):
    """Split the items of a manifest into training, validation and test.

    The columns of the manifest tell which items it lists. Datasets take the file that is written,
    and refuse it once the manifest has changed.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add('manifest', metavar='MANIFEST', help='CSV or Parquet file with one row for each item')
        add('--seed', type=int, default=0, metavar='N', help='seed of the shuffle (default: 0)')
        add('--output', type=Path, metavar='FILE', help='default: beside MANIFEST, with its name')
        add('--overwrite', action='store_true', help='replace an existing file')
        add('--outside', action='store_true', help='allow paths outside the folder of MANIFEST')
        options = {}
        for splitter in _splitters():
            title = f'options for a manifest of {splitter.items}'
            group = parser.add_argument_group(title, inspect.getdoc(splitter))
            try:
                splitter.add_arguments(group)
            except argparse.ArgumentError as error:
                raise RegistryError(
                    f'{splitter.__name__}: another splitter has the same option: {error}'
                ) from error
            options[splitter] = {a.dest: _withhold_default(a) for a in group._group_actions}
        parser.set_defaults(splitter_options=options)

    def run(self, arguments: argparse.Namespace) -> int:
        from toolkit.io.data_paths import find_data_file
        from toolkit.io.output_path import check_outputs

        if arguments.seed < 0:
            raise ToolkitError(f'--seed must be 0 or more, found {arguments.seed}')
        manifest = find_data_file(arguments.manifest)
        splitter = _choose_splitter(manifest, arguments)
        output: Path = arguments.output or manifest.with_name(manifest.stem + splitter.suffix)
        check_outputs([output], [manifest], overwrite=arguments.overwrite)
        digest = splitter().split(manifest, output, arguments)
        print(f'wrote {output} ({digest[:16]})')
        return 0


def _splitters() -> list[type[Splitter]]:
    """The splitters of all plugins that can be imported."""
    from toolkit.registry import SPLITTERS

    found = []
    for name in SPLITTERS.names():
        try:
            found.append(SPLITTERS.get(name))
        except RegistryError:
            continue  # named if no other splitter accepts the manifest
    return found


def _withhold_default(action: argparse.Action) -> object:
    """Takes the default off an option, so that its value tells whether it is given."""
    default, action.default = action.default, argparse.SUPPRESS
    action.help = (action.help or '').replace('%(default)s', str(default))
    return default


def _choose_splitter(manifest: Path, arguments: argparse.Namespace) -> type[Splitter]:
    """The splitter that accepts the manifest, after a check that no option is of another one.

    Options that are not given get their defaults.
    """
    from toolkit.io.tables.read_table import read_table

    options: dict[type[Splitter], dict[str, object]] = arguments.splitter_options
    own_columns = sorted({column for splitter in options for column in splitter.columns})
    columns = read_table(manifest, own_columns).columns
    given = {s: [n for n in names if hasattr(arguments, n)] for s, names in options.items()}
    accepting = [s for s in options if s.accepts(columns, arguments)]
    if len(accepting) > 1:  # the user's own columns may have names of another task
        accepting = [s for s in accepting if given[s]] or accepting
    if len(accepting) > 1:
        raise ToolkitError(
            f'{manifest} may be {_list_kinds(accepting, " or ")}; found the columns '
            f'{", ".join(columns)}; rename those of one kind, or give an option of the other'
        )
    if not accepting:
        raise ToolkitError(_describe_mismatch(manifest, columns, list(options)))
    (splitter,) = accepting
    for other, names in given.items():
        if other is not splitter and names:
            option = names[0].replace('_', '-')
            raise ToolkitError(
                f'--{option} is an option for a manifest of {other.items}; {manifest} is one of '
                f'{splitter.items}'
            )
    for name, default in options[splitter].items():
        if not hasattr(arguments, name):
            setattr(arguments, name, default)
    return splitter


def _list_kinds(splitters: Sequence[type[Splitter]], separator: str) -> str:
    return separator.join(
        f'a manifest of {s.items} (column {" or ".join(s.columns)})' for s in splitters
    )


def _describe_mismatch(
    manifest: Path, columns: Sequence[str], splitters: Sequence[type[Splitter]]
) -> str:
    """The message that no splitter accepts a manifest."""
    from toolkit.registry import plugin_index

    known = [column for splitter in splitters for column in splitter.columns]
    near = next((hint for c in columns if (hint := did_you_mean(c, known))), '')
    broken = '; '.join(
        f'{module} ({error})' for module, error in plugin_index.get_failures().items()
    )
    return (
        f'{manifest}: expected {_list_kinds(splitters, " or ")}, found the columns '
        f'{", ".join(columns)}{near}'
        + (f'. Plugins that failed to import: {broken}' if broken else '')
    )
