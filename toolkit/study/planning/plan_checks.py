"""Checks of a plan that concern all runs: the metrics that they report, and equal variants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from toolkit.analysis.tables import COSTS
from toolkit.config import Config, ConfigError
from toolkit.config.diff import ConfigChange, compare_configs
from toolkit.config.yaml_file import KeyPath, split_path
from toolkit.errors import did_you_mean
from toolkit.io.verification.hashing import canonical_text
from toolkit.study.fingerprint import NOTES
from toolkit.study.spec import CHANGES, DIRECTIONS, Study


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
