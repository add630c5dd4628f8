"""Splits of the scenes of a manifest: making them, and files that datasets take as `splits`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from plugins.pansharpening.scenes.manifest import SceneManifest, SceneRow
from toolkit.errors import ToolkitError, did_you_mean
from toolkit.io.splits.split_file import read_split, write_split
from toolkit.io.splits.stratified_groups import split_groups


def make_split(
    rows: Sequence[SceneRow],
    fractions: Mapping[str, float],
    seed: int = 0,
    group: str | None = None,
) -> dict[str, list[str]]:
    """Assigns scenes to splits at random, those of each sensor in the same proportions.

    Sensors with too few scenes for one in each split count as one sensor together. Scenes of one
    group (one town, one flight) stay together.

    Args:
        rows: scenes of a manifest.
        fractions: share of each split, by name; their sum is 1.
        seed: seed of the shuffle.
        group: column that names the group of a scene; a scene without a value is its own group.
    Returns:
        Names of scenes by split, in the order of the rows.
    Raises:
        ToolkitError: there is no such column, or there are fewer groups than splits.
    """
    groups = _find_groups(rows, group)
    wanted = {name: share for name, share in fractions.items() if share > 0}
    if len(set(groups)) < len(wanted):
        noun = 'scenes' if group is None else f'groups by {group}'
        raise ToolkitError(
            f'{len(wanted)} splits ({", ".join(wanted)}) need at least as many {noun}, found '
            f'{len(set(groups))}'
        )
    counts = Counter(row.sensor for row in rows)
    smallest = min(wanted.values())
    labels = [row.sensor if counts[row.sensor] * smallest >= 1 else 'rare sensors' for row in rows]
    split_of = split_groups(groups, [[label] for label in labels], wanted, seed)
    _fill_empty_splits(split_of, groups, wanted)
    result: dict[str, list[str]] = {name: [] for name in fractions}
    for row, split in zip(rows, split_of, strict=True):
        result[split].append(row.name)
    return result


def save_split(
    path: Path,
    manifest: SceneManifest,
    split: Mapping[str, Sequence[str]],
    options: Mapping[str, Any],
) -> str:
    """Writes a split of a manifest; returns the digest of the file.

    Args:
        path: path of the file.
        manifest: the manifest whose scenes were split.
        split: names of scenes by split.
        options: options with which it was made, for readers.
    Raises:
        RunError: the file cannot be written.
    """
    return write_split(path, [split], manifest.digest, options)


def load_split(path: str | Path, manifest: SceneManifest) -> tuple[dict[str, str], str]:
    """Reads a saved split; returns the split of each scene and the digest of the file.

    Args:
        path: absolute, or below $TOOLKIT_DATA, or below the current folder.
        manifest: the manifest whose scenes are split.
    Raises:
        ToolkitError: the file holds no split.
        DataError: the file was edited, or is of another manifest than this.
    """
    file = read_split(path, f'toolkit split {manifest.path} --output {path}')
    split_of = file.assign(0)
    file.check_unchanged()
    names = [row.name for row in manifest.rows]
    file.check_data(manifest.digest, names, f'scenes or values than {manifest.path} states')
    return split_of, file.digest


def select_rows(
    manifest: SceneManifest, splits: str | None, split: str | None
) -> tuple[tuple[SceneRow, ...], str]:
    """Returns the scenes of a dataset, and the digest of the manifest or split that selected them.

    Args:
        manifest: all scenes.
        splits: file of a split; None for the manifest's own column.
        split: name of the split; None for all scenes.
    Raises:
        ToolkitError: see `load_split`; or there is no such split.
    """
    if split is None:
        if splits is not None:
            raise ToolkitError(f'splits {splits} needs the name of one as `split`')
        return manifest.rows, manifest.digest
    if splits is None:
        return manifest.rows_of_split(split), manifest.digest
    if 'split' in manifest.columns:
        raise ToolkitError(
            f'{manifest.path} has a column split, and splits {splits} is given; remove one of them'
        )
    split_of, digest = load_split(splits, manifest)
    return manifest.select_rows(split_of, split), digest


def _find_groups(rows: Sequence[SceneRow], group: str | None) -> list[tuple[str, str]]:
    if group is not None and rows and group not in rows[0].values:
        columns = list(rows[0].values)
        raise ToolkitError(
            f'--group: no column is named {group!r}{did_you_mean(group, columns)}; there are: '
            f'{", ".join(columns)}'
        )
    values = [row.values[group] if group is not None else '' for row in rows]
    return [
        ('group', value) if value else ('scene', row.name)
        for row, value in zip(rows, values, strict=True)
    ]


def _fill_empty_splits(
    split_of: list[str], groups: Sequence[tuple[str, str]], splits: Mapping[str, float]
) -> None:
    """Gives each empty split the smallest group of the split that has most groups."""
    for name in splits:
        if name in split_of:
            continue
        sizes = Counter(groups)
        holder = dict(zip(groups, split_of, strict=True))
        richest = Counter(holder.values()).most_common(1)[0][0]
        moved = min((g for g in holder if holder[g] == richest), key=lambda g: sizes[g])
        split_of[:] = [name if g == moved else old for g, old in zip(groups, split_of, strict=True)]
