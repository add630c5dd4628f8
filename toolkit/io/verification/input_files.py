"""Records of the files that the runs of a study read, which tell what has changed since its plan.

A table is made from results alone. By these records it can say, without opening any data set, that
a result is of other data than its files hold now.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toolkit.errors import ToolkitError
from toolkit.io import atomic_write
from toolkit.io.run_layout import INPUTS, explain_damage, read_object
from toolkit.io.verification.hashing import (
    FileState,
    hash_file,
    hash_json,
    record_hashed,
    walk_files,
)


@dataclass
class InputFiles:
    """Files that a data set or a config was read from.

    Attributes:
        files: the state of each file by its absolute path.
        folders: for each folder the endings of the files that were taken from it, and a hash of the
            names of all its files with such endings.
    """

    files: dict[str, FileState] = field(default_factory=dict)
    folders: dict[str, tuple[tuple[str, ...], str]] = field(default_factory=dict)

    @classmethod
    def collect(cls, hashed: Mapping[Path, FileState], named: Iterable[Path] = ()) -> InputFiles:
        """Collects files that were hashed, and files and folders that a config names.

        A folder counts by the names of its files, if some of them were hashed. A named file that
        cannot be read is left out: what reads it says so.
        """
        folders = []
        with record_hashed() as more:
            for path in named:
                if path.is_dir():
                    folders.append(str(path.absolute()))
                else:
                    with contextlib.suppress(OSError):
                        hash_file(path)
        found = cls({str(path): state for path, state in {**hashed, **more}.items()})
        names = list(map(str, hashed))
        for folder in folders:
            start = os.path.join(folder, '')
            endings = {os.path.splitext(name)[1] for name in names if name.startswith(start)}
            if endings:
                ordered = tuple(sorted(endings))
                found.folders[folder] = (ordered, _hash_names(folder, ordered))
        return found

    def list_changes(
        self,
        is_same: Callable[[str, FileState], bool],
        hash_names: Callable[[str, tuple[str, ...]], str],
    ) -> list[str]:
        """Lists the files and folders that have changed.

        Where none of them exists any more, nothing is known: the study may be on another machine.

        Args:
            is_same: tells whether a file has the content that it had.
            hash_names: hashes the names of the files of a folder with some endings.
        """
        known = [*self.files, *self.folders]
        if not any(map(os.path.exists, known)):
            return []
        changed = [path for path, state in self.files.items() if not is_same(path, state)]
        changed += [
            path
            for path, (endings, names) in self.folders.items()
            if hash_names(path, endings) != names
        ]
        return changed


@dataclass
class StudyInputs:
    """The files that the runs of a study read.

    Attributes:
        groups: files by the name of a group.
        runs: names of the groups of each run by its id.
    """

    groups: dict[str, InputFiles] = field(default_factory=dict)
    runs: dict[str, list[str]] = field(default_factory=dict)

    def add_run(self, run: str, groups: Sequence[str], files: Iterable[str]) -> None:
        """Adds a run with groups that exist, and files that are groups of their own."""
        existing = sorted(name for name in files if Path(name).is_file())
        for name in existing:
            if name not in self.groups:
                self.groups[name] = InputFiles.collect({}, [Path(name)])
        self.runs[run] = [*groups, *existing]

    def find_changes(self) -> dict[str, tuple[str, ...]]:
        """Finds what has changed for each run; runs for which nothing has are left out."""
        # The subsets and folds of a data set are groups of the same files: each is looked at once.
        looks = functools.cache(_is_same), functools.cache(_hash_names)
        changes = {name: files.list_changes(*looks) for name, files in self.groups.items()}
        found = {
            run: tuple(dict.fromkeys(path for name in names for path in changes.get(name, ())))
            for run, names in self.runs.items()
        }
        return {run: paths for run, paths in found.items() if paths}

    def write(self, folder: Path) -> None:
        """Writes the records of a study into its folder; each file is written once.

        Raises:
            RunError: they cannot be written.
        """
        files = {
            path: state for group in self.groups.values() for path, state in group.files.items()
        }
        places = {path: number for number, path in enumerate(files)}
        record = {
            'files': [[path, *state] for path, state in files.items()],
            'groups': {
                name: {'files': [places[path] for path in group.files], 'folders': group.folders}
                for name, group in self.groups.items()
            },
            'runs': self.runs,
        }
        atomic_write.write(folder / INPUTS, json.dumps(record, ensure_ascii=False) + '\n')

    @classmethod
    def read(cls, folder: Path) -> StudyInputs:
        """Reads the records in the folder of a study; a study without them has none.

        Raises:
            ToolkitError: they are damaged.
        """
        record = read_object(folder / INPUTS)
        try:
            return cls() if record is None else cls._from_json(record)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise ToolkitError(f'{folder / INPUTS} is damaged: {explain_damage(error)}') from error

    @classmethod
    def _from_json(cls, record: Mapping[str, Any]) -> StudyInputs:
        files = [(str(path), FileState(*state)) for path, *state in record['files']]
        groups = {
            name: InputFiles(
                dict(files[place] for place in group['files']),
                {
                    path: (tuple(found[0]), str(found[1]))
                    for path, found in group['folders'].items()
                },
            )
            for name, group in record['groups'].items()
        }
        return cls(groups, {run: list(names) for run, names in record['runs'].items()})


def _is_same(path: str, state: FileState) -> bool:
    """Tells whether a file has the content that it had; it is read only if it was written since."""
    try:
        found = os.stat(path)
        if found.st_size != state.size:
            return False
        return found.st_mtime_ns == state.modified or hash_file(Path(path)) == state.digest
    except OSError:
        return False


def _hash_names(folder: str, endings: tuple[str, ...]) -> str:
    files = walk_files(folder, _is_shown)
    shown = (name for name in files if _is_shown(os.path.basename(name)))
    return hash_json(sorted(n for n in shown if os.path.splitext(n)[1] in endings))


def _is_shown(name: str) -> bool:
    return not name.startswith('.')
