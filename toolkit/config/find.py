"""Finds a config by path or by name, in the working folder or among the shipped ones."""

from __future__ import annotations

from pathlib import Path

from toolkit.config.yaml_file import SHIPPED_FOLDERS, ConfigError, Problem
from toolkit.errors import did_you_mean


def list_config_folders() -> list[Path]:
    """Lists the folders of named configs: ./configs, then those of the package."""
    folders = [Path.cwd() / 'configs', *SHIPPED_FOLDERS]
    return list({folder.resolve(): folder for folder in folders if folder.is_dir()})


def find_config(name: str | Path, kind: str = 'config') -> Path:
    """Finds the file of a config, or of a study with `kind='study'`.

    Raises:
        ConfigError: there is no such file; names the nearest ones.
    """
    for folder in [Path(), *list_config_folders()]:
        for candidate in (folder / name, folder / f'{name}.yaml'):
            if candidate.is_file():
                return candidate
    if Path(name).is_dir():
        raise ConfigError(Problem(str(name), '', f'is a folder; expected a {kind} file'))
    shipped = list_studies() if kind == 'study' else list_configs()
    near = did_you_mean(str(name), [*shipped, *_siblings(Path(name))])
    raise ConfigError(Problem(str(name), '', f'no such {kind}{near}'))


def list_configs() -> list[str]:
    """Lists the names of the configs that can be run, without `.yaml`."""
    return [name for name in _names() if 'studies' not in name.split('/')]


def list_studies() -> list[str]:
    """Lists the names of the studies, without `.yaml`."""
    return [name for name in _names() if 'studies' in name.split('/')]


def _names() -> list[str]:
    found = []
    for folder in list_config_folders():
        for file in sorted(folder.rglob('*.yaml')):
            parts = file.relative_to(folder).parts
            if '_base_' not in parts:
                found.append(Path(*parts).with_suffix('').as_posix())
    return list(dict.fromkeys(found))


def _siblings(path: Path) -> list[str]:
    folder = path.parent
    return [str(p) for p in folder.glob('*.yaml')] if folder.is_dir() else []
