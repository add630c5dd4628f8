"""Finds the mistakes of `search` that a study file alone can show."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from toolkit.config import Problem
from toolkit.config.dump import dump_inline
from toolkit.config.yaml_file import split_path
from toolkit.errors import did_you_mean
from toolkit.study.search.keys import Parameter
from toolkit.study.search.space import (
    MOST_VALUES,
    count_grid,
    is_same,
    list_values,
    list_wanted,
    sort_space,
)
from toolkit.study.spec import Study

HERE = ('search',)
# Points of a grid, and trials of a search, that nobody waits for.
MOST_TRIALS = 10_000
MOST_SEED = 10**8
# Keys of a study that have no meaning beside a search, with the reason.
_OTHERS = {
    'axes': 'a search chooses the values: put the path into search.space',
    'design': 'a search has no design: put the paths of its switches into search.space',
    'sequential': 'a search ends with its best trial, which runs with `seeds`',
    'folds': (
        'the test items of one fold are in the validation of another, so a search over folds would '
        'have seen them: take one split'
    ),
    'data': 'a search is one over one data set; write a study for each',
    'compare_along': 'a search has no axes',
}


def find_search_problems(study: Study) -> Iterator[Problem]:
    """Find mistakes in `search` of a study file of the right types."""
    search, spec = study.spec.search, study.spec
    if search is None:
        return
    for key, why in _OTHERS.items():
        if getattr(spec, key):
            yield study.problem((key,), why)
    for name in spec.variants:
        if re.fullmatch(r'(best|trial)_\d+', name):
            message = f'{name!r} is the name of a trial of the search: take another one'
            yield study.problem(('variants', name), message)
    if not search.space:
        yield study.problem((*HERE, 'space'), 'expected at least one path with its range')
    right = {}
    for path, parameter in search.space.items():
        found = list(_parameter_problems(study, path, parameter))
        yield from found
        if not found:
            right[path] = parameter
    wrong = []
    if len(right) == len(search.space) and search.space:
        wrong = [*_condition_problems(study)]
        yield from wrong
        yield from _path_problems(study)
    yield from _number_problems(study)
    yield from _metric_problems(study)
    if search.sampler == 'grid':
        found = list(_grid_problems(study, right))
        yield from found
        if not (found or wrong) and len(right) == len(search.space):
            yield from _grid_size_problems(study)
    elif search.trials is None and search.time is None:
        yield study.problem(HERE, 'expected when it ends: trials, a number, or time, such as 2 h')


def _parameter_problems(study: Study, path: str, parameter: Parameter) -> Iterator[Problem]:
    here = (*HERE, 'space', path)
    kinds = parameter.kinds
    if len(kinds) != 1:
        found = ' and '.join(kinds) or 'none'
        message = f'expected one of uniform, log, integer and choice, found {found}'
        yield study.problem(here, message)
        return
    there, values = (*here, kinds[0]), parameter.range
    if kinds == ['choice']:
        if len(values) < 2:
            yield study.problem(there, f'expected two values or more, found {len(values)}')
        for number, value in enumerate(values):
            if any(is_same(value, other) for other in values[:number]):
                message = f'the value {dump_inline(value)} stands here twice'
                yield study.problem((*there, str(number)), message)
        if parameter.step is not None or parameter.points is not None:
            yield study.problem(here, 'step and points are those of numbers, not of a choice')
        return
    if len(values) != 2 or not 0 < values[1] - values[0] < math.inf:
        message = f'expected two numbers, the lowest and the highest; found {dump_inline(values)}'
        yield study.problem(there, message)
        return
    low, high = values
    if kinds == ['log'] and low <= 0:
        message = f'a logarithm needs numbers above 0, found {low:g}; use uniform'
        yield study.problem(there, message)
    if parameter.step is not None:
        whole = kinds == ['integer'] and parameter.step != int(parameter.step)
        if kinds == ['log']:
            yield study.problem((*here, 'step'), 'log has no steps; use uniform, or choice')
        elif not 0 < parameter.step <= high - low or whole:
            message = f'expected a step above 0 within {low:g} to {high:g}'
            message += ', an integer' if kinds == ['integer'] else ''
            yield study.problem((*here, 'step'), f'{message}; found {parameter.step:g}')
        elif abs(shares := (high - low) / parameter.step) and abs(shares - round(shares)) > 1e-9:
            message = f'steps of {parameter.step:g} from {low:g} do not meet {high:g}'
            yield study.problem((*here, 'step'), message)
    if parameter.points is not None:
        if study.spec.search is not None and study.spec.search.sampler != 'grid':
            yield study.problem((*here, 'points'), 'belongs to `sampler: grid`')
        elif parameter.points < 2 or parameter.step is not None or kinds == ['integer']:
            message = 'expected two or more, of uniform or log without a step'
            yield study.problem((*here, 'points'), message)


def _condition_problems(study: Study) -> Iterator[Problem]:
    space = study.spec.search.space if study.spec.search else {}
    wrong = False
    for path, parameter in space.items():
        for other, wanted in parameter.when.items():
            here = (*HERE, 'space', path, 'when', other)
            if other not in space or other == path:
                near = did_you_mean(other, [p for p in space if p != path])
                message = f'{other!r} is no other path of the space{near}'
                yield study.problem(here, message)
                wrong = True
                continue
            known = list_values(space[other])
            if known is None:
                message = f'{other} has no single values, at most {MOST_VALUES}, for a condition'
                yield study.problem(here, message)
                continue
            for value in list_wanted(wanted) or [None]:
                if not any(is_same(value, entry) for entry in known):
                    message = f'{other} is never {dump_inline(value)}: {dump_inline(known)}'
                    yield study.problem(here, message)
    if not wrong:
        try:
            sort_space(space)
        except ValueError as error:
            yield study.problem((*HERE, 'space'), str(error))


def _path_problems(study: Study) -> Iterator[Problem]:
    """Find paths of the space that others set too, or that lie within each other."""
    spec, space = study.spec, study.spec.search.space if study.spec.search else {}
    taken = [] if study.is_program else [('the seeds', 'randomness.seed')]
    if not study.is_program:
        taken += [('the search', key) for key in ('test_dataloader', 'test_evaluator')]
    if spec.budget.iterations is not None:
        taken.append(('budget.iterations', 'train_cfg'))
    for path, parameter in space.items():
        here = (*HERE, 'space', path)
        for what, other in taken:
            if _is_within(path, other) or _is_within(other, path):
                yield study.problem(here, f'collides with {what}, which sets {other!r}')
        for other in () if study.is_program else ('val_dataloader', 'val_evaluator'):
            if _is_within(path, other):
                message = 'trials with different validations tell nothing together'
                yield study.problem(here, message)
        for other in space:
            if other != path and _is_within(path, other) and other not in parameter.when:
                message = f'lies within {other!r}, whose values replace it: give it a `when`'
                yield study.problem(here, message)


def _is_within(path: str, other: str) -> bool:
    inner, outer = (split_path(p.removeprefix('+')) for p in (path, other))
    return inner[: len(outer)] == outer


def _number_problems(study: Study) -> Iterator[Problem]:
    search = study.spec.search
    assert search is not None
    least = {'trials': 1, 'batch': 1, 'startup': 1, 'seed': 0, 'run_seed': 0}
    for key, low in least.items():
        value = getattr(search, key)
        if value is not None and not low <= value <= MOST_SEED:
            message = f'expected {low} or more' if value < low else f'expected at most {MOST_SEED}'
            yield study.problem((*HERE, key), f'{message}, found {value}')
    if search.trials is not None and search.trials > MOST_TRIALS:
        message = f'expected at most {MOST_TRIALS}, found {search.trials}'
        yield study.problem((*HERE, 'trials'), message)
    if search.run_seed in study.spec.seeds:
        message = (
            f'{search.run_seed} is one of the seeds of the final runs: the best trial was chosen '
            'for its luck with this seed too, so that its test would be too good; take another one'
        )
        yield study.problem((*HERE, 'run_seed'), message)
    rule, there = search.rungs, (*HERE, 'rungs')
    if search.stop is None and 'rungs' in study.config.tree['search']:
        yield study.problem(there, 'belongs to `stop: asha` or `stop: hyperband`')
    if rule.factor < 2:
        yield study.problem((*there, 'factor'), f'expected 2 or more, found {rule.factor}')
    if rule.first < 1:
        yield study.problem((*there, 'first'), f'expected 1 or more, found {rule.first}')
    if rule.most is not None and rule.most <= rule.first:
        message = f'no trial would be ended: expected more than {rule.first}, found {rule.most}'
        yield study.problem((*there, 'most'), message)
    if search.stop == 'hyperband' and rule.most is None:
        message = 'hyperband shares trials out by the length of a run: give rungs, {most: N}'
        yield study.problem((*HERE, 'stop'), message)
    elif search.stop and study.is_program:
        if rule.most is None:
            message = 'a program does not tell how often it validates: give rungs, {most: N}'
            yield study.problem((*HERE, 'stop'), message)
        results = study.spec.program.results
        if not (results.jsonl or results.csv or results.log):
            message = (
                'needs the metric after each validation: name its file as program.results.jsonl '
                'or csv, or regular expressions as log'
            )
            yield study.problem((*HERE, 'stop'), message)
        elif results.log and study.spec.program.resume is not False:
            message = 'the log of a program that resumes lacks its first validations: use a file'
            yield study.problem((*HERE, 'stop'), message)


def _metric_problems(study: Study) -> Iterator[Problem]:
    """Find a metric that is missing, or that is one of the test."""
    search, spec = study.spec.search, study.spec
    assert search is not None
    metric, here = search.metric or spec.primary, (*HERE, 'metric')
    if metric is None:
        message = 'expected what is made best: primary, or search.metric'
        yield study.problem(HERE, message)
    elif not study.is_program:
        return
    elif metric not in study.metrics:
        near = did_you_mean(metric, study.metrics) or f'; they are: {", ".join(study.metrics)}'
        yield study.problem(here, f'{metric!r} is none of the metrics{near}')
    elif search.metric is None or metric == spec.primary or len(study.metrics) < 2:
        message = (
            'a program does not tell on which split a metric is: name the metric of its validation '
            'here, and another one, of its test, as primary'
        )
        yield study.problem(here if search.metric else HERE, message)
    elif any(word in ('test', 'testing') for word in _split_words(metric)):
        message = f'{metric!r} is a metric of the test by its name; a search sees the validation'
        yield study.problem(here, message)
    if study.is_program and spec.primary is None:
        yield study.problem(HERE, 'expected primary, the metric of the final test')


def _split_words(name: str) -> list[str]:
    return ''.join(c.lower() if c.isalnum() else ' ' for c in name).split()


def _grid_problems(study: Study, right: dict[str, Parameter]) -> Iterator[Problem]:
    search = study.spec.search
    assert search is not None
    for path, parameter in right.items():
        if list_values(parameter) is None:
            message = f'a grid needs points, a step or a choice, at most {MOST_VALUES} values'
            yield study.problem((*HERE, 'space', path), message)


def _grid_size_problems(study: Study) -> Iterator[Problem]:
    search = study.spec.search
    assert search is not None
    if search.trials is None and count_grid(search.space, MOST_TRIALS + 1) > MOST_TRIALS:
        message = f'the grid has more than {MOST_TRIALS} points: give trials, or fewer values'
        yield study.problem((*HERE, 'space'), message)
