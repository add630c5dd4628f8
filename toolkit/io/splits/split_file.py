"""Files that hold a split: names by subset for each fold, with hashes that are checked on use."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.errors import DataError, ToolkitError
from toolkit.io.data_paths import find_data_file
from toolkit.io.json_values import parse_json, write_json
from toolkit.io.verification.hashing import hash_json

FORMAT = 1

# Names of images or scenes by subset.
Fold = Mapping[str, Sequence[str]]


def write_split(
    path: Path, folds: Sequence[Fold], data_digest: str, options: Mapping[str, Any]
) -> str:
    """Writes the folds of a split; returns the digest of the file.

    Args:
        path: path of the file.
        folds: names by subset, one mapping for each fold.
        data_digest: digest of the data that were split, which `SplitFile.check_data` compares.
        options: options with which the split was made, for readers.
    Raises:
        RunError: the file cannot be written.
    """
    record: dict[str, Any] = {
        'format': FORMAT,
        'data': data_digest,
        'options': dict(options),
        'folds': [{name: list(names) for name, names in fold.items()} for fold in folds],
    }
    record['digest'] = hash_json(record)
    write_json(path, record)
    return record['digest']


@dataclass(frozen=True)
class SplitFile:
    """A split read from a file, whose content is checked on demand.

    Attributes:
        path: path of the file.
        folds: names by subset, one mapping for each fold.
        data_digest: digest of the data that were split.
        digest: digest that the file states.
        is_unchanged: whether the content has that digest.
        advice: how the file is made anew, for messages.
    """

    path: Path
    folds: tuple[Fold, ...]
    data_digest: str
    digest: str
    is_unchanged: bool
    advice: str

    def assign(self, fold: int) -> dict[str, str]:
        """Returns the subset of each name in a fold.

        Raises:
            ToolkitError: there is no such fold.
            DataError: a name is in two subsets, or twice in one.
        """
        if fold >= len(self.folds):
            raise ToolkitError(
                f'{self.path} has {len(self.folds)} folds (from 0), found fold: {fold}'
            )
        subset_of: dict[str, str] = {}
        for subset, names in self.folds[fold].items():
            for name in names:
                if name in subset_of:
                    raise DataError(
                        f'{self.path}: {name} is in {subset_of[name]} and in {subset} of fold '
                        f'{fold}; {self.advice}'
                    )
                subset_of[name] = subset
        return subset_of

    def check_unchanged(self) -> None:
        """Checks that the file was not edited.

        Raises:
            DataError: it was.
        """
        if not self.is_unchanged:
            raise DataError(
                f'{self.path} was changed after it was made; restore it, or {self.advice}'
            )

    def check_data(
        self, digest: str, names: Collection[str], data: str, restore: str = 'restore them'
    ) -> None:
        """Checks that the split was made of these data.

        Args:
            digest: digest of the data.
            names: names of all images or scenes.
            data: names the data, for the message: 'images or patients than these'.
            restore: how a user gets the data that were split.
        Raises:
            DataError: it was made of others; names some that are new or gone.
        """
        if digest == self.data_digest:
            return
        known = {name for fold in self.folds for names in fold.values() for name in names}
        changes = [
            f'{kind}: {", ".join(sorted(found)[:3])}{" ..." if len(found) > 3 else ""}'
            for kind, found in (('new', set(names) - known), ('gone', known - set(names)))
            if found
        ]
        found = f' ({"; ".join(changes)})' if changes else ''
        raise DataError(
            f'{self.path} was made of other {data}{found}; {restore}, or {self.advice}, which '
            'may move some from one subset to another'
        )


def read_split(path: str | Path, command: str) -> SplitFile:
    """Reads a file that `write_split` has written.

    Args:
        path: absolute, or below $TOOLKIT_DATA, or below the current folder.
        command: command that makes such a file.
    Raises:
        MissingDataError: there is no such file.
        ToolkitError: the file holds no split.
    """
    file = find_data_file(path)
    try:
        record = parse_json(file.read_text('utf-8'))
        folds, digest, data_digest = record['folds'], record.pop('digest'), record['data']
        names = [name for fold in folds for names in fold.values() for name in names]
        if not folds or not all(isinstance(name, str) for name in (digest, data_digest, *names)):
            raise ValueError
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise ToolkitError(f'{file} holds no split, as `{command}` writes it') from error
    advice = f'make it anew: {command} --overwrite'
    return SplitFile(file, tuple(folds), data_digest, digest, digest == hash_json(record), advice)
