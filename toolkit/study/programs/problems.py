"""Finds the mistakes of a study of a program that its file alone can show."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

from toolkit.config import Problem
from toolkit.config.dump import dump_inline
from toolkit.config.yaml_file import KeyPath
from toolkit.errors import did_you_mean
from toolkit.study.programs.arguments import (
    OVERRIDES,
    PLACEHOLDERS,
    RUN,
    SEED,
    explain_override,
    list_placeholders,
    split_command,
)
from toolkit.study.programs.keys import FILE_STYLES
from toolkit.study.spec import BASE, Study

# A shell would act on these; here they would reach the program as text.
_OPERATORS = {'|', '||', '&', '&&', ';', '>', '>>', '<', '2>', '2>&1'}


def find_program_problems(study: Study) -> Iterator[Problem]:
    """Find mistakes in `command`, `program`, and the keys that a program does not have."""
    spec = study.spec
    if spec.command is None:
        if 'program' in study.config.tree:
            yield study.problem(('program',), 'belongs to a study with a `command`')
        if spec.base is None:
            message = 'expected `base`, a config, or `command`, the command line of a program'
            yield study.problem((BASE,), message)
        return
    try:
        arguments = split_command(spec.command)
    except ValueError as error:
        yield study.problem(('command',), f'cannot be split into arguments: {error}')
        return
    if not arguments or not arguments[0]:
        yield study.problem(('command',), 'expected a program and its arguments, found none')
        return
    yield from _placeholder_problems(study, arguments)
    yield from _override_problems(study)
    yield from _results_problems(study)
    yield from _key_problems(study)


def _placeholder_problems(study: Study, arguments: list[str]) -> Iterator[Problem]:
    spec, here = study.spec, ('command',)
    found = list_placeholders(arguments)
    for name in dict.fromkeys(found):
        if name not in PLACEHOLDERS:
            near = did_you_mean(name, PLACEHOLDERS)
            near = near or '; there are: ' + ', '.join(f'{{{n}}}' for n in PLACEHOLDERS)
            message = f'no placeholder {{{name}}}{near} (write {{{{ }}}} for braces)'
            yield study.problem(here, message)
    for operator in dict.fromkeys(arguments):
        if operator in _OPERATORS or operator.endswith(';'):
            message = (
                f'{operator!r} has no meaning, since no shell reads the command: put several '
                'commands into a script, and start that'
            )
            yield study.problem(here, message)
    style = spec.program.overrides
    if OVERRIDES not in found:
        if path := next(_list_set_paths(study), None):
            message = f'has no {{{OVERRIDES}}}, so nothing would pass on {".".join(path)}'
            yield study.problem(here, message)
    elif style not in FILE_STYLES and f'{{{OVERRIDES}}}' not in arguments:
        message = f'{{{OVERRIDES}}} becomes several arguments: it must stand alone'
        yield study.problem(here, message)
    if found.count(OVERRIDES) > 1:
        yield study.problem(here, f'{{{OVERRIDES}}} stands in it twice')
    if SEED not in found and len(spec.seeds) > 1:
        message = f'has no {{{SEED}}}, so all {len(spec.seeds)} seeds would run the same'
        yield study.problem(here, message)
    if RUN not in found and spec.program.results.file is not None:
        message = (
            f'has no {{{RUN}}}, so all runs would write to one place; tell the program where to '
            f'write, for example by `--out {{{RUN}}}`'
        )
        yield study.problem(here, message)
    resume = spec.program.resume
    if isinstance(resume, str):
        try:
            names = list_placeholders(split_command(resume))
        except ValueError as error:
            yield study.problem(('program', 'resume'), f'cannot be split: {error}')
            return
        for name in names:
            if name not in (RUN, SEED):
                message = f'no placeholder {{{name}}} here; there are: {{{RUN}}}, {{{SEED}}}'
                yield study.problem(('program', 'resume'), message)
    if resume is not False and RUN not in found:
        message = f'a program that resumes needs its own folder: put {{{RUN}}} into the command'
        yield study.problem(('program', 'resume'), message)


def _list_set_paths(study: Study) -> Iterator[KeyPath]:
    """List the keys of the study file that set an override."""
    spec = study.spec
    yield from (('common', path) for path in spec.common)
    yield from (('axes', path) for path in spec.axes)
    yield from (('folds', 'path') for _ in (spec.folds.paths if spec.folds else ()))
    yield from (('search', 'space', path) for path in (spec.search.space if spec.search else ()))
    for section in ('variants', 'data'):
        entries: Mapping[str, Any] = getattr(spec, section)
        for name, entry in entries.items():
            if isinstance(entry, Mapping):
                yield from ((section, name, p) for p in entry if p not in (BASE, 'changes'))


def _override_problems(study: Study) -> Iterator[Problem]:
    spec, style = study.spec, study.spec.program.overrides
    for path in _list_set_paths(study):
        if path[0] == 'folds':
            pairs = [(name, value) for name in spec.folds.paths for value in spec.folds.values]
        elif path[0] == 'axes':
            pairs = [(path[1], value) for value in spec.axes[path[1]]]
        elif path[0] == 'search':
            parameter = spec.search.space[path[2]]
            pairs = [(path[2], value) for value in parameter.choice or [0]]
        elif path[0] == 'common':
            pairs = [(path[1], spec.common[path[1]])]
        else:
            pairs = [(path[2], getattr(spec, path[0])[path[1]][path[2]])]
        for name, value in pairs:
            if why := explain_override(style, name, value):
                yield study.problem(path, why)
                break


def _results_problems(study: Study) -> Iterator[Problem]:
    results, metrics = study.spec.program.results, study.metrics
    here = ('program', 'results')
    if not isinstance(study.spec.metrics, Mapping) or not metrics:
        message = (
            'a program does not tell which values of a metric are better: '
            'write, for example, metrics: {accuracy: higher}'
        )
        yield study.problem(('metrics',), message)
        return
    given = [n for n in ('json', 'jsonl', 'csv', 'log') if getattr(results, n)]
    if len(given) > 1:
        yield study.problem(here, f'names two places, {given[0]} and {given[1]}; one of them')
    if results.file is not None:
        path = PurePath(results.file)
        if path.is_absolute() or '..' in path.parts:
            message = f'{results.file!r} must lie in {{run}}: give a path relative to it'
            yield study.problem((*here, given[0]), message)
    for section in ('log', 'keys'):
        for name in getattr(results, section):
            if name not in metrics:
                near = did_you_mean(name, metrics) or f'; they are: {", ".join(metrics)}'
                yield study.problem((*here, section, name), f'is none of the metrics{near}')
    for name in metrics if results.log else ():
        if name not in results.log:
            yield study.problem((*here, 'log'), f'has no regular expression for {name}')
    for name, pattern in results.log.items():
        try:
            groups = re.compile(pattern).groups
        except re.error as error:
            yield study.problem((*here, 'log', name), f'is no regular expression: {error}')
        else:
            if groups != 1:
                message = f'expected one group in parentheses, the number; found {groups}'
                yield study.problem((*here, 'log', name), message)
    if results.keys and results.file is None:
        yield study.problem((*here, 'keys'), 'are those of a file; name json, jsonl or csv')


def _key_problems(study: Study) -> Iterator[Problem]:
    """Find keys that mean something for configs of the toolkit alone."""
    spec = study.spec
    if spec.base is not None and spec.program.overrides not in FILE_STYLES:
        message = (
            'with `command`, base is the file that overrides are merged into: this needs '
            'program.overrides: json or yaml'
        )
        yield study.problem((BASE,), message)
    if spec.keep != 'all':
        yield study.problem(('keep',), 'the toolkit does not know the checkpoints of a program')
    if 'processes' in spec.launcher:
        message = (
            'a program starts its processes itself: let the command do so, such as torchrun '
            '--nproc-per-node 2 train.py; gpus: 2 gives it two GPUs'
        )
        yield study.problem(('launcher', 'processes'), message)
    if spec.budget.iterations is not None:
        message = 'the toolkit cannot shorten a program; set its own option under common'
        yield study.problem(('budget', 'iterations'), message)
    for section in ('variants', 'data'):
        for name, entry in getattr(spec, section).items():
            if isinstance(entry, str) or (isinstance(entry, Mapping) and BASE in entry):
                message = f'a program has no configs: found {dump_inline(entry)}, expected options'
                yield study.problem((section, name), message)
    for name, value in spec.program.environment.items():
        if not re.fullmatch(r'[A-Za-z_]\w*', name) or isinstance(value, (list, Mapping)):
            message = f'{name}: {dump_inline(value)} is no environment variable'
            yield study.problem(('program', 'environment', name), message)
