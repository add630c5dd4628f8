"""Fingerprints of a program's runs: its command, its sources, and the files that it names."""

from __future__ import annotations

import ast
import functools
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.errors import ToolkitError
from toolkit.io.run_records import Fingerprint
from toolkit.io.verification.hashing import digest_file, hash_tree, hash_values
from toolkit.study.programs.arguments import fill_command, format_overrides
from toolkit.study.programs.keys import FILE_STYLES
from toolkit.study.source_code import list_imported, package_versions

# Entries of a run's record that do not decide its result.
_NOTES = ('directory', 'resume', 'metrics')


class ProgramFingerprinter:
    """Computes fingerprints of a program's runs, and reads each file once."""

    def __init__(self) -> None:
        self.warnings: dict[str, None] = {}
        self._sources = functools.cache(list_sources)
        self._hash = functools.cache(_hash_path)
        self._versions = functools.cache(package_versions)

    def fingerprint(self, record: Mapping[str, Any]) -> Fingerprint:
        """Compute the fingerprint of a run.

        Args:
            record: from `make_record`.
        Raises:
            ToolkitError: a file that it names cannot be read.
        """
        folder = Path(record['directory'])
        arguments = list_arguments(record)
        if record['overrides'] in FILE_STYLES:
            arguments += _list_texts(record['values'])
        sources, data = {}, {}
        for place, text in enumerate(arguments):
            path = folder / text.partition('=')[2] if text.startswith('-') else folder / text
            if place and arguments[place - 1] == '-m':
                path = _find_module(folder, text) or path
            if not _is_file(path):
                if place and path != folder and _is_folder(path):
                    self.warnings[
                        f'{path} is a folder: what it holds is no part of the identity of runs '
                        'unless program.files names it'
                    ] = None
            elif path.suffix == '.py':
                for source in self._sources(path, folder):
                    sources[_name(source, folder, self._hash(source))] = self._hash(source)
            else:
                is_code = place == 0 or os.access(path, os.X_OK)
                found = sources if is_code else data
                found[_name(path, folder, self._hash(path))] = self._hash(path)
        for name in record['files']:
            data[name] = self._hash(folder / name)
        config = {key: value for key, value in record.items() if key not in _NOTES}
        config['metrics'] = list(record['metrics'])  # the direction changes no value
        code = hash_values(sources, self._describe_packages(record))
        return Fingerprint(hash_values(config), code, hash_values(data))

    def _describe_packages(self, record: Mapping[str, Any]) -> Any:
        """Describe the packages of the program: known where it runs in this environment."""
        found = find_executable(record)
        if found.parent == Path(sys.executable).parent:
            return [self._versions(), platform.python_version()]
        self.warnings[
            f'{record["command"][0]} is not of the environment of the toolkit: versions of '
            'packages are no part of the identity of runs; name a file with them in program.files'
        ] = None
        return None


def list_arguments(record: Mapping[str, Any]) -> list[str]:
    """List the arguments that a run adds its own folder to; {run} stays."""
    values = {'run': '{run}', 'seed': str(record['seed'])}
    overrides: list[str] = []
    if record['overrides'] in FILE_STYLES:
        values['overrides'] = '{overrides}'
    else:
        overrides = format_overrides(record['overrides'], record['values'])
    return fill_command(record['command'], values, overrides)


def _list_texts(value: Any) -> list[str]:
    """List the texts of a tree of values."""
    if isinstance(value, Mapping):
        return [text for entry in value.values() for text in _list_texts(entry)]
    if isinstance(value, list):
        return [text for entry in value for text in _list_texts(entry)]
    return [value] if isinstance(value, str) else []


def find_executable(record: Mapping[str, Any]) -> Path:
    """Find the file that a command starts.

    Raises:
        ToolkitError: there is none, or it cannot be executed.
    """
    name, folder = record['command'][0], Path(record['directory'])
    environment = {**os.environ, **record['environment']}
    if os.sep in name:
        found = folder / name
        if found.is_file() and os.access(found, os.X_OK):
            return found.absolute()
        what = 'is not executable (chmod +x)' if found.is_file() else 'does not exist'
        raise ToolkitError(f'{name!r} {what} in {folder}')
    which = shutil.which(name, path=environment.get('PATH'))
    if which is None:
        hint = f'; write ./{name}' if (folder / name).is_file() else ''
        if '=' in name:
            hint = '; environment variables stand under program.environment'
        raise ToolkitError(f'no program {name!r} is on the PATH{hint}')
    return Path(which).absolute()


def list_sources(script: Path, directory: Path) -> tuple[Path, ...]:
    """List a script and the modules beside it that it imports, directly or not.

    Args:
        script: Python file.
        directory: folder of modules besides the script's own.
    """
    seen: dict[Path, None] = {}
    waiting = [script]
    while waiting:
        file = waiting.pop().resolve()
        if file in seen:
            continue
        seen[file] = None
        try:
            tree = ast.parse(file.read_bytes())
        except (SyntaxError, OSError, ValueError):
            continue
        roots = [script.resolve().parent, directory.resolve()]
        package = next(
            ('.'.join(file.parent.relative_to(r).parts) for r in roots if file.is_relative_to(r)),
            '',
        )
        for name in list_imported(tree, package):
            for root in roots:
                waiting += _find_parts(root, name.split('.'))
    return tuple(sorted(seen))


def _find_parts(root: Path, parts: Sequence[str]) -> Iterator[Path]:
    """Find the files of a module and of the packages above it below a folder."""
    for length in range(1, len(parts) + 1):
        path = root.joinpath(*parts[:length])
        for file in (path.with_name(f'{path.name}.py'), path / '__init__.py'):
            if file.is_file():
                yield file


def _find_module(folder: Path, name: str) -> Path | None:
    path = folder.joinpath(*name.split('.'))
    files = (path.with_name(f'{path.name}.py'), path / '__main__.py')
    return next((file for file in files if file.is_file()), None)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a text that is no path
        return False


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _name(path: Path, folder: Path, content: str) -> str:
    """Name a file so that a copy of the program's folder elsewhere has the same names.

    Args:
        path: of the file.
        folder: of the program.
        content: hash of the file.
    """
    path, folder = path.resolve(), folder.resolve()
    if path.is_relative_to(folder):
        return path.relative_to(folder).as_posix()
    return f'{path.name} {content}'


def _hash_path(path: Path) -> str:
    try:
        return hash_tree(path) if path.is_dir() else digest_file(path).hex()
    except OSError as error:
        raise ToolkitError(f'{path} cannot be read: {error.strerror}') from error
