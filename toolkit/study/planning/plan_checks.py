"""Checks of a plan: its size, what runs report, what is tested, and equal variants."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from toolkit.analysis.tables import COSTS
from toolkit.config import Config, ConfigError, Problem
from toolkit.config.diff import ConfigChange, compare_configs
from toolkit.config.schema import RunConfig
from toolkit.config.yaml_file import KeyPath, split_path
from toolkit.errors import did_you_mean
from toolkit.io.verification.hashing import canonical_text
from toolkit.registry.build import fill
from toolkit.study.fingerprint import NOTES
from toolkit.study.planning.planned_study import PlannedCondition
from toolkit.study.planning.run_names import join_names
from toolkit.study.planning.search_plan import SPACE, find_validation_problems
from toolkit.study.spec import CHANGES, DIRECTIONS, Study

# A study of more runs is a mistake.
MOST_RUNS = 10_000


def check_size(study: Study) -> None:
    """Refuses a study of more runs than anybody can wait for, before it lists them.

    Raises:
        ConfigError: it has more.
    """
    spec = study.spec
    points = spec.sample.points if spec.sample else math.prod(map(len, spec.axes.values()))
    folds = len(spec.folds.values) if spec.folds else 1
    others = len(spec.variants) * max(1, len(spec.data)) * folds * len(spec.seeds)
    if (count := points * others) > MOST_RUNS:
        key = 'axes' if points > others else 'seeds'
        advice = ', or take some points with sample' if spec.axes and not spec.sample else ''
        message = f'the study has {count} runs, expected at most {MOST_RUNS}; use fewer values'
        raise ConfigError(study.problem((key,), f'{message}{advice}'))


def raise_problems(problems: Mapping[Problem, Sequence[str]], conditions: int) -> None:
    """Raise the problems of conditions, each once with those that have it.

    Args:
        problems: with the names of the conditions that have them.
        conditions: number of all conditions.
    Raises:
        ConfigError: there are problems.
    """
    found = []
    for problem, where in problems.items():
        message = problem.message
        if len(where) < conditions and SPACE not in where:
            message += f' (in {join_names(where)})'
        found.append(Problem(problem.place, problem.path, message))
    if found:
        raise ConfigError(*found)


def check_metrics(study: Study, reported: Mapping[str, bool]) -> None:
    """Check the metrics that the study names against those of its runs.

    Raises:
        ConfigError: no run reports one of them, or its better direction is the other one.
    """
    as_list = isinstance(study.spec.metrics, list)
    found = []
    for number, (name, better) in enumerate(study.metrics.items()):
        path = ('metrics', str(number) if as_list else name)
        if name not in reported:
            near = did_you_mean(name, reported) or f'; they report: {", ".join(reported)}'
            message = f'no run reports the metric {name!r}{near}'
            found.append(study.problem(path, message))
        elif better is not None and better != reported[name]:
            right = next(word for word, value in DIRECTIONS.items() if value == reported[name])
            found.append(study.problem(path, f'{name} is better when {right}'))
    spec = study.spec
    metrics = study.metrics or reported
    columns = [('table', 'columns', str(n)) for n in range(len(spec.table.columns or ()))]
    for path, name, known in (
        *([(('primary',), spec.primary, metrics)] if spec.primary is not None else []),
        *((('table', 'digits', name), name, metrics) for name in spec.table.digits),
        *(
            (path, name, ('n', *metrics, *COSTS))
            for path, name in zip(columns, spec.table.columns or ())
        ),
    ):
        if name not in known:
            near = did_you_mean(name, known) or f'; there are: {", ".join(known)}'
            message = f'{name!r} is no {"column" if "columns" in path else "metric"}{near}'
            found.append(study.problem(path, message))
    if found:
        raise ConfigError(*found)


def find_test_problems(
    study: Study,
    config: Config,
    condition: PlannedCondition,
    count: Callable[[Config], tuple[int | None, int | None]],
) -> Iterator[Problem]:
    """Find why the test of a condition would not be its result.

    Args:
        study: from `read_study`.
        config: the checked config of the condition.
        condition: the condition.
        count: counts parameters and MACs of a system.
    """
    run = fill(RunConfig, config.tree)
    if study.spec.search is not None and condition.variant == study.compare_to:
        yield from find_validation_problems(study, config, run)
    if condition.trial is not None:
        pass
    elif run.test_dataloader is None:
        message = 'a study compares tests: give test_dataloader and test_evaluator'
        yield config.problem('test_dataloader', message)
    elif run.train_cfg is None and run.load_from is None and count(config)[0]:
        message = 'the system has weights, and the config neither trains them nor has load_from'
        yield study.problem(('variants', condition.variant), message)
    hooks = config.tree.get('default_hooks') or {}
    saves_best = (hooks.get('checkpoint') or {}).get('save_best') is not None
    if study.spec.keep == 'last' and saves_best:
        message = 'would delete best.pth, which is tested (save_best is set): use keep: best'
        yield study.problem(('keep',), message)


def warn_of_variants(
    study: Study, base: Config | None, firsts: Mapping[str, Config]
) -> Iterator[str]:
    """Warn of variants that change nothing or too much, or equal another.

    Args:
        study: from `read_study`.
        base: the config without a variant; None where the two do not fit.
        firsts: one config of each variant.
    """
    same: dict[str, str] = {}
    for variant, config in firsts.items():
        entry = study.spec.variants[variant] or {}
        where = f'{study.config.place(("variants", variant))}: variants.{variant}: '
        changes = list_own_changes(base, config)
        text = canonical_text({k: v for k, v in config.tree.items() if k not in NOTES})
        if entry and base is not None and not changes:
            yield f'{where}changes nothing'
        elif text in same:
            yield f'{where}is the same as {same[text]}'
        same.setdefault(text, variant)
        if len(changes) > entry.get(CHANGES, len(changes)):
            found = '; '.join(map(str, changes))
            yield f'{where}changes {len(changes)}, says {entry[CHANGES]}: {found}'


def list_own_changes(before: Config | None, after: Config) -> list[ConfigChange]:
    """List the differences between configs, without those that follow from others by `${...}`."""
    if before is None:
        return []
    changes = compare_configs(before.tree, after.tree)
    changed = [split_path(change.path) for change in changes]

    def follows(path: KeyPath) -> bool:
        for length in range(1, len(path) + 1):
            targets = after.references.get(path[:length])
            if targets and targets == before.references.get(path[:length]):
                sources = [(*split_path(target), *path[length:]) for target in targets]
                if any(s[: len(c)] == c or c[: len(s)] == s for s in sources for c in changed):
                    return True
        return False

    return [change for change, path in zip(changes, changed) if not follows(path)]
