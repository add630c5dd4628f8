"""Fingerprints of a program's runs: its command, its sources, and the files that it names."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from toolkit.errors import ToolkitError
from toolkit.io.run_records import Fingerprint
from toolkit.io.verification.hashing import hash_file, hash_tree, hash_values, record_hashed
from toolkit.io.verification.input_files import InputFiles
from toolkit.study.programs.arguments import fill_command, format_overrides
from toolkit.study.programs.keys import FILE_STYLES
from toolkit.study.programs.sources import (
    find_module,
    list_config_folders,
    list_roots,
    list_sources,
)
from toolkit.study.source_code import package_versions

# Entries of a run's record that do not decide its result.
_NOTES = ('directory', 'resume', 'metrics')
# Endings of sources in other languages, which need not be executable.
_CODE = ('.sh', '.bash', '.zsh', '.r', '.jl', '.m', '.pl', '.js', '.lua', '.ipynb')
_UNKNOWN = 'is no part of the identity of runs unless program.files names it'


class ProgramFingerprinter:
    """Computes fingerprints of a program's runs, and reads each file once."""

    def __init__(self) -> None:
        self.warnings: dict[str, None] = {}
        self._sources = functools.cache(list_sources)
        self._configs = functools.cache(list_config_folders)
        self._hashes: dict[Path, str] = {}
        self._versions = functools.cache(package_versions)
        self.inputs: dict[str, InputFiles] = {}
        self.last_inputs: dict[str, None] = {}  # those of the run that was looked at last

    def fingerprint(self, record: Mapping[str, Any]) -> Fingerprint:
        """Compute the fingerprint of a run.

        Args:
            record: from `make_record`.
        Raises:
            ToolkitError: a file that it names cannot be read.
        """
        self.last_inputs = {}
        folder = Path(record['directory'])
        roots = list_roots(folder, record['environment'])
        arguments = list_arguments(record)
        found: tuple[dict[str, str], dict[str, str]] = {}, {}
        sources, data = found
        for place, text in enumerate(arguments):
            module = find_module(roots, text) if place and arguments[place - 1] == '-m' else ()
            if module:
                self._add_python(module, roots, folder, found)
                continue
            for path in _list_paths(folder, text):
                self._add(path, place == 0, roots, record, found)
        for text in _list_texts(record['values']):
            self._add(folder / text, False, roots, record, found)
        for name in record['files']:
            data[name] = self._hash(folder / name)
        config = {key: value for key, value in record.items() if key not in _NOTES}
        config['metrics'] = list(record['metrics'])  # the direction changes no value
        if not sources and not record['files']:
            # An equal command in another folder may start something else, as `make` does.
            config['directory'] = record['directory']
            self.warnings[f'the source of {record["command"][0]} is not known: it {_UNKNOWN}'] = (
                None
            )
        executable = find_executable(record)
        started = _hash_script(executable)
        if started is not None:
            self._hash(executable)  # as one of the run's files
        code = hash_values(sources, started, self._describe_packages(record))
        return Fingerprint(hash_values(config), code, hash_values(data))

    def _hash(self, path: Path) -> str:
        """Hash a file or a folder, which is one of the run's."""
        self.last_inputs[str(path)] = None
        if path not in self._hashes:
            with record_hashed() as hashed:
                self._hashes[path] = _hash_path(path)
            self.inputs[str(path)] = InputFiles.collect(hashed, [path])
        return self._hashes[path]

    def _add(
        self,
        path: Path,
        is_program: bool,
        roots: tuple[Path, ...],
        record: Mapping[str, Any],
        found: tuple[dict[str, str], dict[str, str]],
    ) -> None:
        """Add what an argument names, if it is a file: to the sources or to the data."""
        folder = Path(record['directory'])
        sources, data = found
        if not _is_file(path):
            if not is_program and path != folder and _is_folder(path):
                self.warnings[f'{path} is a folder: what it holds {_UNKNOWN}'] = None
        elif path.suffix == '.py':
            self._add_python((path,), (path.resolve().parent, *roots), folder, found)
        elif is_program or os.access(path, os.X_OK) or path.suffix.lower() in _CODE:
            sources[_name(path, folder, self._hash(path))] = self._hash(path)
            if not record['files']:
                self.warnings[f'{path} is no Python: what it starts or imports {_UNKNOWN}'] = None
        else:
            data[_name(path, folder, self._hash(path))] = self._hash(path)

    def _add_python(
        self,
        scripts: tuple[Path, ...],
        roots: tuple[Path, ...],
        folder: Path,
        found: tuple[dict[str, str], dict[str, str]],
    ) -> None:
        """Add Python scripts, what they import, and the folders of configs that they name."""
        sources, data = found
        files = self._sources(scripts, roots)
        for source in files:
            sources[_name(source, folder, self._hash(source))] = self._hash(source)
        for configs in self._configs(files):
            data[_name(configs, folder, self._hash(configs))] = self._hash(configs)

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


def _list_paths(folder: Path, text: str) -> Iterator[Path]:
    """List the paths that an argument may be: the whole, and what follows `=`."""
    yield folder / text
    if '=' in text:
        yield folder / text.partition('=')[2]


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


def _hash_script(path: Path) -> str | None:
    """Hash a script without its first line, which holds a place of its machine; no binary."""
    try:
        with open(path, 'rb') as file:
            if not file.readline().startswith(b'#!'):
                return None
            return hashlib.sha256(file.read()).hexdigest()
    except OSError as error:
        raise ToolkitError(f'{path} cannot be read: {error.strerror}') from error


def _hash_path(path: Path) -> str:
    try:
        return hash_tree(path, hash_file)
    except OSError as error:
        raise ToolkitError(f'{path} cannot be read: {error.strerror}') from error
