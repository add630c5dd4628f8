"""Finds what training, validation and test hold in common, which no result must be hidden from.

Datasets name what they hold (`Dataset.identities`). A run stops before its training if two of them
hold the same, unless its config gives reasons for it (`allow_overlap`).
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.hooks import Hook

from toolkit.config.schema import RunConfig
from toolkit.errors import ComponentError, ToolkitError
from toolkit.interfaces import Dataset, Identities, System
from toolkit.io import atomic_write
from toolkit.io.json_values import format_json
from toolkit.io.run_layout import IDENTITIES, explain_damage, read_object
from toolkit.registry.component_errors import refuse_component

# Names in a message.
NAMED = 3
NOUNS = {'train': 'training', 'val': 'validation', 'test': 'test'}
FORMAT = 1

# What a dataset holds, by group.
Groups = Mapping[str, Identities]


@dataclass(frozen=True)
class Overlap:
    """Things of one group that two subsets hold.

    Attributes:
        subsets: the two, in the order of a run.
        group: noun of one thing: 'image'.
        names: of all common things.
        total: number of things in the second subset.
    """

    subsets: tuple[str, str]
    group: str
    names: tuple[str, ...]
    total: int

    def __str__(self) -> str:
        few = ', '.join(self.names[:NAMED]) + (', ...' if len(self.names) > NAMED else '')
        return f'{len(self.names)} of {self.total} {self.group}s ({few})'


class OverlapError(ComponentError):
    """A run whose subsets hold the same.

    Args:
        overlaps: what they hold in common.
        weights: checkpoint whose training counts as a part of this one; None for none.
    """

    def __init__(self, overlaps: Iterable[Overlap], weights: str | None = None) -> None:
        found = list(overlaps)
        first, second = found[0].subsets
        earlier = f' (the training of {weights} included)' if weights else ''
        super().__init__(
            f'{second}_dataloader.dataset',
            f'{describe(found)}{earlier}; keep them apart, or give the reasons for it, which every '
            'result then states: allow_overlap: [REASON]',
            f'{first}_dataloader.dataset',
        )


def describe(overlaps: Iterable[Overlap]) -> str:
    """Describes overlaps in one line."""
    told = []
    for (first, second), group in itertools.groupby(overlaps, lambda overlap: overlap.subsets):
        what = ' and '.join(map(str, group))
        told.append(f'the {NOUNS[second]} holds {what} that the {NOUNS[first]} holds too')
    return '; '.join(told)


def explain(overlaps: Sequence[Overlap], reasons: Sequence[str]) -> str:
    """Explains allowed overlaps for results; '' if there are none."""
    return f'{describe(overlaps)}; allowed since: {"; ".join(reasons)}' if overlaps else ''


def collect_identities(dataset: Dataset, content: bool = True) -> dict[str, Identities]:
    """Collects what a dataset holds; bare names become identities.

    Raises:
        DataError: a file cannot be read.
        ComponentError: the dataset names nothing by group.
    """
    found = {}
    groups = dataset.identities(content) if callable(dataset.identities) else None
    if not isinstance(groups, Mapping):
        raise refuse_component(
            dataset,
            '',
            'has no identities by group: write `def identities(self, content=True)`, which '
            "returns a mapping such as {'image': names}",
        )
    for group, held in groups.items():
        if not isinstance(held, Identities):
            held = Identities({str(name): str(name) for name in held})
        labels = {_hash(name): str(label) for name, label in held.labels.items()}
        areas = {_hash(name): [tuple(a) for a in parts] for name, parts in held.areas.items()}
        found[group] = Identities(labels, areas, held.apart)
    return found


def merge_groups(first: Groups, second: Groups) -> dict[str, Identities]:
    """Merges what two datasets hold."""
    merged = {**second, **first}
    for group in first.keys() & second.keys():
        both = (first[group], second[group])
        labels = {name: label for one in reversed(both) for name, label in one.labels.items()}
        areas = {}
        for name in labels:
            holders = [one for one in both if name in one.labels]
            if all(name in one.areas for one in holders):  # else one holds all of it
                areas[name] = [area for one in holders for area in one.areas[name]]
        merged[group] = Identities(labels, areas, any(one.apart for one in both))
    return merged


def find_overlaps(
    held: Mapping[str, Groups], system: System, follows_validation: bool
) -> list[Overlap]:
    """Finds what two subsets hold.

    The test may hold what the validation holds if the training does not follow the validation,
    and what the system says that it learns nothing from (`System.may_share`).

    Args:
        held: what each subset holds, of 'train', 'val' and 'test'.
        system: which is trained.
        follows_validation: whether the training or its weights depend on the validation.
    """
    overlaps = []
    for first, second in itertools.combinations(NOUNS, 2):
        if first not in held or second not in held:
            continue
        if first == 'val' and not follows_validation:
            continue
        told: set[tuple[str, ...]] = set()
        for group in held[first].keys() & held[second].keys():
            if first == 'train' and system.may_share(group):
                continue
            one, other = held[first][group], held[second][group]
            # One thing may have two identities, such as two spellings.
            names = tuple(sorted(set(_find_common(one, other))))
            # An image may be its patient's only one.
            if names and names not in told:
                told.add(names)
                overlaps.append(
                    Overlap((first, second), group, names, len(set(other.labels.values())))
                )
    return sorted(overlaps, key=lambda o: (list(NOUNS).index(o.subsets[1]), o.subsets, o.group))


def _find_common(one: Identities, other: Identities) -> list[str]:
    if not (one.apart or other.apart):
        return []
    return [
        label
        for key, label in other.labels.items()
        if key in one.labels and _touch(one.areas.get(key), other.areas.get(key))
    ]


def _touch(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return True
    return any(
        max(a[0], b[0]) < min(a[2], b[2]) and max(a[1], b[1]) < min(a[3], b[3])
        for a in one
        for b in other
    )


def follows_validation(run: RunConfig, hooks: Iterable[Hook]) -> bool:
    """Tells whether the training or its weights depend on the validation.

    They do with a hook that has a `save_best` or `monitor`, or says `uses_validation`, and with a
    schedule that follows a metric.
    """
    if any(
        getattr(hook, 'uses_validation', False)
        or any(isinstance(getattr(hook, name, None), str) for name in ('save_best', 'monitor'))
        for hook in hooks
    ):
        return True
    classes = (getattr(factory, 'cls', factory) for factory in run.param_scheduler.values())
    return any(hasattr(cls, 'need_val_args') for cls in classes)


def _hash(name: str) -> str:
    return hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:16]


# -- what a training held, in its folder -----------------------------------------------------------


def save_identities(folder: Path, held: Mapping[str, Groups]) -> None:
    """Writes hashes of what the subsets of a training hold, for tests of its weights.

    Raises:
        RunError: the file cannot be written.
    """
    subsets = {
        subset: {
            group: {'names': sorted(one.labels), 'areas': one.areas, 'apart': one.apart}
            for group, one in groups.items()
        }
        for subset, groups in held.items()
    }
    record = {'format': FORMAT, 'subsets': subsets}
    atomic_write.write(folder / IDENTITIES, format_json(record))


def load_identities(folder: Path) -> dict[str, dict[str, Identities]]:
    """Reads what the subsets of a training hold; empty if its folder does not say so.

    Raises:
        ToolkitError: the file is damaged.
    """
    path = folder / IDENTITIES
    record = read_object(path)
    try:
        return {
            subset: {
                group: Identities(
                    {name: name for name in one['names']},
                    {name: [tuple(a) for a in areas] for name, areas in one['areas'].items()},
                    bool(one['apart']),
                )
                for group, one in groups.items()
            }
            for subset, groups in (record or {}).get('subsets', {}).items()
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise ToolkitError(f'{path} is damaged: {explain_damage(error)}') from error
