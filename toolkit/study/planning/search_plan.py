"""Additions of a search to a plan: trials, which never see the test, and their checks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from toolkit.config import Config, ConfigError, Problem
from toolkit.config.schema import RunConfig
from toolkit.errors import did_you_mean
from toolkit.io.verification.hashing import canonical_text
from toolkit.study.planning.planned_study import PlannedCondition
from toolkit.study.search.space import list_corners
from toolkit.study.spec import Study

# Name of the conditions that stand for the space.
SPACE = 'the space of the search'
TEST = ('test_dataloader', 'test_evaluator')


def remove_test(config: Config) -> None:
    """Take the test out of a trial's config: its result is that of the validation."""
    config.tree.update(dict.fromkeys(TEST))


def list_corner_conditions(study: Study) -> list[PlannedCondition]:
    """List conditions at the ends of the space, so that each value is checked before any trial."""
    search = study.spec.search
    if search is None:
        return []
    return [
        PlannedCondition(
            SPACE,
            {path.removeprefix('+'): value for path, value in point.items()},
            None,
            point,
            {'number': -1},
        )
        for point in list_corners(search.space)
    ]


def drop_unknown(
    condition: PlannedCondition, problems: Sequence[Problem]
) -> PlannedCondition | None:
    """Drop the paths of a space that have problems, so that the others are checked too.

    Returns:
        The condition with the rest; None where no path can be dropped.
    """
    wrong = {problem.path for problem in problems}
    point = condition.point or {}
    rest = {path: value for path, value in point.items() if f'search.space.{path}' not in wrong}
    return replace(condition, point=rest) if len(rest) < len(point) else None


def find_validation_problems(study: Study, config: Config, run: RunConfig) -> Iterator[Problem]:
    """Find why the validation of a config cannot be searched on."""
    here = ('search',)
    if run.train_cfg is None:
        yield study.problem(here, 'the config trains nothing, so that there is no validation')
    elif run.val_dataloader is None or run.val_evaluator is None:
        message = (
            'the config has no validation, and a search never sees the test: give val_dataloader '
            'and val_evaluator'
        )
        yield study.problem(here, message)
    else:
        subsets = [config.tree[f'{name}_dataloader'] for name in ('val', 'test')]
        texts = {canonical_text(s['dataset']) for s in subsets if s is not None}
        if None not in subsets and len(texts) == 1:
            message = 'the validation is the test data, which a search must not see'
            yield config.problem('val_dataloader.dataset', message)


def check_search_metric(
    study: Study, validated: Mapping[str, bool], tested: Mapping[str, bool]
) -> bool:
    """Get whether a higher metric of the search is better.

    Args:
        study: with `search`.
        validated: directions of the metrics of the validation.
        tested: those of the test.
    Raises:
        ConfigError: the validation does not report it.
    """
    name, search = study.search_metric, study.spec.search
    assert search is not None
    if name in validated:
        return validated[name]
    near = did_you_mean(name, validated) or f'; it reports: {", ".join(validated)}'
    of_test = ' (the test does, which a search never sees)' if name in tested else ''
    message = f'the validation does not report {name!r}{of_test}{near}'
    key = ('search', 'metric') if search.metric is not None else ('primary',)
    raise ConfigError(study.problem(key, message))
