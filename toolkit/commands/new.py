"""`toolkit new`: writes a component, a plugin or a task from a template."""

from __future__ import annotations

import argparse
from pathlib import Path

from toolkit.errors import ToolkitError, did_you_mean
from toolkit.registry import plugin_index
from toolkit.registry.command import Command

WHAT = ('component', 'plugin', 'task')
KIND = 'attention'


class NewCommand(Command):
    """Write a component, a plugin or a task from a template, with test, config and page.

    `toolkit new component BoxBlur --kind degradation` writes files into the current folder,
    `toolkit new plugin box_blur --kind degradation` a package that can be installed, and
    `toolkit new task denoising` a package with system, data, metrics, predictor and images. Nothing
    is overwritten. The files are complete: replace their content step by step.
    """

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        add = parser.add_argument
        add('what', metavar='WHAT', help=f'{", ".join(WHAT[:-1])} or {WHAT[-1]}')
        add('name', metavar='NAME', help='of the class or package: BoxBlur, box_blur')
        add('--kind', metavar='KIND', help=f'of the component (default of a plugin: {KIND})')
        add(
            '--in',
            dest='folder',
            type=Path,
            default=Path('.'),
            metavar='FOLDER',
            help='to write to; made if it is missing (default: the current one)',
        )
        add(
            '--plugin',
            action='append',
            default=[],
            metavar='MODULE|PATH',
            help='a plugin that declares the kind and has its template; may be repeated',
        )

    def run(self, arguments: argparse.Namespace) -> int:
        from toolkit.scaffold.new_files import write_new_files
        from toolkit.scaffold.projects import make_component, make_plugin, make_task
        from toolkit.scaffold.template_files import list_kinds_with_template

        what = arguments.what
        if what not in WHAT:
            hint = did_you_mean(what, WHAT) or f'; there are: {", ".join(WHAT)}'
            raise ToolkitError(f'{what!r} cannot be written{hint}')
        for plugin in arguments.plugin:
            plugin_index.add(plugin)
        if what == 'task':
            if arguments.kind is not None:
                raise ToolkitError('a task has components of several kinds; leave out --kind')
            files = make_task(arguments.name)
        elif what == 'plugin':
            files = make_plugin(arguments.name, arguments.kind or KIND)
        elif arguments.kind is None:
            kinds = ', '.join(list_kinds_with_template())
            raise ToolkitError(f'which kind? give --kind KIND; there are: {kinds}')
        else:
            files = make_component(arguments.name, arguments.kind)
        for path in write_new_files(arguments.folder, files):
            print(f'wrote {path}')
        page = next(path for path in files if path.endswith('.md'))
        print(f'what to do next is in {arguments.folder / page}')
        return 0
