"""Layout of folders of images: their files, the folders of subsets, and images in no class."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from plugins.classification.data.reading.image_io import SUFFIXES
from plugins.classification.data.split_file import SUBSETS
from toolkit.errors import ToolkitError

# Folder of a subset, in any case -> the subset.
FOLDERS = {
    **{'train': 'train', 'training': 'train'},
    **{'val': 'val', 'valid': 'val', 'validation': 'val'},
    **{'test': 'test', 'testing': 'test'},
}


def list_images(folder: Path) -> Iterator[Path]:
    """Yields the files below a folder that are images by their names, without hidden ones."""
    for path in sorted(folder.rglob('*')):
        if path.suffix.lower() in SUFFIXES and not path.name.startswith('.'):
            yield path


@dataclass(frozen=True)
class ImageSelection:
    """Files of a folder that are images, by their names.

    Attributes:
        root: the folder.
        include: patterns of which a path from the folder must match one; None for all.
        exclude: patterns of which it may match none.
    """

    root: Path
    include: str | Sequence[str] | None
    exclude: str | Sequence[str] | None

    def find(self, folder: Path) -> Iterator[tuple[str, Path]]:
        """Yields path from the root, with `/`, and path of each image below a folder."""
        for path in list_images(folder):
            name = path.relative_to(self.root).as_posix()
            included = self.include is None or _matches(name, self.include)
            if included and not (self.exclude is not None and _matches(name, self.exclude)):
                yield name, path

    def find_loose(self, folder: Path) -> list[str]:
        """Finds the images that are in a folder, and not in one below it."""
        return [name for name, path in self.find(folder) if path.parent == folder]

    def describe(self) -> str:
        """Returns the patterns, for messages; empty without any."""
        patterns = [
            f'{key}: {value}'
            for key, value in (('include', self.include), ('exclude', self.exclude))
            if value is not None
        ]
        return f' with {", ".join(patterns)}' if patterns else ''


def _matches(name: str, patterns: str | Sequence[str]) -> bool:
    several = [patterns] if isinstance(patterns, str) else patterns
    return any(fnmatchcase(name, pattern) for pattern in several)


def list_folders(folder: Path) -> list[Path]:
    """Lists the folders in a folder, without hidden ones."""
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith('.'))


def find_subsets(selection: ImageSelection, class_names: Collection[str]) -> dict[str, str]:
    """Finds the folders of subsets: subset by name of the folder.

    A folder that is named after a class, such as `valid` beside `invalid`, is none.

    Raises:
        ToolkitError: two folders are of the same subset.
    """
    found: dict[str, str] = {}
    for folder in list_folders(selection.root):
        subset = FOLDERS.get(folder.name.lower())
        if subset is None or folder.name in class_names:
            continue
        if subset in found.values():
            other = next(name for name in found if found[name] == subset)
            raise ToolkitError(
                f'{selection.root}: the folders {other} and {folder.name} are both of the subset '
                f'{subset}; leave one out with `classes: {{{other}: null}}`'
            )
        found[folder.name] = subset
    return dict(sorted(found.items(), key=lambda item: SUBSETS.index(item[1])))


def check_unused(
    selection: ImageSelection, subsets: Sequence[str], named: Mapping[str, str | None]
) -> None:
    """Refuses images that are in no folder of a class, as they would be left out without a word.

    Raises:
        ToolkitError: there are some; names them and how to leave them out.
    """
    root = selection.root
    problems = []
    others = [f for f in list_folders(root) if f.name not in (*subsets, *named)] if subsets else []
    for folder in others:
        if count := sum(1 for _ in selection.find(folder)):
            problems.append(
                f'{folder}: its images ({count}) are of no subset, and {", ".join(subsets)} '
                f'beside it are subsets; expected one of {", ".join(FOLDERS)}; leave it out with '
                f'`classes: {{{folder.name}: null}}`'
            )
    for place in subsets or ['']:
        if loose := selection.find_loose(root / place):
            problems.append(
                f'{root / place}: images ({len(loose)}) such as {Path(loose[0]).name} are in no '
                f'folder of a class; leave them out with `exclude`, such as `exclude: {loose[0]}`'
            )
    if subsets and (loose := selection.find_loose(root)):
        problems.append(
            f'{root}: images ({len(loose)}) such as {loose[0]} are in no folder of a subset and '
            f'class; leave them out with `exclude`, such as `exclude: {loose[0]}`'
        )
    if problems:
        raise ToolkitError('\n'.join(problems))
